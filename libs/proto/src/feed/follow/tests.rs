#![allow(clippy::unwrap_used)]
use super::*;
use crate::encoding::B64;
use crate::feed::GroupsrvChange;
use crate::ids::GroupId;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

struct Log {
    key: PKey<Private>,
    feed: FeedId,
    head: Digest,
    sequence: u64,
}

impl Log {
    fn new() -> Self {
        Self {
            key: PKey::generate_ed25519().unwrap(),
            feed: FeedId::from_random([1; 16]),
            head: Digest([0; 32]),
            sequence: 0,
        }
    }

    fn public(&self) -> PKey<Public> {
        PKey::public_key_from_der(&self.key.public_key_to_der().unwrap()).unwrap()
    }

    fn sign(&self, context: &[u8], text: &str) -> B64 {
        let mut signer = Signer::new_without_digest(&self.key).unwrap();
        B64(signer.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).unwrap())
    }

    fn entry(&mut self, body: &str) -> SignedEntry {
        self.sequence += 1;
        let digest = body_digest(b"salt", body);
        let header = EntryHeader {
            feed: self.feed,
            generation: 1,
            sequence: self.sequence,
            previous: self.head,
            issued: UnixTime(5),
            certsrv: digest,
            groupsrv: digest,
            exploder: body_digest(b"salt", "other"),
        };
        let header = serde_json::to_string(&header).unwrap();
        self.head = Digest::of(header.as_bytes());
        SignedEntry {
            signature: self.sign(ENTRY_CONTEXT, &header),
            header,
            salt: B64(b"salt".to_vec()),
            body: body.into(),
        }
    }

    fn beat(&self, issued: u64) -> SignedHeartbeat {
        let beat = Heartbeat {
            feed: self.feed,
            generation: 1,
            sequence: self.sequence,
            head: self.head,
            issued: UnixTime(issued),
            lease: 300,
        };
        let text = serde_json::to_string(&beat).unwrap();
        SignedHeartbeat { signature: self.sign(HEARTBEAT_CONTEXT, &text), text }
    }
}

fn deleted() -> String {
    serde_json::to_string(&GroupsrvChange::GroupDeleted { group: GroupId::from_random([2; 16]) }).unwrap()
}

type Taken = Result<Option<GroupsrvChange>, FeedError>;

#[test]
fn entries_are_taken_in_order_and_once() {
    let mut log = Log::new();
    let key = log.public();
    let (first, second, third) = (log.entry(&deleted()), log.entry("null"), log.entry(&deleted()));
    let mut at = Cursor::start(log.feed, 1);
    let taken: Taken = at.accept(&first, View::Groupsrv, &key);
    assert!(matches!(taken, Ok(Some(GroupsrvChange::GroupDeleted { .. }))));
    let repeated: Taken = at.accept(&first, View::Groupsrv, &key);
    assert_eq!(repeated, Err(FeedError::Order { expected: 2, found: 1 }));
    let skipped: Taken = at.accept(&third, View::Groupsrv, &key);
    assert_eq!(skipped, Err(FeedError::Order { expected: 2, found: 3 }));
    let silent: Taken = at.accept(&second, View::Groupsrv, &key);
    assert_eq!(silent, Ok(None));
}

#[test]
fn forged_forked_and_swapped_entries_are_refused() {
    let mut log = Log::new();
    let key = log.public();
    let first = log.entry(&deleted());
    let mut at = Cursor::start(log.feed, 1);
    let mut forged = first.clone();
    forged.header = forged.header.replace("\"sequence\":1", "\"sequence\":2");
    assert_eq!(at.accept::<GroupsrvChange>(&forged, View::Groupsrv, &key), Err(FeedError::Signature(0)));
    let mut swapped = first.clone();
    swapped.body = "null".into();
    assert_eq!(at.accept::<GroupsrvChange>(&swapped, View::Groupsrv, &key), Err(FeedError::Body(1)));
    assert_eq!(at.accept::<GroupsrvChange>(&first, View::Exploder, &key), Err(FeedError::Body(1)));
    let mut forked = Log { key: log.key.clone(), feed: log.feed, head: Digest([9; 32]), sequence: 0 };
    let fork = forked.entry("null");
    assert_eq!(at.accept::<GroupsrvChange>(&fork, View::Groupsrv, &key), Err(FeedError::Fork(1)));
    let mut other =
        Log { feed: FeedId::from_random([7; 16]), head: Digest([0; 32]), sequence: 0, key: log.key.clone() };
    assert_eq!(at.accept::<GroupsrvChange>(&other.entry("null"), View::Groupsrv, &key), Err(FeedError::OtherFeed(0)));
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
    at.accept::<GroupsrvChange>(&first, View::Groupsrv, &key).unwrap();
    assert_eq!(at.heartbeat(&log.beat(1012), &key), Ok(Some(300)));
    // A clock that was set back a little is no alarm, and the newest stays what it was.
    assert_eq!(at.heartbeat(&log.beat(712), &key), Ok(Some(300)));
    assert_eq!(at.heartbeat, UnixTime(1012));
    assert_eq!(at.heartbeat(&log.beat(711), &key), Err(FeedError::OldHeartbeat(UnixTime(711))));
    let mut fork = log.beat(1013);
    fork.text = fork.text.replace("\"lease\":300", "\"lease\":900");
    assert_eq!(at.heartbeat(&fork, &key), Err(FeedError::Signature(1)));
}
