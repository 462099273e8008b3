//! What browsers send: forms and queries (`application/x-www-form-urlencoded`) and cookies. Pure.

use super::refused::Refused;
use axum::http::{HeaderMap, header};

/// The value of each of `names` in a form, each of which must stand in it once; other fields are left alone.
pub(super) fn fields<const N: usize>(form: &[u8], names: [&str; N]) -> Option<[String; N]> {
    let mut found = [const { None }; N];
    for pair in form.split(|b| *b == b'&') {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let Some(place) = names.iter().position(|wanted| *wanted == name) else { continue };
        let place = found.get_mut(place)?;
        if place.is_some() {
            return None;
        }
        *place = Some(decode(halves.next().unwrap_or_default())?);
    }
    let mut values = [const { String::new() }; N];
    for (value, found) in values.iter_mut().zip(found) {
        *value = found?;
    }
    Some(values)
}

fn decode(text: &[u8]) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit()? * 16 + digit()?
            }
            other => *other,
        });
    }
    String::from_utf8(octets).ok()
}

/// The value of the cookie `name`, when it is sent once.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value);
    found.next().filter(|_| found.next().is_none()).ok_or(Refused::OtherBrowser)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_are_decoded_and_stand_once() {
        let both = |form: &str| fields(form.as_bytes(), ["a", "b"]);
        assert_eq!(both("b=2%2B+3&x=y&a=%C3%A4"), Some(["ä".to_owned(), "2+ 3".to_owned()]));
        assert_eq!(both("a=&b"), Some([String::new(), String::new()]));
        for bad in ["", "a=1", "a=1&b=2&a=1", "a=1&b=2&%61=3", "a=%4&b=2", "a=%zz&b=2", "a=%ff&b=2", "a=1;b=2"] {
            assert_eq!(both(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "x=1; me=abc;y=2".parse().unwrap());
        assert_eq!(cookie(&headers, "me"), Ok("abc"));
        assert_eq!(cookie(&headers, "m"), Err(Refused::OtherBrowser));
        headers.append(header::COOKIE, "me=def".parse().unwrap());
        assert_eq!(cookie(&headers, "me"), Err(Refused::OtherBrowser), "two of them");
    }
}
