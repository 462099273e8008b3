//! One append-only file, made durable once for all who wait (group commit). The feed log, the audit log and the spool
//! segments are such files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// An append did not reach the disk. The file ends where it ended before.
#[derive(Debug, Clone, thiserror::Error)]
#[error("append: {0}")]
pub struct CommitError(Arc<io::Error>);

impl CommitError {
    /// Whether the file system is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.0.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// How long octets that were only written may wait for the next sync.
const LAZY_SYNC: Duration = Duration::from_millis(50);

struct Append {
    octets: Vec<u8>,
    durable: bool,
    done: oneshot::Sender<Result<u64, CommitError>>,
}

/// A handle on the file; the last one dropped syncs and closes it.
#[derive(Clone)]
pub struct Committer {
    queue: Sender<Append>,
    length: Arc<AtomicU64>,
}

impl Committer {
    /// Opens `path` for appending after its first `keep` octets; what stands behind them, the torn end of a crash, is cut
    /// off. Creates it (mode 0600) when it is missing, and makes its name durable.
    ///
    /// # Errors
    /// The I/O error of opening, cutting or syncing.
    pub fn open(path: &Path, keep: u64) -> io::Result<Self> {
        Self::start(path, keep, false)
    }

    /// [`Self::open`] for a file whose records build on each other: after one failed append all later ones fail too, until
    /// the file is opened again.
    ///
    /// # Errors
    /// The I/O error of opening, cutting or syncing.
    pub fn open_chain(path: &Path, keep: u64) -> io::Result<Self> {
        Self::start(path, keep, true)
    }

    fn start(path: &Path, keep: u64, chain: bool) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        if file.metadata()?.len() > keep {
            file.set_len(keep)?;
            file.sync_all()?;
        }
        // Also when it is not new: whoever made it may have died before its name was durable.
        if let Some(parent) = path.parent() {
            crate::durable::sync_dir(parent)?;
        }
        let (queue, appends) = channel();
        let length = Arc::new(AtomicU64::new(keep));
        let shared = Arc::clone(&length);
        std::thread::Builder::new().name("commit".into()).spawn(move || run(file, &appends, &shared, chain))?;
        Ok(Self { queue, length })
    }

    /// Appends; after `Ok(offset of the first octet)` they survive a power loss.
    ///
    /// # Errors
    /// [`CommitError`]: nothing of it is in the file.
    pub async fn append(&self, octets: Vec<u8>) -> Result<u64, CommitError> {
        self.send(octets, true).await.unwrap_or_else(|_| Err(closed()))
    }

    /// [`Self::append`] whose place in the file is settled when this returns, before the answer is awaited.
    pub fn enqueue(&self, octets: Vec<u8>) -> impl Future<Output = Result<(), CommitError>> + Send + use<> {
        let answer = self.send(octets, true);
        async move { answer.await.unwrap_or_else(|_| Err(closed())).map(|_| ()) }
    }

    /// Appends; after `Ok` they survive the death of the process, and within 50 ms a power loss.
    ///
    /// # Errors
    /// [`CommitError`]: nothing of it is in the file.
    pub async fn write(&self, octets: Vec<u8>) -> Result<u64, CommitError> {
        self.send(octets, false).await.unwrap_or_else(|_| Err(closed()))
    }

    /// [`Self::append`] for threads that may block.
    ///
    /// # Errors
    /// [`CommitError`]: nothing of it is in the file.
    pub fn append_blocking(&self, octets: Vec<u8>) -> Result<u64, CommitError> {
        self.send(octets, true).blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// The file's length in octets.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Whether both are handles on the same opening of the same file.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.length, &other.length)
    }

    fn send(&self, octets: Vec<u8>, durable: bool) -> oneshot::Receiver<Result<u64, CommitError>> {
        let (done, answer) = oneshot::channel();
        // When the thread is gone the sender is dropped here and the receiver says so.
        let _ = self.queue.send(Append { octets, durable, done });
        answer
    }
}

fn closed() -> CommitError {
    CommitError(Arc::new(io::Error::other("the file is closed")))
}

fn run(mut file: File, appends: &Receiver<Append>, length: &AtomicU64, chain: bool) {
    let mut unsynced: Option<Instant> = None;
    // A failed write may have left half a record that could not be cut off at once: cut before the next.
    let mut torn = false;
    let mut broken: Option<CommitError> = None;
    loop {
        let wait = unsynced.map_or(Duration::from_secs(3600), |since| LAZY_SYNC.saturating_sub(since.elapsed()));
        let first = match appends.recv_timeout(wait) {
            Ok(append) => Some(append),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                if unsynced.is_some() {
                    let _ = file.sync_data();
                }
                return;
            }
        };
        let Some(first) = first else {
            if unsynced.take().is_some()
                && let Err(error) = file.sync_data()
            {
                tracing::error!(%error, "sync of written records failed");
            }
            continue;
        };
        let batch: Vec<Append> = std::iter::once(first).chain(appends.try_iter()).collect();
        if let Some(error) = &broken {
            for append in batch {
                let _ = append.done.send(Err(error.clone()));
            }
            continue;
        }
        let start = length.load(Ordering::Acquire);
        let durable = batch.iter().any(|a| a.durable);
        let stored = if torn { file.set_len(start) } else { Ok(()) };
        match stored.and_then(|()| store(&mut file, &batch, durable)) {
            Ok(octets) => {
                torn = false;
                unsynced = if durable { None } else { unsynced.or_else(|| Some(Instant::now())) };
                length.store(start + octets, Ordering::Release);
                let mut at = start;
                for append in batch {
                    let _ = append.done.send(Ok(at));
                    at += append.octets.len() as u64;
                }
            }
            Err(error) => {
                torn = file.set_len(start).is_err();
                let error = CommitError(Arc::new(error));
                broken = chain.then(|| error.clone());
                for append in batch {
                    let _ = append.done.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Writes a batch in one piece, and syncs it when asked to; how many octets that was.
fn store(file: &mut File, batch: &[Append], durable: bool) -> io::Result<u64> {
    match batch {
        [one] => file.write_all(&one.octets)?,
        many => file.write_all(&many.iter().map(|a| a.octets.as_slice()).collect::<Vec<_>>().concat())?,
    }
    if durable {
        file.sync_data()?;
    }
    Ok(batch.iter().map(|a| a.octets.len() as u64).sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn appends_land_in_order_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, b"whole|torn").unwrap();
        let log = Committer::open(&path, 6).unwrap();
        assert_eq!(log.append(b"one|".to_vec()).await.unwrap(), 6);
        assert_eq!(log.write(b"two|".to_vec()).await.unwrap(), 10);
        let (a, b) = tokio::join!(log.append(b"aa".to_vec()), log.append(b"bb".to_vec()));
        assert_eq!((a.unwrap().min(14), b.unwrap()), (14, 16));
        assert_eq!(std::fs::read(&path).unwrap(), b"whole|one|two|aabb");
        assert_eq!(log.length(), 18);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_leaves_the_file_as_it_was() {
        let log = Committer::open(Path::new("/dev/full"), 0).unwrap();
        assert!(log.append(b"x".to_vec()).await.unwrap_err().is_full());
        assert_eq!(log.length(), 0);
    }
}
