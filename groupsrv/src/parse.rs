//! Step 2: a request's RecipientInfo into types, with every check that needs no private key. What is wrong here is
//! refused by name, since everybody can see it; from the opening on there is one answer for all (DESIGN 3.2).

use crate::keys::{GroupKey, KeyRing};
use crate::roster::Roster;
use std::sync::Arc;
use twinseal_proto::api::expand::{Expand, ExpandRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cms::algorithm::ContentAlgorithm;
use twinseal_proto::cms::lookup::Lookup;
use twinseal_proto::cms::recipient::{RecipientError, RecipientId, RecipientInfo};
use twinseal_proto::cms::unwrap::PublicCheck;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::GroupId;

/// A wrapped key that is for a key of the group and right as far as can be seen.
pub(crate) struct Presented {
    /// The group's key that it names.
    pub(crate) key: Arc<GroupKey>,
    /// The id by which it names it.
    pub(crate) rid: RecipientId,
    /// The wrapped key.
    pub(crate) info: RecipientInfo,
    /// The message's content encryption.
    pub(crate) content: ContentAlgorithm,
    /// Its look-up values: one or two.
    pub(crate) lookup: Vec<Digest>,
}

impl Presented {
    /// The look-up value that names the message in the log.
    pub(crate) fn message(&self) -> Digest {
        self.lookup.first().copied().unwrap_or(Digest([0; 32]))
    }
}

/// Why a wrapped key is refused in plain sight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No group of this id, as far as the feed has come.
    #[error("group: there is none of this id")]
    NoGroup,
    /// Not a RecipientInfo, or too long.
    #[error("recipient_info: {0}")]
    Unreadable(#[from] RecipientError),
    /// For nobody, for somebody else, or for another group.
    #[error("recipient_info: its recipient id names no live or retained key of this group")]
    NotForGroup,
    /// Wrong in plain sight.
    #[error("recipient_info: {0}")]
    Check(#[from] PublicCheck),
}

impl Refused {
    /// The refusal on the wire.
    pub(crate) fn problem(&self) -> Problem {
        let code = match self {
            Self::NoGroup => ProblemCode::NotFound,
            Self::Unreadable(_) | Self::NotForGroup | Self::Check(_) => ProblemCode::BadRequest,
        };
        Problem::new(code, self.to_string())
    }
}

/// Reads and checks a wrapped key that is presented for `group`.
///
/// # Errors
/// [`Refused`], which names what is wrong.
pub(crate) fn present(
    ring: &KeyRing,
    roster: &Roster,
    group: &GroupId,
    recipient_info: &[u8],
    content: ContentAlgorithm,
) -> Result<Presented, Refused> {
    if !roster.has_group(group) {
        return Err(Refused::NoGroup);
    }
    let info = RecipientInfo::decode_bounded(recipient_info)?;
    let named = ring.of(group).iter().find_map(|key| key.rid_in(&info).map(|rid| (Arc::clone(key), rid.clone())));
    let (key, rid) = named.ok_or(Refused::NotForGroup)?;
    let checked = key.check(&info, &rid, &content)?;
    let lookup = Lookup::of(group, key.epoch, &checked).values().collect();
    drop(checked);
    Ok(Presented { key, rid, info, content, lookup })
}

/// The handles of a request: some, not too many, none twice.
///
/// # Errors
/// A `bad-request` problem.
pub(crate) fn handles(request: &ExpandRequest) -> Result<(), Problem> {
    let bad = |text: String| Err(Problem::new(ProblemCode::BadRequest, format!("handles: {text}")));
    let number = request.handles.len();
    if !(1..=Expand::MAX_HANDLES).contains(&number) {
        return bad(format!("{number} given, 1 to {} are taken", Expand::MAX_HANDLES));
    }
    let mut sorted: Vec<_> = request.handles.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() < number { bad("one is given twice".to_owned()) } else { Ok(()) }
}
