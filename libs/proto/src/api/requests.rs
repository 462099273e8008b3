//! certsrv: what waits for an owner or a mailbox. For owners by mutual TLS, and for administrators on the admin socket. A
//! request that the caller has no say in answers like one that does not exist.

use super::Endpoint;
use super::admin::certsrv::Changed;
use super::groups::WaitsFor;
use crate::encoding::Digest;
use crate::ids::{ListAddress, MailAddress, RequestId};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// `POST /v1/requests/list`: what the caller has a say in, oldest first: requests for the list, or for every list that the
/// caller owns, and the new keys of these lists' members.
pub struct ListRequests;

impl Endpoint for ListRequests {
    const PATH: &'static str = "/v1/requests/list";
    const MAX_BODY: usize = 4096;
    type Request = ListRequestsRequest;
    type Response = Vec<Request>;
}

/// `POST /v1/requests/approve`: says yes, for each list of the account that the caller owns. What was asked for is done
/// when nothing else is missing.
pub struct ApproveRequest;

impl Endpoint for ApproveRequest {
    const PATH: &'static str = "/v1/requests/approve";
    const MAX_BODY: usize = 4096;
    type Request = RequestRequest;
    type Response = Approved;
}

/// `POST /v1/requests/reject`: ends it. Whoever asked may withdraw it too.
pub struct RejectRequest;

impl Endpoint for RejectRequest {
    const PATH: &'static str = "/v1/requests/reject";
    const MAX_BODY: usize = 4096;
    type Request = RequestRequest;
    type Response = Changed;
}

/// Whose requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequestsRequest {
    /// The list; absent, every list that the caller owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListAddress>,
}

/// The request that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRequest {
    /// Its name.
    pub request: RequestId,
}

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// What was asked for.
    pub wish: Wish,
    /// Whom it is about.
    pub address: MailAddress,
    /// The list, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListAddress>,
    /// SHA-256 of the new key's DER SubjectPublicKeyInfo, where it is about a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// When it was made.
    pub made: UnixTime,
    /// When it is forgotten.
    pub expires: UnixTime,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// What approving it means, in words.
    pub means: String,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// To join the list.
    Join,
    /// That the address accepts an invitation.
    Invitation,
    /// To have another key certified in place of a live one.
    Key,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// What it waits for still; absent, it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// The feed's sequence after the approval.
    pub sequence: u64,
}
