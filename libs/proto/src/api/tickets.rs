//! groupsrv: registration of a wrapped key before its first use (DESIGN 3.2).

use super::Endpoint;
use crate::cms::frame::ContentAlgorithm;
use crate::encoding::B64;
use crate::ids::GroupId;
use serde::{Deserialize, Serialize};

/// `POST /v1/tickets`, by an exploder, for each message that it accepted.
pub struct Register;

impl Endpoint for Register {
    const PATH: &'static str = "/v1/tickets";
    const MAX_BODY: usize = 16 * 1024;
    type Request = RegisterRequest;
    type Response = Registered;
}

/// The wrapped key of an accepted message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The group.
    pub group: GroupId,
    /// DER RecipientInfo (RFC 5652 section 6.2) for one of the group's keys, at most 4 KiB.
    pub recipient_info: B64,
    /// The message's content encryption: it decides how long the key is.
    pub content_algorithm: ContentAlgorithm,
}

/// The wrapped key is known from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// The place in the feed at which groupsrv first saw this key, under this or another wrapping.
    pub first_seen: u64,
    /// It was known already: a copy of an earlier message, or a second request for the same.
    pub repeated: bool,
}
