//! certsrv: who belongs to a list. For its owners, by mutual TLS, and for administrators on the admin socket; what members
//! may do says so. To whoever is neither, every call answers as if there were no such list.

use super::Endpoint;
use super::admin::certsrv::Changed;
use super::groups::ListRequest;
use crate::feed::{DeliveryMode, DeliveryOptions};
use crate::ids::{BanPattern, Handle, ListAddress, MailAddress};
use serde::{Deserialize, Serialize};

pub use crate::feed::Delivery;

/// Longest body of a call that names many addresses: some 10,000 of usual length.
const MANY: usize = 1024 * 1024;

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
    /// Puts accounts into a group; all or none.
    AddMembers, "/v1/members/add", MANY, MembersRequest, Changed
);
call!(
    /// Takes accounts out of a group; all or none. In force when the answer comes.
    RemoveMembers, "/v1/members/remove", MANY, MembersRequest, Changed
);
call!(
    /// Who belongs to a group, and how each stands.
    ListMembers, "/v1/members/list", 4096, ListRequest, Vec<Member>
);
call!(
    /// Who belongs to a group, as its members may see it: refused where only owners may, and without those who hide.
    Who, "/v1/members/who", 4096, ListRequest, Vec<Known>
);
call!(
    /// Changes role or options of a membership. Members change their own options; owners any, and roles.
    SetMember, "/v1/members/set", 4096, SetMemberRequest, Changed
);
call!(
    /// Makes an account an owner, and a member where it is none.
    AddOwner, "/v1/members/owners/add", 4096, MemberRequest, Changed
);
call!(
    /// Makes an owner a member again. The last owner stays.
    RemoveOwner, "/v1/members/owners/remove", 4096, MemberRequest, Changed
);
call!(
    /// Invites addresses: each belongs to the group once it accepts, by the confirmation mail or by asking to join. An
    /// address without an account waits until it has one.
    Invite, "/v1/members/invite", 64 * 1024, MembersRequest, Changed
);
call!(
    /// Bans addresses: ends their memberships and requests, and lets them in no more. Owners cannot be banned.
    Ban, "/v1/members/ban", 4096, BanRequest, Changed
);
call!(
    /// Lifts a ban.
    Unban, "/v1/members/unban", 4096, BanRequest, Changed
);
call!(
    /// The bans of a group.
    ListBans, "/v1/members/bans", 4096, ListRequest, Vec<BanPattern>
);

/// Accounts, and the list that they join or leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersRequest {
    /// The list.
    pub list: ListAddress,
    /// The accounts.
    pub addresses: Vec<MailAddress>,
}

/// An account and a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRequest {
    /// The list.
    pub list: ListAddress,
    /// The account.
    pub address: MailAddress,
}

/// What is to be banned, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// The list.
    pub list: ListAddress,
    /// The addresses that are meant.
    pub pattern: BanPattern,
}

/// A membership, as owners and administrators see it.
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
    /// What the member chose.
    #[serde(default)]
    pub options: MemberOptions,
}

/// A membership, as other members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The account.
    pub address: MailAddress,
    /// What it may do in the group.
    pub role: MemberRole,
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

/// What a member chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemberOptions {
    /// Whether copies are sent. Who gets none still belongs to the group and may post.
    pub delivery: Delivery,
    /// Whether copies of the member's own posts are sent.
    pub own_posts: bool,
    /// Not shown to other members.
    pub hidden: bool,
    /// How the copies carry the message key, where not as the group's do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self { delivery: Delivery::On, own_posts: true, hidden: false, mode: None }
    }
}

impl MemberOptions {
    /// The part that the exploder acts on.
    #[must_use]
    pub const fn for_delivery(&self) -> DeliveryOptions {
        DeliveryOptions { delivery: self.delivery, own_posts: self.own_posts, mode: self.mode }
    }
}

/// What to change in a membership; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMemberRequest {
    /// The list.
    pub list: ListAddress,
    /// Whose membership; absent, the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<MailAddress>,
    /// What to change.
    #[serde(default)]
    pub set: MemberSettings,
}

/// Role and options of a membership, each of which may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemberSettings {
    /// What it may do; owners and administrators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
    /// Whether copies are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Whether copies of the member's own posts are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_posts: Option<bool>,
    /// Not shown to other members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
}
