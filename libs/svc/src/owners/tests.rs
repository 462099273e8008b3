#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use twinseal_proto::roster::{Entry, EntryStatus, Head, Role, Statement};

const TABLES: Tables = Tables { pins: Table(1), entries: Table(2), statements: Table(3), alarms: Table(4) };

struct Owner {
    key: PKey<Private>,
    roster: OwnerRoster,
}

impl Owner {
    fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        Self { roster: OwnerRoster::pin(id(), Digest::of(&key.public_key_to_der().unwrap())), key }
    }

    fn name(&self) -> Digest {
        Digest::of(&self.key.public_key_to_der().unwrap())
    }

    fn sign(&mut self, statement: &Statement) -> SignedStatement {
        let signed = statement.sign(&self.key).unwrap();
        self.roster.accept(&signed).unwrap();
        signed
    }

    fn entry(&mut self, n: u8) -> SignedStatement {
        let entry = Entry {
            group: id(),
            handle: handle(n),
            sequence: self.roster.state.high + 1,
            role: Role::Member,
            key: Digest::of(&[n]),
            address: Digest([n; 32]),
            status: EntryStatus::Active,
            not_before: UnixTime(0),
            not_after: UnixTime::now().plus(1000),
        };
        self.sign(&Statement::Entry(entry))
    }

    fn head(&mut self) -> SignedStatement {
        let (sequence, digest) = (self.roster.state.high + 1, self.roster.digest());
        self.sign(&Statement::Head(Head { group: id(), sequence, digest, issued: UnixTime::now() }))
    }
}

fn id() -> GroupId {
    GroupId::from_random([1; 16])
}

fn handle(n: u8) -> Handle {
    Handle::from_random([n; 16])
}

fn open(dir: &std::path::Path) -> OwnerBook {
    OwnerBook::open(Store::open(&dir.join("index")).unwrap().store, TABLES, "test").unwrap()
}

fn turn(book: &OwnerBook, work: impl FnOnce(&mut Turn<'_>)) {
    let mut turn = book.turn();
    work(&mut turn);
    let mut batch = Batch::default();
    let taken = turn.finish(&mut batch).unwrap();
    book.store.commit(batch).unwrap();
    taken.in_force();
}

fn alarms(book: &OwnerBook) -> u64 {
    book.standing(&id(), true, UnixTime::now()).unwrap().alarm.map_or(0, |alarm| alarm.number)
}

fn live(book: &OwnerBook) -> Vec<Handle> {
    book.get(&id()).unwrap().roster.live.keys().copied().collect()
}

#[test]
fn a_turn_that_is_not_finished_did_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (book, mut owner) = (open(dir.path()), Owner::new());
    book.pin(id(), owner.name(), false).unwrap();
    let entry = owner.entry(1);
    let mut unfinished = book.turn();
    assert_eq!(unfinished.member(id(), handle(1), Some(&entry), Binding::Key(&[1])), Membership::Signed);
    assert!(unfinished.is_live(&id(), &handle(1)));
    drop(unfinished);
    assert!(live(&book).is_empty());
    // The same again is not taken for a replay.
    turn(&book, |turn| {
        assert_eq!(turn.member(id(), handle(1), Some(&entry), Binding::Key(&[1])), Membership::Signed);
    });
    assert_eq!((live(&book), alarms(&book)), (vec![handle(1)], 0));
}

#[test]
fn who_left_before_the_pin_is_not_in_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (book, mut owner) = (open(dir.path()), Owner::new());
    let (one, two, three) = (owner.entry(1), owner.entry(2), owner.entry(3));
    let first = owner.head();
    turn(&book, |turn| {
        for (n, entry) in [(1, &one), (2, &two), (3, &three)] {
            assert_eq!(turn.member(id(), handle(n), Some(entry), Binding::Key(&[n])), Membership::Unpinned);
        }
        assert_eq!(turn.statement(id(), &first), None);
        turn.left(&id(), &handle(1)).unwrap();
    });
    turn(&book, |turn| turn.left(&id(), &handle(2)).unwrap());
    book.pin(id(), owner.name(), false).unwrap();
    assert_eq!((live(&book), alarms(&book)), (vec![handle(3)], 0));
    // The old head vouches for others too; a new one is wanted.
    assert!(book.unserved(&id(), true, UnixTime::now()).unwrap().contains("head"));
    owner.roster.left(&handle(1));
    owner.roster.left(&handle(2));
    let head = owner.head();
    turn(&book, |turn| assert_eq!(turn.statement(id(), &head), Some(Accepted::Head)));
    assert_eq!((book.unserved(&id(), true, UnixTime::now()), alarms(&book)), (None, 0));
}

#[test]
fn what_is_told_anew_brings_nobody_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Owner::new();
    let (one, two) = (owner.entry(1), owner.entry(2));
    let head = owner.head();
    {
        let book = open(dir.path());
        book.pin(id(), owner.name(), false).unwrap();
        turn(&book, |turn| {
            for (n, entry) in [(1, &one), (2, &two)] {
                assert_eq!(turn.member(id(), handle(n), Some(entry), Binding::Key(&[n])), Membership::Signed);
            }
            assert_eq!(turn.statement(id(), &head), Some(Accepted::Head));
        });
        turn(&book, |turn| turn.left(&id(), &handle(2)).unwrap());
    }
    let book = open(dir.path());
    assert_eq!(live(&book), [handle(1)]);
    let told = [(id(), &one), (id(), &two), (id(), &head)];
    turn(&book, |turn| {
        turn.resync(told, []);
        assert_eq!(turn.member(id(), handle(1), Some(&one), Binding::Key(&[1])), Membership::Signed);
        assert_eq!(turn.member(id(), handle(2), Some(&two), Binding::Key(&[2])), Membership::Refused);
        assert_eq!(turn.statement(id(), &head), None);
    });
    assert_eq!((live(&book), alarms(&book)), (vec![handle(1)], 2));
    assert_eq!(book.unserved(&id(), true, UnixTime::now()), None);
    // Told anew without anybody: nobody is in.
    turn(&book, |turn| turn.resync([], []));
    assert!(live(&book).is_empty());
    drop(book);
    let book = open(dir.path());
    assert!(live(&book).is_empty());
    assert_eq!(alarms(&book), 2);
    assert!(book.acknowledge(&id()).is_ok() && alarms(&book) == 0);
    assert!(matches!(book.pin(id(), Digest([9; 32]), false), Err(PinError::Other(_))));
}

#[test]
fn the_words_of_an_alarm_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (book, owner) = (open(dir.path()), Owner::new());
    book.pin(id(), owner.name(), false).unwrap();
    let text = format!("{{\"kind\":\"{}\\n\"}}", "x".repeat(3000));
    let rubbish = SignedStatement { text, ..owner.roster_statement() };
    turn(&book, |turn| assert_eq!(turn.statement(id(), &rubbish), None));
    let alarm = book.standing(&id(), true, UnixTime::now()).unwrap().alarm.unwrap();
    assert!(alarm.reason.len() <= MAX_REASON && !alarm.reason.contains('\n'), "{alarm}");
}

impl Owner {
    /// Any statement of this owner.
    fn roster_statement(&self) -> SignedStatement {
        Self { key: self.key.clone(), roster: self.roster.clone() }.head()
    }
}
