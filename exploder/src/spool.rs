//! Step 3: accepted mail on disk (DESIGN 5). Segments of checksummed records, made durable by one `fdatasync` that all
//! waiting sessions share; bodies over 256 kB in files of their own; nothing is ever rewritten.
//!
//! * [`record`]: what a segment holds. [`recover`]: reading all of it, once, at the start.
//! * [`body`]: bodies on their way in and out. [`post`]: the intake record.
//!
//! A segment is deleted, oldest first, when every message in it is done; a message that keeps the oldest one alone is
//! written again into the newest. A damaged one is not deleted but renamed to `*.damaged`, and never read again.

pub(crate) mod body;
pub(crate) mod post;
pub(crate) mod record;
mod recover;

use crate::events;
use body::{Body, Draft, SpoolWriter};
use bytes::Bytes;
use record::{Accepted, Recipient};
pub(crate) use recover::{Recovered, fresh_copies};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use twinseal_proto::ids::{MemberNumber, PostId};
use twinseal_svc::commit::{CommitError, Committer};
use twinseal_svc::{durable, failpoint};

/// A segment is closed when it is so long. A start reads one at a time whole.
const SEGMENT: u64 = 16 << 20;
/// When there are more segments than this, messages in the oldest are written again.
const MANY: usize = 4;
/// But only when they are at most this part of it: a backlog, of which all is still wanted, stays where it is.
const FEW: u64 = 8;
/// A message's number is its segment's, then its place in it: 24 bits each. Segments are never reused, so numbers are not.
const ORDINAL_BITS: u32 = 24;

/// The spool did not take or give what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// A file.
    #[error("spool file")]
    File(#[from] io::Error),
    /// The append.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// No such message, or its record is damaged.
    #[error("message {0} is not in the spool")]
    Missing(PostId),
}

impl SpoolError {
    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::File(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            Self::Commit(error) => error.is_full(),
            Self::Missing(_) => false,
        }
    }
}

/// The spool of one exploder.
pub(crate) struct Spool {
    dir: PathBuf,
    bodies: PathBuf,
    tmp: PathBuf,
    segment_limit: u64,
    /// Segments in which octets are damaged: kept for somebody to look at.
    damaged: HashSet<u32>,
    ledger: Mutex<Ledger>,
}

/// Where everything is.
struct Ledger {
    /// The segment that is written now.
    number: u32,
    ordinal: u32,
    log: Committer,
    homes: HashMap<PostId, Home>,
    /// How many messages have their home in each segment.
    live: BTreeMap<u32, usize>,
}

/// Where the record of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Home {
    segment: u32,
    /// Of the payload.
    offset: u64,
    intake_len: usize,
    body_len: u64,
    /// Whether the body is in the record.
    inline: bool,
}

impl Home {
    fn of(segment: u32, offset: u64, accepted: &Accepted<'_>) -> Self {
        let (intake_len, inline) = (accepted.intake.len(), accepted.body.is_some());
        Self { segment, offset, intake_len, body_len: accepted.body_len, inline }
    }

    /// Octets of the payload.
    fn octets(&self) -> u64 {
        let body = if self.inline { self.body_len } else { 0 };
        (Accepted::FIXED + self.intake_len) as u64 + body
    }
}

impl Spool {
    /// Opens the spool in `state`, making it when it is missing, and reads all live segments. `summary` reads what the
    /// queue keeps of an intake record.
    ///
    /// # Errors
    /// The I/O error of reading, cutting or making a file.
    pub(crate) fn open<S>(state: &Path, summary: impl Fn(&[u8]) -> Option<S>) -> io::Result<(Self, Vec<Recovered<S>>)> {
        recover::open(&state.join("spool"), SEGMENT, summary)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a message that is being accepted.
    pub(crate) fn new_id(&self) -> PostId {
        let mut ledger = self.ledger();
        ledger.ordinal += 1;
        PostId(u64::from(ledger.number) << ORDINAL_BITS | u64::from(ledger.ordinal))
    }

    /// Takes a body that arrives.
    pub(crate) fn writer(&self) -> SpoolWriter {
        SpoolWriter::new(&self.bodies)
    }

    /// The directory for files that a crash may forget.
    pub(crate) fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// The log to append to, and its segment; begins a new segment when this one is full. The caller's message counts
    /// as living in it from now on, so that it is not deleted before the append is there.
    fn log(&self, adds: usize) -> io::Result<(u32, Committer)> {
        let mut ledger = self.ledger();
        if ledger.log.length() >= self.segment_limit {
            let number = ledger.number + 1;
            ledger.log = Committer::open(&segment_path(&self.dir, number), 0)?;
            (ledger.number, ledger.ordinal) = (number, 0);
        }
        let number = ledger.number;
        *ledger.live.entry(number).or_default() += adds;
        Ok((number, ledger.log.clone()))
    }

    /// Makes a message durable; after `Ok` it survives a power loss, and `250` may be answered.
    ///
    /// # Errors
    /// [`SpoolError`]: the message is not ours.
    pub(crate) async fn accept(&self, id: PostId, draft: Draft, intake: &[u8]) -> Result<(), SpoolError> {
        let body_len = draft.len();
        let inline = draft.in_record().cloned();
        if inline.is_none() {
            let bodies = self.bodies.clone();
            tokio::task::spawn_blocking(move || draft.link(&bodies, id)).await.map_err(io::Error::other)??;
        }
        failpoint::hit("exploder.accept.before-append");
        let accepted = Accepted { id, intake, body_len, body: inline.as_deref() };
        let appended = self.append_home(&accepted, accepted.record()).await;
        if appended.is_err() && inline.is_none() {
            // Nobody refers to it; what stays behind is removed at the next start.
            let _ = std::fs::remove_file(body::path(&self.bodies, id));
        }
        failpoint::hit("exploder.accept.after-append");
        appended
    }

    /// Appends octets that begin with `accepted`'s record, durably, and makes that its home.
    async fn append_home(&self, accepted: &Accepted<'_>, octets: Vec<u8>) -> Result<(), SpoolError> {
        let (segment, log) = self.log(1)?;
        let appended = log.append(octets).await;
        let mut ledger = self.ledger();
        let left = match appended {
            Ok(at) => {
                let offset = at + record::HEADER as u64;
                ledger.homes.insert(accepted.id, Home::of(segment, offset, accepted)).map(|home| home.segment)
            }
            Err(_) => Some(segment),
        };
        if let Some(count) = left.and_then(|segment| ledger.live.get_mut(&segment)) {
            *count -= 1;
        }
        Ok(appended.map(|_| ())?)
    }

    /// Writes down to whom a message goes; it survives the death of the process.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) async fn recipients(&self, id: PostId, members: &[MemberNumber]) -> Result<(), SpoolError> {
        let (_, log) = self.log(0)?;
        log.write(record::recipients_record(id, members.iter().copied())).await?;
        Ok(())
    }

    /// Writes down what became of copies; it survives the death of the process, and within 50 ms a power loss.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) async fn outcomes(&self, id: PostId, copies: &[Recipient]) -> Result<(), SpoolError> {
        let (_, log) = self.log(0)?;
        log.write(record::outcomes_records(id, copies)).await?;
        failpoint::hit("exploder.outcome.after-write");
        Ok(())
    }

    /// Ends a message: its body file goes now, its segment when it is the oldest and empty.
    ///
    /// # Errors
    /// [`SpoolError`]: it is as it was, and can be ended again.
    pub(crate) async fn done(&self, id: PostId) -> Result<(), SpoolError> {
        let home = *self.ledger().homes.get(&id).ok_or(SpoolError::Missing(id))?;
        let (_, log) = self.log(0)?;
        let record = record::done_record(id);
        if home.inline {
            log.write(record).await?;
        } else {
            // Durable before the body is gone, or it would be missed after a power loss.
            log.append(record).await?;
            remove(&body::path(&self.bodies, id))?;
        }
        failpoint::hit("exploder.done.after-write");
        let mut ledger = self.ledger();
        // It may have moved meanwhile.
        if let Some(home) = ledger.homes.remove(&id)
            && let Some(count) = ledger.live.get_mut(&home.segment)
        {
            *count -= 1;
        }
        drop(ledger);
        // What cannot be deleted now is tried again with the next message, or at the next start.
        let _ = self.sweep().inspect_err(|error| events::segment_not_deleted(error));
        Ok(())
    }

    /// Deletes the oldest segments while nothing lives in them. Each is gone durably before the next: a later one holds
    /// what became of messages in an earlier one.
    fn sweep(&self) -> io::Result<()> {
        loop {
            let ledger = self.ledger();
            let Some((&oldest, 0)) = ledger.live.first_key_value() else { return Ok(()) };
            if oldest == ledger.number {
                return Ok(());
            }
            drop(ledger);
            failpoint::hit("exploder.segment.before-delete");
            let path = segment_path(&self.dir, oldest);
            if self.damaged.contains(&oldest) {
                std::fs::rename(&path, path.with_extension("damaged"))?;
            } else {
                remove(&path)?;
            }
            durable::sync_dir(&self.dir)?;
            // Only now, or the next one could go before it after a failure.
            self.ledger().live.remove(&oldest);
            events::segment_deleted(oldest);
        }
    }

    /// The few messages that alone keep the oldest of many segments.
    pub(crate) fn stuck(&self) -> Vec<PostId> {
        let ledger = self.ledger();
        let Some((&oldest, _)) = ledger.live.first_key_value().filter(|_| ledger.live.len() > MANY) else {
            return Vec::new();
        };
        let stuck = || ledger.homes.iter().filter(|(_, home)| home.segment == oldest);
        let octets: u64 = stuck().map(|(_, home)| home.octets()).sum();
        if octets > self.segment_limit / FEW {
            return Vec::new();
        }
        stuck().map(|(id, _)| *id).collect()
    }

    /// Writes a message with its state into the newest segment, so that the old one can go.
    ///
    /// # Errors
    /// [`SpoolError`]; it stays where it was then.
    pub(crate) async fn move_forward(&self, id: PostId, copies: Option<&[Recipient]>) -> Result<(), SpoolError> {
        let (intake, body) = self.read(id)?;
        let accepted = Accepted { id, intake: &intake, body_len: body.len(), body: body.octets().map(Bytes::as_ref) };
        let mut octets = accepted.record();
        if let Some(copies) = copies {
            octets.extend(record::recipients_record(id, copies.iter().map(|copy| copy.number)));
            octets.extend(record::outcomes_records(id, copies));
        }
        self.append_home(&accepted, octets).await?;
        Ok(self.sweep()?)
    }

    /// The intake record and the body of a message. Blocks, shortly.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) fn read(&self, id: PostId) -> Result<(Vec<u8>, Body), SpoolError> {
        let home = *self.ledger().homes.get(&id).ok_or(SpoolError::Missing(id))?;
        let mut payload = vec![0; usize::try_from(home.octets()).unwrap_or(usize::MAX)];
        File::open(segment_path(&self.dir, home.segment))?.read_exact_at(&mut payload, home.offset)?;
        let payload = Bytes::from(payload);
        let accepted = Accepted::read(&payload).filter(|a| a.id == id).ok_or(SpoolError::Missing(id))?;
        let body = match accepted.body {
            Some(octets) => Body::in_memory(payload.slice_ref(octets)),
            None => Body::in_file(File::open(body::path(&self.bodies, id))?)?,
        };
        Ok((accepted.intake.to_vec(), body))
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("seg-{number:08}.log"))
}

#[cfg(test)]
mod tests;
