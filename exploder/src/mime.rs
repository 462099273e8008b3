//! What has to be read of a message's header: its fields (RFC 5322 section 2.2), its authors, and what sort of content
//! it announces (RFC 2045, RFC 8551 section 3). Everything is linear in the input and bounded.

mod address;
mod lexer;

pub use address::{MAX_ADDRESSES, mailboxes};

use lexer::Lexer;
use std::borrow::Cow;

/// Most octets of a header, with its last CRLF.
pub const MAX_HEADER: usize = 256 * 1024;
/// Most fields of a header.
pub const MAX_FIELDS: usize = 1000;
/// Longest line in octets, without CRLF (RFC 5322 section 2.1.1).
pub const MAX_HEADER_LINE: usize = 998;
/// Most parameters of a Content-Type or Content-Disposition.
const MAX_PARAMETERS: usize = 64;

/// Why octets are not a header that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// An octet above 127: it needs SMTPUTF8 (RFC 6532), which is not offered.
    #[error("octets above 127 in the header")]
    NotAscii,
    /// A CR, LF, NUL or other control character inside a line.
    #[error("a control character in the header")]
    Control,
    /// A line above [`MAX_HEADER_LINE`].
    #[error("a header line longer than 998 octets")]
    LongLine,
    /// A line that is neither `Name: value` nor the continuation of one.
    #[error("a line that is no header field")]
    NotAField,
    /// More than [`MAX_FIELDS`].
    #[error("more than 1000 header fields")]
    TooMany,
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, as written.
    pub name: &'a str,
    /// All of it, with its name and its CRLFs.
    pub raw: &'a str,
}

impl<'a> Field<'a> {
    /// Whether it has this name, in any case.
    #[must_use]
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Its value, unfolded (RFC 5322 section 2.2.3) and without white space around it.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        let value = self.raw.get(self.name.len() + 1..).unwrap_or_default().trim_ascii();
        if value.contains("\r\n") { Cow::Owned(value.replace("\r\n", "")) } else { Cow::Borrowed(value) }
    }
}

/// Cuts a header, without the empty line that ends it, into its fields.
///
/// # Errors
/// [`HeaderFault`]. What is taken has printable ASCII, spaces and tabs only, in lines that end with CRLF.
pub fn fields(header: &[u8]) -> Result<Vec<Field<'_>>, HeaderFault> {
    let text = std::str::from_utf8(header).ok().filter(|text| text.is_ascii()).ok_or(HeaderFault::NotAscii)?;
    let mut found: Vec<Field<'_>> = Vec::new();
    let mut at = 0;
    let mut start = 0;
    for line in text.split_inclusive("\r\n") {
        let content = line.strip_suffix("\r\n").ok_or(HeaderFault::NotAField)?;
        if content.len() > MAX_HEADER_LINE {
            return Err(HeaderFault::LongLine);
        }
        if content.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(HeaderFault::Control);
        }
        if content.starts_with([' ', '\t']) {
            // A line of nothing but white space ends the header for some readers.
            let last = found.last_mut().filter(|_| !content.trim_ascii().is_empty()).ok_or(HeaderFault::NotAField)?;
            last.raw = text.get(start..at + line.len()).unwrap_or_default();
        } else {
            let (name, _) = content.split_once(':').ok_or(HeaderFault::NotAField)?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(HeaderFault::NotAField);
            }
            if found.len() == MAX_FIELDS {
                return Err(HeaderFault::TooMany);
            }
            start = at;
            found.push(Field { name, raw: line });
        }
        at += line.len();
    }
    Ok(found)
}

/// A Content-Type or Content-Disposition: what it names, in lower case, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Typed {
    /// `application/pkcs7-mime`, `attachment`.
    pub kind: String,
    parameters: Vec<(String, String)>,
}

impl Typed {
    /// Reads the value of a Content-Type (RFC 2045 section 5.1) or Content-Disposition (RFC 2183 section 2). `None` when
    /// it does not follow the grammar, or has too many parameters.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        let mut kind = lexer.token()?.to_ascii_lowercase();
        if lexer.eat('/')? {
            kind = format!("{kind}/{}", lexer.token()?.to_ascii_lowercase());
        }
        let mut parameters = Vec::new();
        while lexer.eat(';')? {
            if lexer.at_end()? {
                break; // a semicolon at the end is common
            }
            let name = lexer.token()?.to_ascii_lowercase();
            if !lexer.eat('=')? || parameters.len() == MAX_PARAMETERS {
                return None;
            }
            let value = lexer.quoted_string().or_else(|| lexer.token().map(str::to_owned))?;
            parameters.push((name, value));
        }
        lexer.at_end()?.then_some(Self { kind, parameters })
    }

    /// The value of a parameter; `name*` of RFC 2231 section 4 counts, with its character set and percent signs left in.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let named = |given: &str| given.strip_suffix('*').unwrap_or(given) == name;
        self.parameters.iter().find(|(given, _)| named(given)).map(|(_, value)| value.as_str())
    }
}

/// What sort of content a message announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// CMS in one part, encrypted as far as the header tells (RFC 8551 sections 3.2 to 3.4).
    Cms,
    /// Signed and not encrypted.
    Signed,
    /// OpenPGP (RFC 3156).
    OpenPgp,
    /// Several parts, which may be encrypted or not.
    Multipart,
    /// Text, in which there may be OpenPGP.
    Text,
    /// Anything else.
    Other,
}

/// Reads what Content-Type and Content-Disposition announce.
#[must_use]
pub fn announced(content_type: &Typed, disposition: Option<&Typed>) -> Announced {
    let is_p7m = |name: Option<&str>| name.is_some_and(|n| n.to_ascii_lowercase().ends_with(".p7m"));
    match content_type.kind.as_str() {
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
            match content_type.parameter("smime-type").map(str::to_ascii_lowercase).as_deref() {
                Some("signed-data" | "certs-only") => Announced::Signed,
                Some("compressed-data") => Announced::Other,
                _ => Announced::Cms,
            }
        }
        "application/octet-stream"
            if is_p7m(content_type.parameter("name")) || is_p7m(disposition.and_then(|d| d.parameter("filename"))) =>
        {
            Announced::Cms
        }
        "multipart/encrypted" | "application/pgp-encrypted" | "application/pgp" => Announced::OpenPgp,
        "multipart/signed" | "application/pkcs7-signature" | "application/x-pkcs7-signature" => Announced::Signed,
        kind if kind.starts_with("multipart/") => Announced::Multipart,
        kind if kind.starts_with("text/") => Announced::Text,
        _ => Announced::Other,
    }
}

#[cfg(test)]
mod tests;
