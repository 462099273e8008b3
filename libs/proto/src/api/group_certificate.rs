//! certsrv: a certificate for a group's key pair, asked for by groupsrv.

use super::Endpoint;
use crate::encoding::B64;
use crate::ids::{Epoch, GroupId};
use serde::{Deserialize, Serialize};

/// `POST /v1/group-certificates`, by groupsrv.
pub struct GroupCertificate;

impl Endpoint for GroupCertificate {
    const PATH: &'static str = "/v1/group-certificates";
    const MAX_BODY: usize = 16 * 1024;
    type Request = GroupCertificateRequest;
    type Response = GroupCertificateResponse;
}

/// The key to certify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCertificateRequest {
    /// The group.
    pub group: GroupId,
    /// The key's epoch.
    pub epoch: Epoch,
    /// DER PKCS#10 request (RFC 2986), signed with the key: only the key is read out of it.
    pub csr: B64,
}

/// The certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCertificateResponse {
    /// DER certificate of the group's key, for the list address.
    pub certificate: B64,
    /// DER certificates from its issuer up to and with the root.
    pub chain: Vec<B64>,
}
