//! The feed log: certsrv's truth. Files `feed/feed-NNNNNN.log`, one JSON line an entry, chained and signed; a commit's
//! entries are appended in one write and made durable once.
//!
//! * [`mod@line`]: an entry as it is written.
//! * [`mod@key`]: the signing of entries, heartbeats and snapshots; which feed and generation this is.
//! * [`mod@replay`]: reading the files at start, from the last entry that the index has.
//! * [`mod@page`]: where each entry lies, so that a page of them is read back in few reads.

pub(crate) mod key;
pub(crate) mod line;
pub(crate) mod page;
pub(crate) mod replay;

use crate::change::Change;
use crate::parallel;
use crate::store::Told;
use key::FeedKey;
use line::Draft;
use page::{Pages, Place};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::commit::{CommitError, Committer};

/// Octets after which the next file is begun; never within a commit.
const FILE_SIZE: u64 = 64 * 1024 * 1024;

/// The log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// A file.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what was written.
    #[error("{path}, line {line}: {what}; the log is changed or damaged: restore it from a backup")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The log ends before what the index has.
    #[error("the feed log ends at entry {log} and the index has {index}: entries are lost; restore the log")]
    Lost {
        /// Last entry of the log.
        log: u64,
        /// Last entry in the index.
        index: u64,
    },
    /// The index has another history than the log.
    #[error("the index was made from another log")]
    OtherIndex,
    /// The index is of an earlier version of this program.
    #[error("the index is of an earlier version")]
    OldIndex,
    /// The private key is not the one that the log was signed with last.
    #[error("feed.key is not the key that the feed log names last, and feed.next.key is not either; restore a backup")]
    Key,
    /// An entry could not be made.
    #[error("signing an entry")]
    Sign(#[from] openssl::error::ErrorStack),
    /// An entry could not be written out.
    #[error("writing out an entry")]
    Encode(#[from] serde_json::Error),
    /// The append did not reach the disk.
    #[error(transparent)]
    Append(#[from] CommitError),
}

impl LogError {
    /// For what goes wrong with this file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// The last entry of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its sequence; 0 for none.
    pub(crate) sequence: u64,
    /// SHA-256 of its header text; zeros for none.
    pub(crate) digest: Digest,
}

/// The log, open for writing. One writer: whoever holds it.
pub(crate) struct FeedLog {
    dir: PathBuf,
    key: Arc<FeedKey>,
    pages: Arc<Pages>,
    head: Head,
    number: u32,
    file: Committer,
}

impl FeedLog {
    /// Goes on behind what [`replay::replay`] found.
    pub(crate) fn open(dir: &Path, key: Arc<FeedKey>, found: replay::Found) -> Result<Self, LogError> {
        let path = file_path(dir, found.number);
        let file = Committer::open(&path, found.whole).map_err(|source| LogError::File { path, source })?;
        key.settle(dir)?;
        let pages = Arc::new(Pages::new(dir, found.places));
        Ok(Self { dir: dir.to_owned(), key, pages, head: found.head, number: found.number, file })
    }

    /// The last entry.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// For reading entries back.
    pub(crate) fn pages(&self) -> Arc<Pages> {
        Arc::clone(&self.pages)
    }

    /// Appends the entries of one commit; durable when this returns. Blocks.
    pub(crate) fn append(&mut self, told: &[Told], now: UnixTime) -> Result<Head, LogError> {
        if self.file.length() >= FILE_SIZE {
            let path = file_path(&self.dir, self.number + 1);
            self.file = Committer::open(&path, 0).map_err(|source| LogError::File { path, source })?;
            self.number += 1;
        }
        // Only the last one of a commit: what it names signs what comes after it.
        let next_key = match told.last().map(|told| &told.change) {
            Some(Change::FeedKeyRotated { key }) => Some(key.clone()),
            _ => None,
        };
        let next = next_key.as_ref().map(|public| key::read_next(&self.dir, public)).transpose()?;
        let last = told.len().saturating_sub(1);
        let drafts = parallel::map(told.iter().enumerate().collect(), |(at, told)| Draft::new(told, at < last))?;
        // Each header has the digest of the one before it; the signatures do not hang together.
        let mut head = self.head;
        let chained = drafts.into_iter().enumerate().map(|(at, draft)| {
            let next = next_key.clone().filter(|_| at == last);
            Ok((draft.follow(&mut head, &self.key, next.clone(), now)?, next.is_some()))
        });
        let chained = chained.collect::<Result<Vec<_>, LogError>>()?;
        let lines = parallel::map(chained, |(entry, names)| entry.sign(&self.key, next.as_ref().filter(|_| names)))?;
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        let mut octets = Vec::with_capacity(lengths.iter().sum());
        // Each line is given back as soon as it is copied: an import is tens of megabytes.
        lines.into_iter().for_each(|line| octets.extend_from_slice(&line));
        let mut offset = self.file.append_blocking(octets)?;
        let mut sequence = self.head.sequence;
        let mut places = Vec::with_capacity(lengths.len());
        for length in lengths {
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            sequence = self.key.after(sequence);
            places.push((sequence, Place { file: self.number, offset, length }));
            offset += u64::from(length);
        }
        self.pages.extend(&places);
        self.head = head;
        if let Some(next) = &next_key {
            self.key.named(head.sequence, next)?;
        }
        Ok(head)
    }

    /// Ends a rotation that [`Self::append`] wrote: from here on the next key signs. What failed is done at the next start.
    pub(crate) fn settle(&self) -> Result<(), LogError> {
        self.key.settle(&self.dir)
    }

    /// The files with the octets that belong to whole commits.
    pub(crate) fn lengths(&self) -> Result<Vec<(PathBuf, u64)>, LogError> {
        let mut files = Vec::new();
        for number in 1..self.number {
            let path = file_path(&self.dir, number);
            let length =
                std::fs::metadata(&path).map_err(|source| LogError::File { path: path.clone(), source })?.len();
            files.push((path, length));
        }
        files.push((file_path(&self.dir, self.number), self.file.length()));
        Ok(files)
    }
}

fn file_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("feed-{number:06}.log"))
}

#[cfg(test)]
mod tests;
