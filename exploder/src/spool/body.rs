//! CMS bodies on their way in and out: small ones in memory, large ones in files, never a large one whole in memory.

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::ids::PostId;

/// Bodies of at most so many octets live in the segment.
pub(crate) const IN_RECORD: usize = 256 * 1024;

/// Takes a body while it arrives: in memory up to 256 kB, then in a file without a name. Dropped, it leaves nothing.
pub(crate) struct SpoolWriter {
    bodies: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
}

impl SpoolWriter {
    pub(crate) fn new(bodies: &Path) -> Self {
        Self { bodies: bodies.to_owned(), memory: Vec::new(), file: None, length: 0 }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The I/O error of writing what was still in memory.
    pub(crate) fn finish(mut self) -> io::Result<Draft> {
        match self.file.take() {
            None => Ok(Draft(Content::Memory(Bytes::from(std::mem::take(&mut self.memory))))),
            Some(mut file) => {
                file.write_all(&self.memory)?;
                Ok(Draft(Content::File(Arc::new(file), self.length)))
            }
        }
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.memory.len() + octets.len() > IN_RECORD {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(nameless(&self.bodies)?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
            if octets.len() > IN_RECORD / 2 {
                file.write_all(octets)?;
                self.length += octets.len() as u64;
                return Ok(octets.len());
            }
        }
        self.memory.extend_from_slice(octets);
        self.length += octets.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file in `dir` that has no name: it is gone when it is closed, unless it is linked.
pub(crate) fn nameless(dir: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?.into())
}

#[derive(Clone)]
enum Content {
    Memory(Bytes),
    File(Arc<File>, u64),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(octets) => octets.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

/// A body that has arrived and that nobody has answered for yet.
pub(crate) struct Draft(Content);

impl Draft {
    /// Octets.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// Reads it from the beginning.
    ///
    /// # Errors
    /// The I/O error of going back to the beginning of its file.
    pub(crate) fn reader(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        match &self.0 {
            Content::Memory(octets) => Ok(Box::new(octets.as_ref())),
            Content::File(file, _) => {
                let mut file = file.as_ref();
                file.rewind()?;
                Ok(Box::new(BufReader::with_capacity(64 * 1024, file)))
            }
        }
    }

    /// The octets, when they belong into the record.
    pub(crate) fn in_record(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Memory(octets) => Some(octets),
            Content::File(..) => None,
        }
    }

    /// Gives the body its name, durably. Blocks.
    pub(crate) fn link(&self, bodies: &Path, id: PostId) -> io::Result<()> {
        if let Content::File(file, _) = &self.0 {
            file.sync_data()?;
            let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, nameless, CWD, path(bodies, id), AtFlags::SYMLINK_FOLLOW)?;
            twinseal_svc::durable::sync_dir(bodies)?;
            twinseal_svc::failpoint::hit("exploder.body.after-link");
        }
        Ok(())
    }
}

/// Where the body of a message has its file.
pub(crate) fn path(bodies: &Path, id: PostId) -> PathBuf {
    bodies.join(format!("{id}.cms"))
}

/// A spooled body, to be read.
#[derive(Clone)]
pub(crate) struct Body(Content);

impl Body {
    pub(crate) const fn in_memory(octets: Bytes) -> Self {
        Self(Content::Memory(octets))
    }

    pub(crate) fn in_file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self(Content::File(Arc::new(file), length)))
    }

    /// Octets.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The octets of a body that is in memory, else `None`: stream it.
    pub(crate) fn octets(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Memory(octets) => Some(octets),
            Content::File(..) => None,
        }
    }

    /// A reader from `offset` on, which does not move any other's place. Blocks.
    pub(crate) fn reader(&self, offset: u64) -> BodyReader<'_> {
        BodyReader { body: self, at: offset }
    }
}

/// Reads a [`Body`].
pub(crate) struct BodyReader<'a> {
    body: &'a Body,
    at: u64,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &self.body.0 {
            Content::File(file, _) => file.read_at(into, self.at)?,
            Content::Memory(octets) => {
                let start = usize::try_from(self.at).unwrap_or(usize::MAX);
                octets.get(start..).unwrap_or_default().read(into)?
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn small_bodies_stay_in_memory_and_large_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        for (total, chunk) in
            [(10, 3), (IN_RECORD, 4096), (IN_RECORD + 1, 4096), (3_000_000, 32_768), (1_000_000, 500_000)]
        {
            let octets: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            let mut writer = SpoolWriter::new(dir.path());
            for part in octets.chunks(chunk) {
                writer.write_all(part).unwrap();
            }
            assert!(writer.memory.len() <= IN_RECORD);
            let draft = writer.finish().unwrap();
            assert_eq!((draft.len(), draft.in_record().is_some()), (total as u64, total <= IN_RECORD));
            for _ in 0..2 {
                let mut back = Vec::new();
                draft.reader().unwrap().read_to_end(&mut back).unwrap();
                assert_eq!(back, octets);
            }
            if total > IN_RECORD {
                draft.link(dir.path(), PostId(total as u64)).unwrap();
                drop(draft);
                let path = path(dir.path(), PostId(total as u64));
                let body = Body::in_file(File::open(path).unwrap()).unwrap();
                let mut back = Vec::new();
                body.reader(7).read_to_end(&mut back).unwrap();
                assert_eq!(back, octets.get(7..).unwrap());
            }
        }
    }
}
