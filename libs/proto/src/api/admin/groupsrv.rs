//! groupsrv's administration: group keys, and the exploders that may call.

use crate::api::Endpoint;
use crate::api::keys::{EpochKey, KeyAlgorithm};
use crate::encoding::Digest;
use crate::ids::{Epoch, GroupId};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// Every group's keys, and how many wrapped keys did not open with them.
pub struct ListKeys;

impl Endpoint for ListKeys {
    const PATH: &'static str = "/v1/admin/keys/list";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = Vec<ListedKeys>;
}

/// A group as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedKeys {
    /// The group.
    pub group: GroupId,
    /// Its keys, as exploders are told of them.
    pub epochs: Vec<EpochKey>,
    /// What the last finished day told; `None` before there was one.
    pub substituted: Option<Substituted>,
}

/// How many wrapped keys of one finished day were no PKCS #1 v1.5 blocks and were answered with a substitute (implicit
/// rejection): somebody encrypted to another key of the same name, or tried the key out. For administrators alone, and
/// never of a day that goes on: told one by one, it would say which blocks are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Substituted {
    /// The day's first second, in UTC.
    pub day: UnixTime,
    /// How many; the same wrapped key counts once.
    pub number: u64,
}

impl fmt::Display for Substituted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.day.to_string();
        write!(f, "{} wrapped keys of {} did not open", self.number, day.split('T').next().unwrap_or_default())
    }
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
