//! certsrv: groups and their lists, as members and owners see and change them. Members authenticate by their own
//! certificate (mutual TLS); administrators make the same calls on the admin socket. To whoever is neither, a list that
//! exists answers like one that does not, apart from its certificates and from [`Join`], which are for everybody.

use super::Endpoint;
use super::admin::Nothing;
use super::admin::certsrv::Changed;
use super::members::{MemberOptions, MemberRole, MemberState};
use crate::feed::{ContentPolicy, DeliveryMode, History, ListSettings, PostLevel};
use crate::ids::{GroupId, ListAddress, MailAddress};
use serde::{Deserialize, Serialize};

macro_rules! call {
    ($(#[$doc:meta])* $name:ident, $path:literal, $request:ty, $response:ty) => {
        $(#[$doc])*
        pub struct $name;
        impl Endpoint for $name {
            const PATH: &'static str = $path;
            const MAX_BODY: usize = 4096;
            type Request = $request;
            type Response = $response;
        }
    };
}

call!(
    /// `POST /v1/groups/join`: at once, or after what [`Membership::waits_for`] says. It accepts an invitation too.
    Join, "/v1/groups/join", ListRequest, Membership
);
call!(
    /// `POST /v1/groups/leave`: in force when the answer comes. It withdraws a request to join too.
    Leave, "/v1/groups/leave", ListRequest, Membership
);
call!(
    /// `POST /v1/groups/certificates`: the certificates to encrypt to; no authentication, a list's certificate is public.
    ListCertificates, "/v1/groups/certificates", ListRequest, Certificates
);
call!(
    /// `POST /v1/groups/show`: a group's settings; for members, owners and administrators.
    ShowGroup, "/v1/groups/show", ListRequest, GroupDetails
);
call!(
    /// `POST /v1/groups/set`: changes settings; for owners and administrators.
    SetGroup, "/v1/groups/set", SetGroupRequest, Changed
);
call!(
    /// `POST /v1/groups/delete`: ends the group and all that belongs to it; for owners and administrators. The address may
    /// be given to another list, which is another group with other keys.
    DeleteGroup, "/v1/groups/delete", ListRequest, Changed
);
call!(
    /// `POST /v1/groups/mine`: what the caller belongs to, and what waits.
    MyGroups, "/v1/groups/mine", Nothing, Vec<Mine>
);

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
    /// What is missing until then, if the member asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The mailbox has to confirm it: a mail is under way.
    Mailbox,
    /// An owner has to approve it.
    Owner,
    /// An account with the address has to be made.
    Account,
    /// Nothing: what was asked for is done when it is asked for again.
    Nothing,
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

/// Who may join a group. Whoever is banned may not, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinPolicy {
    /// Any account.
    Open,
    /// Any account whose mailbox confirms it.
    Confirm,
    /// Any account that an owner approves.
    Approve,
    /// Whom an owner invites.
    Invite,
    /// Whom an owner or an administrator puts in.
    #[default]
    Closed,
}

/// What lets a member of the group replace a live key, other than the old key itself (DESIGN 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyChangePolicy {
    /// An owner's approval.
    #[default]
    Approve,
    /// A log-in of class high too.
    High,
}

/// Who may see who belongs to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RosterVisibility {
    /// Its owners.
    #[default]
    Owners,
    /// Its members, apart from those that hide themselves.
    Members,
}

/// A group, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group.
    pub group: GroupId,
    /// Its list.
    pub list: ListAddress,
    /// Who owned it first.
    pub owner: MailAddress,
    /// Who may join.
    pub join: JoinPolicy,
    /// How many belong to it.
    pub members: u64,
}

/// A group's settings. What the caller may not know is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupDetails {
    /// The group.
    pub group: GroupId,
    /// Its list.
    pub list: ListAddress,
    /// Who may join.
    pub join: JoinPolicy,
    /// What lets members replace a live key.
    pub key_change: KeyChangePolicy,
    /// How copies carry the message key.
    pub mode: DeliveryMode,
    /// Which messages members may open.
    pub history: History,
    /// Who may see who belongs to it.
    pub roster: RosterVisibility,
    /// Owners are told by mail who joins and leaves.
    pub notices: bool,
    /// What the exploder acts on.
    pub settings: ListSettings,
    /// Who owns it; to those who may see the roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Vec<MailAddress>>,
    /// How many belong to it; to those who may see the roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
}

/// The settings to change; those that are absent stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetGroupRequest {
    /// The list.
    pub list: ListAddress,
    /// The settings.
    #[serde(default)]
    pub set: GroupSettings,
}

/// Settings of a group, each of which may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupSettings {
    /// Who may join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinPolicy>,
    /// What lets members replace a live key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_change: Option<KeyChangePolicy>,
    /// How copies carry the message key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
    /// Which messages members may open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Who may see who belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roster: Option<RosterVisibility>,
    /// Owners are told by mail who joins and leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notices: Option<bool>,
    /// Who may post, and how that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<PostLevel>,
    /// Content encryption that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentPolicy>,
    /// Takes 3DES content too, which is weak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_3des: Option<bool>,
    /// Largest message in octets; administrators only, since it is the site's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// A phrase for people: at most 200 octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A list that the caller belongs to, or asked to join, or is invited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mine {
    /// The list.
    pub list: ListAddress,
    /// The membership, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<OwnMembership>,
    /// What is missing until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
}

/// The caller's own membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnMembership {
    /// What it may do.
    pub role: MemberRole,
    /// How it stands.
    pub state: MemberState,
    /// What the member chose.
    pub options: MemberOptions,
}
