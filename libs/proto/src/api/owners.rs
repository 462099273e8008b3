//! certsrv: what the owners of a signed group do, authenticated by their own certificates (mutual TLS). certsrv carries
//! their statements and checks them; groupsrv and the exploder check them again ([`crate::roster`]).

use super::Endpoint;
use crate::api::admin::certsrv::MemberRole;
use crate::encoding::{B64, Digest};
use crate::ids::{GroupId, Handle, ListAddress, MailAddress};
use crate::roster::SignedStatement;
use serde::{Deserialize, Serialize};

/// `POST /v1/owners/roster`: who belongs, who waits for a signature; a page of members by address.
pub struct GetRoster;

impl Endpoint for GetRoster {
    const PATH: &'static str = "/v1/owners/roster";
    const MAX_BODY: usize = 4096;
    type Request = RosterRequest;
    type Response = RosterPage;
}

/// Which list, and from where on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterRequest {
    /// The list.
    pub list: ListAddress,
    /// The last address of the page before; `None` for the first page.
    pub after: Option<MailAddress>,
}

/// A page of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterPage {
    /// The group.
    pub group: GroupId,
    /// SHA-256 of the first owner's key, as certsrv took it; `None` before the first statement.
    pub first: Option<Digest>,
    /// The number of the last statement.
    pub sequence: u64,
    /// Members, by address.
    pub members: Vec<RosterMember>,
    /// There are more.
    pub more: bool,
}

/// A member, as an owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterMember {
    /// The membership.
    pub handle: Handle,
    /// Where copies go.
    pub address: MailAddress,
    /// What it may do.
    pub role: MemberRole,
    /// SHA-256 of the SubjectPublicKeyInfo of the member's live certificate, if there is one.
    pub key: Option<Digest>,
    /// SHA-256 of that certificate, for comparison with what the member sees.
    pub certificate: Option<Digest>,
    /// The salt of the entry in force, to be used again.
    pub salt: Option<B64>,
    /// SHA-256 of the text of the entry in force.
    pub entry: Option<Digest>,
}

/// `POST /v1/owners/statements`: what the owners said so far, by number.
pub struct GetStatements;

impl Endpoint for GetStatements {
    const PATH: &'static str = "/v1/owners/statements";
    const MAX_BODY: usize = 4096;
    type Request = StatementsRequest;
    type Response = StatementsPage;
}

/// Which list, and from where on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementsRequest {
    /// The list.
    pub list: ListAddress,
    /// The last number that is known.
    pub after: u64,
}

/// A page of statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementsPage {
    /// By number.
    pub statements: Vec<SignedStatement>,
    /// There are more.
    pub more: bool,
}

/// `POST /v1/owners/submit`: statements, all or none. In force when the answer comes.
pub struct Submit;

impl Endpoint for Submit {
    const PATH: &'static str = "/v1/owners/submit";
    const MAX_BODY: usize = 4 * 1024 * 1024;
    type Request = SubmitRequest;
    type Response = Submitted;
}

/// What an owner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The list.
    pub list: ListAddress,
    /// By number.
    pub statements: Vec<Submission>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The statement.
    pub statement: SignedStatement,
    /// With an entry: the salt of its address's digest, 16 octets.
    pub salt: Option<B64>,
}

/// They are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// The feed's sequence with them in it.
    pub feed: u64,
}
