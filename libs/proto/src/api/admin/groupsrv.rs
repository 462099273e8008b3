//! groupsrv's administration: group keys, and the exploders that may call.

use crate::api::Endpoint;
use crate::api::keys::{GroupKeys, KeyAlgorithm};
use crate::encoding::Digest;
use crate::ids::{Epoch, GroupId};
use serde::{Deserialize, Serialize};

/// Makes a key pair for a group, as a new epoch or as a second kind of key in the present one.
pub struct CreateKey;

impl Endpoint for CreateKey {
    const PATH: &'static str = "/v1/admin/keys/create";
    const MAX_BODY: usize = 4096;
    type Request = CreateKeyRequest;
    type Response = CreatedKey;
}

/// Which group, which kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// The group; certsrv tells which list it is.
    pub group: GroupId,
    /// The kind of key.
    pub algorithm: KeyAlgorithm,
}

/// The key that was made and certified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatedKey {
    /// Its epoch.
    pub epoch: Epoch,
    /// PEM certificate, to be given to senders.
    pub certificate: String,
}

/// Every group's keys.
pub struct ListKeys;

impl Endpoint for ListKeys {
    const PATH: &'static str = "/v1/admin/keys/list";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = Vec<GroupKeys>;
}

/// Lets an exploder call from now on, or no longer: in force when the answer comes, also on open connections.
pub struct AllowExploder;

impl Endpoint for AllowExploder {
    const PATH: &'static str = "/v1/admin/exploders/allow";
    const MAX_BODY: usize = 4096;
    type Request = AllowExploderRequest;
    type Response = AllowedPeers;
}

/// Which exploder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowExploderRequest {
    /// SHA-256 of its public key.
    pub pin: Digest,
    /// Whether it may call.
    pub allowed: bool,
}

/// The public keys at the other ends of groupsrv's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedPeers {
    /// certsrv's.
    pub certsrv: Option<Digest>,
    /// The exploders'.
    pub exploders: Vec<Digest>,
}
