#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::replay::{Found, ReplayError, replay};
use super::*;
use crate::change::Change;
use crate::tests::{address, feed_key, now};
use key::{FeedFile, KEY_FILE, NEXT_KEY_FILE, make_next};
use openssl::pkey::PKey;
use std::fs;
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{Cursor, EntryHeader, GENERATION_STEP, Heartbeat, View};
use twinseal_proto::ids::FeedId;

const START: Head = Head { sequence: 0, digest: Digest([0; 32]) };

fn told(name: &str) -> Told {
    let change = Change::AccountAdded { address: address(name), password: None };
    Told { change, groupsrv: None, exploder: None }
}

/// What a replay finds: the names in order, and where the log stands.
fn names(dir: &Path, key: &FeedKey, from: Head) -> Result<(Vec<String>, Found), ReplayError> {
    let mut names = Vec::new();
    let found = replay(dir, key, from, |commit, _| {
        for change in commit {
            if let Change::AccountAdded { address, .. } = change {
                names.push(address.parts().0.to_owned());
            }
        }
        Ok(())
    })?;
    Ok((names, found))
}

/// A log of two commits: `a`, then `b` and `c`.
fn two_commits(dir: &Path, key: &Arc<FeedKey>) -> (Head, Head) {
    let (_, found) = names(dir, key, START).unwrap();
    let mut log = FeedLog::open(dir, Arc::clone(key), found).unwrap();
    let first = log.append(&[told("a")], now()).unwrap();
    let second = log.append(&[told("b"), told("c")], now()).unwrap();
    assert_eq!(log.pages().read(1, u64::MAX, View::Exploder).unwrap().0.len(), 2);
    (first, second)
}

#[test]
fn a_log_is_read_back_from_any_commit() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(feed_key());
    let (first, second) = two_commits(dir.path(), &key);
    let (all, found) = names(dir.path(), &key, START).unwrap();
    assert_eq!((all, found.head), (vec!["a".into(), "b".into(), "c".into()], second));
    assert_eq!(names(dir.path(), &key, first).unwrap().0, ["b", "c"]);
    assert!(names(dir.path(), &key, second).unwrap().0.is_empty());
    let other = Head { digest: Digest([1; 32]), ..first };
    assert!(matches!(names(dir.path(), &key, other), Err(ReplayError::Log(LogError::OtherIndex))));
    let beyond = Head { sequence: 9, ..second };
    assert!(matches!(names(dir.path(), &key, beyond), Err(ReplayError::Log(LogError::Lost { log: 3, index: 9 }))));
}

#[test]
fn a_torn_commit_is_cut_off_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(feed_key());
    let (first, _) = two_commits(dir.path(), &key);
    let path = file_path(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    for cut in [ends[0] + 1, ends[1], ends[1] + 7, ends[2] - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let (found_names, found) = names(dir.path(), &key, START).unwrap();
        assert_eq!(
            (found_names, found.whole, found.head),
            (vec!["a".to_owned()], ends[0] as u64, first),
            "cut at {cut}"
        );
        let mut log = FeedLog::open(dir.path(), Arc::clone(&key), found).unwrap();
        log.append(&[told("d")], now()).unwrap();
        assert_eq!(names(dir.path(), &key, START).unwrap().0, ["a", "d"]);
    }
}

#[test]
fn every_changed_line_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(feed_key());
    two_commits(dir.path(), &key);
    let path = file_path(dir.path(), 1);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let table = [
        whole.replace("\"sequence\\\":2", "\"sequence\\\":7"),
        whole.replace("a@members.test", "e@members.test"),
        format!("{}\n{}\n", lines[0], lines[2]),
        format!("{}\n{}\n{}\n", lines[0], lines[0], lines[1]),
        format!("{}\nrubbish\n{}\n", lines[0], lines[1]),
        whole.replacen("null", "true", 1),
    ];
    for text in table {
        assert_ne!(text, whole);
        fs::write(&path, &text).unwrap();
        assert!(matches!(names(dir.path(), &key, START), Err(ReplayError::Log(LogError::Broken { .. }))), "{text}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(names(dir.path(), &feed_key(), START).is_err(), "another feed's key");
}

#[test]
fn what_is_signed_is_never_dated_back() {
    let dir = tempfile::tempdir().unwrap();
    let private = PKey::generate_ed25519().unwrap();
    let started = || Arc::new(FeedKey::new(FeedId::from_random([1; 16]), 1, private.clone()));
    let beat = |key: &FeedKey, at| {
        let signed = key.heartbeat(0, START, UnixTime(at)).unwrap().unwrap();
        serde_json::from_str::<Heartbeat>(&signed.text).unwrap().issued.0
    };
    let key = started();
    let (_, found) = names(dir.path(), &key, START).unwrap();
    let mut log = FeedLog::open(dir.path(), Arc::clone(&key), found).unwrap();
    assert_eq!([beat(&key, 100), beat(&key, 40), beat(&key, 101)], [100, 100, 101]);
    let head = log.append(&[told("a")], UnixTime(50)).unwrap();
    let entry = log.pages().read(0, 1, View::Exploder).unwrap().0.remove(0);
    assert_eq!(serde_json::from_str::<EntryHeader>(&entry.header).unwrap().issued, UnixTime(101));
    // After a start, whether or not the index has the last entry.
    for from in [START, head] {
        let key = started();
        names(dir.path(), &key, from).unwrap();
        assert_eq!(beat(&key, 60), 101);
    }
}

/// A feed's directory, with its key, as `init` leaves it.
fn new_feed(dir: &Path) -> FeedFile {
    let file = FeedFile::new(FeedId::from_random([1; 16]));
    file.save(dir).unwrap();
    let key = PKey::generate_ed25519().unwrap();
    twinseal_svc::durable::replace(&dir.join(KEY_FILE), &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    file
}

fn started(dir: &Path) -> Arc<FeedKey> {
    let pem = fs::read(dir.join(KEY_FILE)).unwrap();
    let key = FeedKey::of(&FeedFile::load(dir).unwrap(), PKey::private_key_from_pem(&pem).unwrap());
    Arc::new(key.unwrap())
}

/// Opens the log as a start does.
fn open(dir: &Path, from: Head) -> Result<(Arc<FeedKey>, FeedLog), ReplayError> {
    let key = started(dir);
    let (_, found) = names(dir, &key, from)?;
    let log = FeedLog::open(dir, Arc::clone(&key), found)?;
    Ok((key, log))
}

fn rotation(key: &B64) -> Told {
    Told { change: Change::FeedKeyRotated { key: key.clone() }, groupsrv: None, exploder: None }
}

/// Follows the log as a consumer that was given `key` does; where it comes to.
fn followed(log: &FeedLog, file: &FeedFile, key: &B64, accepted: u64) -> Cursor {
    let key = PKey::public_key_from_der(key.as_ref()).unwrap();
    let mut at = Cursor::start(file.feed, 1).accepting(accepted);
    for entry in log.pages().read(0, u64::MAX, View::Groupsrv).unwrap().0 {
        at.accept::<serde_json::Value>(&entry, View::Groupsrv, &key).unwrap();
    }
    at
}

#[test]
fn another_key_signs_from_the_entry_that_names_it_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_feed(dir.path());
    let (key, mut log) = open(dir.path(), START).unwrap();
    let first = B64(key.public_der().unwrap());
    log.append(&[told("a")], now()).unwrap();
    let before = log.head();
    for (round, name) in [(1, "b"), (2, "c")] {
        let next = make_next(dir.path()).unwrap();
        let head = log.append(&[told(name), rotation(&next)], now()).unwrap();
        log.settle().unwrap();
        assert_eq!(B64(key.public_der().unwrap()), next);
        assert_eq!(key.rotations().len(), round);
        assert!(key.heartbeat(head.sequence - 1, head, now()).unwrap().is_none(), "the key is not known there");
        let beat = key.heartbeat(head.sequence, head, now()).unwrap().unwrap();
        let mut at = followed(&log, &file, &first, 1);
        assert_eq!(at.heartbeat(&beat, &PKey::public_key_from_der(first.as_ref()).unwrap()), Ok(Some(300)));
        assert_eq!(at.key, Some(next));
        assert!(!dir.path().join(NEXT_KEY_FILE).exists());
    }
    log.append(&[told("d")], now()).unwrap();
    let end = log.head();
    drop(log);
    for from in [START, before, end] {
        let (key, log) = open(dir.path(), from).unwrap();
        assert_eq!((log.head(), key.rotations()), (end, vec![3, 5]));
        assert_eq!(followed(&log, &file, &first, 1).sequence, 6);
    }
    // Neither signature of the entry that names a key can be changed.
    let path = file_path(dir.path(), 1);
    let whole = fs::read_to_string(&path).unwrap();
    let at = whole.find("next_signature\":\"").unwrap() + 20;
    let mut changed = whole.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    fs::write(&path, &changed).unwrap();
    let refused = open(dir.path(), START).err().unwrap();
    assert!(refused.to_string().contains("did not sign for itself"), "{refused}");
}

#[test]
fn a_rotation_that_was_broken_off_is_ended_or_forgotten() {
    // What the directory has after each step; whether the log names the new key.
    for (steps, appended) in [("key made", false), ("appended", true), ("in feed.json", true)] {
        let dir = tempfile::tempdir().unwrap();
        let file = new_feed(dir.path());
        let (key, mut log) = open(dir.path(), START).unwrap();
        let first = B64(key.public_der().unwrap());
        log.append(&[told("a")], now()).unwrap();
        let old_pem = fs::read(dir.path().join(KEY_FILE)).unwrap();
        let next = make_next(dir.path()).unwrap();
        let next_pem = fs::read(dir.path().join(NEXT_KEY_FILE)).unwrap();
        let mut at = log.head();
        if appended {
            at = log.append(&[rotation(&next)], now()).unwrap();
        }
        if steps == "in feed.json" {
            log.settle().unwrap();
            let durable = twinseal_svc::durable::replace;
            durable(&dir.path().join(KEY_FILE), &old_pem).unwrap();
            durable(&dir.path().join(NEXT_KEY_FILE), &next_pem).unwrap();
        }
        drop(log);
        for from in [START, at] {
            let (key, mut log) = open(dir.path(), from).unwrap();
            let present = if appended { &next } else { &first };
            assert_eq!(B64(key.public_der().unwrap()), *present, "{steps}");
            log.append(&[told("b")], now()).unwrap();
            followed(&log, &file, &first, 1);
        }
        // A key that nobody has is not gone on with.
        if appended {
            fs::write(dir.path().join(KEY_FILE), &old_pem).unwrap();
            assert!(matches!(open(dir.path(), START), Err(ReplayError::Log(LogError::Key))), "{steps}");
        }
    }
}

#[test]
fn a_generation_begins_far_above_what_may_have_been_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = new_feed(dir.path());
    let (key, mut log) = open(dir.path(), START).unwrap();
    let first_key = B64(key.public_der().unwrap());
    let last = log.append(&[told("a"), told("b")], now()).unwrap();
    drop(log);
    file.begin(2, last.sequence);
    file.save(dir.path()).unwrap();
    let (_, mut log) = open(dir.path(), START).unwrap();
    let began = Told { change: Change::GenerationBegan { generation: 2 }, groupsrv: None, exploder: None };
    let head = log.append(&[began], now()).unwrap();
    assert_eq!(head.sequence, 2 + GENERATION_STEP);
    let next = make_next(dir.path()).unwrap();
    log.append(&[told("c"), rotation(&next)], now()).unwrap();
    log.settle().unwrap();
    let end = log.append(&[told("d")], now()).unwrap();
    assert_eq!(end.sequence, 5 + GENERATION_STEP);
    drop(log);
    for from in [START, last, head, end] {
        let (key, log) = open(dir.path(), from).unwrap();
        assert_eq!((log.head(), key.generation_of(2), key.generation_of(end.sequence)), (end, 1, 2));
        let at = followed(&log, &file, &first_key, 2);
        assert_eq!((at.generation, at.sequence), (2, end.sequence));
        let pages = log.pages();
        let read = |after| pages.read(after, end.sequence, View::Groupsrv).unwrap();
        // Whoever has entries that were lost is told from the new generation's first on.
        for (after, count) in [(0, 6), (1, 5), (2, 4), (900, 4), (head.sequence, 3), (end.sequence, 0)] {
            assert_eq!(read(after).0.len(), count, "after {after}");
        }
        assert_eq!((read(0).1, read(900).1), (end.sequence, end.sequence));
    }
    // An entry that is not of the generation that feed.json knows of.
    FeedFile::new(file.feed).save(dir.path()).unwrap();
    assert!(matches!(open(dir.path(), START), Err(ReplayError::Log(LogError::Broken { .. }))));
}
