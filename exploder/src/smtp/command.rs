//! Command lines, parsed once (RFC 5321 section 4.1). Verbs and parameters may be written in any case.

use crate::smtp::path::{ForwardPath, ReversePath};
use crate::smtp::reply::{self, Reply};

/// A command that the session carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// EHLO with the client's name.
    Ehlo(String),
    /// HELO with the client's name.
    Helo(String),
    /// MAIL with the reverse-path and its parameters.
    Mail(ReversePath, MailParameters),
    /// RCPT with the forward-path; no parameter of it is known.
    Rcpt(ForwardPath),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP, with or without a text.
    Noop,
    /// VRFY with some text.
    Vrfy,
    /// HELP, with or without a text.
    Help,
    /// QUIT.
    Quit,
}

/// The parameters of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// SIZE: the client's estimate of the message's octets (RFC 1870).
    pub size: Option<u64>,
    /// BODY (RFC 6152). Whatever it says, octets are kept as they come.
    pub body: Option<Body>,
}

impl MailParameters {
    /// Whether there is any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size.is_none() && self.body.is_none()
    }
}

/// The values of BODY (RFC 6152 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// 7BIT.
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// Reads a command line without its CRLF.
///
/// # Errors
/// The reply that says what is wrong with it.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    let text = match std::str::from_utf8(line) {
        Ok(text) if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => text,
        Ok(text) if !text.chars().any(|c| c.is_ascii_control()) && takes_address(text) => {
            return Err(reply::ADDRESS_NOT_ASCII);
        }
        _ => return Err(reply::NOT_ASCII),
    };
    let text = text.trim_end_matches(' ');
    let (verb, arguments) = text.split_once(' ').unwrap_or((text, ""));
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => hello(arguments).map(Command::Ehlo),
        "HELO" => hello(arguments).map(Command::Helo),
        "MAIL" => mail(arguments),
        "RCPT" => rcpt(arguments),
        "DATA" => bare(arguments, Command::Data),
        "RSET" => bare(arguments, Command::Rset),
        "QUIT" => bare(arguments, Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if arguments.is_empty() => Err(reply::SYNTAX),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" | "STARTTLS" | "AUTH" | "BDAT" | "ETRN" | "BURL" | "TURN" | "SEND" | "SOML" | "SAML" => {
            Err(reply::NOT_IMPLEMENTED)
        }
        _ => Err(reply::UNKNOWN_COMMAND),
    }
}

/// Whether the command is one that takes an address, so that UTF-8 in it deserves the answer of RFC 6531.
fn takes_address(text: &str) -> bool {
    ["MAIL ", "RCPT "].iter().any(|verb| text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(verb)))
}

fn bare(arguments: &str, command: Command) -> Result<Command, Reply> {
    if arguments.is_empty() { Ok(command) } else { Err(reply::NO_ARGUMENTS) }
}

/// The client's name. Many clients give one that is no domain, and nothing depends on it: any word will do.
fn hello(arguments: &str) -> Result<String, Reply> {
    let name = arguments.trim_start_matches(' ');
    let word = (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    word.then(|| name.to_owned()).ok_or(reply::BAD_HELLO)
}

fn mail(arguments: &str) -> Result<Command, Reply> {
    let path = after_keyword(arguments, "FROM:").ok_or(reply::BAD_SENDER)?;
    let (path, rest) = ReversePath::parse(path).ok_or(reply::BAD_SENDER)?;
    let mut known = MailParameters::default();
    for parameter in parameters(rest)? {
        let (keyword, value) = parameter?;
        match keyword.to_ascii_uppercase().as_str() {
            "SIZE" => once(&mut known.size, size(value)?)?,
            "BODY" => once(&mut known.body, body(value)?)?,
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(Command::Mail(path, known))
}

fn rcpt(arguments: &str) -> Result<Command, Reply> {
    let path = after_keyword(arguments, "TO:").ok_or(reply::BAD_RECIPIENT)?;
    let (path, rest) = ForwardPath::parse(path).ok_or(reply::BAD_RECIPIENT)?;
    match parameters(rest)?.next() {
        Some(parameter) => parameter.and(Err(reply::UNKNOWN_PARAMETER)),
        None => Ok(Command::Rcpt(path)),
    }
}

/// What follows `FROM:` or `TO:`. Spaces behind the colon break the grammar, but old clients write them.
fn after_keyword<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let arguments = arguments.trim_start_matches(' ');
    let start = arguments.get(..keyword.len())?;
    start
        .eq_ignore_ascii_case(keyword)
        .then(|| arguments.get(keyword.len()..))?
        .map(|rest| rest.trim_start_matches(' '))
}

/// A keyword and, where there is one, its value.
type Parameter<'a> = (&'a str, Option<&'a str>);

/// The esmtp-params behind a path.
fn parameters(rest: &str) -> Result<impl Iterator<Item = Result<Parameter<'_>, Reply>>, Reply> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(reply::SYNTAX);
    }
    Ok(rest.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
        let named = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let valued = value.is_none_or(|v| !v.is_empty() && !v.contains('='));
        if named && valued { Ok((keyword, value)) } else { Err(reply::SYNTAX) }
    }))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Reply> {
    slot.replace(value).map_or(Ok(()), |_| Err(reply::REPEATED_PARAMETER))
}

/// 1 to 20 digits (RFC 1870 section 4). More than any file has counts as the most there is.
fn size(value: Option<&str>) -> Result<u64, Reply> {
    let digits = value.filter(|v| (1..=20).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_digit()));
    digits.map(|d| d.parse().unwrap_or(u64::MAX)).ok_or(reply::BAD_PARAMETER)
}

fn body(value: Option<&str>) -> Result<Body, Reply> {
    match value.map(str::to_ascii_uppercase).as_deref() {
        Some("7BIT") => Ok(Body::SevenBit),
        Some("8BITMIME") => Ok(Body::EightBitMime),
        _ => Err(reply::BAD_PARAMETER),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_have_the_right_reply() {
        for (line, reply) in [
            ("FOO", reply::UNKNOWN_COMMAND),
            ("", reply::UNKNOWN_COMMAND),
            (" NOOP", reply::UNKNOWN_COMMAND),
            ("EXPN team", reply::NOT_IMPLEMENTED),
            ("starttls", reply::NOT_IMPLEMENTED),
            ("AUTH PLAIN AGEAYg==", reply::NOT_IMPLEMENTED),
            ("BDAT 10 LAST", reply::NOT_IMPLEMENTED),
            ("EHLO", reply::BAD_HELLO),
            ("EHLO a b", reply::BAD_HELLO),
            ("DATA now", reply::NO_ARGUMENTS),
            ("VRFY", reply::SYNTAX),
            ("MAIL", reply::BAD_SENDER),
            ("MAIL TO:<a@b>", reply::BAD_SENDER),
            ("MAIL FROM:a@b", reply::BAD_SENDER),
            ("MAIL FROM:<a@b", reply::BAD_SENDER),
            ("MAIL FROM:<Postmaster>", reply::BAD_SENDER),
            ("MAIL FROM:<a@b>SIZE=1", reply::SYNTAX),
            ("MAIL FROM:<a@b> =1", reply::SYNTAX),
            ("MAIL FROM:<a@b> SIZE=", reply::SYNTAX),
            ("MAIL FROM:<a@b> SIZE", reply::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SIZE=-1", reply::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SIZE=123456789012345678901", reply::BAD_PARAMETER),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", reply::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SIZE=1 size=1", reply::REPEATED_PARAMETER),
            ("MAIL FROM:<a@b> BODY=7BIT BODY=8BITMIME", reply::REPEATED_PARAMETER),
            ("MAIL FROM:<a@b> FOO=1", reply::UNKNOWN_PARAMETER),
            ("MAIL FROM:<a@b> SMTPUTF8", reply::UNKNOWN_PARAMETER),
            ("MAIL FROM:<a@b> AUTH=<>", reply::UNKNOWN_PARAMETER),
            ("MAIL FROM:<\u{fc}@x>", reply::ADDRESS_NOT_ASCII),
            ("rcpt TO:<\u{fc}@x>", reply::ADDRESS_NOT_ASCII),
            ("NOOP \u{fc}", reply::NOT_ASCII),
            ("NOOP \u{7}", reply::NOT_ASCII),
            ("RCPT TO:<>", reply::BAD_RECIPIENT),
            ("RCPT FROM:<a@b>", reply::BAD_RECIPIENT),
            ("RCPT TO:<a@b> NOTIFY=NEVER", reply::UNKNOWN_PARAMETER),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(reply), "{line}");
        }
        assert_eq!(parse(b"MAIL FROM:<\xff@x>"), Err(reply::NOT_ASCII));
    }

    #[test]
    fn commands_are_read_in_any_case() {
        let mail = |line: &str| match parse(line.as_bytes()).unwrap() {
            Command::Mail(path, p) => (path.to_string(), p.size, p.body),
            other => panic!("{other:?}"),
        };
        assert_eq!(mail("mail from:<A@B> size=5 Body=8bitMIME "), ("<A@b>".into(), Some(5), Some(Body::EightBitMime)));
        assert_eq!(mail("MAIL FROM: <a@b>"), ("<a@b>".into(), None, None));
        assert_eq!(mail("MAIL FROM:<> SIZE=99999999999999999999").1, Some(u64::MAX));
        assert_eq!(parse(b"rcpt to:<Postmaster>"), Ok(Command::Rcpt(ForwardPath::Postmaster)));
        assert_eq!(parse(b"ehlo [192.0.2.1]"), Ok(Command::Ehlo("[192.0.2.1]".into())));
        assert_eq!(parse(b"data  "), Ok(Command::Data));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn nothing_near_a_command_makes_it_panic(tail in "[<>@\":,\\\\\\[\\]a= ]{0,30}") {
            let _ = parse(format!("MAIL FROM:{tail}").as_bytes());
            let _ = parse(format!("RCPT TO:{tail}").as_bytes());
        }
    }
}
