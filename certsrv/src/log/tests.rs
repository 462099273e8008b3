#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::replay::{Found, ReplayError, replay};
use super::*;
use crate::change::Change;
use crate::tests::{address, feed_key, now};
use openssl::pkey::PKey;
use std::fs;
use twinseal_proto::feed::{EntryHeader, Heartbeat, View};
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
    assert_eq!(log.pages().read(1, View::Exploder).unwrap().len(), 2);
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
        let signed = key.heartbeat(START, UnixTime(at)).unwrap();
        serde_json::from_str::<Heartbeat>(&signed.text).unwrap().issued.0
    };
    let key = started();
    let (_, found) = names(dir.path(), &key, START).unwrap();
    let mut log = FeedLog::open(dir.path(), Arc::clone(&key), found).unwrap();
    assert_eq!([beat(&key, 100), beat(&key, 40), beat(&key, 101)], [100, 100, 101]);
    let head = log.append(&[told("a")], UnixTime(50)).unwrap();
    let entry = log.pages().read(0, View::Exploder).unwrap().remove(0);
    assert_eq!(serde_json::from_str::<EntryHeader>(&entry.header).unwrap().issued, UnixTime(101));
    // After a start, whether or not the index has the last entry.
    for from in [START, head] {
        let key = started();
        names(dir.path(), &key, from).unwrap();
        assert_eq!(beat(&key, 60), 101);
    }
}
