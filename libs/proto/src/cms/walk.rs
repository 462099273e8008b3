//! A streaming walk over BER: knows where it is, holds nothing but what it is told to record.

use super::der::{self, Fault, Header, HeaderOctets, Length, Tag};
use super::frame::FrameError;
use super::labels::MAX_DEPTH;
use std::io::{self, BufRead};

/// Walks over the octets of `R`, front to back.
pub(super) struct Walk<R> {
    source: R,
    /// Octets walked over so far.
    offset: u64,
    /// The end of the innermost value of definite length that we are inside of.
    limit: u64,
    /// How many constructed values we are inside of.
    depth: usize,
}

/// A constructed value that was entered and has to be left.
#[must_use]
pub(super) struct Level {
    what: &'static str,
    definite: bool,
    outer_limit: u64,
}

impl<R: BufRead> Walk<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, offset: 0, limit: u64::MAX, depth: 0 }
    }

    /// Octets walked over so far.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The fault, here.
    pub(super) const fn malformed(&self, what: &'static str, fault: Fault) -> FrameError {
        FrameError::Malformed { offset: self.offset, error: fault.in_type(what) }
    }

    /// Octets that are at hand and belong to what we are inside of; none at the end of the input.
    fn buffered(&mut self) -> Result<&[u8], FrameError> {
        let room = usize::try_from(self.limit - self.offset).unwrap_or(usize::MAX);
        if room == 0 {
            return Ok(&[]);
        }
        // Asked twice, since the borrow of the first answer cannot leave the loop.
        while let Err(error) = self.source.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(FrameError::Io(error));
            }
        }
        let buffer = self.source.fill_buf().map_err(FrameError::Io)?;
        Ok(buffer.get(..room).unwrap_or(buffer))
    }

    fn consume(&mut self, octets: usize) {
        self.source.consume(octets);
        self.offset += octets as u64;
    }

    /// The next octet, not yet walked over.
    fn peek(&mut self, what: &'static str) -> Result<u8, FrameError> {
        // Nothing is buffered at the end of the input, and at the end of what we are inside of.
        let next = self.buffered()?.first().copied();
        next.ok_or(self.malformed(what, Fault::Truncated))
    }

    fn octet(&mut self, what: &'static str) -> Result<u8, FrameError> {
        let octet = self.peek(what)?;
        self.consume(1);
        Ok(octet)
    }

    /// The tag of the next value, not yet walked over.
    pub(super) fn peek_tag(&mut self, what: &'static str) -> Result<Tag, FrameError> {
        self.peek(what).map(Tag)
    }

    /// Identifier and length octets.
    pub(super) fn header(&mut self, what: &'static str) -> Result<Header, FrameError> {
        let offset = self.offset;
        let fail = |fault: Fault| FrameError::Malformed { offset, error: fault.in_type(what) };
        Header::read(|| self.octet(what), fail)
    }

    /// Identifier and length octets, the identifier being `tag`.
    pub(super) fn element(&mut self, tag: Tag, what: &'static str) -> Result<Header, FrameError> {
        let found = self.peek_tag(what)?;
        if found == tag { self.header(what) } else { Err(self.malformed(what, Fault::Tag(found.0))) }
    }

    /// Goes inside the constructed value whose header was read last.
    pub(super) fn enter(&mut self, header: Header, what: &'static str) -> Result<Level, FrameError> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed(what, Fault::Depth));
        }
        self.depth += 1;
        let level = Level { what, definite: matches!(header.length, Length::Definite(_)), outer_limit: self.limit };
        if let Length::Definite(length) = header.length {
            self.limit = self.end_of(length, what)?;
        }
        Ok(level)
    }

    /// Reads the header of a constructed value with this tag and goes inside.
    pub(super) fn open(&mut self, tag: Tag, what: &'static str) -> Result<Level, FrameError> {
        let header = self.element(tag, what)?;
        self.enter(header, what)
    }

    /// Whether nothing but end-of-contents octets is left inside.
    pub(super) fn at_end(&mut self, level: &Level) -> Result<bool, FrameError> {
        if level.definite {
            Ok(self.offset == self.limit)
        } else {
            Ok(self.peek_tag(level.what)? == Tag::END_OF_CONTENTS)
        }
    }

    /// Goes out of the value, over its end-of-contents octets if it has some.
    pub(super) fn leave(&mut self, level: Level) -> Result<(), FrameError> {
        if !self.at_end(&level)? {
            return Err(self.malformed(level.what, Fault::Trailing));
        }
        if !level.definite {
            self.octet(level.what)?;
            if self.octet(level.what)? != 0 {
                return Err(self.malformed(level.what, Fault::Length));
            }
        }
        self.depth -= 1;
        self.limit = level.outer_limit;
        Ok(())
    }

    /// Where a value ends that has `length` more octets.
    fn end_of(&self, length: u64, what: &'static str) -> Result<u64, FrameError> {
        self.offset.checked_add(length).filter(|end| *end <= self.limit).ok_or(self.malformed(what, Fault::Overrun))
    }

    /// Calls `each` with the content octets of the primitive value whose header was read last, piece by piece.
    fn content(&mut self, header: Header, what: &'static str, mut each: impl FnMut(&[u8])) -> Result<u64, FrameError> {
        let Length::Definite(length) = header.length else {
            return Err(self.malformed(what, Fault::Length));
        };
        let end = self.end_of(length, what)?;
        while self.offset < end {
            let left = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            let piece = self.buffered()?;
            let piece = piece.get(..left).unwrap_or(piece);
            if piece.is_empty() {
                return Err(self.malformed(what, Fault::Truncated));
            }
            each(piece);
            let octets = piece.len();
            self.consume(octets);
        }
        Ok(length)
    }

    /// Walks over the content of the OCTET STRING, whole or in segments (X.690 section 8.7), whose header was read last.
    /// Returns how many octets it is.
    pub(super) fn skip_octets(&mut self, header: Header, what: &'static str) -> Result<u64, FrameError> {
        if !header.tag.is_constructed() {
            return self.content(header, what, |_| {});
        }
        let level = self.enter(header, what)?;
        let mut octets = 0;
        while !self.at_end(&level)? {
            let segment = self.header(what)?;
            if !matches!(segment.tag, Tag::OCTET_STRING | Tag::SEGMENTED_OCTETS) {
                return Err(self.malformed(what, Fault::Tag(segment.tag.0)));
            }
            octets += self.skip_octets(segment, what)?;
        }
        self.leave(level)?;
        Ok(octets)
    }

    /// Walks over one value of any type.
    pub(super) fn skip(&mut self, what: &'static str) -> Result<(), FrameError> {
        let header = self.header(what)?;
        if !header.tag.is_constructed() {
            self.content(header, what, |_| {})?;
            return Ok(());
        }
        let level = self.enter(header, what)?;
        while !self.at_end(&level)? {
            self.skip(what)?;
        }
        self.leave(level)
    }

    /// Appends one value of any type to `record`, which may not become longer than `limit`. What it says stays the same;
    /// lengths are written in their shortest form.
    pub(super) fn record(&mut self, record: &mut Vec<u8>, limit: usize, what: &'static str) -> Result<(), FrameError> {
        let too_large = FrameError::TooLarge { offset: self.offset, what, limit };
        let header = self.header(what)?;
        if let Length::Definite(length) = header.length {
            let room = limit.saturating_sub(record.len()) as u64;
            if der::tlv_len(length) > room {
                return Err(too_large);
            }
            record.extend_from_slice(&HeaderOctets::new(header.tag, length));
            self.content(header, what, |piece| record.extend_from_slice(piece))?;
            return Ok(());
        }
        if record.len() + 4 > limit {
            return Err(too_large);
        }
        record.extend_from_slice(&[header.tag.0, 0x80]);
        let level = self.enter(header, what)?;
        while !self.at_end(&level)? {
            self.record(record, limit, what)?;
        }
        self.leave(level)?;
        record.extend_from_slice(&[0, 0]);
        Ok(())
    }

    /// Nothing may follow.
    pub(super) fn finish(mut self) -> Result<(), FrameError> {
        if self.buffered()?.is_empty() { Ok(()) } else { Err(FrameError::TrailingData { offset: self.offset }) }
    }
}
