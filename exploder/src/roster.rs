//! Who is on which list: followed from certsrv's feed, kept in the index, answered from memory.

use crate::owners::{self, ListPin, ListPins};
use crate::store::{CURSOR, LIST_OWNERS, LISTS, MEMBERS, META, member_key};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{Cursor, ExploderChange, ListSettings, View};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::roster::address_digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::follow;
use twinseal_svc::join::FeedTrust;
use twinseal_svc::owners::{OwnerBook, PinError};
use twinseal_svc::store::{Batch, Store, StoreError};

/// A list as the exploder acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// The group behind it.
    pub(crate) group: GroupId,
    /// Its address.
    pub(crate) list: ListAddress,
    /// Its settings.
    pub(crate) settings: ListSettings,
    /// The feed says that its owners sign its roster.
    pub(crate) signed: bool,
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Of which group.
    pub(crate) group: GroupId,
    /// As groupsrv knows it.
    pub(crate) handle: Handle,
    /// Where copies go.
    pub(crate) address: MailAddress,
    /// The digest by which an owner names the address.
    pub(crate) digest: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct ListRow {
    list: ListAddress,
    settings: ListSettings,
    #[serde(default)]
    signed: bool,
}

#[derive(Serialize, Deserialize)]
struct MemberRow {
    number: MemberNumber,
    address: MailAddress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<B64>,
}

/// All lists and members, and the index under them.
pub(crate) struct Roster {
    store: Store,
    /// What owners signed.
    pub(crate) owners: OwnerBook,
    pins: Mutex<ListPins>,
    directory: RwLock<Directory>,
}

struct Directory {
    cursor: Cursor,
    lists: HashMap<ListAddress, Arc<List>>,
    groups: HashMap<GroupId, Group>,
    members: HashMap<MemberNumber, Arc<Member>>,
}

struct Group {
    list: Arc<List>,
    handles: HashMap<Handle, MemberNumber>,
    addresses: HashMap<Address, MemberNumber>,
}

/// An address as a key: a member's, without a copy of it.
struct Address(Arc<Member>);

impl std::borrow::Borrow<MailAddress> for Address {
    fn borrow(&self) -> &MailAddress {
        &self.0.address
    }
}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.address.hash(state);
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.address == other.0.address
    }
}

impl Eq for Address {}

impl Roster {
    /// Reads the index. One of another feed or generation than `trust` is emptied: it is followed from the beginning.
    ///
    /// # Errors
    /// The index's.
    pub(crate) fn open(store: Store, trust: &FeedTrust, pins: ListPins) -> Result<Self, StoreError> {
        let start = Cursor::start(trust.feed, trust.generation);
        let cursor = store.get::<Cursor>(META, CURSOR)?;
        let kept = cursor.filter(|c| c.feed == trust.feed && c.generation == trust.generation);
        let mut directory = Directory {
            cursor: kept.unwrap_or(start),
            lists: HashMap::new(),
            groups: HashMap::new(),
            members: HashMap::new(),
        };
        if directory.cursor.sequence == 0 {
            clear(&store)?;
        }
        for row in store.scan::<ListRow>(LISTS, b"") {
            let (key, row) = row?;
            if let Ok(group) = key.as_slice().try_into().map(GroupId::from_random) {
                directory.create(group, row.list, row.settings, row.signed);
            }
        }
        for row in store.scan::<MemberRow>(MEMBERS, b"") {
            let (key, row) = row?;
            if let Some((group, handle)) = key.split_first_chunk::<16>()
                && let Ok(handle) = handle.try_into()
            {
                let (group, handle) = (GroupId::from_random(*group), Handle::from_random(handle));
                directory.join(group, handle, row.number, row.address, row.salt.as_ref());
            }
        }
        let owners = owners::open(&store)?;
        Ok(Self { store, owners, pins: Mutex::new(pins), directory: RwLock::new(directory) })
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a roster at all. Without one nobody can be told apart from nobody: 451 4.3.2.
    pub(crate) fn known(&self) -> bool {
        self.read().cursor.sequence > 0
    }

    /// The place in the feed.
    pub(crate) fn sequence(&self) -> u64 {
        self.read().cursor.sequence
    }

    /// The list with this address.
    pub(crate) fn list(&self, address: &ListAddress) -> Option<Arc<List>> {
        self.read().lists.get(address).cloned()
    }

    /// Whether any list is at this domain.
    pub(crate) fn serves(&self, domain: &str) -> bool {
        self.read().lists.keys().any(|list| list.domain() == domain)
    }

    /// The member of the group with this address.
    pub(crate) fn member_by_address(&self, group: &GroupId, address: &MailAddress) -> Option<MemberNumber> {
        let directory = self.read();
        let number = directory.groups.get(group)?.addresses.get(address).copied()?;
        let member = directory.members.get(&number)?;
        let signed = self.owners.get(group).is_none_or(|pinned| pinned.roster.live.contains_key(&member.handle));
        signed.then_some(number)
    }

    /// Whether the feed says that owners sign the group's roster.
    pub(crate) fn is_signed(&self, group: &GroupId) -> bool {
        self.read().groups.get(group).is_some_and(|group| group.list.signed)
    }

    fn pins(&self) -> MutexGuard<'_, ListPins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the pin of a list; `change` is told the group behind the list now.
    pub(crate) fn pinned(
        &self,
        list: &ListAddress,
        change: impl FnOnce(&OwnerBook, &mut ListPins, Option<GroupId>) -> Result<(), PinError>,
    ) -> Result<(), PinError> {
        // First the pins, then the directory: as in `apply`.
        let mut pins = self.pins();
        let known = self.read().lists.get(list).map(|list| list.group);
        change(&self.owners, &mut pins, known)
    }

    /// The lists whose rosters are signed, as the feed says, by their groups; and all pins.
    #[expect(clippy::type_complexity, reason = "told once, to the one place that shows it")]
    pub(crate) fn signed_lists(&self) -> (BTreeMap<GroupId, (Option<ListAddress>, bool)>, Vec<(ListAddress, ListPin)>) {
        let pins = self.pins().all().map(|(list, pin)| (list.clone(), *pin)).collect();
        let directory = self.read();
        let signed = directory.groups.iter().filter(|(_, group)| group.list.signed);
        (signed.map(|(group, known)| (*group, (Some(known.list.list.clone()), true))).collect(), pins)
    }

    /// The member with this number, while the membership lasts.
    pub(crate) fn member(&self, number: MemberNumber) -> Option<Arc<Member>> {
        self.read().members.get(&number).cloned()
    }

    /// How many are in the group now.
    pub(crate) fn count(&self, group: &GroupId) -> usize {
        self.read().groups.get(group).map_or(0, |known| known.handles.len())
    }

    /// To whom a message to the group goes at `now`.
    pub(crate) fn recipients(&self, group: &GroupId, now: UnixTime) -> Vec<MemberNumber> {
        let mut members = self.members(group);
        members.retain(|number| {
            self.member(*number).is_some_and(|member| self.delivery(&member, now) != owners::Delivery::Never)
        });
        members
    }

    /// Everybody in the group now.
    pub(crate) fn members(&self, group: &GroupId) -> Vec<MemberNumber> {
        self.read().groups.get(group).map(|g| g.handles.values().copied().collect()).unwrap_or_default()
    }
}

fn clear(store: &Store) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    // The pins of the owners are in a file, and all that was signed is told again.
    for table in [META, LISTS, MEMBERS, LIST_OWNERS.pins, LIST_OWNERS.entries, LIST_OWNERS.statements] {
        for row in store.scan::<serde::de::IgnoredAny>(table, b"") {
            batch.delete(table, &row?.0);
        }
    }
    store.commit(batch)
}

impl Directory {
    fn create(&mut self, group: GroupId, list: ListAddress, settings: ListSettings, signed: bool) {
        let list = Arc::new(List { group, list, settings, signed });
        if let Some(known) = self.groups.get_mut(&group) {
            self.lists.remove(&known.list.list);
            known.list = Arc::clone(&list);
        } else {
            let new = Group { list: Arc::clone(&list), handles: HashMap::new(), addresses: HashMap::new() };
            self.groups.insert(group, new);
        }
        self.lists.insert(list.list.clone(), list);
    }

    fn delete(&mut self, group: &GroupId) {
        if let Some(gone) = self.groups.remove(group) {
            self.lists.remove(&gone.list.list);
            for number in gone.handles.values() {
                self.members.remove(number);
            }
        }
    }

    fn join(&mut self, group: GroupId, handle: Handle, number: MemberNumber, address: MailAddress, salt: Option<&B64>) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        let digest = salt.map(|salt| address_digest(salt.as_ref(), &address));
        let member = Arc::new(Member { group, handle, address, digest });
        known.handles.insert(handle, number);
        known.addresses.insert(Address(Arc::clone(&member)), number);
        self.members.insert(number, member);
    }

    fn leave(&mut self, group: &GroupId, handle: &Handle) {
        let Some(known) = self.groups.get_mut(group) else { return };
        let Some(number) = known.handles.remove(handle) else { return };
        if let Some(member) = self.members.remove(&number)
            && known.addresses.get(&member.address) == Some(&number)
        {
            known.addresses.remove(&member.address);
        }
    }

    /// Writes a change into the batch.
    fn record(&self, change: &ExploderChange, batch: &mut Batch) -> Result<(), StoreError> {
        match change {
            ExploderChange::GroupCreated { group, list, settings, signed } => {
                let row = ListRow { list: list.clone(), settings: settings.clone(), signed: *signed };
                batch.put(LISTS, group.octets(), &row)
            }
            ExploderChange::GroupChanged { group, settings, signed } => match self.groups.get(group) {
                Some(known) => {
                    let row = ListRow { list: known.list.list.clone(), settings: settings.clone(), signed: *signed };
                    batch.put(LISTS, group.octets(), &row)
                }
                None => Ok(()),
            },
            ExploderChange::GroupDeleted { group } => {
                batch.delete(LISTS, group.octets());
                for handle in self.groups.get(group).into_iter().flat_map(|known| known.handles.keys()) {
                    batch.delete(MEMBERS, &member_key(group, handle));
                }
                Ok(())
            }
            ExploderChange::MemberJoined { group, handle, number, address, salt, .. } => {
                let row = MemberRow { number: *number, address: address.clone(), salt: salt.clone() };
                batch.put(MEMBERS, &member_key(group, handle), &row)
            }
            ExploderChange::MemberLeft { group, handle } => {
                batch.delete(MEMBERS, &member_key(group, handle));
                Ok(())
            }
            ExploderChange::Statement { .. } => Ok(()),
        }
    }

    fn apply(&mut self, change: ExploderChange) {
        match change {
            ExploderChange::GroupCreated { group, list, settings, signed } => {
                self.create(group, list, settings, signed);
            }
            ExploderChange::GroupChanged { group, settings, signed } => {
                if let Some(list) = self.groups.get(&group).map(|known| known.list.list.clone()) {
                    self.create(group, list, settings, signed);
                }
            }
            ExploderChange::GroupDeleted { group } => self.delete(&group),
            ExploderChange::MemberJoined { group, handle, number, address, salt, .. } => {
                self.join(group, handle, number, address, salt.as_ref());
            }
            ExploderChange::MemberLeft { group, handle } => self.leave(&group, &handle),
            ExploderChange::Statement { .. } => {}
        }
    }
}

impl follow::Roster for Roster {
    type Change = ExploderChange;
    const VIEW: View = View::Exploder;

    fn cursor(&self) -> Cursor {
        self.read().cursor.clone()
    }

    /// Each change goes into memory as it is written down, since those of one page build on each other. When the commit
    /// fails, the place in the feed stays: the same changes come again, and taking one twice is the same as once.
    fn apply(&self, changes: Vec<(u64, ExploderChange)>, cursor: &Cursor) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut pins = self.pins();
        let mut turn = self.owners.turn();
        for (_, change) in changes {
            let Some(change) = owners::screen(change, &mut turn, &mut pins)? else { continue };
            let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
            directory.record(&change, &mut batch)?;
            directory.apply(change);
        }
        let signed = turn.finish(&mut batch)?;
        batch.put(META, CURSOR, cursor)?;
        self.store.commit(batch)?;
        signed.in_force();
        self.directory.write().unwrap_or_else(PoisonError::into_inner).cursor = cursor.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use twinseal_proto::encoding::B64;
    use twinseal_proto::ids::FeedId;
    use twinseal_svc::follow::Roster as _;

    fn trust(generation: u64) -> FeedTrust {
        FeedTrust { feed: FeedId::from_random([1; 16]), generation, key: B64(Vec::new()) }
    }

    fn open(dir: &std::path::Path, generation: u64) -> Roster {
        Roster::open(Store::open(&dir.join("index")).unwrap().store, &trust(generation), ListPins::load(dir).unwrap())
            .unwrap()
    }

    fn group() -> GroupId {
        GroupId::from_random([2; 16])
    }

    fn joined(n: u8) -> ExploderChange {
        ExploderChange::MemberJoined {
            group: group(),
            handle: Handle::from_random([n; 16]),
            number: MemberNumber(u32::from(n)),
            address: format!("M{n}@Members.test").parse().unwrap(),
            salt: None,
            signed: None,
        }
    }

    fn created() -> ExploderChange {
        ExploderChange::GroupCreated {
            group: group(),
            list: "team@lists.test".parse().unwrap(),
            settings: ListSettings::default(),
            signed: false,
        }
    }

    fn take(roster: &Roster, changes: Vec<ExploderChange>, sequence: u64) {
        let cursor = Cursor { sequence, ..roster.cursor() };
        roster.apply(changes.into_iter().map(|c| (sequence, c)).collect(), &cursor).unwrap();
    }

    #[test]
    fn the_roster_follows_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let list: ListAddress = "team@lists.test".parse().unwrap();
        {
            let roster = open(dir.path(), 1);
            assert!(!roster.known() && roster.list(&list).is_none());
            take(&roster, vec![created(), joined(3), joined(4), joined(5)], 4);
            let left = ExploderChange::MemberLeft { group: group(), handle: Handle::from_random([4; 16]) };
            let settings = ListSettings { max_size: 7, ..ListSettings::default() };
            take(&roster, vec![left, ExploderChange::GroupChanged { group: group(), settings, signed: false }], 6);
        }
        let roster = open(dir.path(), 1);
        assert!(roster.known());
        assert_eq!(roster.sequence(), 6);
        assert_eq!(roster.list(&list).unwrap().settings.max_size, 7);
        let mut members = roster.members(&group());
        members.sort();
        assert_eq!(members, [3, 5].map(MemberNumber));
        let address = "m3@members.TEST".parse().unwrap();
        assert_eq!(roster.member_by_address(&group(), &address), Some(MemberNumber(3)));
        assert_eq!(roster.member(MemberNumber(3)).unwrap().address, address);
        assert!(roster.member(MemberNumber(4)).is_none());
        take(&roster, vec![ExploderChange::GroupDeleted { group: group() }], 7);
        assert!(roster.list(&list).is_none() && roster.members(&group()).is_empty());
        drop(roster);
        assert!(open(dir.path(), 1).members(&group()).is_empty());
    }

    #[test]
    fn changes_of_one_page_build_on_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let roster = open(dir.path(), 1);
        let settings = ListSettings { max_size: 9, ..ListSettings::default() };
        let changed = ExploderChange::GroupChanged { group: group(), settings, signed: false };
        take(&roster, vec![created(), joined(1), changed, joined(2)], 4);
        assert_eq!(roster.list(&"team@lists.test".parse().unwrap()).unwrap().settings.max_size, 9);
        take(&roster, vec![joined(3), ExploderChange::GroupDeleted { group: group() }], 6);
        drop(roster);
        let again = open(dir.path(), 1);
        assert!(again.members(&group()).is_empty() && again.member(MemberNumber(3)).is_none());
    }

    #[test]
    fn another_generation_is_followed_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        take(&open(dir.path(), 1), vec![created(), joined(3)], 2);
        let roster = open(dir.path(), 2);
        assert!(!roster.known() && roster.members(&group()).is_empty());
    }
}
