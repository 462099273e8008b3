//! Reading the log at start. What the index has already is only counted, up to the entry that the index names, whose
//! digest must be the index's; everything after it is verified and applied. An index that is missing or was made from
//! another log starts from nothing, so then every line is verified.

use super::key::FeedKey;
use super::line::Line;
use super::page::{Place, Places};
use super::{Head, LogError, file_path};
use crate::change::Change;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use twinseal_proto::encoding::Digest;
use twinseal_svc::store::StoreError;

/// What is in the log.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where each entry lies.
    pub(crate) places: Places,
    /// The last entry.
    pub(crate) head: Head,
    /// Number of the last file.
    pub(crate) number: u32,
    /// Octets of the last file that are whole commits; the rest is the torn end of a crash, which nobody was told of.
    pub(crate) whole: u64,
}

/// The log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index.
    #[error("index")]
    Store(#[from] StoreError),
}

/// Reads the log in `dir` and gives each whole commit after `from`, which is what the index has, to `apply`, with its
/// last entry.
pub(crate) fn replay(
    dir: &Path,
    key: &FeedKey,
    from: Head,
    mut apply: impl FnMut(Vec<Change>, Head) -> Result<(), StoreError>,
) -> Result<Found, ReplayError> {
    let mut reading = Reading::new(key, from);
    let mut number = 1;
    loop {
        let path = file_path(dir, number);
        if !path.try_exists().map_err(|source| LogError::File { path: path.clone(), source })? {
            break;
        }
        if number > 1 && reading.pending() {
            return Err(reading.broken(&path, 1, "the commit before this file is not whole").into());
        }
        reading.file(&path, number, &mut apply)?;
        number += 1;
    }
    reading.found.number = number.saturating_sub(1).max(1);
    reading.end(from)
}

struct Reading<'a> {
    key: &'a FeedKey,
    from: Head,
    found: Found,
    /// Changes of a commit whose last entry has not come yet, and the entry reached.
    commit: Vec<Change>,
    reached: Head,
    /// Entries of `found.places` that belong to whole commits.
    whole_places: usize,
    torn: bool,
}

impl<'a> Reading<'a> {
    fn new(key: &'a FeedKey, from: Head) -> Self {
        let start = Head { sequence: 0, digest: Digest([0; 32]) };
        let found = Found { places: Places::default(), head: start, number: 1, whole: 0 };
        Self { key, from, found, commit: Vec::new(), reached: start, whole_places: 0, torn: false }
    }

    const fn pending(&self) -> bool {
        self.torn || !self.commit.is_empty()
    }

    fn broken(&self, path: &Path, line: u64, what: impl Into<String>) -> LogError {
        LogError::Broken { path: path.to_owned(), line, what: what.into() }
    }

    fn file(
        &mut self,
        path: &PathBuf,
        number: u32,
        apply: &mut impl FnMut(Vec<Change>, Head) -> Result<(), StoreError>,
    ) -> Result<(), ReplayError> {
        let failed = |source| LogError::File { path: path.clone(), source };
        let mut lines = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let (mut text, mut offset) = (Vec::new(), 0);
        self.found.whole = 0;
        for line in 1.. {
            text.clear();
            let octets = lines.read_until(b'\n', &mut text).map_err(failed)?;
            if octets == 0 {
                break;
            }
            let Some(json) = text.strip_suffix(b"\n") else {
                self.torn = true;
                break;
            };
            let place = Place { file: number, offset, length: u32::try_from(octets).unwrap_or(u32::MAX) };
            offset += octets as u64;
            let whole = self.line(json).map_err(|what| self.broken(path, line, what))?;
            self.found.places.push(self.reached.sequence, place);
            if whole {
                if !self.commit.is_empty() {
                    apply(std::mem::take(&mut self.commit), self.reached)?;
                }
                self.found.head = self.reached;
                self.found.whole = offset;
                self.whole_places = self.found.places.len();
            } else if self.reached.sequence == self.from.sequence && self.reached != self.from {
                return Err(LogError::OtherIndex.into());
            }
        }
        Ok(())
    }

    /// Takes a line. `true`: a commit is whole with it.
    fn line(&mut self, json: &[u8]) -> Result<bool, String> {
        let sequence = self.key.after(self.reached.sequence);
        if sequence < self.from.sequence {
            // The index has it.
            self.reached.sequence = sequence;
            return Ok(true);
        }
        let line: Line = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if sequence == self.from.sequence {
            self.reached = Head { sequence, digest: Digest::of(line.header.as_bytes()) };
            let same = self.reached == self.from;
            if same {
                line.header(self.key)?;
            }
            return Ok(same);
        }
        let (head, body) = line.verify(self.key, self.reached)?;
        self.reached = head;
        self.commit.push(body.change);
        Ok(!body.more)
    }

    fn end(mut self, from: Head) -> Result<Found, ReplayError> {
        if self.found.head.sequence < from.sequence {
            return Err(LogError::Lost { log: self.found.head.sequence, index: from.sequence }.into());
        }
        self.found.places.truncate(self.whole_places);
        Ok(self.found)
    }
}
