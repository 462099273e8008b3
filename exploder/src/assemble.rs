//! Step 6: the text of the copies. Each has a head of its own, about 1 kB; the header and one of at most three tails are
//! shared by all (DESIGN 2). A tail over 256 kB is a file without a name, made when it is first needed.

use crate::spool::body::{Body, nameless};
use crate::spool::post::SpooledPost;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;
use twinseal_proto::cms::assemble::{Alignment, CopyShape, Head, LineEncoder};

/// Octets of the body that are encoded at a time.
const CHUNK: usize = 64 * 1024;

/// Lines of base64, each ended by CRLF.
pub(crate) enum Text {
    /// In memory.
    Memory(Bytes),
    /// In a file of so many octets.
    File(Arc<File>, u64),
}

/// Makes the copies of one message.
pub(crate) struct Assembler {
    header: Bytes,
    shape: CopyShape,
    body: Body,
    tail: std::ops::Range<u64>,
    first_tail: [u8; 2],
    tmp: PathBuf,
    texts: [OnceCell<Text>; 3],
}

impl Assembler {
    /// For a message and its body. Files go to `tmp`.
    ///
    /// # Errors
    /// The I/O error of reading the body, or `InvalidData` when it is not the one of the intake record.
    pub(crate) fn new(post: &SpooledPost, body: Body, tmp: &Path) -> io::Result<Self> {
        let tail = post.frame.tail();
        if tail.end > body.len() || tail.end.saturating_sub(tail.start) < 2 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut first_tail = [0; 2];
        body.reader(tail.start).read_exact(&mut first_tail)?;
        Ok(Self {
            header: dot_stuffed(post.header.as_bytes()).into(),
            shape: post.frame.shape(),
            body,
            tail,
            first_tail,
            tmp: tmp.to_owned(),
            texts: Default::default(),
        })
    }

    /// The header of all copies, dot-stuffed.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The head of the copy with this DER RecipientInfo.
    pub(crate) fn head(&self, recipient_info: &[u8]) -> Head {
        self.shape.head(recipient_info, self.first_tail)
    }

    /// The text that goes after a head with this alignment.
    ///
    /// # Errors
    /// The I/O error of reading the body or writing the file.
    pub(crate) async fn tail(&self, alignment: Alignment) -> io::Result<&Text> {
        let [zero, one, two] = &self.texts;
        let cell = match alignment {
            Alignment::Zero => zero,
            Alignment::One => one,
            Alignment::Two => two,
        };
        cell.get_or_try_init(|| self.make(alignment)).await
    }

    async fn make(&self, alignment: Alignment) -> io::Result<Text> {
        let start = self.tail.start + alignment.octets() as u64;
        let length = self.tail.end - start;
        let capacity = usize::try_from(self.shape.tail_text_len(alignment)).unwrap_or_default();
        if self.body.octets().is_some() {
            let mut text = Vec::with_capacity(capacity);
            encode(&self.body, start, length, |lines| {
                text.append(lines);
                Ok(())
            })?;
            return Ok(Text::Memory(text.into()));
        }
        let (body, tmp) = (self.body.clone(), self.tmp.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut file = nameless(&tmp)?;
            let mut octets = 0;
            encode(&body, start, length, |lines| {
                octets += lines.len() as u64;
                file.write_all(lines)?;
                lines.clear();
                Ok(())
            })?;
            io::Result::Ok(Text::File(Arc::new(file), octets))
        });
        written.await.map_err(io::Error::other)?
    }
}

/// Makes `length` octets of the body from `start` on into lines, and hands them on piece by piece.
fn encode(body: &Body, start: u64, length: u64, mut out: impl FnMut(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut reader = body.reader(start).take(length);
    let mut chunk = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    let mut lines = Vec::with_capacity(chunk.len() * 3 / 2);
    let mut encoder = LineEncoder::new();
    let mut left = length;
    while left > 0 {
        let read = reader.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        encoder.push(chunk.get(..read).unwrap_or_default(), &mut lines);
        left -= read as u64;
        out(&mut lines)?;
    }
    encoder.finish(&mut lines);
    out(&mut lines)
}

/// Doubles the dots at the beginnings of lines (RFC 5321 section 4.5.2). Base64 has none.
fn dot_stuffed(text: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(text.len() + 16);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}

#[cfg(test)]
mod tests;
