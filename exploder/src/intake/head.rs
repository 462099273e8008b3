//! The header of a message to a list: what it says that matters to us, and what of it the copies keep.

use crate::headers;
use crate::mime::{self, Announced, Field, Typed};
use crate::policy::Refusal;
use serde::{Deserialize, Serialize};
use twinseal_proto::ids::{ListAddress, MailAddress};

/// Most Received fields (RFC 5321 section 6.3: at least 100).
const MAX_RECEIVED: usize = 100;

/// Fields that may be there once (RFC 5322 section 3.6, RFC 2045): where two stand, two readers may take different ones.
const ONCE: [&str; 15] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "Date",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Auto-Submitted",
];

/// What the header of an accepted message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The authors: one or more.
    pub from: Vec<MailAddress>,
    /// The Message-ID with its angle brackets, as written, where there is one.
    pub message_id: Option<String>,
    /// Whether there is a Date.
    pub has_date: bool,
    /// Whether there is a MIME-Version.
    pub has_mime_version: bool,
    /// The fields that copies keep, raw and in order: ASCII, every line ended by CRLF, Content-Type among them.
    pub kept: String,
}

/// What [`examine`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// One part of CMS in base64.
    Cms(Head),
    /// A text. It is refused; how, depends on whether there is OpenPGP in it.
    Text,
}

/// Examines a header, without its empty line, of a message to `list`.
///
/// # Errors
/// The refusal.
pub fn examine(header: &[u8], list: &ListAddress) -> Result<Verdict, Refusal> {
    let fields = mime::fields(header)?;
    loops(&fields, list)?;
    for name in ONCE {
        if fields.iter().filter(|f| f.is(name)).nth(1).is_some() {
            return Err(Refusal::Duplicate(name));
        }
    }
    let value = |name: &str| fields.iter().find(|f| f.is(name)).map(Field::value);
    let from = mime::mailboxes(&value("From").ok_or(Refusal::NoAuthor)?).ok_or(Refusal::NoAuthor)?;
    if value("Auto-Submitted").is_some_and(|v| v.trim_ascii().to_ascii_lowercase().starts_with("auto-replied")) {
        return Err(Refusal::AutomaticReply);
    }

    let typed = |name: &str| value(name).map(|v| Typed::parse(&v).ok_or(Refusal::ContentType)).transpose();
    // Without Content-Type it is text (RFC 2045 section 5.2).
    let Some(content_type) = typed("Content-Type")? else {
        return Ok(Verdict::Text);
    };
    match mime::announced(&content_type, typed("Content-Disposition")?.as_ref()) {
        Announced::Cms => {}
        Announced::Signed => return Err(Refusal::OnlySigned),
        Announced::OpenPgp => return Err(Refusal::OpenPgp),
        Announced::Multipart => return Err(Refusal::Multipart),
        Announced::Text => return Ok(Verdict::Text),
        Announced::Other => return Err(Refusal::NotEncrypted),
    }
    // What stands behind the token can only be a comment.
    let encoding = typed("Content-Transfer-Encoding")?.ok_or(Refusal::NotBase64)?;
    if encoding.kind != "base64" {
        return Err(Refusal::NotBase64);
    }

    let message_id = value("Message-ID").map(std::borrow::Cow::into_owned).filter(|id| !id.is_empty());
    let kept = fields
        .iter()
        .filter(|f| headers::is_kept(f.name, &f.value()))
        // An empty one is as good as none, and is made.
        .filter(|f| message_id.is_some() || !f.is("Message-ID"))
        .map(|f| f.raw)
        .collect();
    let has = |name: &str| fields.iter().any(|f| f.is(name));
    Ok(Verdict::Cms(Head { from, message_id, has_date: has("Date"), has_mime_version: has("MIME-Version"), kept }))
}

/// A message that came through this list before, or through too many hosts.
fn loops(fields: &[Field<'_>], list: &ListAddress) -> Result<(), Refusal> {
    if fields.iter().filter(|f| f.is("Received")).count() > MAX_RECEIVED {
        return Err(Refusal::TooManyHops);
    }
    let id = list.list_id();
    let ours = fields.iter().any(|f| {
        let value = f.value();
        if f.is("List-Id") {
            // The identifier is the last thing in angle brackets (RFC 2919 section 3); some write it without.
            let inner = value.rsplit_once('<').map_or(&*value, |(_, rest)| rest);
            inner.trim_end_matches('>').trim_ascii().eq_ignore_ascii_case(&id)
        } else {
            f.is("X-Loop") && value.trim_ascii().eq_ignore_ascii_case(list.address().as_str())
        }
    });
    if ours { Err(Refusal::Loop) } else { Ok(()) }
}
