//! certsrv's administration: accounts, groups, service tokens. What owners may do too is in `api::groups`,
//! `api::members` and `api::requests`; its types have names here as well.

mod import;

pub use super::super::groups::{Group, JoinPolicy, KeyChangePolicy};
pub use super::super::members::{
    AddMembers, ListMembers, Member, MemberRole, MemberState, MembersRequest, RemoveMembers,
};
pub use import::{
    ImportAccounts, ImportAccountsRequest, ImportLine, ImportMembers, ImportMembersRequest, ImportReport, ImportWhat,
    ReportLine,
};

use crate::api::Endpoint;
use crate::api::services::ServiceRole;
use crate::encoding::{B64, Digest};
use crate::feed::{DeliveryMode, History, ListSettings};
use crate::ids::{ListAddress, MailAddress};
use serde::{Deserialize, Serialize};

/// The list whose members are meant.
pub type ListMembersRequest = crate::api::groups::ListRequest;

macro_rules! call {
    ($(#[$doc:meta])* $name:ident, $path:literal, $max:expr, $request:ty, $response:ty) => {
        $(#[$doc])*
        pub struct $name;
        impl Endpoint for $name {
            const PATH: &'static str = $path;
            const MAX_BODY: usize = $max;
            type Request = $request;
            type Response = $response;
        }
    };
}

call!(
    /// Makes accounts; all or none.
    AddAccounts, "/v1/admin/accounts/add", 64 * 1024 * 1024, AddAccountsRequest, AddedAccounts
);
call!(
    /// Makes a group with its list.
    CreateGroup, "/v1/admin/groups/create", 64 * 1024, CreateGroupRequest, Group
);
call!(
    /// Every group.
    ListGroups, "/v1/admin/groups/list", 4096, super::Nothing, Vec<Group>
);
call!(
    /// Revokes a certificate. In force when the answer comes.
    Revoke, "/v1/admin/certificates/revoke", 4096, RevokeRequest, Changed
);
call!(
    /// Makes a one-time token with which a service joins.
    ServiceToken, "/v1/admin/services/token", 4096, ServiceTokenRequest, IssuedToken
);
call!(
    /// Makes a one-time token with which an account enrols its first key.
    EnrolToken, "/v1/admin/accounts/token", 4096, EnrolTokenRequest, IssuedToken
);
call!(
    /// Lets the next SAML log-in bind the account anew, to whichever subject it comes from.
    UnbindAccount, "/v1/admin/accounts/unbind", 4096, UnbindAccountRequest, Changed
);
call!(
    /// The pins: which public keys may call as groupsrv and as exploder.
    ListPins, "/v1/admin/services/list", 4096, super::Nothing, Vec<ServicePin>
);
call!(
    /// Looks whether the state directory is whole.
    Doctor, "/v1/admin/doctor", 4096, super::Nothing, DoctorReport
);

/// The accounts to make.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddAccountsRequest {
    /// At most 100,000.
    pub accounts: Vec<NewAccount>,
}

/// One account to make.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Its address.
    pub address: MailAddress,
    /// Its first password; kept as an Argon2id hash only.
    pub password: Option<String>,
    /// DER SubjectPublicKeyInfo of a key to certify at once, without a request of the member's: the administrator vouches
    /// for it. For imports; members enrol by themselves.
    pub public_key: Option<B64>,
}

/// The accounts that were made, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedAccounts {
    /// DER certificate of each account that came with a key, else `None`.
    pub certificates: Vec<Option<B64>>,
}

/// A group to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateGroupRequest {
    /// The list's address.
    pub list: ListAddress,
    /// The account that owns it.
    pub owner: MailAddress,
    /// How copies carry the message key.
    pub mode: DeliveryMode,
    /// Which messages members may open.
    pub history: History,
    /// Who may join.
    pub join: JoinPolicy,
    /// Its owners sign its roster (DESIGN 3.4): nobody reads whom none of them signed for.
    #[serde(default)]
    pub signed: bool,
    /// What the exploder acts on.
    pub settings: ListSettings,
}

/// The certificate to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Its serial number: hexadecimal, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a certificate is revoked: the CRLReasons of RFC 5280 section 5.3.1 that apply to holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// None is given.
    Unspecified,
    /// Somebody else may have the key: it is never certified again.
    KeyCompromise,
    /// The holder's name or role changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// The holder lost the right to it.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason with its name in RFC 5280.
    pub const ALL: [(&'static str, Self); 6] = [
        ("unspecified", Self::Unspecified),
        ("keyCompromise", Self::KeyCompromise),
        ("affiliationChanged", Self::AffiliationChanged),
        ("superseded", Self::Superseded),
        ("cessationOfOperation", Self::CessationOfOperation),
        ("privilegeWithdrawn", Self::PrivilegeWithdrawn),
    ];
}

impl std::str::FromStr for RevocationReason {
    type Err = UnknownReason;

    /// Takes the RFC's name in any case, with or without dashes.
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let folded = text.replace(['-', '_'], "");
        Self::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&folded))
            .map(|(_, reason)| *reason)
            .ok_or(UnknownReason)
    }
}

/// No such reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason: one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, \
     privilegeWithdrawn is wanted"
)]
pub struct UnknownReason;

/// How far the feed has come with the change in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// The feed's sequence after the change.
    pub sequence: u64,
}

/// What the new service is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTokenRequest {
    /// Its role.
    pub role: ServiceRole,
}

/// Whose first key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolTokenRequest {
    /// The account.
    pub address: MailAddress,
}

/// Whose binding ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnbindAccountRequest {
    /// The account.
    pub address: MailAddress,
}

/// A token, shown this once; good for one use within its time.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// SHA-256 of certsrv's own public key: what the other side must find at the other end of TLS.
    pub certsrv_pin: Digest,
    /// PEM of the root CA.
    pub root: String,
}

/// A service that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePin {
    /// Its role.
    pub role: ServiceRole,
    /// SHA-256 of its public key.
    pub pin: Digest,
}

/// What an examination of the state directory came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoctorReport {
    /// Entries of the feed log that were read.
    pub entries: u64,
    /// Records of the audit log that were read.
    pub records: u64,
    /// Certificates among the entries.
    pub certificates: u64,
    /// What somebody should see to; empty when all is well.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What.
    pub what: String,
    /// The file or directory.
    pub at: String,
    /// What to do.
    #[serde(rename = "try")]
    pub remedy: String,
}
