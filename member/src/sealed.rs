//! Finds the encrypted part of a message, and what the message around it says.

use crate::exit::{Exit, Explain};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Header, HeaderName, Message, MessageParser, MessagePart, MimeHeaders as _};

/// An encrypted message, taken out of its mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The CMS ContentInfo, BER or DER.
    pub cms: Vec<u8>,
    /// The addresses in From. Nobody vouches for them.
    pub from: Vec<String>,
    /// The addresses in To and Cc.
    pub to: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
}

/// There is no encrypted part that could be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// Not a mail at all.
    #[error("the input is not a message")]
    NotAMessage,
    /// No part is S/MIME.
    #[error("the message is not encrypted with S/MIME: it has no application/pkcs7-mime part")]
    NotEncrypted,
    /// More than one part is. Which of them was meant cannot be known, so neither is shown.
    #[error("the message has {0} encrypted parts; only one is read")]
    Several(usize),
    /// The part's base64 is broken.
    #[error("the encrypted part is damaged: {0}")]
    Damaged(&'static str),
}

impl Explain for SealedError {
    fn exit(&self) -> Exit {
        Exit::Data
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAMessage => Some("give the whole message, with its header".to_owned()),
            Self::NotEncrypted => Some("read it with any mail program".to_owned()),
            Self::Several(_) => None,
            Self::Damaged(_) => Some("fetch the message again, or ask the sender to send it again".to_owned()),
        }
    }
}

impl Sealed {
    /// Finds the one encrypted part of `mail`.
    ///
    /// # Errors
    /// [`SealedError`].
    pub fn find(mail: &[u8]) -> Result<Self, SealedError> {
        let message = MessageParser::new().parse(mail).ok_or(SealedError::NotAMessage)?;
        if message.headers().is_empty() {
            return Err(SealedError::NotAMessage);
        }
        let found: Vec<&MessagePart<'_>> = message.parts.iter().filter(|part| is_encrypted(part)).collect();
        let part = match found.as_slice() {
            [] => return Err(SealedError::NotEncrypted),
            [part] => part,
            several => return Err(SealedError::Several(several.len())),
        };
        Ok(Self {
            cms: octets(part, &message.raw_message)?,
            from: addresses(&message, &[HeaderName::From]),
            to: addresses(&message, &[HeaderName::To, HeaderName::Cc]),
            subject: message.subject().map(str::to_owned),
        })
    }
}

/// `application/pkcs7-mime` under its names, or octets in a file `*.p7m` (interop: "MIME wrappings").
fn is_encrypted(part: &MessagePart<'_>) -> bool {
    is_pkcs7(part, "mime", ".p7m")
}

/// Whether the part is `application/pkcs7-KIND`, or an unnamed sort with a file name that ends in `suffix`.
pub(crate) fn is_pkcs7(part: &MessagePart<'_>, kind: &str, suffix: &str) -> bool {
    let plain =
        ["pkcs7-", "x-pkcs7-"].iter().any(|prefix| part.is_content_type("application", &format!("{prefix}{kind}")));
    let named = || part.attachment_name().is_some_and(|name| name.to_lowercase().ends_with(suffix));
    plain || (part.is_content_type("application", "octet-stream") && named())
}

/// The part's content, decoded strictly.
pub(crate) fn octets(part: &MessagePart<'_>, mail: &[u8]) -> Result<Vec<u8>, SealedError> {
    let range = part.offset_body as usize..part.offset_end as usize;
    let raw = mail.get(range).ok_or(SealedError::Damaged("it ends too early"))?;
    let encoding = part.content_transfer_encoding().unwrap_or("binary").trim().to_lowercase();
    match encoding.as_str() {
        "base64" => {
            let text: Vec<u8> = raw.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
            STANDARD.decode(text).map_err(|_| SealedError::Damaged("it is not base64"))
        }
        "7bit" | "8bit" | "binary" => Ok(raw.to_vec()),
        _ => Err(SealedError::Damaged("its encoding is unknown")),
    }
}

fn addresses(message: &Message<'_>, fields: &[HeaderName<'_>]) -> Vec<String> {
    let wanted = |header: &&Header<'_>| fields.contains(&header.name);
    let lists = message.headers().iter().filter(wanted).filter_map(|header| header.value.as_address());
    lists.flat_map(mail_parser::Address::iter).filter_map(|mailbox| mailbox.address()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_part_is_found_in_every_wrapping_and_exactly_once() {
        let part =
            "Content-Type: application/x-pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nAQI\nD\n";
        let mail = format!("From: a@x\nTo: t@l, u@l\nSubject: s\n{part}");
        let sealed = Sealed::find(mail.as_bytes()).unwrap();
        assert_eq!(sealed.cms, [1, 2, 3]);
        assert_eq!(
            (sealed.from, sealed.to, sealed.subject),
            (vec!["a@x".to_owned()], vec!["t@l".into(), "u@l".into()], Some("s".into()))
        );

        let mixed =
            format!("From: a@x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nfooter\n--b\n{part}\n--b--\n");
        assert_eq!(Sealed::find(mixed.as_bytes()).unwrap().cms, [1, 2, 3]);
        let twice = mixed.replace("--b--", &format!("--b\n{part}\n--b--"));
        assert!(matches!(Sealed::find(twice.as_bytes()), Err(SealedError::Several(2))));
        let octets = mail.replace("application/x-pkcs7-mime", "application/octet-stream");
        assert_eq!(Sealed::find(octets.as_bytes()).unwrap().cms, [1, 2, 3]);
        assert!(matches!(Sealed::find(b"From: a@x\n\nhello\n"), Err(SealedError::NotEncrypted)));
        assert!(matches!(Sealed::find(b""), Err(SealedError::NotAMessage)));
        assert!(matches!(Sealed::find(mail.replace("AQI", "A*I").as_bytes()), Err(SealedError::Damaged(_))));
    }
}
