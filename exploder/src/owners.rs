//! What owners sign about the readers of their lists (DESIGN 3.4), where it decides: a copy goes to a member of a pinned
//! list only at the address that an owner signed, and none goes out while no owner has vouched for the roster lately.
//!
//! A pin is by the list's address, and by the group behind it once that was seen. Pins are the administrator's: they are
//! kept in the file `owners.json` of the state directory, which outlives the index.

use crate::admin::Admin;
use crate::roster::{Member, Roster};
use crate::store::LIST_OWNERS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::rosters::{AcknowledgeRequest, PinListRequest, Standing};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::ExploderChange;
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress};
use twinseal_proto::roster::{Accepted, Binding, SignedStatement, Unserved};
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use twinseal_svc::http::Caller;
use twinseal_svc::owners::{Membership, OwnerBook, PinError, Turn};
use twinseal_svc::store::{Store, StoreError};

const FILE: &str = "owners.json";

/// The first owner of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListPin {
    /// The owner's key.
    pub(crate) owner: Digest,
    /// The group behind the list; `None` until the feed has told of it.
    pub(crate) group: Option<GroupId>,
}

/// The pins, and the file that they are in.
#[derive(Debug, Clone)]
pub(crate) struct ListPins {
    path: PathBuf,
    lists: BTreeMap<ListAddress, ListPin>,
}

impl ListPins {
    /// Reads the pins of the state directory; none is no pins.
    ///
    /// # Errors
    /// The file's, or `InvalidData`: without its pins the exploder would believe certsrv.
    pub(crate) fn load(state: &Path) -> io::Result<Self> {
        let path = state.join(FILE);
        let lists = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {error}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, lists })
    }

    /// The pin of a list.
    pub(crate) fn get(&self, list: &ListAddress) -> Option<ListPin> {
        self.lists.get(list).copied()
    }

    /// Every pin.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ListAddress, &ListPin)> {
        self.lists.iter()
    }

    /// Sets a pin; durable when this returns.
    ///
    /// # Errors
    /// The file's; nothing is changed then.
    pub(crate) fn set(&mut self, list: &ListAddress, pin: ListPin) -> io::Result<()> {
        let before = self.lists.insert(list.clone(), pin);
        let json = serde_json::to_vec(&self.lists).map_err(io::Error::from);
        json.and_then(|json| durable::replace(&self.path, &json)).inspect_err(|_| {
            match before {
                Some(before) => self.lists.insert(list.clone(), before),
                None => self.lists.remove(list),
            };
        })
    }

    /// The list to which a group is pinned.
    fn list_of(&self, group: &GroupId) -> Option<&ListAddress> {
        self.lists.iter().find(|(_, pin)| pin.group.as_ref() == Some(group)).map(|(list, _)| list)
    }
}

/// What owners signed, out of the index.
pub(crate) fn open(store: &Store) -> Result<OwnerBook, StoreError> {
    OwnerBook::open(store.clone(), LIST_OWNERS, "twinseal_exploder")
}

/// Looks at a change before it is made: what of it is to be done, if anything. `pins` may be bound to a group here.
///
/// # Errors
/// The index's or the pin file's.
pub(crate) fn screen(
    change: ExploderChange,
    turn: &mut Turn<'_>,
    pins: &mut ListPins,
) -> Result<Option<ExploderChange>, StoreError> {
    let done = match &change {
        ExploderChange::GroupCreated { group, list, signed, .. } => {
            let done = created(*group, list, turn, pins)?;
            turn.told_signed(*group, *signed);
            done
        }
        ExploderChange::GroupChanged { group, signed, .. } => {
            turn.told_signed(*group, *signed);
            true
        }
        ExploderChange::GroupDeleted { group } => {
            turn.deleted(group);
            true
        }
        ExploderChange::MemberJoined { group, handle, address, salt, signed, .. } => {
            joined(turn, (*group, *handle), address, salt.as_ref(), signed.as_ref())
        }
        ExploderChange::MemberLeft { group, handle } => {
            turn.left(group, handle)?;
            true
        }
        ExploderChange::Statement { group, statement } => {
            let accepted = turn.statement(*group, statement);
            // An owner's removal does what certsrv's does.
            let left = |handle| ExploderChange::MemberLeft { group: *group, handle };
            return Ok(match accepted {
                Some(Accepted::Removal(handle)) => Some(left(handle)),
                _ => None,
            });
        }
    };
    Ok(done.then_some(change))
}

/// A pinned list is one group's for ever, and a pinned group one list's.
fn created(group: GroupId, list: &ListAddress, turn: &mut Turn<'_>, pins: &mut ListPins) -> Result<bool, StoreError> {
    if pins.list_of(&group).is_some_and(|pinned| pinned != list) {
        turn.alarm(group, &format_args!("its list is called {list} all at once"));
        return Ok(false);
    }
    let Some(ListPin { owner, group: bound }) = pins.get(list) else { return Ok(true) };
    match bound {
        Some(bound) if bound != group => {
            turn.alarm(bound, &format_args!("its list {list} came back with another group, {group}"));
            return Ok(false);
        }
        Some(_) => {}
        None => pins.set(list, ListPin { owner, group: Some(group) })?,
    }
    match turn.pin(group, owner, false) {
        Ok(()) => Ok(true),
        Err(PinError::Store(error)) => Err(error),
        // The file counts; the index has another pin only when a crash came between the two.
        Err(PinError::Other(_)) => match turn.pin(group, owner, true) {
            Err(PinError::Store(error)) => Err(error),
            _ => Ok(true),
        },
    }
}

fn joined(
    turn: &mut Turn<'_>,
    (group, handle): (GroupId, Handle),
    address: &MailAddress,
    salt: Option<&B64>,
    signed: Option<&SignedStatement>,
) -> bool {
    let salt = salt.map(AsRef::as_ref).unwrap_or_default();
    turn.member(group, handle, signed, Binding::Address { salt, address }) != Membership::Refused
}

/// Whether a copy may go to a member now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It may.
    Now,
    /// What an owner signed does not hold now, and may do again.
    Later,
    /// No owner put the member in at this address.
    Never,
}

impl Roster {
    /// Why no copies of a group's messages may be made at `now`.
    pub(crate) fn unserved(&self, group: &GroupId, now: UnixTime) -> Option<String> {
        self.owners.unserved(group, self.is_signed(group), now)
    }

    /// Whether a copy may go to `member` at `now`.
    pub(crate) fn delivery(&self, member: &Member, now: UnixTime) -> Delivery {
        let Some(pinned) = self.owners.get(&member.group) else { return Delivery::Now };
        match pinned.roster.serves(&member.handle, now) {
            Ok(entry) if member.digest == Some(entry.address) => Delivery::Now,
            Ok(_) | Err(Unserved::NotLive) => Delivery::Never,
            Err(Unserved::Period | Unserved::NoHead | Unserved::StaleHead { .. }) => Delivery::Later,
        }
    }

    /// Pins the first owner of a list. Blocks.
    ///
    /// # Errors
    /// [`PinError`].
    pub(crate) fn pin(&self, list: &ListAddress, owner: Digest, replace: bool) -> Result<(), PinError> {
        self.pinned(list, |book, pins, known| {
            let before = pins.get(list);
            match before {
                Some(pin) if pin.owner == owner && !replace => return Ok(()),
                Some(pin) if !replace => return Err(PinError::Other(pin.owner)),
                _ => {}
            }
            let bound = before.filter(|_| !replace).and_then(|pin| pin.group);
            let group = bound.or(known);
            pins.set(list, ListPin { owner, group }).map_err(StoreError::from)?;
            group.map_or(Ok(()), |group| book.pin(group, owner, true))
        })
    }

    /// How the lists stand whose owners sign, or should.
    pub(crate) fn standings(&self, now: UnixTime) -> Vec<Standing> {
        let (mut lists, pins) = self.signed_lists();
        for (list, pin) in pins {
            if let Some(group) = pin.group {
                lists.entry(group).or_insert((Some(list), false));
            }
        }
        for group in self.owners.groups() {
            lists.entry(group).or_insert((None, false));
        }
        let standing = |(group, (list, signed)): (GroupId, (Option<ListAddress>, bool))| {
            self.owners.standing(&group, signed, now).map(|standing| Standing { list, ..standing })
        };
        let mut standings: Vec<Standing> = lists.into_iter().filter_map(standing).collect();
        let unbound = self.signed_lists().1.into_iter().filter(|(_, pin)| pin.group.is_none());
        standings.extend(unbound.map(|(list, pin)| Standing {
            group: None,
            list: Some(list),
            signed: false,
            pinned: Some(pin.owner),
            owners: vec![pin.owner],
            members: 0,
            sequence: 0,
            head: None,
            unserved: None,
            alarm: None,
        }));
        standings
    }
}

async fn blocking<T: Send + 'static>(
    admin: &Arc<Admin>,
    work: impl FnOnce(&Roster) -> T + Send + 'static,
) -> Result<T, Problem> {
    let admin = Arc::clone(admin);
    tokio::task::spawn_blocking(move || work(&admin.engine.roster)).await.map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "owners' pins");
    Problem::new(ProblemCode::Internal, "the index or the pin file failed; the log has the rest")
}

/// `POST /v1/admin/rosters/pin-list`.
pub(crate) async fn pin(admin: Arc<Admin>, _: Caller, request: PinListRequest) -> Result<Standing, Problem> {
    let PinListRequest { list, owner, replace } = request;
    let wanted = list.clone();
    match blocking(&admin, move |roster| roster.pin(&list, owner, replace)).await? {
        Ok(()) => {}
        Err(PinError::Store(error)) => return Err(failed(&error)),
        Err(other) => return Err(Problem::new(ProblemCode::Conflict, other.to_string())),
    }
    admin.engine.changed.notify_one();
    let standings = admin.engine.roster.standings(UnixTime::now());
    let standing = standings.into_iter().find(|standing| standing.list.as_ref() == Some(&wanted));
    standing.ok_or_else(|| Problem::new(ProblemCode::NotFound, "list: it is gone meanwhile"))
}

/// `POST /v1/admin/rosters/list`.
pub(crate) async fn list(admin: Arc<Admin>, _: Caller, _: Nothing) -> Result<Vec<Standing>, Problem> {
    Ok(admin.engine.roster.standings(UnixTime::now()))
}

/// `POST /v1/admin/rosters/acknowledge`.
pub(crate) async fn acknowledge(admin: Arc<Admin>, _: Caller, request: AcknowledgeRequest) -> Result<Nothing, Problem> {
    let done = blocking(&admin, move |roster| roster.owners.acknowledge(&request.group)).await?;
    done.map(|()| Nothing {}).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests;
