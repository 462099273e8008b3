#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use record::State;
use std::io::{Read as _, Write as _};

fn open(state: &Path) -> (Spool, Vec<Recovered<String>>) {
    recover::open(&state.join("spool"), 4096, |intake| String::from_utf8(intake.to_vec()).ok()).unwrap()
}

async fn accept(spool: &Spool, size: usize, intake: &str) -> PostId {
    let id = spool.new_id();
    let mut writer = spool.writer();
    writer.write_all(&vec![7; size]).unwrap();
    spool.accept(id, writer.finish().unwrap(), intake.as_bytes()).await.unwrap();
    id
}

fn files(state: &Path, dir: &str) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(state.join(dir)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sent(number: u32) -> Recipient {
    Recipient { number: MemberNumber(number), due: 9, attempts: 1, state: State::Sent }
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart_with_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, none) = open(dir.path());
    assert!(none.is_empty());
    let small = accept(&spool, 100, "small").await;
    let large = accept(&spool, 300_000, "large").await;
    let done = accept(&spool, 300_000, "done").await;
    spool.recipients(small, &[5, 3, 9].map(MemberNumber)).await.unwrap();
    spool.outcomes(small, &[sent(3), sent(77)]).await.unwrap();
    spool.done(done).await.unwrap();
    drop(spool);
    std::fs::write(dir.path().join("spool/bodies/000000000099.cms"), b"orphan").unwrap();
    std::fs::write(dir.path().join("spool/tmp/x"), b"left behind").unwrap();

    let (spool, posts) = open(dir.path());
    let found: Vec<_> = posts.iter().map(|p| (p.id, p.summary.as_str(), p.copies.is_some())).collect();
    assert_eq!(found, [(small, "small", true), (large, "large", false)]);
    let states: Vec<_> = posts[0].copies.as_ref().unwrap().iter().map(|c| (c.number.0, c.state)).collect();
    assert_eq!(states, [(3, State::Sent), (5, State::Due), (9, State::Due)]);
    assert_eq!(files(dir.path(), "spool/bodies"), [format!("{large}.cms")]);
    assert!(files(dir.path(), "spool/tmp").is_empty());
    for (id, text, size) in [(small, "small", 100), (large, "large", 300_000)] {
        let (intake, body) = spool.read(id).unwrap();
        let mut octets = Vec::new();
        body.reader(0).read_to_end(&mut octets).unwrap();
        assert_eq!((intake, octets), (text.as_bytes().to_vec(), vec![7; size]));
    }
    assert!(spool.new_id() > large, "numbers are never used twice");
}

#[tokio::test]
async fn segments_go_oldest_first_when_nothing_lives_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut posts = Vec::new();
    for _ in 0..4 {
        posts.push(accept(&spool, 5000, "x").await);
    }
    assert_eq!(files(dir.path(), "spool").len(), 6);
    spool.done(posts[1]).await.unwrap();
    assert_eq!(files(dir.path(), "spool").len(), 6 + 1, "the second segment waits for the first");
    spool.done(posts[0]).await.unwrap();
    assert_eq!(files(dir.path(), "spool")[..2], ["bodies", "seg-00000003.log"]);
    assert!(matches!(spool.done(posts[0]).await, Err(SpoolError::Missing(_))));
}

#[tokio::test]
async fn one_stuck_message_does_not_keep_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let stuck = accept(&spool, 100, "stuck").await;
    let copies = [sent(1), Recipient { state: State::Due, ..sent(2) }];
    spool.recipients(stuck, &[1, 2].map(MemberNumber)).await.unwrap();
    for _ in 0..6 {
        let id = accept(&spool, 5000, "x").await;
        spool.done(id).await.unwrap();
    }
    assert_eq!(spool.stuck(), [stuck]);
    spool.move_forward(stuck, Some(&copies)).await.unwrap();
    assert!(spool.stuck().is_empty());
    assert!(files(dir.path(), "spool").len() <= 5);
    drop(spool);
    let (spool, posts) = open(dir.path());
    assert_eq!((posts.len(), posts[0].summary.as_str(), posts[0].copies.as_deref()), (1, "stuck", Some(&copies[..])));
    assert_eq!(spool.read(stuck).unwrap().1.len(), 100);
}

#[tokio::test]
async fn a_message_that_was_torn_while_it_was_moved_keeps_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let stuck = accept(&spool, 100, "stuck").await;
    let copies = [sent(1), Recipient { state: State::Due, ..sent(2) }];
    spool.recipients(stuck, &[1, 2].map(MemberNumber)).await.unwrap();
    spool.outcomes(stuck, &copies).await.unwrap();
    let old = std::fs::read(segment_path(&dir.path().join("spool"), 1)).unwrap();
    drop(spool);
    let (spool, _) = open(dir.path());
    spool.move_forward(stuck, Some(&copies)).await.unwrap();
    let new = std::fs::read(segment_path(&dir.path().join("spool"), 2)).unwrap();
    assert_eq!(files(dir.path(), "spool"), ["bodies", "seg-00000002.log", "tmp"]);
    for cut in 0..=new.len() {
        let again = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(again.path().join("spool")).unwrap();
        std::fs::write(segment_path(&again.path().join("spool"), 1), &old).unwrap();
        std::fs::write(segment_path(&again.path().join("spool"), 2), &new[..cut]).unwrap();
        // The first start deletes what it no longer needs; the second reads what is left.
        for _ in 0..2 {
            let (spool, posts) = open(again.path());
            assert_eq!(posts[0].copies.as_deref(), Some(&copies[..]), "cut at {cut}");
            assert_eq!(spool.read(stuck).unwrap().1.len(), 100, "cut at {cut}");
        }
        let kept = segment_path(&again.path().join("spool"), 1).exists();
        assert_eq!(kept, cut < new.len(), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_message_to_a_million_members_is_moved_with_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let id = accept(&spool, 100, "x").await;
    let copies: Vec<Recipient> = (0..1_000_000).map(sent).collect();
    spool.recipients(id, &copies.iter().map(|copy| copy.number).collect::<Vec<_>>()).await.unwrap();
    spool.move_forward(id, Some(&copies)).await.unwrap();
    drop(spool);
    let (spool, posts) = open(dir.path());
    assert!(posts[0].copies.as_deref() == Some(&copies[..]));
    assert!(spool.damaged.is_empty());
}

#[tokio::test]
async fn a_segment_cut_anywhere_gives_back_every_record_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut ends = Vec::new();
    for i in 0..3 {
        let id = accept(&spool, 40, &format!("{i}")).await;
        spool.recipients(id, &[MemberNumber(1)]).await.unwrap();
        ends.push(spool.ledger().log.length());
    }
    drop(spool);
    let whole = std::fs::read(segment_path(&dir.path().join("spool"), 1)).unwrap();
    for cut in 0..whole.len() {
        let again = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(again.path().join("spool")).unwrap();
        let path = segment_path(&again.path().join("spool"), 1);
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (_, posts) = open(again.path());
        let complete = ends.iter().filter(|end| **end <= cut as u64).count();
        assert!(posts.len() == complete || posts.len() == complete + 1, "cut at {cut}");
        assert!(posts.iter().take(complete).all(|p| p.copies.is_some()), "cut at {cut}");
        if let Ok(kept) = std::fs::metadata(&path) {
            assert!(kept.len() <= cut as u64);
        }
        let (_, once_more) = open(again.path());
        assert_eq!(once_more.len(), posts.len());
    }
}

#[tokio::test]
async fn a_backlog_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..8 {
        accept(&spool, 5000, "backlog").await;
    }
    assert!(files(dir.path(), "spool").len() > MANY + 2);
    assert_eq!(spool.stuck().len(), 0, "all of the oldest segment is still wanted");
    spool.segment_limit = 1 << 20;
    assert_eq!(spool.stuck().len(), 1, "a little of a long one");
}

#[tokio::test]
async fn a_damaged_segment_is_kept_and_one_of_another_version_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    accept(&spool, 100, "one").await;
    accept(&spool, 100, "two").await;
    drop(spool);
    let path = segment_path(&dir.path().join("spool"), 1);
    let mut octets = std::fs::read(&path).unwrap();
    octets[50] ^= 1;
    std::fs::write(&path, octets).unwrap();
    let (spool, posts) = open(dir.path());
    assert_eq!(posts.len(), 1);
    spool.done(posts[0].id).await.unwrap();
    assert!(files(dir.path(), "spool").contains(&"seg-00000001.damaged".to_owned()));
    let last = accept(&spool, 100, "three").await;
    drop(spool);
    let newer = recover::open(&dir.path().join("spool"), 4096, |_| None::<String>);
    assert_eq!(newer.err().unwrap().kind(), io::ErrorKind::InvalidData);
    let (_, posts) = open(dir.path());
    assert_eq!(posts.iter().map(|post| post.id).collect::<Vec<_>>(), [last]);
}

#[tokio::test]
async fn a_segment_that_cannot_be_deleted_keeps_the_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let mut posts = Vec::new();
    for _ in 0..4 {
        posts.push(accept(&spool, 5000, "x").await);
    }
    let first = segment_path(&dir.path().join("spool"), 1);
    let aside = dir.path().join("aside");
    std::fs::rename(&first, &aside).unwrap();
    std::fs::create_dir(&first).unwrap();
    for id in &posts[..3] {
        spool.done(*id).await.unwrap();
    }
    assert!(segment_path(&dir.path().join("spool"), 2).exists(), "it says what became of the first one's messages");
    std::fs::remove_dir(&first).unwrap();
    std::fs::rename(&aside, &first).unwrap();
    drop(spool);
    let (_, posts) = open(dir.path());
    assert_eq!(posts.len(), 1);
}

impl Spool {
    /// Writes to `log` from now on; what was written to before.
    pub(crate) fn swap_log(&self, log: Committer) -> Committer {
        std::mem::replace(&mut self.ledger().log, log)
    }
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.ledger().log = Committer::open(Path::new("/dev/full"), 0).unwrap();
    let id = spool.new_id();
    let draft = spool.writer().finish().unwrap();
    assert!(spool.accept(id, draft, b"{}").await.unwrap_err().is_full());
    assert!(matches!(spool.read(id), Err(SpoolError::Missing(_))));
}
