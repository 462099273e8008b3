//! What a consumer of the feed keeps of owner-signed rosters (DESIGN 3.4): the pins of the first owners, the rosters that
//! follow from the statements, and the alarms. certsrv is not believed here.
//!
//! The changes of one page of the feed are taken in a [`Turn`]: it is written down in the consumer's own batch, with the
//! place in the feed, and put in force when that is durable ([`Taken::in_force`]).

pub mod command;
mod kept;

use crate::store::{Batch, Store, StoreError, Table};
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use twinseal_proto::api::admin::rosters::{Alarm, Standing};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::roster::{
    Accepted, Binding, LiveEntry, OwnerRoster, OwnerState, RosterError, SignedStatement, Unserved,
};
use twinseal_proto::time::UnixTime;

/// Longest reason of an alarm that is kept, in characters.
const MAX_REASON: usize = 300;

/// A pinned group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The first owner's key.
    pub first: Digest,
    /// What its owners said.
    pub roster: OwnerRoster,
}

#[derive(Serialize, Deserialize)]
struct PinRow {
    first: Digest,
    state: OwnerState,
}

/// The tables of the index that this part writes.
#[derive(Debug, Clone, Copy)]
pub struct Tables {
    /// Pins, by group.
    pub pins: Table,
    /// Entries, by group and handle.
    pub entries: Table,
    /// Statements, by group, number and digest.
    pub statements: Table,
    /// Alarms, by group.
    pub alarms: Table,
}

/// The pins, rosters and alarms of one consumer.
pub struct OwnerBook {
    store: Store,
    tables: Tables,
    pinned: RwLock<HashMap<GroupId, Arc<Pinned>>>,
    alarms: RwLock<BTreeMap<GroupId, Alarm>>,
    writer: Mutex<()>,
    /// Alarms since the start.
    pub counter: IntCounter,
}

/// Why a pin is not set.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Another one is.
    #[error(
        "an owner with the key {0} is pinned already; to put another in its place voids all that was signed: --replace"
    )]
    Other(Digest),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What becomes of a membership that the feed told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// The group is not pinned: the feed alone is believed.
    Unpinned,
    /// An owner signed it.
    Signed,
    /// No owner signed it; the alarm is raised.
    Refused,
}

impl OwnerBook {
    /// Reads it out of the index. `service` names the counter.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: Store, tables: Tables, service: &str) -> Result<Self, StoreError> {
        let mut pinned = HashMap::new();
        for row in store.scan::<PinRow>(tables.pins, b"") {
            let (key, PinRow { first, state }) = row?;
            let Ok(group) = key.as_slice().try_into().map(GroupId::from_random) else { continue };
            let mut live = BTreeMap::new();
            for row in store.scan::<LiveEntry>(tables.entries, group.octets()) {
                let (key, entry) = row?;
                if let Some(handle) = key.get(16..).and_then(|octets| octets.try_into().ok()) {
                    live.insert(Handle::from_random(handle), entry);
                }
            }
            pinned.insert(group, Arc::new(Pinned { first, roster: OwnerRoster { state, live } }));
        }
        let mut alarms = BTreeMap::new();
        for row in store.scan::<Alarm>(tables.alarms, b"") {
            let (key, alarm) = row?;
            if let Ok(group) = key.as_slice().try_into() {
                alarms.insert(GroupId::from_random(group), alarm);
            }
        }
        let name = format!("{service}_roster_alarms_total");
        let counter = IntCounter::new(name, "What certsrv told that no owner signed, and that was refused")
            .map_err(std::io::Error::other)?;
        let (pinned, alarms) = (RwLock::new(pinned), RwLock::new(alarms));
        Ok(Self { store, tables, pinned, alarms, writer: Mutex::new(()), counter })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<GroupId, Arc<Pinned>>> {
        self.pinned.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group's roster, if its owner is pinned.
    pub fn get(&self, group: &GroupId) -> Option<Arc<Pinned>> {
        self.read().get(group).cloned()
    }

    /// Why nothing may be made for a group at `now`. `signed`: the feed says that its roster is.
    #[must_use]
    pub fn unserved(&self, group: &GroupId, signed: bool, now: UnixTime) -> Option<String> {
        match self.get(group) {
            Some(pinned) => pinned.roster.state.fresh(now).err().map(|unserved: Unserved| unserved.to_string()),
            None if signed => {
                let pin = "the feed says that owners sign its roster, and no owner is pinned here; \
                           ask its owner for the certificate and pin it: group pin";
                Some(pin.to_owned())
            }
            None => None,
        }
    }

    /// How a group stands, if its roster is signed by its pin or by what the feed says.
    #[must_use]
    pub fn standing(&self, group: &GroupId, signed: bool, now: UnixTime) -> Option<Standing> {
        let pinned = self.get(group);
        let alarm = self.alarms.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned();
        if pinned.is_none() && !signed && alarm.is_none() {
            return None;
        }
        let unserved = self.unserved(group, signed, now);
        let roster = pinned.as_ref().map(|pinned| &pinned.roster);
        let state = roster.map(|roster| &roster.state);
        Some(Standing {
            group: Some(*group),
            list: None,
            signed,
            pinned: pinned.as_ref().map(|pinned| pinned.first),
            owners: state.into_iter().flat_map(|state| state.owners.iter().copied()).collect(),
            members: roster.map_or(0, |roster| roster.live.len() as u64),
            sequence: state.map_or(0, |state| state.high),
            head: state.and_then(|state| state.head).map(|head| head.issued),
            unserved,
            alarm,
        })
    }

    /// The groups that are pinned, or of which there is an alarm.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<GroupId> {
        let alarms = self.alarms.read().unwrap_or_else(PoisonError::into_inner);
        self.read().keys().chain(alarms.keys()).copied().collect()
    }

    /// Pins a group's first owner, and takes what was signed before. Durable when this returns. Blocks.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin(&self, group: GroupId, first: Digest, replace: bool) -> Result<(), PinError> {
        let mut turn = self.turn();
        turn.pin(group, first, replace)?;
        let mut batch = Batch::default();
        let taken = turn.finish(&mut batch)?;
        self.store.commit(batch)?;
        taken.in_force();
        Ok(())
    }

    /// Forgets a group's alarms. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn acknowledge(&self, group: &GroupId) -> Result<(), StoreError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        batch.delete(self.tables.alarms, group.octets());
        self.store.commit(batch)?;
        self.alarms.write().unwrap_or_else(PoisonError::into_inner).remove(group);
        Ok(())
    }

    /// Begins with a page of changes. Waits for other turns.
    pub fn turn(&self) -> Turn<'_> {
        Turn {
            writer: self.writer.lock().unwrap_or_else(PoisonError::into_inner),
            book: self,
            now: UnixTime::now(),
            told: None,
            touched: BTreeMap::new(),
            handles: BTreeSet::new(),
            statements: BTreeMap::new(),
            alarms: BTreeMap::new(),
            raised: 0,
        }
    }
}

/// What is told anew of a group: statements, and who is out.
type Told = (Vec<SignedStatement>, BTreeSet<Handle>);

/// The changes of one page: later ones build upon earlier ones.
pub struct Turn<'a> {
    writer: MutexGuard<'a, ()>,
    book: &'a OwnerBook,
    now: UnixTime,
    /// All is told anew, and this is what of it owners signed, and who is out: what the statements did was done at once,
    /// by [`Self::resync`].
    told: Option<BTreeMap<GroupId, Told>>,
    touched: BTreeMap<GroupId, Pinned>,
    handles: BTreeSet<(GroupId, Handle)>,
    /// Statements to be kept, and (`None`) to be kept no more.
    statements: BTreeMap<Vec<u8>, Option<SignedStatement>>,
    alarms: BTreeMap<GroupId, Alarm>,
    raised: u64,
}

impl<'a> Turn<'a> {
    /// The roster as it is in this turn, for changing it.
    fn roster(&mut self, group: &GroupId) -> Option<&mut Pinned> {
        if !self.touched.contains_key(group) {
            let pinned = self.book.get(group)?;
            self.touched.insert(*group, Pinned::clone(&pinned));
        }
        self.touched.get_mut(group)
    }

    /// Whether the group's owner is pinned.
    #[must_use]
    pub fn is_pinned(&self, group: &GroupId) -> bool {
        self.touched.contains_key(group) || self.book.read().contains_key(group)
    }

    /// Whether an owner has the member in.
    pub fn is_live(&mut self, group: &GroupId, handle: &Handle) -> bool {
        self.roster(group).is_some_and(|pinned| pinned.roster.live.contains_key(handle))
    }

    /// [`OwnerBook::pin`], in a turn.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin(&mut self, group: GroupId, first: Digest, replace: bool) -> Result<(), PinError> {
        let before = self.roster(&group).map(|pinned| (pinned.first, pinned.roster.clone()));
        match &before {
            Some((pinned, _)) if *pinned == first && !replace => return Ok(()),
            Some((pinned, _)) if !replace => return Err(PinError::Other(*pinned)),
            _ => {}
        }
        let (statements, gone) = match &self.told {
            Some(told) => told.get(&group).cloned().unwrap_or_default(),
            None => (self.statements(&group)?, BTreeSet::new()),
        };
        let mut resynced = OwnerRoster::pin(group, first).resync(&statements, &gone);
        if self.told.is_none() {
            // Whom certsrv took out, and when, no statement says: an old head need not fit what was kept. Without one that
            // does, the group is not served.
            resynced.refused.retain(|(_, error)| *error != RosterError::OtherRoster);
        }
        let mut roster = resynced.roster;
        if let Some((_, before)) = before {
            // What was refused once as replayed stays so.
            roster.state.high = roster.state.high.max(before.state.high);
            self.handles.extend(before.live.keys().map(|handle| (group, *handle)));
        }
        self.handles.extend(roster.live.keys().map(|handle| (group, *handle)));
        self.touched.insert(group, Pinned { first, roster });
        if self.told.is_some() {
            statements.iter().for_each(|signed| self.keep(group, signed));
        }
        for (_, error) in resynced.refused {
            self.alarm(group, &error);
        }
        Ok(())
    }

    /// The feed told that a member is in, with this key or this address.
    pub fn member(
        &mut self,
        group: GroupId,
        handle: Handle,
        signed: Option<&SignedStatement>,
        told: Binding<'_>,
    ) -> Membership {
        let Some(pinned) = self.roster(&group) else {
            signed.into_iter().for_each(|signed| self.keep(group, signed));
            return Membership::Unpinned;
        };
        let accepted = pinned.roster.accept_member(signed, &handle, told);
        // Also of a membership that is refused the owner's entry may have been taken.
        self.handles.insert((group, handle));
        match accepted {
            Ok(_) => {
                signed.into_iter().for_each(|signed| self.keep(group, signed));
                Membership::Signed
            }
            Err(error) => {
                self.alarm(group, &format_args!("member {handle}: {error}"));
                Membership::Refused
            }
        }
    }

    /// The feed brought a statement. What it did in a pinned group; nothing when it was refused, with an alarm.
    pub fn statement(&mut self, group: GroupId, signed: &SignedStatement) -> Option<Accepted> {
        let anew = self.told.is_some();
        let Some(pinned) = self.roster(&group) else {
            self.keep(group, signed);
            return None;
        };
        if anew {
            return None;
        }
        match pinned.roster.accept(signed) {
            Ok(accepted) => {
                if let Accepted::Entry(handle, _) | Accepted::Removal(handle) = &accepted {
                    self.handles.insert((group, *handle));
                }
                self.keep(group, signed);
                Some(accepted)
            }
            Err(error) => {
                self.alarm(group, &error);
                None
            }
        }
    }

    /// The feed told that a group is no more. Its pin stays, and so does the number of its last statement: a group of this
    /// id that came back would be the same one.
    pub fn deleted(&mut self, group: &GroupId) {
        if let Some(pinned) = self.roster(group) {
            let gone = std::mem::take(&mut pinned.roster.live);
            self.handles.extend(gone.into_keys().map(|handle| (*group, handle)));
        }
    }

    /// The feed told whether owners sign the group's roster. Of a pinned one nobody else can say that they do not.
    pub fn told_signed(&mut self, group: GroupId, signed: bool) {
        if !signed && self.is_pinned(&group) {
            self.alarm(group, &"the feed says that its roster is not signed");
        }
    }

    /// All is told anew, and this is what the feed brings of statements, with memberships or alone, and who of those in
    /// them is out: to be called before any other change of such a turn.
    pub fn resync<'s>(
        &mut self,
        statements: impl IntoIterator<Item = (GroupId, &'s SignedStatement)>,
        gone: impl IntoIterator<Item = (GroupId, Handle)>,
    ) {
        let mut by_group: BTreeMap<GroupId, Told> = BTreeMap::new();
        for (group, statement) in statements {
            by_group.entry(group).or_default().0.push(statement.clone());
        }
        for (group, handle) in gone {
            by_group.entry(group).or_default().1.insert(handle);
        }
        let pinned: Vec<GroupId> = self.book.read().keys().copied().collect();
        for group in pinned {
            let (told, gone) = by_group.get(&group).cloned().unwrap_or_default();
            let Some(pinned) = self.roster(&group) else { continue };
            let resynced = pinned.roster.resync(&told, &gone);
            let before = std::mem::replace(&mut pinned.roster, resynced.roster);
            let after: Vec<Handle> = pinned.roster.live.keys().copied().collect();
            self.handles.extend(before.live.into_keys().chain(after).map(|handle| (group, handle)));
            for (place, error) in resynced.refused {
                told.get(place).into_iter().for_each(|_| self.alarm(group, &error));
            }
            told.iter().for_each(|statement| self.keep(group, statement));
        }
        self.told = Some(by_group);
    }

    /// Raises the alarm of a group: something was refused.
    pub fn alarm(&mut self, group: GroupId, reason: &dyn std::fmt::Display) {
        tracing::error!(%group, %reason, "ALARM: certsrv told what no owner signed, and it was refused");
        let known = || self.book.alarms.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned();
        let before = self.alarms.get(&group).cloned().or_else(known);
        let (first, number) = before.map_or((self.now, 0), |before| (before.first, before.number));
        // Parts of it may be certsrv's words.
        let reason = reason.to_string().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        let alarm = Alarm { first, last: self.now, number: number.saturating_add(1), reason };
        self.alarms.insert(group, alarm);
        self.raised += 1;
    }

    /// Writes all of it into `batch`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(self, batch: &mut Batch) -> Result<Taken<'a>, StoreError> {
        let Self { writer, book, touched, handles, statements, alarms, raised, .. } = self;
        let tables = book.tables;
        for (group, Pinned { first, roster }) in &touched {
            batch.put(tables.pins, group.octets(), &PinRow { first: *first, state: roster.state.clone() })?;
        }
        for (group, handle) in &handles {
            let key = [group.octets().as_slice(), handle.octets()].concat();
            match touched.get(group).and_then(|pinned| pinned.roster.live.get(handle)) {
                Some(entry) => batch.put(tables.entries, &key, entry)?,
                None => batch.delete(tables.entries, &key),
            }
        }
        for (key, statement) in &statements {
            match statement {
                Some(statement) => batch.put(tables.statements, key, statement)?,
                None => batch.delete(tables.statements, key),
            }
        }
        for (group, alarm) in &alarms {
            batch.put(tables.alarms, group.octets(), alarm)?;
        }
        Ok(Taken { _writer: writer, book, touched, alarms, raised })
    }
}

/// A turn that is written down.
pub struct Taken<'a> {
    _writer: MutexGuard<'a, ()>,
    book: &'a OwnerBook,
    touched: BTreeMap<GroupId, Pinned>,
    alarms: BTreeMap<GroupId, Alarm>,
    raised: u64,
}

impl Taken<'_> {
    /// The batch is durable: what the turn did counts from now on.
    pub fn in_force(self) {
        let mut pinned = self.book.pinned.write().unwrap_or_else(PoisonError::into_inner);
        pinned.extend(self.touched.into_iter().map(|(group, touched)| (group, Arc::new(touched))));
        drop(pinned);
        self.book.alarms.write().unwrap_or_else(PoisonError::into_inner).extend(self.alarms);
        self.book.counter.inc_by(self.raised);
    }
}

#[cfg(test)]
mod tests;
