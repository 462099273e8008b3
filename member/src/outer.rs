//! The header of the message that goes out: what servers and mail programs need, and nothing else of the letter's.

use crate::letter::{Letter, LetterError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;

/// Header fields that stay outside, where servers and mail programs need them. `Subject` is among them: nothing but the
/// content is secret so far. All others stay behind, except the content's own.
const KEPT: [&str; 10] =
    ["from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"];

/// What the outer message says where the letter does not.
pub struct Defaults<'a> {
    /// The member: From.
    pub from: &'a MailAddress,
    /// The lists: To, if the letter has neither To nor Cc.
    pub to: &'a [MailAddress],
    /// Subject; it wins over the letter's.
    pub subject: Option<&'a str>,
    /// Date.
    pub now: UnixTime,
    /// 16 random octets: Message-ID.
    pub random: [u8; 16],
}

impl Letter {
    /// The outer header up to the fields that describe the content.
    ///
    /// # Errors
    /// [`LetterError::Subject`].
    pub fn outer_header(&self, defaults: &Defaults<'_>) -> Result<Vec<u8>, LetterError> {
        let mut header = Vec::new();
        for field in &self.fields {
            let replaced = field.name == "subject" && defaults.subject.is_some();
            if KEPT.contains(&field.name.as_str()) && !replaced {
                header.extend_from_slice(&field.raw);
            }
        }
        let mut add = |name: &str, value: &str| header.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        if !self.has("from") {
            add("From", defaults.from.as_str());
        }
        if !self.has("to") && !self.has("cc") {
            let to: Vec<&str> = defaults.to.iter().map(MailAddress::as_str).collect();
            add("To", &to.join(",\r\n "));
        }
        if let Some(subject) = defaults.subject {
            add("Subject", &encode_subject(subject)?);
        }
        if !self.has("date") {
            add("Date", &defaults.now.rfc5322());
        }
        if !self.has("message-id") {
            let random: String = defaults.random.iter().map(|octet| format!("{octet:02x}")).collect();
            add("Message-ID", &format!("<{random}@{}>", defaults.from.domain()));
        }
        add("MIME-Version", "1.0");
        Ok(header)
    }
}

/// A subject for the header: as it is, or in encoded words (RFC 2047) of at most 75 characters.
fn encode_subject(subject: &str) -> Result<String, LetterError> {
    if subject.contains(char::is_control) {
        return Err(LetterError::Subject);
    }
    if subject.is_ascii() && subject.len() <= 900 && !subject.contains("=?") {
        return Ok(subject.to_owned());
    }
    let mut words = vec![String::new()];
    for character in subject.chars() {
        match words.last_mut() {
            Some(word) if word.len() + character.len_utf8() <= 45 => word.push(character),
            _ => words.push(character.to_string()),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    Ok(words.join("\r\n "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Letter {
        Letter::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_outer_header_keeps_what_mail_needs_and_makes_what_is_missing() {
        let from: MailAddress = "m@members.test".parse().unwrap();
        let to = ["a@x".parse().unwrap(), "b@x".parse().unwrap()];
        let mut defaults = Defaults { from: &from, to: &to, subject: None, now: UnixTime(0), random: [0xab; 16] };
        let text = |letter: &Letter, defaults: &Defaults<'_>| {
            String::from_utf8(letter.outer_header(defaults).unwrap()).unwrap()
        };
        assert_eq!(
            text(&parse("hi"), &defaults),
            "From: m@members.test\r\nTo: a@x,\r\n b@x\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             Message-ID: <abababababababababababababababab@members.test>\r\nMIME-Version: 1.0\r\n"
        );
        defaults.subject = Some("neu: \u{e9}");
        let kept = parse(
            "X-Mailer: m\nBcc: s@x\nSubject: old\nFrom: o@x\nCc: a@x\nDate: d\nMessage-Id: <1@x>\nContent-Type: a/b\n\n",
        );
        assert_eq!(
            text(&kept, &defaults),
            "From: o@x\r\nCc: a@x\r\nDate: d\r\nMessage-Id: <1@x>\r\nSubject: =?utf-8?B?bmV1OiDDqQ==?=\r\nMIME-Version: 1.0\r\n"
        );
        defaults.subject = Some("a\r\nBcc: x@y");
        assert!(matches!(kept.outer_header(&defaults), Err(LetterError::Subject)));
    }
}
