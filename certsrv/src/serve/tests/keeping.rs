//! The feed beyond one key, one consumer and one state directory: rotation, snapshots, backup and restore.

use super::harness::{Joined, Running, call, config, key_and_csr};
use crate::backup::{self, BackupError, MANIFEST, Manifest};
use crate::config::Config;
use crate::init::init;
use crate::restore::{RestoreError, restore};
use crate::rows::Applied;
use crate::tests::{address, ec_key, rsa_key};
use openssl::pkey::{PKey, Public};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{
    JoinPolicy, MembersRequest, RemoveMembers, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::admin::feed::RotateFeedKey;
use twinseal_proto::api::feed::{Feed, FeedPage, FeedRequest, FeedSnapshot, SnapshotPage, SnapshotRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{Cursor, ExploderChange, FeedError, GENERATION_STEP, GroupsrvChange, View};
use twinseal_proto::ids::GroupId;
use twinseal_proto::roster::{SignedStatement, Statement};
use twinseal_svc::store::{Batch, Store, Table};
use twinseal_svc::{audit, durable};

const LIST: &str = "team@lists.test";

/// A roster as its service would have it: rows by name. Every change there is has its place here, so that a new one is
/// not forgotten in the snapshot either.
pub(super) type Rows = BTreeMap<String, String>;

pub(super) trait Taken {
    fn take(self, at: u64, rows: &mut Rows);
}

fn row(of: &impl ToString, more: &str) -> String {
    format!("{} {more}", of.to_string())
}

/// What an owner said: who is in by which entry, every change of owners, and the newest head.
fn said(group: GroupId, signed: &SignedStatement, rows: &mut Rows) {
    let digest = signed.digest().to_string();
    match signed.read().unwrap() {
        Statement::Entry(entry) => drop(rows.insert(row(&group, &format!("{} signed", entry.handle)), digest)),
        Statement::Removal(removal) => {
            rows.retain(|name, _| !name.starts_with(&format!("{group} {}", removal.handle)));
        }
        Statement::Owners(change) => drop(rows.insert(row(&group, &format!("owners {}", change.sequence)), digest)),
        Statement::Head(_) => drop(rows.insert(row(&group, "head"), digest)),
    }
}

impl Taken for GroupsrvChange {
    fn take(self, at: u64, rows: &mut Rows) {
        match self {
            Self::GroupCreated { group, mode, history, signed }
            | Self::GroupChanged { group, mode, history, signed } => {
                rows.insert(row(&group, ""), format!("{mode:?} {history:?} {signed}"));
            }
            Self::GroupDeleted { group } => rows.retain(|name, _| !name.starts_with(&group.to_string())),
            Self::MemberJoined { group, handle, recipient, signed } => {
                signed.iter().for_each(|signed| said(group, signed, rows));
                rows.insert(row(&group, &format!("{handle} joined")), at.to_string());
                rows.insert(row(&group, &format!("{handle} key")), serde_json::to_string(&recipient).unwrap());
            }
            Self::MemberKeyChanged { group, handle, recipient, signed } => {
                signed.iter().for_each(|signed| said(group, signed, rows));
                rows.insert(row(&group, &format!("{handle} key")), serde_json::to_string(&recipient).unwrap());
            }
            Self::MemberSuspended { group, handle } => {
                rows.remove(&row(&group, &format!("{handle} key")));
            }
            Self::MemberLeft { group, handle } => {
                rows.retain(|name, _| !name.starts_with(&format!("{group} {handle}")))
            }
            Self::Statement { group, statement } => said(group, &statement, rows),
            Self::MembershipRevoked { certificates } => {
                for one in certificates {
                    rows.insert(format!("revoked {:?}", one.serial), one.until.to_string());
                }
            }
        }
    }
}

impl Taken for ExploderChange {
    fn take(self, _: u64, rows: &mut Rows) {
        match self {
            Self::GroupCreated { group, list, settings, signed } => {
                rows.insert(row(&group, "signed"), signed.to_string());
                rows.insert(row(&group, "list"), list.to_string());
                rows.insert(row(&group, "settings"), serde_json::to_string(&settings).unwrap());
            }
            Self::GroupChanged { group, settings, signed } => {
                rows.insert(row(&group, "signed"), signed.to_string());
                rows.insert(row(&group, "settings"), serde_json::to_string(&settings).unwrap());
            }
            Self::GroupDeleted { group } => rows.retain(|name, _| !name.starts_with(&group.to_string())),
            Self::MemberJoined { group, handle, number, address, salt, signed } => {
                signed.iter().for_each(|signed| said(group, signed, rows));
                rows.insert(row(&group, &handle.to_string()), format!("{} {address} {salt:?}", number.0));
            }
            Self::MemberOptions { group, handle, options } => {
                rows.insert(row(&group, &format!("{handle} options")), format!("{options:?}"));
            }
            Self::MemberLeft { group, handle } => {
                rows.retain(|name, _| !name.starts_with(&format!("{group} {handle}")))
            }
            Self::Statement { group, statement } => said(group, &statement, rows),
            Self::PostingToken { digest, address, expires } => {
                rows.insert(format!("token {digest}"), format!("{address} {expires}"));
            }
            Self::PostingTokenEnded { digest } => {
                rows.remove(&format!("token {digest}"));
            }
        }
    }
}

async fn page(service: &Joined, after: u64) -> FeedPage {
    call::<Feed>(&service.client, &FeedRequest { after, wait: 0 }).await.unwrap()
}

/// Follows the feed from `cursor` on to its end.
pub(super) async fn follow<C: serde::de::DeserializeOwned + Taken>(
    service: &Joined,
    view: View,
    cursor: &mut Cursor,
    key: &PKey<Public>,
    rows: &mut Rows,
) -> Result<(), FeedError> {
    loop {
        let page = page(service, cursor.sequence).await;
        for entry in &page.entries {
            if let Some(change) = cursor.accept::<C>(entry, view, key)? {
                change.take(cursor.sequence, rows);
            }
        }
        if let Some(beat) = &page.heartbeat
            && cursor.heartbeat(beat, key)? == Some(300)
        {
            return Ok(());
        }
    }
}

pub(super) async fn pages(service: &Joined, after: u64) -> (SnapshotPage, Vec<String>) {
    let ask = |snapshot, page| SnapshotRequest { after, snapshot, page };
    let first = call::<FeedSnapshot>(&service.client, &ask(None, 0)).await.unwrap();
    let digest = Digest::of(first.snapshot.header.as_bytes());
    let mut texts = vec![first.text.clone()];
    for number in 1..first.pages {
        let next = call::<FeedSnapshot>(&service.client, &ask(Some(digest), number)).await.unwrap();
        assert_eq!(next.snapshot, first.snapshot);
        texts.push(next.text);
    }
    let beyond = call::<FeedSnapshot>(&service.client, &ask(Some(digest), first.pages)).await.unwrap_err();
    assert_eq!(beyond.code, ProblemCode::BadRequest);
    let unknown = call::<FeedSnapshot>(&service.client, &ask(Some(Digest([1; 32])), 0)).await.unwrap_err();
    assert_eq!(unknown.code, ProblemCode::Conflict);
    (first, texts)
}

/// A new roster by a snapshot.
async fn snapshot<C: serde::de::DeserializeOwned + Taken>(
    service: &Joined,
    view: View,
    at: &Cursor,
    key: &PKey<Public>,
) -> (Cursor, Rows) {
    let (first, texts) = pages(service, at.sequence).await;
    let (place, changes) = first.snapshot.open::<C>(&texts, view, at, key).unwrap();
    let mut rows = Rows::new();
    for (at, change) in changes {
        change.take(at, &mut rows);
    }
    (place, rows)
}

async fn remove(certsrv: &Running, name: &str) {
    let request = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address(name)] };
    certsrv.admin::<RemoveMembers>(&request).await.unwrap();
}

/// Members in every state: active, re-keyed, suspended, pending, gone, and joined long after they were put in.
async fn populate(certsrv: &Running) {
    certsrv.account("owner", Some(&ec_key())).await;
    for name in ["ann", "bob", "cyd"] {
        certsrv.account(name, Some(&rsa_key(2048))).await;
    }
    certsrv.account("dan", None).await;
    certsrv.account("eve", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    certsrv.group("other@lists.test", "owner", JoinPolicy::Open).await;
    certsrv.put_in(LIST, &["ann", "bob", "cyd", "dan", "eve"]).await;
    remove(certsrv, "bob").await;
    certsrv.enrol(&super::harness::basic("dan"), &key_and_csr("dan").1).await.unwrap();
    let serial = certsrv.members(LIST).await.into_iter().find(|m| m.address == address("cyd")).unwrap().serial;
    let revoke = RevokeRequest { serial: serial.unwrap(), reason: RevocationReason::CessationOfOperation };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_what_the_entries_come_to() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (groupsrv, exploder) = (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
    populate(&certsrv).await;
    let key = groupsrv.feed_key();
    let start = Cursor::start(groupsrv.trust.feed, 1);
    let (mut at, mut rows) = (start.clone(), Rows::new());
    follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut at, &key, &mut rows).await.unwrap();
    let (place, same) = snapshot::<GroupsrvChange>(&groupsrv, View::Groupsrv, &start, &key).await;
    assert_eq!((place.sequence, place.head, place.generation), (at.sequence, at.head, 1));
    assert_eq!(same, rows);
    assert_eq!(rows.keys().filter(|name| name.ends_with("joined")).count(), 4 + 1, "{rows:#?}");
    assert_eq!(rows.keys().filter(|name| name.ends_with("key")).count(), 3 + 1, "one is suspended");

    let (mut at, mut rows) = (start.clone(), Rows::new());
    follow::<ExploderChange>(&exploder, View::Exploder, &mut at, &key, &mut rows).await.unwrap();
    let (place, same) = snapshot::<ExploderChange>(&exploder, View::Exploder, &start, &key).await;
    assert_eq!((place.sequence, same), (at.sequence, rows));

    // What one is told the other is not, and strangers are told nothing.
    let (first, texts) = pages(&groupsrv, 0).await;
    for secret in ["@", "members.test", "lists.test"] {
        assert!(!texts.concat().contains(secret), "groupsrv is told {secret}");
    }
    let stranger = certsrv.client(None);
    let refused = call::<FeedSnapshot>(&stranger, &SnapshotRequest { after: 0, snapshot: None, page: 0 }).await;
    assert_eq!(refused.unwrap_err().code, ProblemCode::NotAuthenticated);
    let wrong = first.snapshot.open::<serde_json::Value>(&texts, View::Exploder, &start, &key);
    assert!(matches!(wrong, Err(FeedError::Body(_))));

    // The same from a rebuilt index, and one of an earlier version is rebuilt.
    let before = rows_of(&groupsrv, &start, &key).await;
    certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    let groupsrv = Joined { client: reconnect(&certsrv, &groupsrv), ..groupsrv };
    assert_eq!(rows_of(&groupsrv, &start, &key).await, before);
    certsrv.stop().await;
    let index = config(&dir).state.join("index");
    let old = Applied { version: 0, ..stored_applied(&index) };
    let mut batch = Batch::default();
    batch.put(Table(0), &[], &old).unwrap();
    Store::open(&index).unwrap().store.commit(batch).unwrap();
    let certsrv = Running::start(&dir).await;
    let groupsrv = Joined { client: reconnect(&certsrv, &groupsrv), ..groupsrv };
    assert_eq!(certsrv.app.registry.view().applied().unwrap(), Applied { version: Applied::VERSION, ..old });
    assert_eq!(rows_of(&groupsrv, &start, &key).await, before);
    // A snapshot that was made shortly ago does not lead back.
    let asked = certsrv.app.registry.head().borrow().sequence;
    certsrv.account("fay", None).await;
    let (first, _) = pages(&groupsrv, asked + 1).await;
    assert!(first.snapshot.header.contains(&format!("\"sequence\":{}", asked + 1)));
    certsrv.stop().await;
}

fn stored_applied(index: &Path) -> Applied {
    Store::open(index).unwrap().store.get(Table(0), &[]).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_of_one_moment_while_members_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    populate(&certsrv).await;
    let (key, start) = (groupsrv.feed_key(), Cursor::start(groupsrv.trust.feed, 1));
    let changes = async {
        for _ in 0..25 {
            remove(&certsrv, "ann").await;
            certsrv.put_in(LIST, &["ann", "bob"]).await;
            remove(&certsrv, "bob").await;
        }
    };
    let snapshots = async {
        let mut taken = Vec::new();
        for _ in 0..8 {
            // Beyond what was made before: a new one each time, with the changes going on.
            let mut head = certsrv.app.registry.head();
            let after = head.borrow().sequence + 1;
            head.wait_for(|head| head.sequence > after).await.unwrap();
            taken.push(snapshot::<GroupsrvChange>(&groupsrv, View::Groupsrv, &place(&start, after), &key).await);
        }
        taken
    };
    let ((), taken) = tokio::join!(changes, snapshots);
    let (mut at, mut rows) = (start.clone(), Rows::new());
    follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut at, &key, &mut rows).await.unwrap();
    let mut moments = Vec::new();
    for (mut place, mut then) in taken {
        moments.push(place.sequence);
        follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut place, &key, &mut then).await.unwrap();
        assert_eq!((place.sequence, place.head, then), (at.sequence, at.head, rows.clone()));
    }
    moments.dedup();
    assert!(moments.len() > 2, "{moments:?}");
    certsrv.stop().await;
}

/// A consumer that has come to `sequence`, and knows no head that a snapshot has to have.
fn place(start: &Cursor, sequence: u64) -> Cursor {
    Cursor { sequence, ..start.clone() }
}

async fn rows_of(service: &Joined, start: &Cursor, key: &PKey<Public>) -> Rows {
    snapshot::<GroupsrvChange>(service, View::Groupsrv, start, key).await.1
}

/// The same service on the address that certsrv has after a start.
fn reconnect(certsrv: &Running, service: &Joined) -> twinseal_svc::client::Client {
    let app = &certsrv.app;
    twinseal_svc::client::Client::pinned(&certsrv.url, &app.root, app.pin, Some(&service.identity)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_move_to_another_feed_key_by_the_feed() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let early = certsrv.join(ServiceRole::Groupsrv).await;
    populate(&certsrv).await;
    let (key, start) = (early.feed_key(), Cursor::start(early.trust.feed, 1));
    let (mut at, mut rows) = (start.clone(), Rows::new());
    follow::<GroupsrvChange>(&early, View::Groupsrv, &mut at, &key, &mut rows).await.unwrap();
    let behind = at.sequence;

    let rotated = certsrv.admin::<RotateFeedKey>(&Nothing {}).await.unwrap();
    assert_eq!(rotated.sequence, behind + 1);
    assert_ne!(rotated.key, early.trust.key);
    remove(&certsrv, "ann").await;
    let other = certsrv.admin::<RotateFeedKey>(&Nothing {}).await.unwrap();
    // Whoever is before the entries that name a key is told no heartbeat by it, until the page has them.
    assert!(page(&early, behind).await.heartbeat.is_some(), "the page ends behind them");
    follow::<GroupsrvChange>(&early, View::Groupsrv, &mut at, &key, &mut rows).await.unwrap();
    assert_eq!((at.sequence, at.key.clone()), (behind + 3, Some(other.key.clone())));
    let (place, same) = snapshot::<GroupsrvChange>(&early, View::Groupsrv, &start, &key).await;
    assert_eq!((place.key, same), (at.key.clone(), rows));

    // Whoever joins now is given the present key; the entries of before need a snapshot.
    let late = certsrv.join(ServiceRole::Exploder).await;
    assert_eq!(late.trust.key, other.key);
    let entries = page(&late, 0).await.entries;
    let refused = start.clone().accept::<ExploderChange>(&entries[0], View::Exploder, &late.feed_key());
    assert_eq!(refused, Err(FeedError::Signature(0)));
    let (place, _) = snapshot::<ExploderChange>(&late, View::Exploder, &start, &late.feed_key()).await;
    assert_eq!(place.key, None);
    certsrv.stop().await;

    let certsrv = Running::start(&dir).await;
    let early = Joined { client: reconnect(&certsrv, &early), ..early };
    follow::<GroupsrvChange>(&early, View::Groupsrv, &mut at, &key, &mut Rows::new()).await.unwrap();
    certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    Running::start(&dir).await.stop().await;
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn take(dir: &TempDir, out: &Path) -> Result<Manifest, BackupError> {
    let config = config(dir);
    backup::take(&config.admin_socket, &config.state, out).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_is_restored_as_a_new_generation() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, out) = (config(&dir), place.path().join("backup"));
    let certsrv = Running::new(&dir).await;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    populate(&certsrv).await;
    certsrv.admin::<RotateFeedKey>(&Nothing {}).await.unwrap();
    let token = certsrv.enrol_token("eve").await;
    let (key, start) = (groupsrv.feed_key(), Cursor::start(groupsrv.trust.feed, 1));
    let before = rows_of(&groupsrv, &start, &key).await;
    let manifest = take(&dir, &out).await.unwrap();
    assert!(manifest.files.iter().all(|file| !file.path.starts_with("index") && file.path != "lock"));
    for name in ["feed/feed.key", "ca/members.key", "tls/key.pem", "audit/audit-000001.log", MANIFEST] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(out.join(name)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(matches!(take(&dir, &out).await, Err(BackupError::NotEmpty(_))));
    assert!(matches!(take(&dir, &config.state.join("backup")).await, Err(BackupError::Inside(_))));

    // Later: ann is removed, and a consumer hears of it.
    remove(&certsrv, "ann").await;
    let (mut at, mut rows) = (start.clone(), Rows::new());
    follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut at, &key, &mut rows).await.unwrap();
    let number = next_number(&certsrv);
    certsrv.stop().await;
    assert!(matches!(restore(&config, &out, None).await, Err(RestoreError::NotEmpty(_))));
    std::fs::remove_dir_all(&config.state).unwrap();
    let refused = restore(&config, &out, Some(1)).await;
    assert!(matches!(refused, Err(RestoreError::Generation { asked: 1, backup: 1 })));

    let restored = restore(&config, &out, None).await.unwrap();
    assert_eq!((restored.generation, restored.sequence), (2, manifest.sequence + GENERATION_STEP));
    let certsrv = Running::start(&dir).await;
    assert!(audit::verify(&config.state.join("audit")).unwrap().records > 10);
    assert!(next_number(&certsrv) > number + 1000, "no number is given twice");
    let groupsrv = Joined { client: reconnect(&certsrv, &groupsrv), ..groupsrv };
    let refused = follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut at.clone(), &key, &mut Rows::new()).await;
    assert!(matches!(refused, Err(FeedError::Generation { expected: 1, found: 2, .. })), "{refused:?}");
    let at = at.accepting(2);
    let (mut place, mut after) = snapshot::<GroupsrvChange>(&groupsrv, View::Groupsrv, &at, &key).await;
    assert_eq!(after, before, "ann is a member again");
    assert_eq!((place.generation, place.sequence), (2, restored.sequence));

    // Tokens of before are good no longer, and life goes on.
    let (_, csr) = key_and_csr("eve");
    let refused = certsrv.enrol(&format!("Bearer {token}"), &csr).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    remove(&certsrv, "ann").await;
    follow::<GroupsrvChange>(&groupsrv, View::Groupsrv, &mut place, &key, &mut after).await.unwrap();
    assert_eq!(after, rows);
    certsrv.stop().await;

    // The same backup a second time needs a generation of its own.
    std::fs::remove_dir_all(&config.state).unwrap();
    let restored = restore(&config, &out, Some(3)).await.unwrap();
    assert_eq!((restored.generation, restored.sequence), (3, manifest.sequence + 2 * GENERATION_STEP));
    Running::start(&dir).await.stop().await;
}

fn next_number(certsrv: &Running) -> u32 {
    certsrv.app.registry.view().applied().unwrap().next_number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_not_restored_and_a_broken_off_restore_begins_again() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, out) = (config(&dir), place.path().join("backup"));
    let certsrv = Running::new(&dir).await;
    populate(&certsrv).await;
    let manifest = take(&dir, &out).await.unwrap();
    certsrv.stop().await;
    std::fs::remove_dir_all(&config.state).unwrap();
    let damaged = place.path().join("damaged");
    let rewritten = |change: &dyn Fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        std::fs::write(damaged.join(MANIFEST), serde_json::to_vec(&changed).unwrap()).unwrap();
    };
    let log = "feed/feed-000001.log";
    for (what, damage) in [
        ("no manifest", &(|| std::fs::remove_file(damaged.join(MANIFEST)).unwrap()) as &dyn Fn()),
        ("a path that leads out", &|| rewritten(&|m| m.files[0].path = "../outside".into())),
        ("an absolute path", &|| rewritten(&|m| m.files[0].path = "/tmp/outside".into())),
        ("a file twice", &|| rewritten(&|m| m.files[1].path = m.files[0].path.clone())),
        ("another version", &|| rewritten(&|m| m.version = 2)),
        ("another head", &|| rewritten(&|m| m.head = Digest([1; 32]))),
        ("another end", &|| rewritten(&|m| m.sequence -= 1)),
        ("a file is missing", &|| std::fs::remove_file(damaged.join("ca/members.key")).unwrap()),
        ("an octet of the log", &|| {
            let mut octets = std::fs::read(damaged.join(log)).unwrap();
            octets[500] ^= 1;
            std::fs::write(damaged.join(log), octets).unwrap();
        }),
        ("a log that was signed by nobody", &|| {
            // The manifest is of one mind with it: the signatures are not.
            let text = std::fs::read_to_string(damaged.join(log)).unwrap().replace("ann@", "eve@");
            std::fs::write(damaged.join(log), &text).unwrap();
            rewritten(&|m| {
                let file = m.files.iter_mut().find(|file| file.path == log).unwrap();
                (file.length, file.sha256) = (text.len() as u64, Digest::of(text.as_bytes()));
            });
        }),
    ] {
        let _ = std::fs::remove_dir_all(&damaged);
        copy_tree(&out, &damaged);
        damage();
        let refused = restore(&config, &damaged, None).await;
        assert!(refused.is_err(), "{what}");
        assert!(!config.state.join("feed/feed.json").exists(), "{what}: nothing can be served");
        assert!(!place.path().join("outside").exists() && !Path::new("/tmp/outside").exists());
    }
    // The last try left files behind, and the mark that they are a restore's.
    assert!(config.state.join("restoring").exists());
    let restored = restore(&config, &out, None).await.unwrap();
    assert_eq!(restored.key, B64(manifest.key.0.clone()));
    let certsrv = Running::start(&dir).await;
    assert_eq!(certsrv.members(LIST).await.len(), 5);
    certsrv.stop().await;
    // A mark that outlived its restore does not let another one write over what was served.
    std::fs::write(config.state.join("restoring"), b"").unwrap();
    assert!(matches!(restore(&config, &out, None).await, Err(RestoreError::NotEmpty(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_keys_are_restored_with_their_credential_only() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (given, out) = (place.path().join("given"), place.path().join("backup"));
    durable::replace(&given, &[7; 32]).unwrap();
    let config = Config { credential_file: Some(given.clone()), ..config(&dir) };
    init(&config, config.ca_key_type).await.unwrap();
    let certsrv = Running::start_with(&dir, config.clone()).await;
    let manifest = take(&dir, &out).await.unwrap();
    certsrv.stop().await;
    assert!(!manifest.has(&config.state, &given) && manifest.has(&config.state, &config.state.join("ca/members.key")));
    std::fs::remove_dir_all(&config.state).unwrap();
    // None, and another one.
    std::fs::remove_file(&given).unwrap();
    assert!(matches!(restore(&config, &out, None).await, Err(RestoreError::Keys(_))));
    durable::replace(&given, &[8; 32]).unwrap();
    assert!(matches!(restore(&config, &out, None).await, Err(RestoreError::Ca(_))));
    let own = Config { credential_file: None, ..config.clone() };
    assert!(matches!(restore(&own, &out, None).await, Err(RestoreError::Keys(_))));
    assert!(!config.state.join("feed/feed.json").exists() && !config.state.join("credential").exists());
    durable::replace(&given, &[7; 32]).unwrap();
    restore(&config, &out, None).await.unwrap();
    Running::start_with(&dir, config).await.stop().await;
}
