//! A certsrv that lies to the exploder about a list whose owner was pinned.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use twinseal_proto::feed::{Cursor, ListSettings};
use twinseal_proto::ids::{FeedId, MemberNumber};
use twinseal_proto::roster::{
    Entry, EntryStatus, HEAD_SECONDS, Head, OwnerRoster, OwnersChange, Removal, Role, SKEW_SECONDS, Statement,
    address_digest,
};
use twinseal_svc::follow::Roster as _;
use twinseal_svc::join::FeedTrust;

struct Signed {
    dir: tempfile::TempDir,
    roster: Option<Roster>,
    owner: PKey<Private>,
    said: OwnerRoster,
}

fn p256() -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()).unwrap()
}

fn name(key: &PKey<Private>) -> Digest {
    Digest::of(&key.public_key_to_der().unwrap())
}

fn group() -> GroupId {
    GroupId::from_random([2; 16])
}

fn list() -> ListAddress {
    "team@lists.test".parse().unwrap()
}

fn handle(n: u8) -> Handle {
    Handle::from_random([n; 16])
}

fn address(n: u8) -> MailAddress {
    format!("m{n}@members.test").parse().unwrap()
}

fn created(group: GroupId, list: ListAddress, signed: bool) -> ExploderChange {
    ExploderChange::GroupCreated { group, list, settings: ListSettings::default(), signed }
}

fn joined_at(n: u8, address: MailAddress, signed: Option<SignedStatement>) -> ExploderChange {
    let (number, salt) = (MemberNumber(u32::from(n)), Some(B64(vec![n; 16])));
    ExploderChange::MemberJoined { group: group(), handle: handle(n), number, address, salt, signed }
}

fn joined(n: u8, signed: Option<SignedStatement>) -> ExploderChange {
    joined_at(n, address(n), signed)
}

fn entry(n: u8, sequence: u64) -> Entry {
    Entry {
        group: group(),
        handle: handle(n),
        sequence,
        role: Role::Member,
        key: Digest([n; 32]),
        address: address_digest(&[n; 16], &address(n)),
        status: EntryStatus::Active,
        not_before: UnixTime(0),
        not_after: UnixTime::now().plus(100 * 86_400),
    }
}

fn open(dir: &Path, generation: u64) -> Roster {
    let trust = FeedTrust { feed: FeedId::from_random([1; 16]), generation, key: B64(Vec::new()), resync: false };
    let store = Store::open(&dir.join("index")).unwrap().store;
    Roster::open(store, &trust, ListPins::load(dir).unwrap()).unwrap()
}

impl Signed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owner = p256();
        let said = OwnerRoster::pin(group(), name(&owner));
        Self { roster: Some(open(dir.path(), 1)), dir, owner, said }
    }

    fn reopen(&mut self, generation: u64) {
        self.roster = None;
        self.roster = Some(open(self.dir.path(), generation));
    }

    fn roster(&self) -> &Roster {
        self.roster.as_ref().unwrap()
    }

    fn sign(&mut self, statement: &Statement) -> SignedStatement {
        let signed = statement.sign(&self.owner).unwrap();
        self.said.accept(&signed).unwrap();
        signed
    }

    fn entry(&mut self, n: u8) -> SignedStatement {
        let entry = entry(n, self.said.state.high + 1);
        self.sign(&Statement::Entry(entry))
    }

    fn head(&mut self) -> ExploderChange {
        let (sequence, digest) = (self.said.state.high + 1, self.said.digest());
        let head = Head { group: group(), sequence, digest, issued: UnixTime::now() };
        ExploderChange::Statement { group: group(), statement: self.sign(&Statement::Head(head)) }
    }

    fn take(&self, changes: Vec<ExploderChange>) {
        let before = self.roster().cursor();
        let cursor = Cursor { sequence: before.sequence + changes.len() as u64, ..before };
        self.roster().apply(changes.into_iter().map(|change| (cursor.sequence, change)).collect(), &cursor).unwrap();
    }

    fn alarms(&self) -> u64 {
        let standings = self.roster().standings(UnixTime::now());
        standings.iter().filter_map(|standing| standing.alarm.as_ref()).map(|alarm| alarm.number).sum()
    }

    fn recipients(&self) -> Vec<u32> {
        let mut found: Vec<u32> =
            self.roster().recipients(&group(), None, UnixTime::now()).into_iter().map(|number| number.0).collect();
        found.sort_unstable();
        found
    }

    fn unserved(&self) -> Option<String> {
        self.roster().unserved(&group(), UnixTime::now())
    }
}

#[test]
fn a_list_that_should_be_signed_waits_for_its_pin_and_for_a_head() {
    let mut signed = Signed::new();
    let (one, two) = (signed.entry(1), signed.entry(2));
    signed.take(vec![created(group(), list(), true), joined(1, Some(one)), joined(2, Some(two))]);
    assert!(signed.unserved().unwrap().contains("no owner is pinned"));
    assert!(signed.roster().list(&list()).is_some(), "intake goes on");
    assert!(signed.roster().member_by_address(&group(), &address(1)).is_some());
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    assert!(signed.unserved().unwrap().contains("no owner has signed"));
    let head = signed.head();
    signed.take(vec![head]);
    assert_eq!((signed.unserved(), signed.alarms(), signed.recipients()), (None, 0, vec![1, 2]));
    // After its time the head is good no more.
    let late = UnixTime::now().plus(HEAD_SECONDS + SKEW_SECONDS);
    assert!(signed.roster().unserved(&group(), late).unwrap().contains("not good now"));
    let member = signed.roster().member(MemberNumber(1)).unwrap();
    assert_eq!(signed.roster().delivery(&member, late), Delivery::Later);
    // All of it outlives a restart.
    signed.reopen(1);
    assert_eq!((signed.unserved(), signed.recipients()), (None, vec![1, 2]));
    // Another pin is refused unless it is meant.
    let thief = name(&p256());
    assert!(matches!(signed.roster().pin(&list(), thief, false), Err(PinError::Other(_))));
    signed.roster().pin(&list(), thief, true).unwrap();
    assert!(signed.unserved().unwrap().contains("no owner has signed"));
}

#[test]
fn whatever_no_owner_signed_is_refused_and_the_others_go_on() {
    let mut signed = Signed::new();
    // A pin may come before the list.
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    let (one, two, three) = (signed.entry(1), signed.entry(2), signed.entry(3));
    let head = signed.head();
    let here = |n| joined(n, Some([&one, &two, &three][usize::from(n) - 1].clone()));
    signed.take(vec![created(group(), list(), true), here(1), here(2), here(3), head]);
    assert_eq!((signed.alarms(), signed.recipients()), (0, vec![1, 2, 3]));

    // A ghost, without a word and with another's.
    signed.take(vec![joined(9, None), joined(9, Some(one.clone()))]);
    let own = Statement::Entry(entry(9, 50)).sign(&p256()).unwrap();
    signed.take(vec![joined(9, Some(own))]);
    assert_eq!((signed.alarms(), signed.recipients()), (3, vec![1, 2, 3]));
    assert_eq!(signed.roster().member_by_address(&group(), &address(9)), None);

    // A member's copies to somebody else's address.
    signed.take(vec![joined_at(2, "thief@elsewhere.test".parse().unwrap(), Some(two.clone()))]);
    assert_eq!(signed.alarms(), 4);
    assert_eq!(signed.roster().member(MemberNumber(2)).unwrap().address, address(2));

    // The same list with another group behind it, the same group with another list, and no signatures any more.
    let other = GroupId::from_random([7; 16]);
    let unsigned = ExploderChange::GroupChanged { group: group(), settings: ListSettings::default(), signed: false };
    signed.take(vec![created(group(), "other@lists.test".parse().unwrap(), true), unsigned]);
    assert_eq!(signed.alarms(), 6);
    signed.take(vec![created(other, list(), false)]);
    assert_eq!(signed.alarms(), 7);
    assert_eq!(signed.roster().list(&list()).unwrap().group, group());
    assert_eq!((signed.unserved(), signed.recipients()), (None, vec![1, 2, 3]));

    // A removal by an owner, one by certsrv; neither comes back by the old entry.
    let sequence = signed.said.state.high + 1;
    let removal = Statement::Removal(Removal { group: group(), handle: handle(2), sequence });
    let statement = signed.sign(&removal);
    signed.said.left(&handle(3));
    let head = signed.head();
    let ExploderChange::Statement { statement: early, .. } = &head else { unreachable!() };
    signed.take(vec![ExploderChange::Statement { group: group(), statement: early.clone() }]);
    assert_eq!(signed.alarms(), 8, "a removal was held back");
    signed.take(vec![
        ExploderChange::MemberLeft { group: group(), handle: handle(3) },
        ExploderChange::Statement { group: group(), statement },
        head,
    ]);
    assert_eq!((signed.alarms(), signed.recipients()), (8, vec![1]));
    signed.take(vec![joined(2, Some(two)), joined(3, Some(three))]);
    assert_eq!((signed.alarms(), signed.recipients()), (10, vec![1]));

    // Deleted and made again: the pin holds, and with it the numbers of the statements.
    let delete = ExploderChange::GroupDeleted { group: group() };
    signed.take(vec![delete, created(other, list(), false), created(group(), list(), true), joined(1, Some(one))]);
    assert_eq!((signed.alarms(), signed.recipients()), (12, vec![]));
    assert!(signed.roster().list(&list()).is_some_and(|list| list.group == group()));
}

#[test]
fn pins_outlive_the_index_and_the_feed_may_be_read_again() {
    let mut signed = Signed::new();
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    let (one, head) = (signed.entry(1), signed.head());
    let told = vec![created(group(), list(), true), joined(1, Some(one)), head];
    signed.take(told.clone());
    signed.roster = None;
    std::fs::remove_dir_all(signed.dir.path().join("index")).unwrap();
    signed.reopen(1);
    signed.take(told.clone());
    assert_eq!((signed.alarms(), signed.unserved(), signed.recipients()), (0, None, vec![1]));
    let other = created(GroupId::from_random([7; 16]), list(), false);
    signed.take(vec![other]);
    assert_eq!(signed.alarms(), 1);
    signed.reopen(2);
    let place = Cursor { generation: 2, ..signed.roster().cursor() };
    signed.roster().replace(told.into_iter().map(|change| (1, change)).collect(), &place).unwrap();
    assert_eq!((signed.alarms(), signed.unserved(), signed.recipients()), (1, None, vec![1]));
    std::fs::write(signed.dir.path().join(FILE), b"{").unwrap();
    assert!(ListPins::load(signed.dir.path()).is_err());
}

#[test]
fn an_entry_that_does_not_hold_now_delays_the_copies() {
    let mut signed = Signed::new();
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    let over = Entry { not_after: UnixTime(5), ..entry(1, 1) };
    let over = signed.sign(&Statement::Entry(over));
    let head = signed.head();
    signed.take(vec![created(group(), list(), true), joined(1, Some(over)), head]);
    let member = signed.roster().member(MemberNumber(1)).unwrap();
    assert_eq!(signed.roster().delivery(&member, UnixTime::now()), Delivery::Later);
    assert_eq!(signed.recipients(), [1]);
    let renewed = signed.entry(1);
    signed.take(vec![ExploderChange::Statement { group: group(), statement: renewed }]);
    assert_eq!(signed.roster().delivery(&member, UnixTime::now()), Delivery::Now);
}

#[test]
fn what_owners_signed_outlives_a_roster_that_is_told_anew() {
    let mut signed = Signed::new();
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    let (one, two) = (signed.entry(1), signed.entry(2));
    let here = vec![created(group(), list(), true), joined(1, Some(one.clone())), joined(2, Some(two.clone()))];
    signed.take(here);
    let (second, sequence) = (p256(), signed.said.state.high + 1);
    let (add, remove) = (vec![name(&second)], vec![name(&signed.owner)]);
    let change = Statement::Owners(OwnersChange { group: group(), sequence, previous: Digest([0; 32]), add, remove });
    let change = ExploderChange::Statement { group: group(), statement: signed.sign(&change) };
    signed.owner = second;
    let head = signed.head();
    // Two is taken out by certsrv alone: the head counts it.
    let left = ExploderChange::MemberLeft { group: group(), handle: handle(2) };
    signed.take(vec![change.clone(), head.clone(), left.clone()]);
    signed.said.left(&handle(2));
    let three = signed.entry(3);
    let counted = ExploderChange::Statement { group: group(), statement: two.clone() };
    let told = [
        created(group(), list(), true),
        change,
        counted,
        joined(1, Some(one.clone())),
        joined(3, Some(three)),
        head,
        left,
    ];
    let replace = |signed: &Signed, told: &[ExploderChange]| {
        let place = signed.roster().cursor();
        let place = Cursor { sequence: place.sequence + 100, ..place };
        signed.roster().replace(told.iter().map(|change| (1, change.clone())).collect(), &place).unwrap();
    };
    replace(&signed, &told);
    for reopened in [false, true] {
        if reopened {
            signed.reopen(1);
        }
        assert_eq!((signed.alarms(), signed.unserved(), signed.recipients()), (0, None, vec![1, 3]));
        assert_eq!(signed.roster().owners.get(&group()).unwrap().roster, signed.said);
    }

    // Whoever has the pins alone comes to the same by the snapshot.
    signed.roster = None;
    std::fs::remove_dir_all(signed.dir.path().join("index")).unwrap();
    signed.reopen(1);
    replace(&signed, &told);
    assert_eq!((signed.alarms(), signed.unserved(), signed.recipients()), (0, None, vec![1, 3]));
    assert_eq!(signed.roster().owners.get(&group()).unwrap().roster, signed.said);

    // A snapshot that brings somebody back, or takes the signatures away, is a lie like any other.
    let mut lie = told.to_vec();
    lie.pop();
    lie.push(joined(2, Some(two)));
    lie[0] = created(group(), list(), false);
    replace(&signed, &lie);
    assert!(signed.alarms() >= 2);
    assert_eq!((signed.unserved(), signed.recipients()), (None, vec![1, 3]));
    // A list that is missing from a snapshot comes back with its pin, and its members with an owner's word only.
    replace(&signed, &[]);
    assert!(signed.roster().list(&list()).is_none());
    let lost = signed.alarms();
    replace(&signed, &told);
    assert!(signed.alarms() > lost && signed.recipients().is_empty());
    assert!(signed.roster().owners.get(&group()).is_some());
}

#[test]
fn whoever_left_before_the_pin_is_not_in_after_it() {
    let mut signed = Signed::new();
    let (one, two) = (signed.entry(1), signed.entry(2));
    let head = signed.head();
    signed.take(vec![created(group(), list(), true), joined(1, Some(one)), joined(2, Some(two)), head]);
    signed.take(vec![ExploderChange::MemberLeft { group: group(), handle: handle(2) }]);
    signed.said.left(&handle(2));
    let head = signed.head();
    signed.take(vec![head]);
    signed.roster().pin(&list(), name(&signed.owner), false).unwrap();
    assert_eq!((signed.alarms(), signed.unserved(), signed.recipients()), (0, None, vec![1]));
}
