//! A message as it is written by people and mail programs (RFC 5322): header fields, body, recipients.

use crate::exit::{Exit, Explain};
use mail_parser::{HeaderName, MessageParser};
use twinseal_proto::ids::MailAddress;

/// Fields by which a header is known for one, and not for text with a colon in its first line (`Team:`, an empty line, the
/// text); those that describe a MIME entity (`Content-…`) are others.
const KNOWN: [&str; 11] =
    ["from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "received", "return-path", "reply-to"];

/// A message with CRLF line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Header fields in their order, each with its folded lines and its last line end.
    pub(crate) fields: Vec<Field>,
    /// What follows the empty line.
    body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// In lower case.
    pub(crate) name: String,
    /// With name and line ends.
    pub(crate) raw: Vec<u8>,
}

/// The input is not a message.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// A line of the header is no header field.
    #[error("line {0} of the header is not a header field")]
    Field(usize),
    /// A recipient's address cannot be read.
    #[error("{0:?} is not an address")]
    Address(String),
    /// There is nobody to send to.
    #[error("there is no recipient")]
    NoRecipient,
    /// A subject that no header can carry.
    #[error("the subject has a control character")]
    Subject,
}

impl Explain for LetterError {
    fn exit(&self) -> Exit {
        match self {
            Self::Field(_) | Self::Address(_) => Exit::Data,
            Self::NoRecipient | Self::Subject => Exit::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Field(_) => "put an empty line between header and body".to_owned(),
            Self::Address(_) => "correct To, Cc and Bcc".to_owned(),
            Self::NoRecipient => "twinseal send LIST, or a To field in the message".to_owned(),
            Self::Subject => "a subject of one line".to_owned(),
        })
    }
}

impl Letter {
    /// Reads a message. Input that does not begin with a header field is all body.
    ///
    /// # Errors
    /// [`LetterError::Field`].
    pub fn parse(input: &[u8]) -> Result<Self, LetterError> {
        let text = canonical(input);
        // A mailbox's separator line may come first, as in the output of `git format-patch`.
        let text = match text.strip_prefix(b"From ") {
            Some(rest) => after_line(rest).filter(|rest| field_name(rest).is_some()).unwrap_or(&text),
            None => &text,
        };
        let mut fields: Vec<Field> = Vec::new();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let next = after_line(rest).unwrap_or_default();
            let line = rest.get(..rest.len() - next.len()).unwrap_or(rest);
            let known = is_header(&fields);
            match (field_name(line), fields.last_mut()) {
                _ if line == b"\r\n" && known => return Ok(Self { fields, body: next.to_vec() }),
                (Some(name), _) => fields.push(Field { name, raw: ended(line) }),
                (None, Some(last)) if folded(line) => last.raw.extend(ended(line)),
                _ if known => return Err(LetterError::Field(number)),
                _ => return Ok(Self { fields: Vec::new(), body: text.to_vec() }),
            }
            rest = next;
        }
        // A header and no empty line: a message without a body, if it is a header at all.
        let (fields, body) = if is_header(&fields) { (fields, Vec::new()) } else { (Vec::new(), text.to_vec()) };
        Ok(Self { fields, body })
    }

    /// Whether there is a header.
    #[must_use]
    pub const fn has_header(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The mailboxes in To, Cc and Bcc, each once, groups resolved.
    ///
    /// # Errors
    /// [`LetterError::Address`].
    pub fn recipients(&self) -> Result<Vec<MailAddress>, LetterError> {
        let header: Vec<u8> = self.fields.iter().flat_map(|field| field.raw.iter().copied()).chain(*b"\r\n").collect();
        let mut found: Vec<MailAddress> = Vec::new();
        let Some(parsed) = MessageParser::new().parse_headers(&header) else { return Ok(found) };
        for field in parsed.headers() {
            if !matches!(field.name, HeaderName::To | HeaderName::Cc | HeaderName::Bcc) {
                continue;
            }
            for mailbox in field.value.as_address().into_iter().flat_map(mail_parser::Address::iter) {
                let text = mailbox.address().or_else(|| mailbox.name()).unwrap_or_default();
                let address: MailAddress = text.parse().map_err(|_| LetterError::Address(text.to_owned()))?;
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
        Ok(found)
    }

    /// The MIME entity that is protected: the content's own header fields and the body (RFC 8551 section 3.1).
    #[must_use]
    pub fn entity(&self) -> Vec<u8> {
        let mut entity = Vec::with_capacity(self.body.len() + 256);
        for field in self.fields.iter().filter(|field| field.name.starts_with("content-")) {
            entity.extend_from_slice(&field.raw);
        }
        if !self.has("content-type") {
            entity.extend_from_slice(match std::str::from_utf8(&self.body) {
                _ if self.body.is_ascii() => b"Content-Type: text/plain; charset=us-ascii\r\n".as_slice(),
                Ok(_) => b"Content-Type: text/plain; charset=utf-8\r\n",
                Err(_) => b"Content-Type: text/plain; charset=iso-8859-1\r\n",
            });
            if !self.body.is_ascii() && !self.has("content-transfer-encoding") {
                entity.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
            }
        }
        entity.extend_from_slice(b"\r\n");
        entity.extend_from_slice(&self.body);
        entity
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }
}

fn is_header(fields: &[Field]) -> bool {
    fields.iter().any(|field| KNOWN.contains(&field.name.as_str()) || field.name.starts_with("content-"))
}

/// CRLF at the end of every line, whatever it was (RFC 8551 section 3.1.1).
#[must_use]
pub fn canonical(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut last = 0;
    for &octet in text {
        if octet == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(octet);
        last = octet;
    }
    out
}

/// What follows the first line; `None` if it has no end.
fn after_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|octet| *octet == b'\n')?;
    text.get(end + 1..)
}

/// Whether the line goes on with the field before it (RFC 5322 section 2.2.3).
fn folded(line: &[u8]) -> bool {
    let text = line.trim_ascii_end();
    matches!(line.first(), Some(b' ' | b'\t')) && !text.iter().any(|octet| matches!(octet, 0 | b'\r'))
}

fn ended(line: &[u8]) -> Vec<u8> {
    let mut line = line.to_vec();
    if !line.ends_with(b"\r\n") {
        line.extend_from_slice(b"\r\n");
    }
    line
}

/// The name of the header field that begins here, in lower case (RFC 5322 section 2.2). A bare CR or NUL makes it none.
fn field_name(text: &[u8]) -> Option<String> {
    let line = text.split(|octet| *octet == b'\n').next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let colon = line.iter().position(|octet| *octet == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let good = !name.is_empty() && name.iter().all(|octet| (33..=126).contains(octet));
    let clean = !line.iter().any(|octet| matches!(octet, 0 | b'\r'));
    (good && clean).then(|| String::from_utf8_lossy(name).to_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Letter {
        Letter::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn headers_are_told_from_text() {
        let with = parse("Subject: a\n b\nTo: x@y\n\nbody\n");
        assert_eq!((with.fields.len(), with.body()), (2, b"body\r\n".as_slice()));
        for text in
            ["just text\n", "Note: all of this\nis text\n", "", "\nTo: x@y\n\nz", "Only: one line", "Team:\n\nat 5\n"]
        {
            let letter = parse(text);
            assert!(!letter.has_header(), "{text}");
            assert_eq!(letter.body(), canonical(text.as_bytes()), "{text}");
        }
        assert!(matches!(Letter::parse(b"To: x@y\nnot a field\n\nb"), Err(LetterError::Field(2))));
        assert!(matches!(Letter::parse(b"To: x@y\nX: a\rb\n\nb"), Err(LetterError::Field(2))));
        assert_eq!(parse("From 1234 Mon Sep 17\nTo: x@y\n\nb").fields.len(), 1);
        assert!(!parse("From here on it is text\nreally\n").has_header());
        assert_eq!(parse("To: x@y\n").body(), b"");
    }

    #[test]
    fn recipients_come_from_all_three_fields_and_from_groups() {
        let letter = parse("To: A <a@x>, =?utf-8?q?=C3=A9?= <b@x>\nCc: g: c@x, \"d, e\" <d@x>;\nBcc: A@X\n\n");
        let found: Vec<String> = letter.recipients().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a@x", "b@x", "c@x", "d@x"]);
        assert!(matches!(parse("To: nobody\n\n").recipients(), Err(LetterError::Address(_))));
        assert!(parse("Subject: x\n\n").recipients().unwrap().is_empty());
    }

    #[test]
    fn the_entity_describes_its_text() {
        assert_eq!(parse("hi").entity(), b"Content-Type: text/plain; charset=us-ascii\r\n\r\nhi");
        assert!(
            parse("hé")
                .entity()
                .starts_with(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit")
        );
        let html = parse("X-Mailer: m\nMIME-Version: 1.0\nContent-Type: text/html;\n charset=utf-8\nTo: x@y\n\n<p>");
        assert_eq!(html.entity(), b"Content-Type: text/html;\r\n charset=utf-8\r\n\r\n<p>");
    }
}
