#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::http::{Caller, route};
use crate::join::FeedTrust;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use twinseal_proto::api::admin::feed::AcceptGenerationRequest;
use twinseal_proto::api::feed::{FeedSnapshot, SnapshotPage, SnapshotRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    ENTRY_CONTEXT, EntryHeader, GENERATION_STEP, HEARTBEAT_CONTEXT, NEXT_KEY_CONTEXT, Rotation, SNAPSHOT_CONTEXT,
    SignedEntry, SignedHeartbeat, SignedSnapshot, SnapshotHeader, body_digest, snapshot_digest,
};
use twinseal_proto::ids::FeedId;

/// What certsrv knows; it serves whatever the test makes of it.
#[derive(Clone)]
struct Story {
    key: PKey<Private>,
    generation: u64,
    entries: Vec<(u64, SignedEntry)>,
    rotations: Vec<Rotation>,
    issued: u64,
    lease: u64,
    /// What the heartbeat says in place of the truth.
    told: Option<u64>,
    /// Lines of the snapshot; none is served without.
    snapshot: Vec<String>,
}

fn sign(key: &PKey<Private>, context: &[u8], text: &str) -> B64 {
    let mut signer = Signer::new_without_digest(key).unwrap();
    B64(signer.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).unwrap())
}

impl Story {
    fn new() -> Self {
        Self {
            key: PKey::generate_ed25519().unwrap(),
            generation: 1,
            entries: Vec::new(),
            rotations: Vec::new(),
            issued: 10_000,
            lease: 300,
            told: None,
            snapshot: Vec::new(),
        }
    }

    fn feed() -> FeedId {
        FeedId::from_random([1; 16])
    }

    fn public(&self) -> B64 {
        B64(self.key.public_key_to_der().unwrap())
    }

    fn trust(&self) -> FeedTrust {
        FeedTrust { feed: Self::feed(), generation: self.generation, key: self.public(), resync: false }
    }

    fn head(&self) -> (u64, Digest) {
        let none = (0, Digest([0; 32]));
        self.entries.last().map_or(none, |(sequence, last)| (*sequence, Digest::of(last.header.as_bytes())))
    }

    fn append(&mut self, step: u64, body: &str, next: Option<&PKey<Private>>) {
        let (last, previous) = self.head();
        let header = EntryHeader {
            feed: Self::feed(),
            generation: self.generation,
            sequence: last + step,
            previous,
            issued: UnixTime(self.issued),
            certsrv: Digest([0; 32]),
            groupsrv: Digest([0; 32]),
            exploder: body_digest(b"salt", body),
            next_key: next.map(|key| B64(key.public_key_to_der().unwrap())),
        };
        let header = serde_json::to_string(&header).unwrap();
        let (signature, salt) = (sign(&self.key, ENTRY_CONTEXT, &header), B64(b"salt".to_vec()));
        let next_signature = next.map(|key| sign(key, NEXT_KEY_CONTEXT, &header));
        let entry = SignedEntry { header, signature, salt, body: body.into(), next_signature };
        self.entries.push((last + step, entry));
    }

    fn say(&mut self, what: &str) {
        self.append(1, &format!("{what:?}"), None);
    }

    /// Replaces the key.
    fn rotate(&mut self) {
        let next = PKey::generate_ed25519().unwrap();
        self.append(1, "null", Some(&next));
        let SignedEntry { header, signature, next_signature, .. } = self.entries.last().unwrap().1.clone();
        self.rotations.push(Rotation { header, signature, next_signature: next_signature.unwrap() });
        self.key = next;
    }

    /// Begins a generation after the first `keep` entries.
    fn restore(&mut self, keep: usize) {
        self.entries.truncate(keep);
        self.generation += 1;
        self.append(GENERATION_STEP, "null", None);
    }

    fn page(&self, after: u64) -> FeedPage {
        let ((sequence, head), feed, issued) = (self.head(), Self::feed(), UnixTime(self.issued));
        let sequence = self.told.unwrap_or(sequence);
        let beat = Heartbeat { feed, generation: self.generation, sequence, head, issued, lease: self.lease };
        let text = serde_json::to_string(&beat).unwrap();
        let heartbeat = Some(SignedHeartbeat { signature: sign(&self.key, HEARTBEAT_CONTEXT, &text), text });
        let entries = self.entries.iter().filter(|(sequence, _)| *sequence > after);
        FeedPage { entries: entries.map(|(_, entry)| entry.clone()).collect(), heartbeat }
    }

    fn snapshot(&self, request: &SnapshotRequest) -> Result<SnapshotPage, Problem> {
        let page = usize::try_from(request.page).unwrap();
        let Some(text) = self.snapshot.get(page).cloned() else {
            return Err(Problem::new(ProblemCode::NotFound, "no snapshot"));
        };
        let (sequence, head) = self.head();
        let header = SnapshotHeader {
            feed: Self::feed(),
            generation: self.generation,
            sequence,
            head,
            issued: UnixTime(self.issued),
            groupsrv: Digest([0; 32]),
            exploder: snapshot_digest(b"salt", &self.snapshot),
        };
        let header = serde_json::to_string(&header).unwrap();
        let signature = sign(&self.key, SNAPSHOT_CONTEXT, &header);
        let rotations = self.rotations.clone();
        let snapshot = SignedSnapshot { header, signature, salt: B64(b"salt".to_vec()), rotations };
        Ok(SnapshotPage { snapshot, pages: self.snapshot.len() as u64, text })
    }
}

/// A certsrv that answers at once, and counts how often.
#[derive(Clone)]
struct Certsrv {
    story: Arc<Mutex<Story>>,
    asked: Arc<AtomicUsize>,
}

impl Certsrv {
    fn change(&self, change: impl FnOnce(&mut Story)) {
        change(&mut self.story.lock().unwrap());
    }
}

fn serve(dir: &Path, story: Story) -> (Certsrv, Client) {
    let certsrv = Certsrv { story: Arc::new(Mutex::new(story)), asked: Arc::default() };
    let router = axum::Router::new();
    let router = route::<Feed, _, _, _>(router, async |certsrv: Certsrv, _: Caller, request: FeedRequest| {
        certsrv.asked.fetch_add(1, Ordering::Relaxed);
        let page = certsrv.story.lock().unwrap_or_else(PoisonError::into_inner).page(request.after);
        Ok(page)
    });
    let router =
        route::<FeedSnapshot, _, _, _>(router, async |certsrv: Certsrv, _: Caller, request: SnapshotRequest| {
            certsrv.story.lock().unwrap_or_else(PoisonError::into_inner).snapshot(&request)
        });
    let path = dir.join("certsrv.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(crate::admin::serve(listener, router.with_state(certsrv.clone()), CancellationToken::new()));
    (certsrv, Client::unix(path))
}

/// A roster that keeps what it was told.
struct Kept(Mutex<(Cursor, Vec<(u64, String)>)>);

impl Kept {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Cursor::start(Story::feed(), 1), Vec::new()))))
    }

    fn told(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap().1.clone()
    }

    fn words(&self) -> Vec<String> {
        self.told().into_iter().map(|(_, word)| word).collect()
    }
}

impl Roster for Kept {
    type Change = String;
    const VIEW: View = View::Exploder;

    fn cursor(&self) -> Cursor {
        self.0.lock().unwrap().0.clone()
    }

    fn apply(&self, changes: Vec<(u64, String)>, cursor: &Cursor) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap();
        kept.1.extend(changes);
        // As it comes back from the index.
        kept.0 = serde_json::from_str(&serde_json::to_string(cursor).unwrap()).unwrap();
        Ok(())
    }

    fn replace(&self, changes: Vec<(u64, String)>, cursor: &Cursor) -> Result<(), StoreError> {
        self.0.lock().unwrap().1.clear();
        self.apply(changes, cursor)
    }
}

struct Consumer {
    dir: tempfile::TempDir,
    certsrv: Certsrv,
    follower: Follower<Kept>,
}

impl Consumer {
    fn new(story: Story) -> Self {
        let dir = tempfile::tempdir().unwrap();
        story.trust().save(dir.path()).unwrap();
        let (certsrv, client) = serve(dir.path(), story);
        let followed = Followed::new(dir.path(), FeedTrust::load(dir.path()).unwrap(), "feed_alarm").unwrap();
        let (roster, lease) = (Kept::new(), Lease::default());
        let follower = Follower { roster, client, followed, lease, newest: UnixTime(0) };
        Self { dir, certsrv, follower }
    }

    /// As after a restart of the process; `lost`: without the index.
    fn restart(&mut self, lost: bool) {
        let followed = Followed::new(self.dir.path(), self.kept_trust(), "feed_alarm").unwrap();
        if lost {
            self.follower.roster = Kept::new();
        }
        followed.reached(&self.follower.roster.cursor(), false);
        (self.follower.followed, self.follower.lease, self.follower.newest) = (followed, Lease::default(), UnixTime(0));
    }

    fn kept_trust(&self) -> FeedTrust {
        FeedTrust::load(self.dir.path()).unwrap()
    }

    async fn step(&mut self) -> Result<Step, FollowError> {
        self.follower.step(0).await
    }

    /// Steps until there is nothing more at once.
    async fn catch_up(&mut self) {
        while self.step().await.unwrap() != Step::End {}
    }

    async fn refused(&mut self) -> FeedError {
        let before = (self.follower.roster.cursor(), self.follower.roster.told());
        let mut step = self.step().await;
        while matches!(step, Ok(Step::Told)) {
            step = self.step().await;
        }
        let FollowError::Feed(error) = step.unwrap_err() else { panic!("no alarm") };
        assert_eq!((self.follower.roster.cursor(), self.follower.roster.told()), before, "the roster stays");
        error
    }

    fn words(&self) -> Vec<String> {
        self.follower.roster.words()
    }
}

#[tokio::test]
async fn an_old_heartbeat_renews_nothing_and_no_lease_is_longer_than_it_may_be() {
    let mut consumer = Consumer::new(Story { lease: u64::MAX, ..Story::new() });
    assert_eq!(consumer.step().await.unwrap(), Step::End);
    let left = consumer.follower.lease.left().unwrap().as_secs();
    assert!((LEASE_SECONDS - 5..=LEASE_SECONDS).contains(&left), "{left}");
    for (issued, taken) in [(9_800, true), (9_600, false), (10_050, true), (9_749, false), (9_760, true)] {
        consumer.certsrv.change(|story| story.issued = issued);
        assert_eq!(consumer.step().await.is_ok(), taken, "issued at {issued}");
    }
    // Behind, and nothing comes: the lease is not renewed.
    consumer.follower.lease = Lease::default();
    consumer.certsrv.change(|story| (story.issued, story.told) = (10_060, Some(5)));
    assert_eq!(consumer.step().await.unwrap(), Step::End);
    assert!(!consumer.follower.lease.live());
    // A restart forgets at most a minute of it.
    assert_eq!(consumer.follower.roster.cursor().heartbeat, UnixTime(10_060));
    consumer.certsrv.change(|story| (story.issued, story.told) = (10_119, None));
    consumer.step().await.unwrap();
    assert_eq!(consumer.follower.roster.cursor().heartbeat, UnixTime(10_060), "not at every heartbeat");
    consumer.restart(false);
    consumer.certsrv.change(|story| story.issued = 9_759);
    assert_eq!(consumer.refused().await, FeedError::OldHeartbeat(UnixTime(9_759)));
    assert!(!consumer.follower.lease.live());
}

#[tokio::test]
async fn a_certsrv_that_never_waits_is_not_asked_without_a_pause() {
    let Consumer { dir: _dir, certsrv, follower } = Consumer::new(Story { told: Some(5), ..Story::new() });
    let Follower { roster, client, followed, lease, .. } = follower;
    let following = follow(roster, client, followed, lease, || {}, CancellationToken::new());
    let _ = tokio::time::timeout(Duration::from_secs(1), following).await;
    let asked = certsrv.asked.load(Ordering::Relaxed);
    assert!((2..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn whoever_has_certsrvs_place_and_not_its_feed_key_only_raises_an_alarm() {
    let mut story = Story::new();
    story.say("a");
    story.say("b");
    let mut consumer = Consumer::new(story.clone());
    consumer.catch_up().await;
    let mut forged = Story { key: PKey::generate_ed25519().unwrap(), ..story.clone() };
    forged.say("ghost");
    let mut shorter = story.clone();
    shorter.entries.truncate(1);
    let mut forked = shorter.clone();
    forked.say("another b");
    let mut gap = story.clone();
    gap.append(2, "\"d\"", None);
    let mut swapped = story.clone();
    swapped.say("c");
    swapped.entries[2].1.body = "\"other\"".into();
    let stale = Story { issued: 9_000, ..story.clone() };
    for (wrong, alarm) in [
        (forged, FeedError::Signature(2)),
        (shorter, FeedError::Truncated { seen: 2, told: 1 }),
        (forked, FeedError::Fork(2)),
        (gap, FeedError::Order { expected: 3, found: 4 }),
        (swapped, FeedError::Body(3)),
        (stale, FeedError::OldHeartbeat(UnixTime(9_000))),
    ] {
        consumer.follower.lease = Lease::default();
        consumer.certsrv.change(|story| *story = wrong);
        assert_eq!(consumer.refused().await, alarm);
        assert!(!consumer.follower.lease.live(), "{alarm}: no lease");
        assert!(!alarm.advice().is_empty());
    }
    // Pages from before, over again.
    let replayed = story.page(0);
    let (mut at, key) = (consumer.follower.roster.cursor(), story.trust().key().unwrap());
    assert_eq!(take::<Kept>(&mut at, &replayed, &key).err(), Some(FeedError::Order { expected: 3, found: 1 }));
    consumer.certsrv.change(|served| *served = story);
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b"]);
    assert!(consumer.follower.lease.live());
}

#[tokio::test]
async fn an_alarm_is_shown_until_it_is_acknowledged() {
    let mut story = Story::new();
    story.say("a");
    let consumer = Consumer::new(story.clone());
    let Consumer { dir: _dir, certsrv, follower } = consumer;
    let (followed, lease) = (Arc::clone(&follower.followed), follower.lease.clone());
    let stop = CancellationToken::new();
    let Follower { roster, client, .. } = follower;
    let following = tokio::spawn(follow(roster, client, Arc::clone(&followed), lease.clone(), || {}, stop.clone()));
    let until = async |done: &dyn Fn() -> bool| {
        tokio::time::timeout(Duration::from_secs(20), async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    };
    until(&|| lease.live()).await;
    assert_eq!((followed.warning(), followed.gauge().get()), (None, 0));
    certsrv.change(|story| story.entries.clear());
    until(&|| followed.gauge().get() == 1).await;
    let warning = followed.warning().unwrap();
    assert!(warning.contains("FEED ALARM since") && warning.contains("twinseal-certsrv restore"), "{warning}");
    certsrv.change(|served| *served = story);
    until(&|| followed.warning().is_some_and(|text| text.contains("over now"))).await;
    assert_eq!(followed.gauge().get(), 1);
    assert_eq!(followed.acknowledge().alarm, None);
    assert_eq!((followed.warning(), followed.gauge().get()), (None, 0));
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn a_replaced_key_is_kept_with_the_roster_and_without_it() {
    let mut story = Story::new();
    story.say("a");
    let mut consumer = Consumer::new(story);
    consumer.catch_up().await;
    consumer.certsrv.change(|story| {
        story.rotate();
        story.say("b");
    });
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b"]);
    let present = consumer.certsrv.story.lock().unwrap().public();
    assert_eq!(consumer.kept_trust().key, present);
    // The process died before feed.json was written: the roster's place tells.
    let joined = FeedTrust { key: B64(vec![0]), ..consumer.kept_trust() };
    joined.save(consumer.dir.path()).unwrap();
    consumer.restart(false);
    assert_eq!(consumer.kept_trust().key, present);
    consumer.certsrv.change(|story| story.say("c"));
    consumer.catch_up().await;
    // The roster is lost: the feed's first entries are signed by a key that is not trusted any more.
    consumer.restart(true);
    assert_eq!(consumer.refused().await, FeedError::Signature(0), "and no snapshot is to be had");
    consumer.certsrv.change(|story| story.snapshot = vec!["[1,\"a\"]\n".into(), "[3,\"b\"]\n[4,\"c\"]\n".into()]);
    consumer.catch_up().await;
    assert_eq!(consumer.follower.roster.told(), [(1, "a".into()), (3, "b".into()), (4, "c".into())]);
    assert!(consumer.follower.lease.live());
}

#[tokio::test]
async fn a_generation_is_followed_once_an_administrator_accepts_it() {
    let mut story = Story::new();
    ["a", "b", "c"].iter().for_each(|what| story.say(what));
    let mut consumer = Consumer::new(story);
    consumer.catch_up().await;
    consumer.follower.lease = Lease::default();
    consumer.certsrv.change(|story| {
        story.restore(2);
        story.say("d");
        story.snapshot = vec!["[1,\"a\"]\n[2,\"b\"]\n".into(), format!("[{},\"d\"]\n", GENERATION_STEP + 3)];
    });
    let alarm = FeedError::Generation { after: 3, expected: 1, found: 2 };
    for _ in 0..2 {
        assert_eq!(consumer.refused().await, alarm);
        assert!(!consumer.follower.lease.live());
    }
    let accept = |generation, key| AcceptGenerationRequest { generation, key };
    let followed = Arc::clone(&consumer.follower.followed);
    assert!(followed.accept(&accept(2, Some(B64(vec![1])))).is_err(), "no key");
    assert_eq!(consumer.kept_trust().generation, 1);
    followed.accept(&accept(2, None)).unwrap();
    assert!(followed.accept(&accept(1, None)).is_err(), "there is no way back");
    consumer.restart(false);
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b", "d"], "what was lost is not there any more");
    assert!(consumer.follower.lease.live());
    let place = consumer.follower.roster.cursor();
    assert_eq!((place.generation, place.sequence), (2, GENERATION_STEP + 3));
    consumer.certsrv.change(|story| story.say("e"));
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b", "d", "e"]);
}

#[tokio::test]
async fn a_snapshot_that_does_not_verify_replaces_nothing() {
    let mut story = Story::new();
    ["a", "b"].iter().for_each(|what| story.say(what));
    let mut consumer = Consumer::new(story);
    consumer.catch_up().await;
    consumer.certsrv.change(|story| story.snapshot = vec!["[1,\"a\"]\n".into(), "[2,\"x\"]\n".into()]);
    consumer.follower.followed.resync().unwrap();
    let right = consumer.certsrv.story.lock().unwrap().key.clone();
    consumer.certsrv.change(|story| story.key = PKey::generate_ed25519().unwrap());
    assert_eq!(consumer.refused().await, FeedError::Signature(2));
    assert!(consumer.kept_trust().resync, "it is still to be done");
    consumer.restart(false);
    consumer.certsrv.change(|story| story.key = right);
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "x"], "the roster is what the snapshot says");
    assert!(!consumer.kept_trust().resync);
}

#[tokio::test]
async fn a_restored_certsrv_with_an_older_key_needs_that_key_accepted_too() {
    let mut story = Story::new();
    ["a", "b"].iter().for_each(|what| story.say(what));
    let backup = story.clone();
    let mut consumer = Consumer::new(story);
    consumer.certsrv.change(|story| {
        story.rotate();
        story.say("c");
    });
    consumer.catch_up().await;
    let mut restored = backup;
    restored.restore(2);
    restored.snapshot = vec!["[1,\"a\"]\n[2,\"b\"]\n".into()];
    let old_key = restored.public();
    consumer.certsrv.change(|story| *story = restored);
    assert_eq!(consumer.refused().await, FeedError::Signature(4));
    consumer.follower.followed.accept(&AcceptGenerationRequest { generation: 2, key: None }).unwrap();
    assert_eq!(consumer.refused().await, FeedError::Signature(4));
    let with_key = AcceptGenerationRequest { generation: 2, key: Some(old_key) };
    consumer.follower.followed.accept(&with_key).unwrap();
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b"]);
    assert!(consumer.follower.lease.live());
}

#[tokio::test]
async fn a_consumer_that_had_what_was_restored_goes_on_without_a_snapshot() {
    let mut story = Story::new();
    ["a", "b"].iter().for_each(|what| story.say(what));
    let mut consumer = Consumer::new(story);
    consumer.catch_up().await;
    consumer.certsrv.change(|story| {
        story.restore(2);
        story.say("d");
    });
    consumer.follower.followed.accept(&AcceptGenerationRequest { generation: 2, key: None }).unwrap();
    consumer.catch_up().await;
    assert_eq!(consumer.words(), ["a", "b", "d"]);
}

#[tokio::test]
async fn a_long_feed_is_begun_with_a_snapshot() {
    let mut story = Story::new();
    story.append(LONG + 1, "null", None);
    story.snapshot = vec!["[7,\"a\"]\n".into()];
    let mut consumer = Consumer::new(story);
    consumer.catch_up().await;
    assert_eq!(consumer.follower.roster.told(), [(7, "a".into())]);
    assert!(consumer.follower.lease.live());
}
