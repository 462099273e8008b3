//! certsrv: what a member does about groups, authenticated by the member's own certificate (mutual TLS).

use super::Endpoint;
use crate::ids::{ListAddress, MailAddress};
use serde::{Deserialize, Serialize};

/// `POST /v1/groups/join`.
pub struct Join;

impl Endpoint for Join {
    const PATH: &'static str = "/v1/groups/join";
    const MAX_BODY: usize = 4096;
    type Request = ListRequest;
    type Response = Membership;
}

/// `POST /v1/groups/leave`: in force when the answer comes.
pub struct Leave;

impl Endpoint for Leave {
    const PATH: &'static str = "/v1/groups/leave";
    const MAX_BODY: usize = 4096;
    type Request = ListRequest;
    type Response = Membership;
}

/// The list that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// Its address.
    pub list: ListAddress,
}

/// How a member stands to a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The list.
    pub list: ListAddress,
    /// The member.
    pub address: MailAddress,
    /// Whether the member belongs to it now.
    pub member: bool,
}

/// `POST /v1/groups/certificates`: the certificates to encrypt to; no authentication, a list's certificate is public.
pub struct ListCertificates;

impl Endpoint for ListCertificates {
    const PATH: &'static str = "/v1/groups/certificates";
    const MAX_BODY: usize = 4096;
    type Request = ListRequest;
    type Response = Certificates;
}

/// PEM certificates, newest epoch first, and below them their issuers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// One PEM text a live certificate of the list.
    pub live: Vec<String>,
    /// PEM texts of the issuing sub-CA and the root.
    pub chain: Vec<String>,
}
