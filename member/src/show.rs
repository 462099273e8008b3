//! Makes text for people out of a decrypted MIME entity.

use crate::letter::Letter;
use mail_parser::MessageParser;
use std::fmt::Write as _;

/// What a person sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The text parts, one after the other, with LF line ends.
    pub text: String,
    /// Name and length in octets of what else there is.
    pub attachments: Vec<(String, usize)>,
}

/// Whether the octets are a MIME entity or at least text: what a wrong key gives is neither.
#[must_use]
pub fn makes_sense(entity: &[u8]) -> bool {
    let header = Letter::parse(entity).is_ok_and(|letter| letter.has_header());
    header || std::str::from_utf8(entity).is_ok_and(|text| !text.contains(is_strange))
}

fn is_strange(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\x0c')
}

/// The text of an entity: its text/plain parts, decoded; HTML without its tags where there is nothing else. An entity
/// without a header is text as it is.
#[must_use]
pub fn show(entity: &[u8]) -> Shown {
    let has_header = Letter::parse(entity).is_ok_and(|letter| letter.has_header());
    let parsed = has_header.then(|| MessageParser::new().parse(entity)).flatten();
    let Some(message) = parsed else {
        return Shown { text: lines(&String::from_utf8_lossy(entity)), attachments: Vec::new() };
    };
    let mut text = String::new();
    for number in 0..message.text_body_count() {
        if let Some(body) = message.body_text(number) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&lines(&body));
        }
    }
    let attachments = message
        .attachments()
        .map(|part| {
            let name = mail_parser::MimeHeaders::attachment_name(part).unwrap_or("unnamed");
            (name.to_owned(), part.len())
        })
        .collect();
    Shown { text, attachments }
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// The text as a terminal may see it: control characters, with which a sender could write over what stands there, are
/// shown as `\u{1b}`.
#[must_use]
pub fn for_terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_strange(character) || character == '\r' {
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// [`for_terminal`] for what has to stay on one line, such as the line about the signature: line ends are escaped too,
/// and so are the characters that turn the direction of writing, with which a name could rewrite the words around it.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_is_decoded_and_attachments_are_named() {
        let plain = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nna=EFve=\r\n!\r\n";
        assert_eq!(show(plain.as_bytes()).text, "naïve!\n");
        let base64 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kK\r\n";
        assert_eq!(show(base64.as_bytes()).text, "é\n");
        let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\n\
                     Content-Type: image/png; name=p.png\r\n\r\nxyz\r\n--b--\r\n";
        let shown = show(mixed.as_bytes());
        assert_eq!((shown.text.as_str(), shown.attachments), ("one", vec![("p.png".to_owned(), 3)]));
        assert_eq!(show(b"no header\r\nat all").text, "no header\nat all");
    }

    #[test]
    fn garbage_makes_no_sense_and_old_text_does() {
        assert!(makes_sense(b"Content-Type: text/plain\r\n\r\n\xe9"));
        assert!(makes_sense("plain é\r\n".as_bytes()));
        assert!(!makes_sense(&[0x3a, 0x91, 0x00, 0x7f, 0xfe]));
        assert!(!makes_sense(b"\x01\x02\x03"));
    }

    #[test]
    fn a_terminal_gets_no_commands() {
        assert_eq!(for_terminal("a\x1b[2Jb\tc\r\n"), "a\\u{1b}[2Jb\tc\\u{d}\n");
        assert_eq!(on_one_line("é\nsigned by\u{202e}b\x1b"), "é\\u{a}signed by\\u{202e}b\\u{1b}");
    }
}
