//! certsrv's administration: accounts, groups, members, service tokens.

use crate::api::Endpoint;
use crate::api::services::ServiceRole;
use crate::encoding::{B64, Digest};
use crate::feed::{DeliveryMode, History, ListSettings};
use crate::ids::{GroupId, Handle, ListAddress, MailAddress};
use serde::{Deserialize, Serialize};

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
    /// Puts accounts into a group; all or none.
    AddMembers, "/v1/admin/members/add", 16 * 1024 * 1024, MembersRequest, Changed
);
call!(
    /// Takes accounts out of a group; all or none. In force when the answer comes.
    RemoveMembers, "/v1/admin/members/remove", 16 * 1024 * 1024, MembersRequest, Changed
);
call!(
    /// Who belongs to a group, and how each stands.
    ListMembers, "/v1/admin/members/list", 4096, ListMembersRequest, Vec<Member>
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
    /// The pins: which public keys may call as groupsrv and as exploder.
    ListPins, "/v1/admin/services/list", 4096, super::Nothing, Vec<ServicePin>
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

/// Who may join a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinPolicy {
    /// Any account.
    Open,
    /// Whom an administrator puts in.
    #[default]
    Closed,
}

/// A group, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group.
    pub group: GroupId,
    /// Its list.
    pub list: ListAddress,
    /// Its owner.
    pub owner: MailAddress,
    /// Who may join.
    pub join: JoinPolicy,
    /// How many belong to it.
    pub members: u64,
}

/// Accounts, and the list that they join or leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersRequest {
    /// The list.
    pub list: ListAddress,
    /// The accounts.
    pub addresses: Vec<MailAddress>,
}

/// The list that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMembersRequest {
    /// Its address.
    pub list: ListAddress,
}

/// A membership, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The account.
    pub address: MailAddress,
    /// Whether copies reach it.
    pub state: MemberState,
    /// What it may do in the group.
    pub role: MemberRole,
    /// The membership, as groupsrv and the exploder know it.
    pub handle: Handle,
    /// Serial number (hexadecimal) of the certificate that copies are made for, when there is one.
    pub serial: Option<String>,
}

/// How a membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// No certificate yet: neither groupsrv nor the exploder was told of it.
    Pending,
    /// Copies are made for its certificate.
    Active,
    /// Its certificate was revoked or ran out.
    Suspended,
}

/// What a member may do in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberRole {
    /// Reads and posts.
    Member,
    /// Owns the group too.
    Owner,
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
