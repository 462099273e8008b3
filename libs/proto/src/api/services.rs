//! certsrv: how groupsrv and exploders come by their TLS certificates.

use super::Endpoint;
use crate::encoding::B64;
use crate::ids::FeedId;
use serde::{Deserialize, Serialize};

/// `POST /v1/services/join`, with a one-time token that certsrv's administrator made.
pub struct JoinService;

impl Endpoint for JoinService {
    const PATH: &'static str = "/v1/services/join";
    const MAX_BODY: usize = 16 * 1024;
    type Request = JoinServiceRequest;
    type Response = JoinServiceResponse;
}

/// What a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceRole {
    /// Holds the groups' private keys.
    Groupsrv,
    /// Forwards the mail.
    Exploder,
}

/// A key to certify.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinServiceRequest {
    /// The one-time token.
    pub token: String,
    /// DER PKCS#10 request (RFC 2986); its subject alternative names become the certificate's.
    pub csr: B64,
}

/// All that a new service needs to follow the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinServiceResponse {
    /// What the service was made: the token decides.
    pub role: ServiceRole,
    /// DER certificate for the service's key.
    pub certificate: B64,
    /// DER certificates from its issuer up to and with the root.
    pub chain: Vec<B64>,
    /// The feed.
    pub feed: FeedId,
    /// Its generation.
    pub generation: u64,
    /// DER SubjectPublicKeyInfo of the feed key (Ed25519), to be pinned.
    pub feed_key: B64,
}
