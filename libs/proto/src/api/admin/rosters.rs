//! The administration of owner-signed rosters, the same at groupsrv and at the exploder: the pins of the first owners, and
//! what was refused.

use crate::api::Endpoint;
use crate::encoding::Digest;
use crate::ids::{GroupId, ListAddress};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// groupsrv: pins the first owner of a group. From the answer on, nobody reads whom an owner did not sign for.
pub struct PinGroup;

impl Endpoint for PinGroup {
    const PATH: &'static str = "/v1/admin/rosters/pin-group";
    const MAX_BODY: usize = 4096;
    type Request = PinGroupRequest;
    type Response = Standing;
}

/// Which group, and whose key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinGroupRequest {
    /// The group.
    pub group: GroupId,
    /// SHA-256 of the first owner's DER SubjectPublicKeyInfo.
    pub owner: Digest,
    /// Takes the place of another pin: all that was signed under that one is void.
    pub replace: bool,
}

/// The exploder: pins the first owner of a list, which it may not have heard of yet.
pub struct PinList;

impl Endpoint for PinList {
    const PATH: &'static str = "/v1/admin/rosters/pin-list";
    const MAX_BODY: usize = 4096;
    type Request = PinListRequest;
    type Response = Standing;
}

/// Which list, and whose key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinListRequest {
    /// The list.
    pub list: ListAddress,
    /// SHA-256 of the first owner's DER SubjectPublicKeyInfo.
    pub owner: Digest,
    /// As in [`PinGroupRequest::replace`]; the list may also come back under another group then.
    pub replace: bool,
}

/// Every group whose roster is signed, by its pin or by what the feed says.
pub struct ListRosters;

impl Endpoint for ListRosters {
    const PATH: &'static str = "/v1/admin/rosters/list";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = Vec<Standing>;
}

/// Forgets the alarms of a group: an administrator has seen to them.
pub struct Acknowledge;

impl Endpoint for Acknowledge {
    const PATH: &'static str = "/v1/admin/rosters/acknowledge";
    const MAX_BODY: usize = 4096;
    type Request = AcknowledgeRequest;
    type Response = super::Nothing;
}

/// Which group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// The group.
    pub group: GroupId,
}

/// How a signed roster stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The group; `None` for a pinned list that the feed has not told of.
    pub group: Option<GroupId>,
    /// The list, at the exploder.
    pub list: Option<ListAddress>,
    /// The feed says that its roster is signed.
    pub signed: bool,
    /// The key that was pinned.
    pub pinned: Option<Digest>,
    /// The owners' keys now.
    pub owners: Vec<Digest>,
    /// Members that an owner signed for.
    pub members: u64,
    /// The number of the last statement.
    pub sequence: u64,
    /// When the newest head was signed.
    pub head: Option<UnixTime>,
    /// Why nothing is made for the group at present, if so.
    pub unserved: Option<String>,
    /// What was refused.
    pub alarm: Option<Alarm>,
}

impl Standing {
    /// What an operator should read of it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let group = match (&self.list, &self.group) {
            (Some(list), _) => list.to_string(),
            (None, Some(group)) => format!("group {group}"),
            (None, None) => return Vec::new(),
        };
        let unserved = self.unserved.iter().map(|reason| format!("{group} is not served: {reason}"));
        let alarm = self.alarm.iter().map(|alarm| format!("{group}: ALARM: {alarm}"));
        unserved.chain(alarm).collect()
    }
}

/// What certsrv told that no owner signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// The first time.
    pub first: UnixTime,
    /// The last time.
    pub last: UnixTime,
    /// How often.
    pub number: u64,
    /// What it was the last time.
    pub reason: String,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, number, reason } = self;
        write!(
            f,
            "certsrv told what no owner signed, and it was refused: {reason} ({number} times from {first} to {last}"
        )?;
        write!(f, "; find out why before you acknowledge it)")
    }
}
