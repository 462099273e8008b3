//! Who is on which list: followed from certsrv's feed, kept in the index, answered from memory.

use crate::owners::{self, ListPin, ListPins};
use crate::store::{CURSOR, LIST_OWNERS, LISTS, MEMBERS, META, POSTING_TOKENS, member_key};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{Cursor, Delivery, DeliveryOptions, ExploderChange, ListSettings, View};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::roster::address_digest;
use twinseal_proto::secret::Token;
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
    /// What the member chose.
    pub(crate) options: DeliveryOptions,
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
    #[serde(default)]
    options: DeliveryOptions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// A posting token, by its digest (DESIGN 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PostingToken {
    address: MailAddress,
    expires: UnixTime,
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
    posting_tokens: HashMap<Digest, PostingToken>,
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
    /// Reads the index. One of another feed than `trust` is emptied: it is followed from the beginning. One of an earlier
    /// generation stays what mail is taken by, until a snapshot of the accepted one takes its place.
    ///
    /// # Errors
    /// The index's.
    pub(crate) fn open(store: Store, trust: &FeedTrust, pins: ListPins) -> Result<Self, StoreError> {
        let start = Cursor::start(trust.feed, trust.generation);
        let cursor = store.get::<Cursor>(META, CURSOR)?;
        let kept = cursor.filter(|c| c.feed == trust.feed);
        let mut directory = Directory::empty(kept.unwrap_or(start));
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
                directory.join(group, handle, row.number, row.address, row.digest);
                directory.choose(&group, &handle, row.options);
            }
        }
        for row in store.scan::<PostingToken>(POSTING_TOKENS, b"") {
            let (key, row) = row?;
            if let Ok(digest) = key.try_into().map(Digest) {
                directory.posting_tokens.insert(digest, row);
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

    /// Whose posting token this is, while it is good. It is looked up by its digest: how long that takes says nothing
    /// about other tokens. Whether its holder may post to a list is another question.
    #[cfg_attr(not(test), expect(dead_code, reason = "asked by submission once it authenticates"))]
    pub(crate) fn poster(&self, token: &Token, now: UnixTime) -> Option<MailAddress> {
        let known = self.read();
        known.posting_tokens.get(&token.digest()).filter(|row| now < row.expires).map(|row| row.address.clone())
    }

    /// How many are in the group now.
    pub(crate) fn count(&self, group: &GroupId) -> usize {
        self.read().groups.get(group).map_or(0, |known| known.handles.len())
    }

    /// Who is sent copies of a post at `now`: everybody in the group, as far as its owners signed for them, but those who
    /// want none, and its author if that one wants no copies of own posts (K8, K9).
    pub(crate) fn recipients(&self, group: &GroupId, author: Option<MemberNumber>, now: UnixTime) -> Vec<MemberNumber> {
        let directory = self.read();
        let Some(known) = directory.groups.get(group) else { return Vec::new() };
        let wants = |number: &MemberNumber| {
            directory.members.get(number).is_some_and(|member| {
                member.options.delivery == Delivery::On
                    && (member.options.own_posts || author != Some(*number))
                    && self.delivery(member, now) != owners::Delivery::Never
            })
        };
        known.handles.values().copied().filter(wants).collect()
    }
}

/// The digest by which an owner names an address.
fn salted(salt: Option<&B64>, address: &MailAddress) -> Option<Digest> {
    salt.map(|salt| address_digest(salt.as_ref(), address))
}

fn clear(store: &Store) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    // The pins of the owners are in a file, and all that was signed is told again.
    let signed = [LIST_OWNERS.pins, LIST_OWNERS.entries, LIST_OWNERS.statements];
    for table in [META, LISTS, MEMBERS, POSTING_TOKENS].into_iter().chain(signed) {
        for row in store.scan::<serde::de::IgnoredAny>(table, b"") {
            batch.delete(table, &row?.0);
        }
    }
    store.commit(batch)
}

impl Directory {
    fn empty(cursor: Cursor) -> Self {
        Self {
            cursor,
            lists: HashMap::new(),
            groups: HashMap::new(),
            members: HashMap::new(),
            posting_tokens: HashMap::new(),
        }
    }

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

    fn join(
        &mut self,
        group: GroupId,
        handle: Handle,
        number: MemberNumber,
        address: MailAddress,
        digest: Option<Digest>,
    ) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        let member = Arc::new(Member { group, handle, address, options: DeliveryOptions::default(), digest });
        known.handles.insert(handle, number);
        known.addresses.insert(Address(Arc::clone(&member)), number);
        self.members.insert(number, member);
    }

    fn choose(&mut self, group: &GroupId, handle: &Handle, options: DeliveryOptions) {
        let Some(known) = self.groups.get_mut(group) else { return };
        let Some(number) = known.handles.get(handle) else { return };
        let Some(member) = self.members.get(number) else { return };
        let member = Arc::new(Member { options, ..Member::clone(member) });
        if known.addresses.get(&member.address) == Some(number) {
            // The key is the member too.
            known.addresses.remove(&member.address);
            known.addresses.insert(Address(Arc::clone(&member)), *number);
        }
        self.members.insert(*number, member);
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
                let (address, options) = (address.clone(), DeliveryOptions::default());
                let digest = salted(salt.as_ref(), &address);
                batch.put(MEMBERS, &member_key(group, handle), &MemberRow { number: *number, address, options, digest })
            }
            ExploderChange::MemberOptions { group, handle, options } => {
                let number = self.groups.get(group).and_then(|known| known.handles.get(handle));
                match number.and_then(|number| Some((*number, self.members.get(number)?))) {
                    Some((number, member)) => {
                        let (address, digest) = (member.address.clone(), member.digest);
                        let row = MemberRow { number, address, options: *options, digest };
                        batch.put(MEMBERS, &member_key(group, handle), &row)
                    }
                    None => Ok(()),
                }
            }
            ExploderChange::MemberLeft { group, handle } => {
                batch.delete(MEMBERS, &member_key(group, handle));
                Ok(())
            }
            ExploderChange::PostingToken { digest, address, expires } => {
                let row = PostingToken { address: address.clone(), expires: *expires };
                batch.put(POSTING_TOKENS, &digest.0, &row)
            }
            ExploderChange::PostingTokenEnded { digest } => {
                batch.delete(POSTING_TOKENS, &digest.0);
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
                let digest = salted(salt.as_ref(), &address);
                self.join(group, handle, number, address, digest);
            }
            ExploderChange::MemberOptions { group, handle, options } => self.choose(&group, &handle, options),
            ExploderChange::MemberLeft { group, handle } => self.leave(&group, &handle),
            ExploderChange::PostingToken { digest, address, expires } => {
                self.posting_tokens.insert(digest, PostingToken { address, expires });
            }
            ExploderChange::PostingTokenEnded { digest } => {
                self.posting_tokens.remove(&digest);
            }
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

    /// The old directory is asked until the new one is whole and durable: no list is missing in between. What owners
    /// signed stays: the pins, who the owners are, and how far their statements have come.
    fn replace(&self, changes: Vec<(u64, ExploderChange)>, cursor: &Cursor) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for table in [LISTS, MEMBERS, POSTING_TOKENS] {
            for row in self.store.scan::<serde::de::IgnoredAny>(table, b"") {
                batch.delete(table, &row?.0);
            }
        }
        let mut directory = Directory::empty(cursor.clone());
        let mut pins = self.pins();
        let mut turn = self.owners.turn();
        owners::resync(&changes, &mut turn);
        for (_, change) in changes {
            let Some(change) = owners::screen(change, &mut turn, &mut pins)? else { continue };
            directory.record(&change, &mut batch)?;
            directory.apply(change);
        }
        let signed = turn.finish(&mut batch)?;
        batch.put(META, CURSOR, cursor)?;
        self.store.commit(batch)?;
        signed.in_force();
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = directory;
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
        FeedTrust { feed: FeedId::from_random([1; 16]), generation, key: B64(Vec::new()), resync: false }
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
        let mut members = roster.recipients(&group(), None, UnixTime::now());
        members.sort();
        assert_eq!(members, [3, 5].map(MemberNumber));
        let address = "m3@members.TEST".parse().unwrap();
        assert_eq!(roster.member_by_address(&group(), &address), Some(MemberNumber(3)));
        assert_eq!(roster.member(MemberNumber(3)).unwrap().address, address);
        assert!(roster.member(MemberNumber(4)).is_none());
        take(&roster, vec![ExploderChange::GroupDeleted { group: group() }], 7);
        assert!(roster.list(&list).is_none() && roster.recipients(&group(), None, UnixTime::now()).is_empty());
        drop(roster);
        assert!(open(dir.path(), 1).recipients(&group(), None, UnixTime::now()).is_empty());
    }

    #[test]
    fn posting_tokens_are_known_by_their_digest_until_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let (now, expires) = (UnixTime(1_800_000_000), UnixTime(1_800_000_100));
        let tokens = ["one", "two"].map(|text| Token::presented(text.into()));
        let address: MailAddress = "m3@members.test".parse().unwrap();
        let made = tokens.each_ref().map(|token| ExploderChange::PostingToken {
            digest: token.digest(),
            address: address.clone(),
            expires,
        });
        take(&open(dir.path(), 1), made.into(), 2);
        {
            let roster = open(dir.path(), 1);
            assert_eq!(roster.poster(&tokens[0], now), Some(address.clone()));
            assert_eq!(roster.poster(&tokens[0], expires), None, "out of time");
            assert_eq!(roster.poster(&Token::presented("three".into()), now), None);
            // The digest is no token.
            assert_eq!(roster.poster(&Token::presented(tokens[0].digest().to_string()), now), None);
            take(&roster, vec![ExploderChange::PostingTokenEnded { digest: tokens[0].digest() }], 3);
            assert_eq!(roster.poster(&tokens[0], now), None);
        }
        let roster = open(dir.path(), 1);
        assert_eq!(roster.poster(&tokens[0], now), None);
        assert_eq!(roster.poster(&tokens[1], now), Some(address));
        // What a snapshot does not tell of is gone.
        let place = Cursor { sequence: 9, ..roster.cursor() };
        roster.replace(vec![(1, created())], &place).unwrap();
        assert_eq!(roster.poster(&tokens[1], now), None);
        drop(roster);
        assert_eq!(open(dir.path(), 1).poster(&tokens[1], now), None);
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
        assert!(
            again.recipients(&group(), None, UnixTime::now()).is_empty() && again.member(MemberNumber(3)).is_none()
        );
    }

    #[test]
    fn members_choose_what_they_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let sorted = |roster: &Roster, author| {
            let mut found = roster.recipients(&group(), author, UnixTime::now());
            found.sort();
            found.into_iter().map(|number| number.0).collect::<Vec<_>>()
        };
        let chose = |n: u8, delivery, own_posts| ExploderChange::MemberOptions {
            group: group(),
            handle: Handle::from_random([n; 16]),
            options: DeliveryOptions { delivery, own_posts, mode: None },
        };
        {
            let roster = open(dir.path(), 1);
            let page = vec![created(), joined(1), joined(2), joined(3), chose(1, Delivery::Off, true)];
            take(&roster, page, 5);
            take(&roster, vec![chose(2, Delivery::On, false), chose(9, Delivery::Off, true)], 7);
            assert_eq!(sorted(&roster, None), [2, 3]);
        }
        let roster = open(dir.path(), 1);
        assert_eq!(sorted(&roster, Some(MemberNumber(2))), [3]);
        assert_eq!(sorted(&roster, Some(MemberNumber(3))), [2, 3]);
        let address = "m1@members.test".parse().unwrap();
        assert_eq!(roster.member_by_address(&group(), &address), Some(MemberNumber(1)), "may post all the same");
        take(&roster, vec![chose(1, Delivery::On, true)], 8);
        assert_eq!(sorted(&roster, None), [1, 2, 3]);
        let left = ExploderChange::MemberLeft { group: group(), handle: Handle::from_random([1; 16]) };
        take(&roster, vec![left], 9);
        assert_eq!(roster.member_by_address(&group(), &address), None);
    }

    #[test]
    fn another_generation_takes_the_place_of_the_roster_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let other = GroupId::from_random([7; 16]);
        let elsewhere = ExploderChange::GroupCreated {
            group: other,
            list: "other@lists.test".parse().unwrap(),
            settings: ListSettings::default(),
            signed: false,
        };
        take(&open(dir.path(), 1), vec![created(), elsewhere, joined(3), joined(4)], 2);
        let roster = open(dir.path(), 2);
        assert!(roster.known(), "mail is taken by what was known");
        assert_eq!((roster.cursor().generation, roster.count(&group())), (1, 2));
        let place = Cursor { generation: 2, sequence: 9, ..roster.cursor() };
        roster.replace(vec![(1, created()), (1, joined(4)), (8, joined(5))], &place).unwrap();
        let mut opened = Some(roster);
        for _ in 0..2 {
            let roster = opened.take().unwrap_or_else(|| open(dir.path(), 2));
            let mut members = roster.recipients(&group(), None, UnixTime::now());
            members.sort();
            assert_eq!(members, [4, 5].map(MemberNumber));
            assert!(roster.member(MemberNumber(3)).is_none());
            assert!(roster.list(&"other@lists.test".parse().unwrap()).is_none());
            assert_eq!(roster.cursor(), place);
        }
        let again = Roster::open(
            Store::open(&dir.path().join("index")).unwrap().store,
            &FeedTrust { feed: FeedId::from_random([8; 16]), ..trust(1) },
            ListPins::load(dir.path()).unwrap(),
        );
        assert!(!again.unwrap().known(), "another feed's is no roster");
    }
}
