//! The header of the copies: what of the author's header they keep, and what the list adds (RFC 2369, RFC 2919).
//!
//! A list posts a new message (RFC 5321 section 3.9.2), so the trace of the way to the list is not passed on: it tells
//! where the author was. Nothing is added to what is inside the encryption.

use crate::intake::Head;
use std::net::{Ipv4Addr, Ipv6Addr};
use twinseal_proto::ids::{ListAddress, PostId};
use twinseal_proto::time::UnixTime;

/// Fields that no copy keeps. Receipts would show the members to the author; marks for delivery and for moderation are
/// the list's business; the rest tells where and with what the author wrote.
const REMOVED: [&str; 44] = [
    // Delivery and trace.
    "apparently-to",
    "bcc",
    "delivered-to",
    "envelope-to",
    "errors-to",
    "received",
    "received-spf",
    "return-path",
    "x-envelope-from",
    "x-envelope-to",
    "x-original-to",
    "x-received",
    "x-return-path",
    // Receipts.
    "disposition-notification-options",
    "disposition-notification-to",
    "generate-delivery-report",
    "return-receipt-to",
    "x-confirm-reading-to",
    "x-pmrqc",
    // Lists and moderation.
    "approve",
    "approved",
    "precedence",
    "x-approve",
    "x-approved",
    "x-list",
    "x-mailing-list",
    // Statements of others about the message, which the new recipient would break or misread.
    "authentication-results",
    "autocrypt",
    "dkim-signature",
    "domainkey-signature",
    "x-google-dkim-signature",
    // The author's place and program.
    "thread-index",
    "thread-topic",
    "user-agent",
    "x-client-ip",
    "x-mailer",
    "x-mimeole",
    "x-newsreader",
    "x-originating-ip",
    "x-remote-ip",
    "x-sender",
    "x-sender-ip",
    "x-source-ip",
    "x-user-agent",
];

/// The beginnings of such names.
const REMOVED_PREFIXES: [&str; 10] = [
    "arc-",
    "list-",
    "x-authenticated",
    "x-exchange-",
    "x-forwarded-",
    "x-gm-",
    "x-microsoft-",
    "x-ms-",
    "x-originat",
    "x-spam-",
];

/// Whether copies keep a field with this name and unfolded value. Content-Transfer-Encoding is written anew.
#[must_use]
pub fn is_kept(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !(name == "content-transfer-encoding"
        || REMOVED.contains(&name.as_str())
        || REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("x-") && holds_ip_address(value))
}

/// Whether a word of the value reads as an IP address: mail systems write the client's under many names.
fn holds_ip_address(value: &str) -> bool {
    value.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':').any(|word| {
        let word = word.trim_end_matches(['.', ':']);
        word.parse::<Ipv4Addr>().is_ok() || (word.len() > 2 && word.parse::<Ipv6Addr>().is_ok())
    })
}

/// What the header of the copies says besides what the author wrote.
#[derive(Debug, Clone, Copy)]
pub struct Posting<'a> {
    /// The list.
    pub list: &'a ListAddress,
    /// A phrase for List-Id; may be empty.
    pub description: &'a str,
    /// The name of this host.
    pub host: &'a str,
    /// The message, as we number it.
    pub post: PostId,
    /// When it was accepted: the same for all copies, whenever they are made.
    pub accepted: UnixTime,
    /// `SMTP` or `ESMTP` (RFC 3848).
    pub protocol: &'a str,
}

/// The whole header of the copies, with the empty line that ends it. All copies of a message have the same. It is ASCII,
/// its lines end with CRLF and have at most 998 octets.
#[must_use]
pub fn copy_header(head: &Head, posting: &Posting<'_>) -> Vec<u8> {
    let Posting { list, host, post, accepted, protocol, .. } = posting;
    let (name, domain) = (list.name(), list.domain());
    let mut out = format!("Received: by {host} with {protocol} id {post}; {}\r\n", accepted.rfc5322());
    out.push_str(&head.kept);
    if head.message_id.is_none() {
        out.push_str(&format!("Message-ID: <{post}.{:x}@{domain}>\r\n", accepted.0));
    }
    if !head.has_date {
        out.push_str(&format!("Date: {}\r\n", accepted.rfc5322()));
    }
    if !head.has_mime_version {
        out.push_str("MIME-Version: 1.0\r\n");
    }
    out.push_str("Content-Transfer-Encoding: base64\r\n");
    out.push_str(&list_id(list, posting.description));
    for line in [
        format!("List-Post: <mailto:{list}>"),
        format!("List-Help: <mailto:{name}-request@{domain}?subject=help>"),
        format!("List-Owner: <mailto:{name}-owner@{domain}>"),
        format!("List-Unsubscribe: <mailto:{name}-leave@{domain}>"),
        "Precedence: list".to_owned(),
        format!("X-Loop: {list}"),
    ] {
        out.push_str(&line);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// Longest List-Id field value (RFC 2919 section 3).
const MAX_LIST_ID: usize = 255;
/// Most octets of UTF-8 in one encoded word: 60 characters of base64, 72 with what is around them (RFC 2047 section 2).
const MAX_WORD: usize = 45;

/// `List-Id: Phrase <team.lists.example>`. A phrase that does not fit is cut; one with control characters is left out.
fn list_id(list: &ListAddress, description: &str) -> String {
    let id = list.list_id();
    let room = MAX_LIST_ID.saturating_sub(id.len() + 3);
    let phrase = match description.trim() {
        text if text.chars().any(char::is_control) => String::new(),
        text if text.is_ascii() => quoted(text, room),
        text => encoded(text, room),
    };
    let space = if phrase.is_empty() { "" } else { "\r\n " };
    format!("List-Id: {phrase}{space}<{id}>\r\n")
}

/// A quoted string of at most `room` octets; empty for an empty text.
fn quoted(text: &str, room: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let escape = if matches!(c, '"' | '\\') { "\\" } else { "" };
        if out.len() + escape.len() + 3 > room {
            break;
        }
        out.push_str(escape);
        out.push(c);
    }
    if out.is_empty() { out } else { format!("\"{out}\"") }
}

/// Encoded words (RFC 2047) of at most `room` octets with the folds between them.
fn encoded(text: &str, room: usize) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut left = room;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        part.push(c);
        let full = rest.peek().is_none_or(|next| part.len() + next.len_utf8() > MAX_WORD);
        if full {
            let word = format!("=?utf-8?B?{}?=", data_encoding::BASE64.encode(part.as_bytes()));
            let Some(after) = left.checked_sub(word.len() + 3) else { break };
            left = after;
            words.push(word);
            part.clear();
        }
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests;
