//! The audit log: append-only, hash-chained, durable before the answer that it is about.
//!
//! One file `audit/audit-NNNNNN.log`; a line is `DIGEST JSON`, where DIGEST is SHA-256(previous DIGEST ‖ JSON) in
//! hexadecimal (zeros before the first). Any changed octet breaks the chain from there on.

use crate::commit::{CommitError, Committer};
use serde::Serialize;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use twinseal_proto::encoding::Digest;

/// Octets after which the next file is begun.
const FILE_SIZE: u64 = 64 * 1024 * 1024;

/// The chain does not hold, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what was written.
    #[error("{path}, line {line}: changed or damaged")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
}

/// What a check of the whole log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Records in it.
    pub records: u64,
    /// Digest of the last one.
    pub head: Digest,
    /// Octets of the last file that are whole lines; the rest is the torn end of a crash, and no answer was given for it.
    whole: u64,
    /// Octets after the last whole line.
    pub torn: u64,
}

/// The log, open for writing.
pub struct Audit {
    dir: PathBuf,
    tail: Mutex<Tail>,
}

struct Tail {
    number: u32,
    file: Committer,
    length: u64,
    head: Digest,
    /// An append failed: later ones were chained to what is not in the file, and failed with it.
    failed: bool,
}

impl Tail {
    fn open(dir: &Path) -> Result<Self, AuditError> {
        let found = verify(dir)?;
        let unreadable = |path: PathBuf| move |source| AuditError::Unreadable { path, source };
        let count = files(dir).map_err(unreadable(dir.to_owned()))?.len();
        let number = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let path = file_path(dir, number);
        let file = Committer::open_chain(&path, found.whole).map_err(unreadable(path))?;
        Ok(Self { number, file, length: found.whole, head: found.head, failed: false })
    }
}

impl Audit {
    /// Opens the log in `dir`, checking all of it; cuts off a torn last line.
    ///
    /// # Errors
    /// [`AuditError`]: a log that does not verify is not written to.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| AuditError::Unreadable { path, source }
        };
        crate::durable::make_dir(dir).map_err(unreadable(dir))?;
        Ok(Self { dir: dir.to_owned(), tail: Mutex::new(Tail::open(dir)?) })
    }

    /// Records `event`; after `Ok` it is durable.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was recorded, and the answer must not be given.
    pub async fn record<T: Serialize + Sync>(&self, event: &T) -> Result<(), CommitError> {
        self.record_all(std::slice::from_ref(event)).await
    }

    /// Records `events`, one line each, in one write; after `Ok` they are durable.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was recorded, and the answer must not be given.
    pub async fn record_all<T: Serialize + Sync>(&self, events: &[T]) -> Result<(), CommitError> {
        let texts: Vec<String> =
            events.iter().map(|event| serde_json::to_string(event).unwrap_or_else(|_| "null".to_owned())).collect();
        let (file, appended) = {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.failed {
                // What is in the file decides where the chain goes on.
                match Tail::open(&self.dir) {
                    Ok(reopened) => *tail = reopened,
                    Err(error) => tracing::error!(%error, "audit log not reopened"),
                }
            }
            if tail.length >= FILE_SIZE {
                self.next_file(&mut tail);
            }
            let mut lines = Vec::new();
            for json in &texts {
                tail.head = link(&tail.head, json);
                lines.extend_from_slice(format!("{} {json}\n", tail.head).as_bytes());
            }
            tail.length += lines.len() as u64;
            // Queued in the order of the chain: the lock is held until the append is in the committer's queue.
            let appended = tail.file.enqueue(lines);
            (tail.file.clone(), appended)
        };
        let recorded = appended.await;
        if recorded.is_err() {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.failed |= tail.file.is(&file);
        }
        recorded
    }

    fn next_file(&self, tail: &mut Tail) {
        match Committer::open_chain(&file_path(&self.dir, tail.number + 1), 0) {
            Ok(file) => {
                tail.number += 1;
                tail.file = file;
                tail.length = 0;
            }
            Err(error) => tracing::error!(%error, "next audit file: going on in the present one"),
        }
    }
}

fn link(previous: &Digest, json: &str) -> Digest {
    Digest::of_parts(&[&previous.0, json.as_bytes()])
}

fn file_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("audit-{number:06}.log"))
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for number in 1.. {
        let path = file_path(dir, number);
        if !path.try_exists()? {
            break;
        }
        found.push(path);
    }
    Ok(found)
}

/// Checks the whole log in `dir`, with its writer up or down.
///
/// # Errors
/// [`AuditError`] with the first place at which the chain does not hold.
pub fn verify(dir: &Path) -> Result<Verified, AuditError> {
    each(dir, |_| {})
}

/// Checks the whole log and shows each record's JSON text to `show`.
///
/// # Errors
/// [`AuditError`] with the first place at which the chain does not hold.
pub fn each(dir: &Path, mut show: impl FnMut(&str)) -> Result<Verified, AuditError> {
    let unreadable = |path: &Path, source| AuditError::Unreadable { path: path.to_owned(), source };
    let mut found = Verified { records: 0, head: Digest([0; 32]), whole: 0, torn: 0 };
    let paths = files(dir).map_err(|e| unreadable(dir, e))?;
    for (index, path) in paths.iter().enumerate() {
        let mut lines = io::BufReader::new(std::fs::File::open(path).map_err(|e| unreadable(path, e))?);
        (found.whole, found.torn) = (0, 0);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let octets = lines.read_until(b'\n', &mut text).map_err(|e| unreadable(path, e))?;
            if octets == 0 {
                break;
            }
            let broken = || AuditError::Broken { path: path.clone(), line };
            let Some(record) = text.strip_suffix(b"\n") else {
                // Only the very end can be torn.
                found.torn = octets as u64;
                if index + 1 < paths.len() {
                    return Err(broken());
                }
                break;
            };
            let (digest, json) = std::str::from_utf8(record).ok().and_then(|r| r.split_once(' ')).ok_or_else(broken)?;
            let expected = link(&found.head, json);
            if digest != expected.to_string() {
                return Err(broken());
            }
            show(json);
            found.head = expected;
            found.records += 1;
            found.whole += octets as u64;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[tokio::test]
    async fn every_changed_octet_is_found_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let log = Audit::open(dir.path()).unwrap();
        let records = tokio::join!(log.record(&"one"), log.record(&"two"), log.record(&"three"));
        records.0.and(records.1).and(records.2).unwrap();
        drop(log);
        assert_eq!(verify(dir.path()).unwrap().records, 3);
        let path = file_path(dir.path(), 1);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            std::fs::write(&path, &changed).unwrap();
            let found = verify(dir.path());
            assert!(found.is_err() || found.is_ok_and(|f| f.torn > 0), "octet {at}");
        }
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let log = Audit::open(dir.path()).unwrap();
        log.record(&"four").await.unwrap();
        assert_eq!(verify(dir.path()).unwrap().records, 3);
    }
}
