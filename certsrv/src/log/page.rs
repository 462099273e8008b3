//! Reading entries back: the place of every entry is kept in memory (16 octets each), the entries stay in the files.

use super::line::Line;
use super::{LogError, file_path};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use twinseal_proto::feed::{SignedEntry, View};

/// Most entries in a page.
pub(crate) const PAGE: usize = 1000;

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the file.
    pub(crate) file: u32,
    /// Octets before it.
    pub(crate) offset: u64,
    /// Its octets, with the line end.
    pub(crate) length: u32,
}

/// The places of all entries: that of sequence n at n - 1.
pub(crate) struct Pages {
    dir: PathBuf,
    places: RwLock<Vec<Place>>,
}

impl Pages {
    pub(crate) fn new(dir: &Path, places: Vec<Place>) -> Self {
        Self { dir: dir.to_owned(), places: RwLock::new(places) }
    }

    pub(crate) fn extend(&self, places: &[Place]) {
        self.places.write().unwrap_or_else(PoisonError::into_inner).extend_from_slice(places);
    }

    /// The entries after sequence `after`, at most [`PAGE`], as `view` sees them. Reads files: blocks.
    pub(crate) fn read(&self, after: u64, view: View) -> Result<Vec<SignedEntry>, LogError> {
        let places = {
            let all = self.places.read().unwrap_or_else(PoisonError::into_inner);
            let from = usize::try_from(after).unwrap_or(usize::MAX).min(all.len());
            all.get(from..all.len().min(from + PAGE)).unwrap_or_default().to_vec()
        };
        let mut entries = Vec::with_capacity(places.len());
        for run in places.chunk_by(|a, b| a.file == b.file) {
            self.read_run(run, view, &mut entries)?;
        }
        Ok(entries)
    }

    /// Entries that lie behind each other in one file: one read.
    fn read_run(&self, run: &[Place], view: View, entries: &mut Vec<SignedEntry>) -> Result<(), LogError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let path = file_path(&self.dir, first.file);
        let failed = |source| LogError::File { path: path.clone(), source };
        let length = last.offset + u64::from(last.length) - first.offset;
        let mut octets = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        File::open(&path).and_then(|f| f.read_exact_at(&mut octets, first.offset)).map_err(failed)?;
        let mut rest = octets.as_slice();
        for place in run {
            let (line, after) = rest.split_at_checked(place.length as usize).unwrap_or((rest, &[]));
            let line: Line = serde_json::from_slice(line)?;
            entries.push(line.view(view));
            rest = after;
        }
        Ok(())
    }
}
