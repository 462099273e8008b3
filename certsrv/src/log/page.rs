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

/// The places of all entries, in the order of their sequences.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Vec<Place>,
    /// Where the sequences do not go on by one: sequence and index of the first entry of each run.
    runs: Vec<(u64, usize)>,
    last: u64,
}

impl Places {
    /// Adds the place of the entry after all others.
    pub(crate) fn push(&mut self, sequence: u64, place: Place) {
        if self.runs.is_empty() || sequence != self.last.saturating_add(1) {
            self.runs.push((sequence, self.all.len()));
        }
        self.last = sequence;
        self.all.push(place);
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Forgets all but the first `length`.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.all.truncate(length);
        self.runs.retain(|(_, index)| *index < length);
        self.last = self.runs.last().map_or(0, |(first, index)| first + (length - index) as u64 - 1);
    }

    /// The sequence of the entry at `index`.
    fn sequence(&self, index: usize) -> u64 {
        let run = self.runs.partition_point(|(_, first)| *first <= index);
        let run = run.checked_sub(1).and_then(|run| self.runs.get(run));
        run.map_or(0, |(first, at)| first + (index - at) as u64)
    }

    /// How many entries have this sequence or a smaller one.
    fn until(&self, sequence: u64) -> usize {
        let run = self.runs.partition_point(|(first, _)| *first <= sequence);
        let end = self.runs.get(run).map_or(self.all.len(), |(_, index)| *index);
        let Some((first, index)) = run.checked_sub(1).and_then(|run| self.runs.get(run)) else { return 0 };
        usize::try_from(sequence - first).unwrap_or(usize::MAX).saturating_add(index + 1).min(end)
    }
}

/// Reads entries back.
pub(crate) struct Pages {
    dir: PathBuf,
    places: RwLock<Places>,
}

impl Pages {
    pub(crate) fn new(dir: &Path, places: Places) -> Self {
        Self { dir: dir.to_owned(), places: RwLock::new(places) }
    }

    pub(crate) fn extend(&self, new: &[(u64, Place)]) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        new.iter().for_each(|(sequence, place)| places.push(*sequence, *place));
    }

    /// The entries after sequence `after` up to `end`, at most [`PAGE`], as `view` sees them; and the sequence of the last
    /// one, or `after`. Reads files: blocks.
    pub(crate) fn read(&self, after: u64, end: u64, view: View) -> Result<(Vec<SignedEntry>, u64), LogError> {
        let (places, last) = {
            let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
            let from = places.until(after);
            let end = places.until(end).min(from + PAGE);
            let last = if end > from { places.sequence(end - 1) } else { after };
            (places.all.get(from..end).unwrap_or_default().to_vec(), last)
        };
        let mut entries = Vec::with_capacity(places.len());
        for run in places.chunk_by(|a, b| a.file == b.file) {
            self.read_run(run, view, &mut entries)?;
        }
        Ok((entries, last))
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

#[cfg(test)]
mod tests {
    use super::{Place, Places};

    #[test]
    fn sequences_lead_to_their_entries_over_every_jump() {
        let mut places = Places::default();
        let sequences = [1, 2, 3, 1003, 1004, 9000];
        for (offset, sequence) in (0..).zip(sequences) {
            places.push(sequence, Place { file: 1, offset, length: 1 });
        }
        for length in (0..=sequences.len()).rev() {
            places.truncate(length);
            for after in (0..10).chain(1000..1010).chain(8998..9003).chain([u64::MAX]) {
                let wanted = sequences.iter().take(length).filter(|sequence| **sequence <= after).count();
                assert_eq!(places.until(after), wanted, "{after} of {length}");
            }
            let all: Vec<u64> = (0..length).map(|index| places.sequence(index)).collect();
            assert_eq!(all, sequences.get(..length).unwrap_or_default());
        }
        places.push(5, Place { file: 1, offset: 9, length: 1 });
        assert_eq!((places.until(4), places.until(5)), (0, 1));
    }
}
