//! Whether a message is taken: pure decisions, in the order in which their facts come in.
//!
//! 1. [`may_address`] at RCPT. 2. [`may_post`] when the header is known. 3. [`accept`] over the scanned CMS.
//!
//! A refusal is a value with one row in the table of `policy/refusal.rs`.

mod keys;
mod refusal;

pub use keys::{GroupKeyIds, KeyFault};
pub use refusal::{KeyHint, Refusal};

use crate::intake::{Accepted, FrameFacts, Head};
use crate::smtp::{Mail, ReversePath};
use twinseal_proto::cms::choose::{Choice, Chosen, choose};
use twinseal_proto::cms::frame::{AlgorithmError, ContentAlgorithm, ContentType, Frame, FrameError};
use twinseal_proto::feed::{ContentPolicy, ListSettings, PostLevel};
use twinseal_proto::ids::MailAddress;

/// At RCPT: whether this transaction may be for a list's post address.
///
/// # Errors
/// The refusal.
pub fn may_address(settings: &ListSettings, mail: &Mail) -> Result<(), Refusal> {
    // A notification must not become a message with a sender (RFC 5321 section 4.5.5).
    if mail.reverse_path == ReversePath::Null {
        return Err(Refusal::NullReversePath);
    }
    if settings.post == PostLevel::Submission {
        return Err(Refusal::SubmissionOnly);
    }
    if mail.parameters.size.is_some_and(|size| size > settings.max_size) {
        return Err(Refusal::TooLarge { limit: settings.max_size });
    }
    Ok(())
}

/// When the header is known: whether its author may post.
///
/// # Errors
/// The refusal.
pub fn may_post(
    settings: &ListSettings,
    from: &[MailAddress],
    is_member: impl Fn(&MailAddress) -> bool,
) -> Result<(), Refusal> {
    match settings.post {
        PostLevel::Submission => Err(Refusal::SubmissionOnly),
        // More than one author, of whom one is a member, proves less than nothing.
        PostLevel::From => match from {
            [author] if is_member(author) => Ok(()),
            _ => Err(Refusal::NotAMember),
        },
    }
}

/// Over the scanned CMS: content encryption, and the RecipientInfo for the group. `hint` says where senders get the
/// list's certificate.
///
/// # Errors
/// The refusal.
pub fn accept(
    settings: &ListSettings,
    keys: &GroupKeyIds,
    hint: impl FnOnce() -> KeyHint,
    head: Head,
    scanned: Result<Frame, FrameError>,
) -> Result<Accepted, Refusal> {
    let frame = scanned.map_err(of_frame)?;
    content(settings, &frame.content_algorithm)?;
    let infos = &frame.recipient_infos;
    let chosen = choose(infos, |rid| keys.live(rid)).map_err(|e| Refusal::Malformed(e.to_string()))?;
    let Chosen { key: (epoch, key), der, .. } = match chosen {
        Choice::Chosen(chosen) => chosen,
        Choice::Conflicting => return Err(Refusal::ConflictingRecipients),
        Choice::TooLong(octets) => return Err(Refusal::Malformed(format!("a RecipientInfo of {octets} octets"))),
        Choice::Unsupported => return Err(Refusal::RecipientAlgorithm),
        Choice::NotForGroup if !keys.any_live() => return Err(Refusal::NoKeys),
        Choice::NotForGroup => {
            let former = !matches!(choose(infos, |rid| keys.retained(rid)), Ok(Choice::NotForGroup));
            return Err(if former { Refusal::FormerKey(hint()) } else { Refusal::NotForGroup(hint()) });
        }
    };
    Ok(Accepted { head, frame: FrameFacts::from(&frame), recipient_info: der.into(), epoch, key })
}

/// Which content encryption a list takes (DESIGN 2).
fn content(settings: &ListSettings, algorithm: &ContentAlgorithm) -> Result<(), Refusal> {
    let taken = match settings.content {
        ContentPolicy::AeadRequired if !algorithm.is_aes_gcm() => return Err(Refusal::AeadRequired(algorithm.clone())),
        ContentPolicy::AeadRequired => true,
        ContentPolicy::CbcAllowed => algorithm.is_aes_cbc() || algorithm.is_aes_gcm(),
    };
    match algorithm {
        _ if taken => Ok(()),
        ContentAlgorithm::DesEde3Cbc if settings.legacy_3des => Ok(()),
        ContentAlgorithm::DesEde3Cbc => Err(Refusal::TripleDes),
        other => Err(Refusal::Algorithm(other.to_string())),
    }
}

fn of_frame(error: FrameError) -> Refusal {
    match error {
        FrameError::NotEnveloped(ContentType::SignedData) => Refusal::OnlySigned,
        FrameError::NotEnveloped(other) => Refusal::NotEnveloped(other.to_string()),
        FrameError::Algorithm(malformed @ AlgorithmError::Malformed(_)) => Refusal::Malformed(malformed.to_string()),
        FrameError::Algorithm(other) => Refusal::Algorithm(other.to_string()),
        FrameError::Io(_) => Refusal::Storage,
        other => Refusal::Malformed(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
