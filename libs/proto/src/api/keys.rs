//! groupsrv: the certificates of the groups' live and retained epochs. Long poll.

use super::Endpoint;
use crate::encoding::B64;
use crate::ids::{Epoch, GroupId};
use serde::{Deserialize, Serialize};

/// `POST /v1/certs`, by an exploder: from here alone it learns which recipient ids are a group's (DESIGN 3).
pub struct Certs;

impl Endpoint for Certs {
    const PATH: &'static str = "/v1/certs";
    const MAX_BODY: usize = 4096;
    type Request = CertsRequest;
    type Response = CertsPage;
}

/// What the caller has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertsRequest {
    /// The version of the page that the caller has; empty for none.
    pub version: String,
    /// Seconds to wait while nothing changes; at most 20.
    pub wait: u64,
}

/// Every group's epochs. The whole page comes whenever anything in it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertsPage {
    /// Names this state of the page.
    pub version: String,
    /// The groups; `None` when the caller's version is still the present one.
    pub groups: Option<Vec<GroupKeys>>,
}

/// The key pairs of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupKeys {
    /// The group.
    pub group: GroupId,
    /// Its key pairs, newest epoch first.
    pub epochs: Vec<EpochKey>,
}

/// One key pair of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochKey {
    /// The epoch.
    pub epoch: Epoch,
    /// Kind of key.
    pub algorithm: KeyAlgorithm,
    /// Whether new mail may be encrypted to it.
    pub state: EpochState,
    /// DER certificate: issuer, serial number and subject key identifier are read from it.
    pub certificate: B64,
}

/// The kinds of group keys (DESIGN 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// RSA with 3072 bits.
    Rsa3072,
    /// ECDH on P-256.
    P256,
}

/// What an epoch's key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochState {
    /// New mail is encrypted to it.
    Live,
    /// New mail is refused; what was accepted is still opened.
    Retained,
}
