//! groupsrv: one wrapped key in, one for each member out (L11).

use super::Endpoint;
use crate::cms::frame::ContentAlgorithm;
use crate::encoding::B64;
use crate::ids::{GroupId, Handle};
use serde::{Deserialize, Serialize};

/// `POST /v1/expand`, by an exploder, for the members to whom a copy is due now.
pub struct Expand;

impl Expand {
    /// Most members in one call.
    pub const MAX_HANDLES: usize = 1000;
}

impl Endpoint for Expand {
    const PATH: &'static str = "/v1/expand";
    const MAX_BODY: usize = 128 * 1024;
    type Request = ExpandRequest;
    type Response = Expanded;
}

/// The registered key, and for whom to wrap it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpandRequest {
    /// The group.
    pub group: GroupId,
    /// DER RecipientInfo for one of the group's keys, as it was registered.
    pub recipient_info: B64,
    /// The message's content encryption.
    pub content_algorithm: ContentAlgorithm,
    /// The members: at most [`Expand::MAX_HANDLES`], none twice.
    pub handles: Vec<Handle>,
}

/// One answer a handle, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expanded {
    /// The answers.
    pub wraps: Vec<Wrapped>,
}

/// What a member gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrapped {
    /// DER RecipientInfo under the member's own key.
    RecipientInfo(B64),
    /// Nothing, for this reason.
    Denied(Denied),
}

/// Why a member gets nothing. Told to exploders only; none of it depends on secret data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denied {
    /// No member of the group has this handle now.
    NotAMember,
    /// The member joined after the message was first seen, and the group's history begins at joining.
    JoinedLater,
    /// The member has no live certificate at present.
    NoLiveKey,
}
