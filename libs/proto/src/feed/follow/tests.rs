#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::feed::{
    GroupsrvChange, NEXT_KEY_CONTEXT, Rotation, SNAPSHOT_CONTEXT, SignedSnapshot, SnapshotHeader, snapshot_digest,
};
use crate::ids::GroupId;
use openssl::pkey::Private;
use openssl::sign::Signer;

/// A feed as certsrv writes it, with every step in reach of a test.
struct Log {
    key: PKey<Private>,
    feed: FeedId,
    generation: u64,
    head: Digest,
    sequence: u64,
}

fn sign(key: &PKey<Private>, context: &[u8], text: &str) -> B64 {
    let mut signer = Signer::new_without_digest(key).unwrap();
    B64(signer.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).unwrap())
}

fn public(key: &PKey<Private>) -> PKey<Public> {
    PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap()
}

impl Log {
    fn new() -> Self {
        Self {
            key: PKey::generate_ed25519().unwrap(),
            feed: FeedId::from_random([1; 16]),
            generation: 1,
            head: Digest([0; 32]),
            sequence: 0,
        }
    }

    fn public(&self) -> PKey<Public> {
        public(&self.key)
    }

    /// The same log, from which another story can be told.
    fn copy(&self) -> Self {
        Self { key: self.key.clone(), ..*self }
    }

    fn header(&self, body: &str) -> EntryHeader {
        let digest = body_digest(b"salt", body);
        EntryHeader {
            feed: self.feed,
            generation: self.generation,
            sequence: self.sequence,
            previous: self.head,
            issued: UnixTime(5),
            certsrv: digest,
            groupsrv: digest,
            exploder: body_digest(b"salt", "other"),
            next_key: None,
        }
    }

    fn append(&mut self, header: &EntryHeader, body: &str) -> SignedEntry {
        let header = serde_json::to_string(header).unwrap();
        self.head = Digest::of(header.as_bytes());
        let signature = sign(&self.key, ENTRY_CONTEXT, &header);
        SignedEntry { signature, header, salt: B64(b"salt".to_vec()), body: body.into(), next_signature: None }
    }

    fn entry(&mut self, body: &str) -> SignedEntry {
        self.sequence += 1;
        let header = self.header(body);
        self.append(&header, body)
    }

    /// The entry with which a restored certsrv begins a generation, `steps` above the present one.
    fn begin(&mut self, steps: u64) -> SignedEntry {
        self.generation += steps;
        self.sequence += steps * GENERATION_STEP;
        let header = self.header("null");
        self.append(&header, "null")
    }

    /// An entry that names `next`, for which `signer` signs; from then on the log is signed by `next`.
    fn rotate(&mut self, next: &PKey<Private>, signer: &PKey<Private>) -> SignedEntry {
        self.sequence += 1;
        let header = EntryHeader { next_key: Some(B64(next.public_key_to_der().unwrap())), ..self.header("null") };
        let mut entry = self.append(&header, "null");
        entry.next_signature = Some(sign(signer, NEXT_KEY_CONTEXT, &entry.header));
        self.key = next.clone();
        entry
    }

    fn beat(&self, issued: u64) -> SignedHeartbeat {
        let beat = Heartbeat {
            feed: self.feed,
            generation: self.generation,
            sequence: self.sequence,
            head: self.head,
            issued: UnixTime(issued),
            lease: 300,
        };
        let text = serde_json::to_string(&beat).unwrap();
        SignedHeartbeat { signature: sign(&self.key, HEARTBEAT_CONTEXT, &text), text }
    }

    fn snapshot(&self, pages: &[String], issued: u64) -> SignedSnapshot {
        let header = SnapshotHeader {
            feed: self.feed,
            generation: self.generation,
            sequence: self.sequence,
            head: self.head,
            issued: UnixTime(issued),
            groupsrv: snapshot_digest(b"salt", pages),
            exploder: snapshot_digest(b"salt", &["other"]),
        };
        let header = serde_json::to_string(&header).unwrap();
        let signature = sign(&self.key, SNAPSHOT_CONTEXT, &header);
        SignedSnapshot { header, signature, salt: B64(b"salt".to_vec()), rotations: Vec::new() }
    }
}

fn deleted() -> String {
    serde_json::to_string(&GroupsrvChange::GroupDeleted { group: GroupId::from_random([2; 16]) }).unwrap()
}

fn taken(at: &mut Cursor, entry: &SignedEntry, key: &PKey<Public>) -> Result<Option<GroupsrvChange>, FeedError> {
    let before = at.clone();
    let taken = at.accept(entry, View::Groupsrv, key);
    assert!(taken.is_ok() || *at == before, "a refused entry moves nothing");
    taken
}

#[test]
fn entries_are_taken_in_order_and_once() {
    let mut log = Log::new();
    let key = log.public();
    let (first, second, third) = (log.entry(&deleted()), log.entry("null"), log.entry(&deleted()));
    let mut at = Cursor::start(log.feed, 1);
    assert!(matches!(taken(&mut at, &first, &key), Ok(Some(GroupsrvChange::GroupDeleted { .. }))));
    assert_eq!(taken(&mut at, &first, &key), Err(FeedError::Order { expected: 2, found: 1 }));
    assert_eq!(taken(&mut at, &third, &key), Err(FeedError::Order { expected: 2, found: 3 }));
    assert_eq!(taken(&mut at, &second, &key), Ok(None));
}

#[test]
fn forged_forked_and_swapped_entries_are_refused() {
    let mut log = Log::new();
    let (key, empty) = (log.public(), log.copy());
    let first = log.entry(&deleted());
    let mut at = Cursor::start(log.feed, 1);
    let mut forged = first.clone();
    forged.header = forged.header.replace("\"sequence\":1", "\"sequence\":2");
    assert_eq!(taken(&mut at, &forged, &key), Err(FeedError::Signature(0)));
    let strange = Log { key: PKey::generate_ed25519().unwrap(), ..empty.copy() }.entry("null");
    assert_eq!(taken(&mut at, &strange, &key), Err(FeedError::Signature(0)));
    let mut swapped = first.clone();
    swapped.body = "null".into();
    assert_eq!(taken(&mut at, &swapped, &key), Err(FeedError::Body(1)));
    assert_eq!(at.accept::<GroupsrvChange>(&first, View::Exploder, &key), Err(FeedError::Body(1)));
    let fork = Log { head: Digest([9; 32]), ..empty.copy() }.entry("null");
    assert_eq!(taken(&mut at, &fork, &key), Err(FeedError::Fork(1)));
    let other = Log { feed: FeedId::from_random([7; 16]), ..empty }.entry("null");
    assert_eq!(taken(&mut at, &other, &key), Err(FeedError::OtherFeed(0)));
    assert_eq!(at.sequence, 0);
}

#[test]
fn a_heartbeat_renews_only_what_is_up_to_date_and_newer() {
    let mut log = Log::new();
    let key = log.public();
    let mut at = Cursor::start(log.feed, 1);
    assert_eq!(at.heartbeat(&log.beat(1010), &key), Ok(Some(300)));
    let first = log.entry("null");
    assert_eq!(at.heartbeat(&log.beat(1011), &key), Ok(None));
    taken(&mut at, &first, &key).unwrap();
    assert_eq!(at.heartbeat(&log.beat(1012), &key), Ok(Some(300)));
    // A clock that was set back a little is no alarm, and the newest stays what it was.
    assert_eq!(at.heartbeat(&log.beat(712), &key), Ok(Some(300)));
    assert_eq!(at.heartbeat, UnixTime(1012));
    assert_eq!(at.heartbeat(&log.beat(711), &key), Err(FeedError::OldHeartbeat(UnixTime(711))));
    let mut forged = log.beat(1013);
    forged.text = forged.text.replace("\"lease\":300", "\"lease\":900");
    assert_eq!(at.heartbeat(&forged, &key), Err(FeedError::Signature(1)));
}

#[test]
fn a_feed_that_lost_its_end_or_has_two_heads_is_noticed() {
    let mut log = Log::new();
    let key = log.public();
    let mut at = Cursor::start(log.feed, 1);
    taken(&mut at, &log.entry("null"), &key).unwrap();
    let mut shorter = log.copy();
    taken(&mut at, &log.entry("null"), &key).unwrap();
    assert_eq!(at.heartbeat(&shorter.beat(1000), &key), Err(FeedError::Truncated { seen: 2, told: 1 }));
    shorter.entry(&deleted());
    assert_eq!(at.heartbeat(&shorter.beat(1000), &key), Err(FeedError::Fork(2)));
    let third = shorter.entry("null");
    assert_eq!(taken(&mut at, &third, &key), Err(FeedError::Fork(3)));
}

#[test]
fn a_generation_is_followed_when_it_was_accepted_and_begins_where_it_must() {
    let mut log = Log::new();
    let key = log.public();
    let mut at = Cursor::start(log.feed, 1);
    taken(&mut at, &log.entry("null"), &key).unwrap();
    let restored = log.copy();
    let begins = log.begin(1);
    let other = FeedError::Generation { after: 1, expected: 1, found: 2 };
    assert_eq!(taken(&mut at, &begins, &key), Err(other));
    assert!(at.heartbeat(&log.beat(1000), &key).is_err());

    let mut at = at.accepting(2);
    for (sequence, generation) in [(2, 2), (GENERATION_STEP, 2), (GENERATION_STEP + 2, 2), (2 * GENERATION_STEP + 1, 2)]
    {
        let mut wrong = Log { sequence, generation, ..restored.copy() };
        let header = wrong.header("null");
        let expected = FeedError::Order { expected: 1 + GENERATION_STEP, found: sequence };
        assert_eq!(taken(&mut at, &wrong.append(&header, "null"), &key), Err(expected));
    }
    // Without a new generation nothing jumps; nor into one that nobody accepted.
    let mut same = Log { sequence: 1 + GENERATION_STEP, ..restored.copy() };
    let header = same.header("null");
    assert!(matches!(taken(&mut at, &same.append(&header, "null"), &key), Err(FeedError::Order { .. })));
    let third = restored.copy().begin(2);
    assert!(matches!(taken(&mut at, &third, &key), Err(FeedError::Generation { found: 3, .. })));
    let fork = Log { head: Digest([9; 32]), ..restored.copy() }.begin(1);
    assert_eq!(taken(&mut at, &fork, &key), Err(FeedError::Fork(1 + GENERATION_STEP)));

    assert_eq!(at.heartbeat(&log.beat(1000), &key), Ok(None));
    assert!(at.is_behind());
    taken(&mut at, &begins, &key).unwrap();
    assert!(!at.is_behind());
    assert_eq!((at.generation, at.sequence), (2, 1 + GENERATION_STEP));
    assert_eq!(at.heartbeat(&log.beat(1000), &key), Ok(Some(300)));
    taken(&mut at, &log.entry("null"), &key).unwrap();
    // There is no way back.
    let mut old = restored;
    let old_entry = old.entry("null");
    assert!(matches!(taken(&mut at, &old_entry, &key), Err(FeedError::Generation { found: 1, .. })));
    assert!(matches!(at.heartbeat(&old.beat(2000), &key), Err(FeedError::Generation { found: 1, .. })));
    // Two restores in one go.
    let mut twice = Cursor::start(log.feed, 1).accepting(3);
    let mut log = Log::new();
    let key = log.public();
    taken(&mut twice, &log.entry("null"), &key).unwrap();
    taken(&mut twice, &log.begin(2), &key).unwrap();
    assert_eq!((twice.generation, twice.sequence), (3, 1 + 2 * GENERATION_STEP));
}

#[test]
fn a_replaced_key_is_followed_when_both_keys_signed() {
    let mut log = Log::new();
    let (first_key, next, stranger) =
        (log.public(), PKey::generate_ed25519().unwrap(), PKey::generate_ed25519().unwrap());
    let mut at = Cursor::start(log.feed, 1);
    taken(&mut at, &log.entry("null"), &first_key).unwrap();
    let before = log.copy();
    let rotation = log.rotate(&next, &next);

    let refused = Err(FeedError::NextKey(2));
    assert_eq!(taken(&mut at, &before.copy().rotate(&next, &stranger), &first_key), refused);
    let mut alone = rotation.clone();
    alone.next_signature = None;
    assert_eq!(taken(&mut at, &alone, &first_key), refused);
    // The next key's signature as if the header were an entry of its own.
    alone.next_signature = Some(sign(&next, ENTRY_CONTEXT, &rotation.header));
    assert_eq!(taken(&mut at, &alone, &first_key), refused);
    let p256 = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
    let p256 = PKey::from_ec_key(openssl::ec::EcKey::generate(&p256).unwrap()).unwrap();
    let mut other_kind = before.copy();
    let header =
        EntryHeader { sequence: 2, next_key: Some(B64(p256.public_key_to_der().unwrap())), ..before.header("null") };
    let mut entry = other_kind.append(&header, "null");
    entry.next_signature = Some(B64(vec![0; 64]));
    assert_eq!(taken(&mut at, &entry, &first_key), refused);
    let mut unasked = before.copy().entry("null");
    unasked.next_signature = rotation.next_signature.clone();
    assert_eq!(taken(&mut at, &unasked, &first_key), refused);
    let by_stranger = Log { key: stranger, ..before.copy() }.rotate(&next, &next);
    assert_eq!(taken(&mut at, &by_stranger, &first_key), Err(FeedError::Signature(1)));

    taken(&mut at, &rotation, &first_key).unwrap();
    assert_eq!(at.key, Some(B64(next.public_key_to_der().unwrap())));
    let kept: Cursor = serde_json::from_str(&serde_json::to_string(&at).unwrap()).unwrap();
    assert_eq!(kept, at, "the key is kept with the place");
    let mut old = log.copy();
    old.key = before.key;
    assert_eq!(taken(&mut at, &old.copy().entry("null"), &first_key), Err(FeedError::Signature(2)));
    assert_eq!(at.heartbeat(&old.beat(1000), &first_key), Err(FeedError::Signature(2)));
    assert_eq!(at.heartbeat(&log.beat(1000), &first_key), Ok(Some(300)));
    taken(&mut at, &log.entry("null"), &first_key).unwrap();
    let third = PKey::generate_ed25519().unwrap();
    taken(&mut at, &log.rotate(&third, &third), &first_key).unwrap();
    taken(&mut at, &log.entry("null"), &first_key).unwrap();
    assert_eq!(at.sequence, 5);
}

fn opened(snapshot: &SignedSnapshot, pages: &[String], at: &Cursor, key: &PKey<Public>) -> Result<Cursor, FeedError> {
    let (place, changes) = snapshot.open::<GroupsrvChange>(pages, View::Groupsrv, at, key)?;
    let told: Vec<u64> = changes.into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(told, [1, 2]);
    Ok(place)
}

fn two_pages() -> Vec<String> {
    vec![format!("[1,{}]\n", deleted()), format!("[2,{}]\n", deleted())]
}

#[test]
fn a_snapshot_is_taken_whole_and_for_its_own_view() {
    let mut log = Log::new();
    let key = log.public();
    let new = Cursor::start(log.feed, 1);
    log.entry("null");
    log.entry("null");
    let pages = two_pages();
    let snapshot = log.snapshot(&pages, 1000);
    let place = opened(&snapshot, &pages, &new, &key).unwrap();
    assert_eq!((place.generation, place.sequence, place.head, place.key), (1, 2, log.head, None));

    let refused = snapshot.open::<GroupsrvChange>(&pages, View::Exploder, &new, &key);
    assert_eq!(refused, Err(FeedError::Body(2)), "another view's");
    let whole = pages.concat();
    for at in 0..whole.len() {
        let mut octets = whole.clone().into_bytes();
        *octets.get_mut(at).unwrap() ^= 1;
        let changed = vec![String::from_utf8(octets).unwrap()];
        assert_eq!(opened(&snapshot, &changed, &new, &key), Err(FeedError::Body(2)), "octet {at}");
    }
    assert_eq!(opened(&snapshot, &pages[..1], &new, &key), Err(FeedError::Body(2)), "a page is missing");
    let mut forged = snapshot.clone();
    forged.header = forged.header.replace("\"sequence\":2", "\"sequence\":9");
    assert_eq!(opened(&forged, &pages, &new, &key), Err(FeedError::Signature(0)));
    let strange = Log { key: PKey::generate_ed25519().unwrap(), ..log.copy() }.snapshot(&pages, 1000);
    assert_eq!(opened(&strange, &pages, &new, &key), Err(FeedError::Signature(0)));
    let other = Log { feed: FeedId::from_random([7; 16]), ..log.copy() }.snapshot(&pages, 1000);
    assert_eq!(opened(&other, &pages, &new, &key), Err(FeedError::OtherFeed(0)));
    // What is signed as an entry is no snapshot.
    let mut entry = snapshot;
    entry.signature = sign(&log.key, ENTRY_CONTEXT, &entry.header);
    assert_eq!(opened(&entry, &pages, &new, &key), Err(FeedError::Signature(0)));
    let beyond = vec![format!("[3,{}]\n", deleted())];
    let refused = opened(&log.snapshot(&beyond, 1000), &beyond, &new, &key);
    assert_eq!(refused, Err(FeedError::Order { expected: 2, found: 3 }));
    let rubbish = vec!["[1,{\"kind\":\"what\"}]\n".to_owned()];
    let refused = opened(&log.snapshot(&rubbish, 1000), &rubbish, &new, &key);
    assert!(matches!(refused, Err(FeedError::Unreadable { .. })));
}

#[test]
fn a_snapshot_never_leads_back() {
    let mut log = Log::new();
    let key = log.public();
    let mut at = Cursor::start(log.feed, 1);
    taken(&mut at, &log.entry("null"), &key).unwrap();
    let (pages, earlier) = (two_pages(), log.snapshot(&two_pages(), 1000));
    taken(&mut at, &log.entry("null"), &key).unwrap();
    assert_eq!(opened(&earlier, &pages, &at, &key), Err(FeedError::Truncated { seen: 2, told: 1 }));
    let fork = Log { head: Digest([9; 32]), ..log.copy() }.snapshot(&pages, 1000);
    assert_eq!(opened(&fork, &pages, &at, &key), Err(FeedError::Fork(2)));
    at.heartbeat = UnixTime(1400);
    let stale = opened(&log.snapshot(&pages, 1000), &pages, &at, &key);
    assert_eq!(stale, Err(FeedError::OldHeartbeat(UnixTime(1000))));
    assert_eq!(opened(&log.snapshot(&pages, 1200), &pages, &at, &key).unwrap(), at);

    let restored = Log { sequence: 1, head: Digest([5; 32]), ..log.copy() };
    let mut log = restored.copy();
    log.begin(1);
    let snapshot = log.snapshot(&pages, 1500);
    assert!(matches!(opened(&snapshot, &pages, &at, &key), Err(FeedError::Generation { expected: 1, found: 2, .. })));
    let at = at.accepting(2);
    let place = opened(&snapshot, &pages, &at, &key).unwrap();
    assert_eq!((place.generation, place.sequence), (2, 1 + GENERATION_STEP));
    assert!(!place.is_behind());
    // Not the old generation's any more, and not one that goes on below where the consumer has been.
    let old = Log { sequence: 9, ..restored.copy() }.snapshot(&pages, 1500);
    assert!(matches!(opened(&old, &pages, &at, &key), Err(FeedError::Generation { expected: 2, found: 1, .. })));
    let below = Log { generation: 2, sequence: 1, ..restored }.snapshot(&pages, 1500);
    assert_eq!(opened(&below, &pages, &at, &key), Err(FeedError::Truncated { seen: 2, told: 1 }));
}

#[test]
fn a_snapshot_proves_the_keys_that_were_replaced() {
    let mut log = Log::new();
    let (first_key, second, third) =
        (log.public(), PKey::generate_ed25519().unwrap(), PKey::generate_ed25519().unwrap());
    let new = Cursor::start(log.feed, 1);
    let proof = |entry: SignedEntry| Rotation {
        header: entry.header,
        signature: entry.signature,
        next_signature: entry.next_signature.unwrap(),
    };
    let rotations = vec![proof(log.rotate(&second, &second)), proof(log.rotate(&third, &third))];
    let pages = two_pages();
    let snapshot = SignedSnapshot { rotations: rotations.clone(), ..log.snapshot(&pages, 1000) };
    let place = opened(&snapshot, &pages, &new, &first_key).unwrap();
    assert_eq!(place.key, Some(B64(third.public_key_to_der().unwrap())));
    // Whoever joined later was given a later key.
    assert_eq!(opened(&snapshot, &pages, &new, &public(&second)).unwrap().key, place.key);
    assert_eq!(opened(&snapshot, &pages, &new, &public(&third)).unwrap().key, None);
    assert_eq!(opened(&snapshot, &pages, &place, &first_key).unwrap(), place);
    for rotations in [&rotations[..1], &rotations[1..], &[]] {
        let snapshot = SignedSnapshot { rotations: rotations.to_vec(), ..snapshot.clone() };
        assert_eq!(opened(&snapshot, &pages, &new, &first_key), Err(FeedError::Signature(0)));
    }
    let mut forged = snapshot.clone();
    forged.rotations[0].next_signature = sign(&third, NEXT_KEY_CONTEXT, &forged.rotations[0].header);
    assert_eq!(opened(&forged, &pages, &new, &first_key), Err(FeedError::NextKey(1)));
}
