#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::encoding::{B64, Digest};
use crate::ids::{GroupId, Handle, MailAddress};
use crate::time::UnixTime;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn ec(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

fn name(key: &PKey<Private>) -> Digest {
    Digest::of(&key.public_key_to_der().unwrap())
}

fn group() -> GroupId {
    GroupId::from_random([1; 16])
}

fn handle(n: u8) -> Handle {
    Handle::from_random([n; 16])
}

fn entry(n: u8, sequence: u64) -> Entry {
    Entry {
        group: group(),
        handle: handle(n),
        sequence,
        role: Role::Member,
        key: Digest::of(&[n]),
        address: address_digest(&[n; 16], &address(n)),
        status: EntryStatus::Active,
        not_before: NOW,
        not_after: NOW.plus(1000 * 86_400),
    }
}

fn address(n: u8) -> MailAddress {
    format!("M{n}@Members.test").parse().unwrap()
}

struct Owned {
    roster: OwnerRoster,
    owner: PKey<Private>,
}

impl Owned {
    fn new() -> Self {
        let owner = p256();
        Self { roster: OwnerRoster::pin(group(), name(&owner)), owner }
    }

    fn say(&mut self, statement: &Statement) -> Result<Accepted, RosterError> {
        self.roster.accept(&statement.sign(&self.owner).unwrap())
    }

    fn head(&self, sequence: u64, issued: UnixTime) -> Statement {
        Statement::Head(Head { group: group(), sequence, digest: self.roster.digest(), issued })
    }
}

fn removal(n: u8, sequence: u64) -> Statement {
    Statement::Removal(Removal { group: group(), handle: handle(n), sequence })
}

fn owners(sequence: u64, previous: Digest, add: &[Digest], remove: &[Digest]) -> Statement {
    Statement::Owners(OwnersChange { group: group(), sequence, previous, add: add.to_vec(), remove: remove.to_vec() })
}

#[test]
fn a_member_is_served_by_an_entry_under_a_fresh_head() {
    let mut owned = Owned::new();
    owned.say(&Statement::Entry(entry(1, 1))).unwrap();
    assert_eq!(owned.roster.serves(&handle(1), NOW), Err(Unserved::NoHead));
    owned.say(&owned.head(2, NOW)).unwrap();
    assert_eq!(owned.roster.serves(&handle(1), NOW).unwrap().key, Digest::of(&[1]));
    assert_eq!(owned.roster.serves(&handle(2), NOW), Err(Unserved::NotLive));
    // Who is put in after the head is served under it.
    owned.say(&Statement::Entry(entry(2, 3))).unwrap();
    assert!(owned.roster.serves(&handle(2), NOW).is_ok());
    for (at, served) in [
        (UnixTime(NOW.0 - SKEW_SECONDS), true),
        (UnixTime(NOW.0 - SKEW_SECONDS - 1), false),
        (NOW.plus(HEAD_SECONDS - 1), true),
        (NOW.plus(HEAD_SECONDS), false),
    ] {
        assert_eq!(owned.roster.serves(&handle(1), at).is_ok(), served, "{at}");
    }
    let late = NOW.plus(HEAD_SECONDS);
    assert_eq!(owned.roster.serves(&handle(1), late), Err(Unserved::StaleHead { issued: NOW }));
    owned.say(&owned.head(4, late)).unwrap();
    assert!(owned.roster.serves(&handle(1), late).is_ok());
}

#[test]
fn an_entry_holds_in_its_time_alone() {
    let mut owned = Owned::new();
    let short = Entry { not_after: NOW.plus(100), ..entry(1, 1) };
    owned.say(&Statement::Entry(short)).unwrap();
    owned.say(&Statement::Entry(Entry { not_before: NOW.plus(5000), ..entry(2, 2) })).unwrap();
    owned.say(&owned.head(3, NOW)).unwrap();
    assert!(owned.roster.serves(&handle(1), NOW.plus(99)).is_ok());
    assert_eq!(owned.roster.serves(&handle(1), NOW.plus(100)), Err(Unserved::Period));
    assert_eq!(owned.roster.serves(&handle(2), NOW.plus(100)), Err(Unserved::Period));
    assert!(owned.roster.serves(&handle(2), NOW.plus(5000)).is_ok());
    let never = Entry { not_after: NOW, ..entry(3, 4) };
    assert_eq!(owned.say(&Statement::Entry(never)), Err(RosterError::Period));
}

#[test]
fn signatures_of_every_sort_of_key_and_of_no_other() {
    for (key, taken) in [
        (PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(), true),
        (ec(Nid::X9_62_PRIME256V1), true),
        (ec(Nid::SECP384R1), true),
        (PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap(), false),
        (ec(Nid::SECP521R1), false),
        (ec(Nid::SECP256K1), false),
    ] {
        let mut roster = OwnerRoster::pin(group(), name(&key));
        let signed = Statement::Entry(entry(1, 1)).sign(&key).unwrap();
        let expected = if taken { Ok(()) } else { Err(RosterError::Key) };
        assert_eq!(roster.accept(&signed).map(|_| ()), expected, "{:?} {}", key.id(), key.bits());
    }
    let ed25519 = PKey::generate_ed25519().unwrap();
    let signed = SignedStatement {
        key: B64(ed25519.public_key_to_der().unwrap()),
        ..Statement::Entry(entry(1, 1)).sign(&p256()).unwrap()
    };
    assert_eq!(OwnerRoster::pin(group(), signed.signer()).accept(&signed), Err(RosterError::Key));
}

#[test]
fn nothing_but_the_owners_word_is_taken() {
    let mut owned = Owned::new();
    let before = owned.roster.clone();
    let good = Statement::Entry(entry(1, 1)).sign(&owned.owner).unwrap();
    let stranger = Statement::Entry(entry(1, 1)).sign(&p256()).unwrap();
    let posing = SignedStatement { key: good.key.clone(), ..stranger.clone() };
    let changed = SignedStatement { text: good.text.replace("\"sequence\":1", "\"sequence\":2"), ..good.clone() };
    let mut torn = good.clone();
    torn.signature.0.truncate(5);
    let empty = SignedStatement { signature: B64(Vec::new()), ..good.clone() };
    let other = Statement::Entry(Entry { group: GroupId::from_random([2; 16]), ..entry(1, 1) });
    let other = other.sign(&owned.owner).unwrap();
    for (signed, error) in [
        (&stranger, RosterError::NotAnOwner(stranger.signer())),
        (&posing, RosterError::Signature),
        (&changed, RosterError::Signature),
        (&torn, RosterError::Signature),
        (&empty, RosterError::Signature),
        (&other, RosterError::OtherGroup(GroupId::from_random([2; 16]))),
    ] {
        assert_eq!(owned.roster.accept(signed), Err(error));
    }
    for text in [
        String::new(),
        "null".to_owned(),
        good.text.replace("{\"kind\"", "{\"more\":1,\"kind\""),
        good.text.replace("\"role\":\"member\",", ""),
        good.text.replace("\"role\":\"member\"", "\"role\":\"member\",\"role\":\"owner\""),
        good.text.replace("\"entry\"", "\"else\""),
        good.text.replace("\"sequence\":1", "\"sequence\":-1"),
        good.text.replace("\"active\"", "\"passive\""),
    ] {
        let signed = SignedStatement { text: text.clone(), ..good.clone() };
        let refused = owned.roster.accept(&signed);
        assert!(matches!(refused, Err(RosterError::Malformed(_))), "{text}: {refused:?}");
    }
    for long in [
        SignedStatement { text: " ".repeat(MAX_TEXT + 1), ..good.clone() },
        SignedStatement { key: B64(vec![0; 4000]), ..good.clone() },
        SignedStatement { signature: B64(vec![0; 4000]), ..good.clone() },
    ] {
        assert_eq!(owned.roster.accept(&long), Err(RosterError::TooLong));
    }
    // The signature is over the context too: what the key signs elsewhere is no statement.
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &owned.owner).unwrap();
    let bare = signer.sign_oneshot_to_vec(good.text.as_bytes()).unwrap();
    let bare = SignedStatement { signature: B64(bare), ..good.clone() };
    assert_eq!(owned.roster.accept(&bare), Err(RosterError::Signature));
    assert_eq!(owned.roster, before);
    owned.roster.accept(&good).unwrap();
}

#[test]
fn old_statements_are_refused_also_after_a_removal() {
    let mut owned = Owned::new();
    let first = Statement::Entry(entry(1, 5)).sign(&owned.owner).unwrap();
    let head = |owned: &Owned, n| owned.head(n, NOW).sign(&owned.owner).unwrap();
    owned.roster.accept(&first).unwrap();
    let full = head(&owned, 6);
    owned.roster.accept(&full).unwrap();
    // Told once more, an entry in force is no news; whatever else is not above the highest number is replayed.
    assert_eq!(owned.roster.accept(&first), Ok(Accepted::Known(handle(1))));
    let replayed = |sequence, high| Err(RosterError::Replayed { sequence, high });
    assert_eq!(owned.roster.accept(&full), replayed(6, 6));
    assert_eq!(owned.say(&Statement::Entry(entry(2, 4))), replayed(4, 6));
    owned.say(&removal(1, 7)).unwrap();
    assert_eq!(owned.roster.serves(&handle(1), NOW), Err(Unserved::NotLive));
    assert_eq!(owned.roster.accept(&first), replayed(5, 7));
    // The same after certsrv alone took somebody out.
    let second = Statement::Entry(entry(2, 8)).sign(&owned.owner).unwrap();
    owned.roster.accept(&second).unwrap();
    owned.roster.left(&handle(2));
    assert_eq!(owned.roster.accept(&second), replayed(8, 8));
    // An entry that a newer one took the place of.
    owned.say(&Statement::Entry(entry(3, 9))).unwrap();
    let newer = Entry { key: Digest::of(b"new"), ..entry(3, 10) };
    owned.say(&Statement::Entry(newer)).unwrap();
    assert_eq!(owned.say(&Statement::Entry(entry(3, 9))), replayed(9, 10));
    assert_eq!(owned.roster.serves(&handle(3), NOW).unwrap().key, Digest::of(b"new"));
}

#[test]
fn a_head_over_another_roster_is_refused() {
    let mut owned = Owned::new();
    owned.say(&Statement::Entry(entry(1, 1))).unwrap();
    owned.say(&Statement::Entry(entry(2, 2))).unwrap();
    let both = owned.roster.clone();
    // The owner removes one, and certsrv holds that back.
    let mut of_owner = Owned { roster: both.clone(), owner: owned.owner.clone() };
    of_owner.say(&removal(2, 3)).unwrap();
    let head = of_owner.head(4, NOW).sign(&owned.owner).unwrap();
    assert_eq!(owned.roster.accept(&head), Err(RosterError::OtherRoster));
    assert_eq!(owned.roster, both);
    // When the removal comes after all, the head is good.
    owned.say(&removal(2, 3)).unwrap();
    owned.roster.accept(&head).unwrap();
    // A head counts changes of owners, too.
    let mut held_back = owned.roster.clone();
    owned.say(&owners(5, Digest([0; 32]), &[Digest([9; 32])], &[])).unwrap();
    let head = owned.head(6, NOW).sign(&owned.owner).unwrap();
    assert_eq!(held_back.accept(&head), Err(RosterError::OtherRoster));
    owned.roster.accept(&head).unwrap();
}

#[test]
fn what_a_head_names_is_fixed() {
    let (one, two) = ((handle(1), Digest([3; 32])), (handle(2), Digest([4; 32])));
    let mut octets = b"twinseal roster live\0".to_vec();
    octets.extend([1; 16]);
    octets.extend([0; 32]);
    octets.extend([[1; 16].as_slice(), &[3; 32], &[2; 16], &[4; 32]].concat());
    for order in [[&one, &two], [&two, &one]] {
        let digest = live_digest(&group(), &Digest([0; 32]), order.map(|(handle, digest)| (handle, digest)));
        assert_eq!(digest, Digest::of(&octets));
    }
}

#[test]
fn owners_are_changed_by_owners_in_a_chain() {
    let mut owned = Owned::new();
    let (second, third) = (p256(), p256());
    let zero = Digest([0; 32]);
    let first_change = owners(1, zero, &[name(&second)], &[]);
    let by_stranger = first_change.sign(&second).unwrap();
    assert_eq!(owned.roster.accept(&by_stranger), Err(RosterError::NotAnOwner(name(&second))));
    let first_change = first_change.sign(&owned.owner).unwrap();
    owned.roster.accept(&first_change).unwrap();
    owned.roster.accept(&Statement::Entry(entry(1, 2)).sign(&second).unwrap()).unwrap();
    // Not upon the change before.
    let forked = owners(3, zero, &[name(&third)], &[]).sign(&second).unwrap();
    assert_eq!(owned.roster.accept(&forked), Err(RosterError::Chain));
    let nobody = owners(3, first_change.digest(), &[], &[name(&second), name(&owned.owner)]).sign(&second).unwrap();
    assert_eq!(owned.roster.accept(&nobody), Err(RosterError::NoOwners));
    // The second owner takes the first one's place; what the first one signed stays.
    let taken = owners(3, first_change.digest(), &[], &[name(&owned.owner)]).sign(&second).unwrap();
    owned.roster.accept(&taken).unwrap();
    assert_eq!(owned.say(&removal(1, 4)), Err(RosterError::NotAnOwner(name(&owned.owner))));
    owned.roster.accept(&owned.head(4, NOW).sign(&second).unwrap()).unwrap();
    assert!(owned.roster.serves(&handle(1), NOW).is_ok());
    let mut chain = owned.roster.state.chain;
    for (sequence, from) in [(5, 0_u8), (6, 20), (7, 40)] {
        let add: Vec<Digest> = (from..from + 20).map(|n| Digest([n; 32])).collect();
        let more = owners(sequence, chain, &add, &[]).sign(&second).unwrap();
        owned.roster.accept(&more).unwrap();
        chain = more.digest();
    }
    let add: Vec<Digest> = (60..64).map(|n| Digest([n; 32])).collect();
    let too_many = owners(8, chain, &add, &[]).sign(&second).unwrap();
    assert_eq!(owned.roster.accept(&too_many), Err(RosterError::TooManyOwners));
}

#[test]
fn a_membership_must_be_what_the_owner_signed() {
    let mut owned = Owned::new();
    let signed = |n, sequence| Statement::Entry(entry(n, sequence)).sign(&owned.owner).unwrap();
    let (one, two, three, four) = (signed(1, 1), signed(2, 2), signed(3, 3), signed(4, 4));
    let out = removal(9, 5).sign(&owned.owner).unwrap();
    let roster = &mut owned.roster;
    assert_eq!(roster.accept_member(None, &handle(1), Binding::Key(&[1])), Err(RosterError::Unsigned));
    assert_eq!(roster.accept_member(Some(&one), &handle(7), Binding::Key(&[1])), Err(RosterError::OtherHandle));
    assert!(roster.live.is_empty());
    assert!(roster.accept_member(Some(&one), &handle(1), Binding::Key(&[1])).is_ok());
    let told = Binding::Address { salt: &[2; 16], address: &address(2) };
    assert!(roster.accept_member(Some(&two), &handle(2), told).is_ok());
    // The owner's entry is taken, the membership is not.
    assert_eq!(roster.accept_member(Some(&three), &handle(3), Binding::Key(&[1])), Err(RosterError::OtherKey));
    assert!(roster.live.contains_key(&handle(3)));
    assert_eq!(roster.accept_member(Some(&three), &handle(3), Binding::Key(&[3])), Ok(Accepted::Known(handle(3))));
    for (salt, to) in [(&[4; 16][..], 5), (&[5; 16], 4), (&[4; 15], 4), (&[4; 17], 4)] {
        let told = Binding::Address { salt, address: &address(to) };
        assert_eq!(roster.accept_member(Some(&four), &handle(4), told), Err(RosterError::OtherAddress));
    }
    // Octets cannot move between salt and address.
    let moved: MailAddress = format!("m{}", address(4)).parse().unwrap();
    let told = Binding::Address { salt: &[4; 15], address: &moved };
    assert_eq!(roster.accept_member(Some(&four), &handle(4), told), Err(RosterError::OtherAddress));
    assert_eq!(roster.accept_member(Some(&out), &handle(9), Binding::Key(&[9])), Err(RosterError::NotAnEntry));
}

#[test]
fn a_roster_that_is_told_anew_keeps_what_was_in_and_nothing_else() {
    let mut owned = Owned::new();
    let second = p256();
    let sign = |statement: Statement| statement.sign(&owned.owner).unwrap();
    let (one, two, gone) =
        (sign(Statement::Entry(entry(1, 1))), sign(Statement::Entry(entry(2, 2))), sign(Statement::Entry(entry(3, 3))));
    let out = sign(removal(3, 4));
    let change = sign(owners(5, Digest([0; 32]), &[name(&second)], &[name(&owned.owner)]));
    let all = [&one, &two, &gone, &out, &change];
    for signed in all {
        owned.roster.accept(signed).unwrap();
    }
    let head = owned.head(6, NOW).sign(&second).unwrap();
    owned.roster.accept(&head).unwrap();
    let state = owned.roster.clone();

    // The same again, in any order: the same roster, whoever signs now.
    let again = state.resync(&[head.clone(), two.clone(), one.clone(), change.clone()]);
    assert_eq!(again, Resynced { roster: state.clone(), refused: vec![] });
    // Somebody who is out does not come back, and who is not told is out.
    let again = state.resync(&[one.clone(), gone.clone()]);
    assert_eq!(again.refused, [(1, RosterError::Replayed { sequence: 3, high: 6 })]);
    assert_eq!(again.roster.live.keys().collect::<Vec<_>>(), [&handle(1)]);
    // A newer one is taken by the rules for new ones.
    let new = Statement::Entry(entry(4, 7)).sign(&second).unwrap();
    let old_owner = Statement::Entry(entry(5, 8)).sign(&owned.owner).unwrap();
    let again = state.resync(&[new, old_owner, one.clone(), two.clone()]);
    assert_eq!(again.refused, [(1, RosterError::NotAnOwner(name(&owned.owner)))]);
    assert_eq!(again.roster.live.len(), 3);

    // Whoever knows the pin alone takes all of it in the order of the sequences, up to the head that proves it whole.
    let pinned = OwnerRoster::pin(group(), name(&owned.owner));
    let fresh = pinned.resync(&[head.clone(), change.clone(), two.clone(), one.clone()]);
    assert_eq!(fresh, Resynced { roster: state, refused: vec![] });
    let withheld = pinned.resync(&[head, change, two, one, gone]);
    assert_eq!(withheld.refused, []);
    assert_eq!(withheld.roster.serves(&handle(1), NOW), Err(Unserved::NoHead));
    let rubbish = SignedStatement { text: "x".to_owned(), ..out };
    assert!(matches!(pinned.resync(&[rubbish]).refused[..], [(0, RosterError::Malformed(_))]));
}

#[test]
fn statements_and_rosters_are_read_as_they_were_written() {
    let mut owned = Owned::new();
    let signed = Statement::Entry(entry(1, 1)).sign(&owned.owner).unwrap();
    owned.roster.accept(&signed).unwrap();
    owned.say(&owned.head(2, NOW)).unwrap();
    let json = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<SignedStatement>(&json).unwrap(), signed);
    let json = serde_json::to_string(&owned.roster).unwrap();
    assert_eq!(serde_json::from_str::<OwnerRoster>(&json).unwrap(), owned.roster);
    assert!(signed.text.starts_with("{\"kind\":\"entry\",\"group\":\"0101"), "{}", signed.text);
}

#[test]
fn the_first_to_take_a_statement_looks_at_the_clock() {
    let head = |issued| Statement::Head(Head { group: group(), sequence: 1, digest: Digest([0; 32]), issued });
    for (statement, right) in [
        (Statement::Entry(entry(1, 1)), true),
        (Statement::Entry(Entry { not_after: NOW, ..entry(1, 1) }), false),
        (Statement::Entry(Entry { not_before: NOW.plus(SKEW_SECONDS), ..entry(1, 1) }), true),
        (Statement::Entry(Entry { not_before: NOW.plus(SKEW_SECONDS + 1), ..entry(1, 1) }), false),
        (head(NOW.plus(SKEW_SECONDS)), true),
        (head(NOW.plus(SKEW_SECONDS + 1)), false),
        (head(UnixTime(NOW.0 - SKEW_SECONDS)), true),
        (head(UnixTime(NOW.0 - SKEW_SECONDS - 1)), false),
        (removal(1, 1), true),
    ] {
        assert_eq!(statement.check_time(NOW).is_ok(), right, "{statement:?}");
    }
}
