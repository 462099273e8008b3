//! One cursor for untrusted DER, a small DER writer, and BER made into DER.
//!
//! Lengths that a stranger announces are compared with the octets at hand; nothing is ever allocated from them.

mod normalise;
#[cfg(test)]
mod tests;
mod write;

pub use normalise::normalise;
pub(crate) use normalise::normalise_next;
pub use write::{HeaderOctets, NULL, object_id, octet_string, sequence, small, tlv, tlv_len};

use std::fmt;
use write::length_octets;

/// Why octets are not the DER that was expected. `what` names the type that was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {fault}")]
pub struct DerError {
    /// The ASN.1 type that was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an encoding (X.690).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nested deeper than [`MAX_DEPTH`](super::labels::MAX_DEPTH).
    #[error("nested too deeply")]
    Depth,
    /// A length that is malformed, indefinite where it may not be, or not the shortest form where DER is wanted.
    #[error("bad length")]
    Length,
    /// The content runs over the end of what contains it.
    #[error("longer than what contains it")]
    Overrun,
    /// Another tag than the expected one, or one in the high-tag-number form, which CMS never uses: its first octet.
    #[error("unexpected tag 0x{0:02x}")]
    Tag(u8),
    /// Octets are left over after the last field.
    #[error("octets left over")]
    Trailing,
    /// The octets end in the middle.
    #[error("ends too early")]
    Truncated,
    /// The right type, but not a value that it may have.
    #[error("bad value")]
    Value,
}

impl Fault {
    /// The fault, found while reading `what`.
    #[must_use]
    pub const fn in_type(self, what: &'static str) -> DerError {
        DerError { what, fault: self }
    }
}

/// An identifier octet in the low-tag-number form (X.690 section 8.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u8);

impl Tag {
    /// The end-of-contents octets' first one.
    pub const END_OF_CONTENTS: Self = Self(0x00);
    /// BOOLEAN.
    pub const BOOLEAN: Self = Self(0x01);
    /// INTEGER.
    pub const INTEGER: Self = Self(0x02);
    /// BIT STRING.
    pub const BIT_STRING: Self = Self(0x03);
    /// OCTET STRING, primitive.
    pub const OCTET_STRING: Self = Self(0x04);
    /// NULL.
    pub const NULL: Self = Self(0x05);
    /// OBJECT IDENTIFIER.
    pub const OID: Self = Self(0x06);
    /// OCTET STRING in segments (BER only).
    pub const SEGMENTED_OCTETS: Self = Self(0x24);
    /// SEQUENCE.
    pub const SEQUENCE: Self = Self(0x30);
    /// SET.
    pub const SET: Self = Self(0x31);

    /// `[number]`, primitive: an IMPLICIT string or number.
    #[must_use]
    pub const fn context(number: u8) -> Self {
        Self(0x80 | number)
    }

    /// `[number]`, constructed: EXPLICIT, or an IMPLICIT SEQUENCE or SET.
    #[must_use]
    pub const fn context_constructed(number: u8) -> Self {
        Self(0xa0 | number)
    }

    /// Whether values nest inside.
    #[must_use]
    pub const fn is_constructed(self) -> bool {
        self.0 & 0x20 != 0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag(0x{:02x})", self.0)
    }
}

/// How long a value says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many content octets.
    Definite(u64),
    /// Until its end-of-contents octets.
    Indefinite,
}

/// Identifier and length octets of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The identifier.
    pub tag: Tag,
    /// The length.
    pub length: Length,
    /// The length octets are the shortest that could say it, as DER demands (X.690 section 10.1).
    pub shortest: bool,
}

impl Header {
    /// Reads identifier and length octets from `next`, which gives one octet a call; `fail` makes the caller's error.
    ///
    /// # Errors
    /// Those of `next`, [`Fault::Tag`] for end-of-contents octets out of place and for tag numbers above 30, which CMS
    /// does not use, [`Fault::Length`] for lengths of 2^56 and more and for indefinite primitives.
    pub fn read<E>(mut next: impl FnMut() -> Result<u8, E>, fail: impl Fn(Fault) -> E) -> Result<Self, E> {
        let tag = Tag(next()?);
        if tag == Tag::END_OF_CONTENTS || tag.0 & 0x1f == 0x1f {
            return Err(fail(Fault::Tag(tag.0)));
        }
        let (length, shortest) = match next()? {
            0x80 if tag.is_constructed() => (Length::Indefinite, true),
            short @ 0..0x80 => (Length::Definite(u64::from(short)), true),
            long @ 0x81..=0x87 => {
                let mut length = 0;
                for _ in 0..long & 0x7f {
                    length = length << 8 | u64::from(next()?);
                }
                (Length::Definite(length), length_octets(length) == 1 + usize::from(long & 0x7f))
            }
            _ => return Err(fail(Fault::Length)),
        };
        Ok(Self { tag, length, shortest })
    }
}

/// The content octets of an OBJECT IDENTIFIER; displays as dotted decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Oid<'a>(&'a [u8]);

impl<'a> Oid<'a> {
    /// The identifier with these content octets.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// Its content octets.
    #[must_use]
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut arc: u64 = 0;
        for octet in self.0 {
            // Arcs over 57 bits do not occur; should one come, only its low bits are shown.
            arc = (arc & (u64::MAX >> 7)) << 7 | u64::from(octet & 0x7f);
            if octet & 0x80 != 0 {
                continue;
            }
            if first {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - 40 * root)?;
            } else {
                write!(f, ".{arc}")?;
            }
            (first, arc) = (false, 0);
        }
        Ok(())
    }
}

impl fmt::Debug for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One value as it lies in the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its identifier.
    pub tag: Tag,
    /// Its content octets.
    pub value: &'a [u8],
    /// All its octets, header included.
    pub raw: &'a [u8],
}

/// Reads DER front to back. A reader made from a value ends where the value ends.
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over `octets`, which should be a `what`.
    #[must_use]
    pub const fn new(octets: &'a [u8], what: &'static str) -> Self {
        Self { what, rest: octets }
    }

    /// Reads all of `octets` with `read`, and refuses octets left over.
    ///
    /// # Errors
    /// Those of `read`, and [`Fault::Trailing`].
    pub fn all<T, E: From<DerError>>(
        octets: &'a [u8],
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut reader = Self::new(octets, what);
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }

    /// The fault, in the type that this reader reads.
    #[must_use]
    pub const fn fault(&self, fault: Fault) -> DerError {
        fault.in_type(self.what)
    }

    /// Nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next value, if there is one.
    #[must_use]
    pub fn peek(&self) -> Option<Tag> {
        self.rest.first().map(|octet| Tag(*octet))
    }

    /// The next value, whatever it is.
    ///
    /// # Errors
    /// [`DerError`] unless one whole value with a definite, shortest length follows.
    pub fn any(&mut self) -> Result<Tlv<'a>, DerError> {
        let input = self.rest;
        let mut octets = input.iter();
        let header =
            Header::read(|| octets.next().copied().ok_or(self.fault(Fault::Truncated)), |fault| self.fault(fault))?;
        let Length::Definite(length) = header.length else {
            return Err(self.fault(Fault::Length));
        };
        if !header.shortest {
            return Err(self.fault(Fault::Length));
        }
        let content = octets.as_slice();
        let (value, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| content.split_at_checked(length))
            .ok_or(self.fault(Fault::Overrun))?;
        let raw = input.get(..input.len() - rest.len()).ok_or(self.fault(Fault::Overrun))?;
        self.rest = rest;
        Ok(Tlv { tag: header.tag, value, raw })
    }

    /// The next value, which must have this tag.
    ///
    /// # Errors
    /// [`DerError`] if nothing follows or something else does.
    pub fn element(&mut self, tag: Tag) -> Result<Tlv<'a>, DerError> {
        match self.peek() {
            None => Err(self.fault(Fault::Truncated)),
            Some(found) if found != tag => Err(self.fault(Fault::Tag(found.0))),
            Some(_) => self.any(),
        }
    }

    /// The next value if it has this tag.
    ///
    /// # Errors
    /// [`DerError`] if it has, but is malformed.
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Tlv<'a>>, DerError> {
        (self.peek() == Some(tag)).then(|| self.any()).transpose()
    }

    /// A reader over the content of the next value, which must have this tag and should be a `what`.
    ///
    /// # Errors
    /// As [`Reader::element`].
    pub fn enter(&mut self, tag: Tag, what: &'static str) -> Result<Self, DerError> {
        Ok(Self::new(self.element(tag)?.value, what))
    }

    /// An OBJECT IDENTIFIER.
    ///
    /// # Errors
    /// [`DerError`] unless a well-formed one follows.
    pub fn oid(&mut self) -> Result<Oid<'a>, DerError> {
        let value = self.element(Tag::OID)?.value;
        let ends_an_arc = value.last().is_some_and(|octet| octet & 0x80 == 0);
        ends_an_arc.then_some(Oid(value)).ok_or(self.fault(Fault::Value))
    }

    /// A small, non-negative INTEGER: a version, a size.
    ///
    /// # Errors
    /// [`DerError`] unless one in 0 to 127 follows.
    pub fn small(&mut self) -> Result<u8, DerError> {
        match self.element(Tag::INTEGER)?.value {
            [value @ 0..0x80] => Ok(*value),
            _ => Err(self.fault(Fault::Value)),
        }
    }

    /// The content octets of an INTEGER in its shortest form.
    ///
    /// # Errors
    /// [`DerError`] unless one follows.
    pub fn integer(&mut self) -> Result<&'a [u8], DerError> {
        match self.element(Tag::INTEGER)?.value {
            [] | [0, 0..0x80, ..] | [0xff, 0x80..=0xff, ..] => Err(self.fault(Fault::Value)),
            value => Ok(value),
        }
    }

    /// An OCTET STRING.
    ///
    /// # Errors
    /// [`DerError`] unless one follows.
    pub fn octets(&mut self) -> Result<&'a [u8], DerError> {
        Ok(self.element(Tag::OCTET_STRING)?.value)
    }

    /// A BIT STRING of whole octets.
    ///
    /// # Errors
    /// [`DerError`] unless one follows.
    pub fn bits(&mut self) -> Result<&'a [u8], DerError> {
        match self.element(Tag::BIT_STRING)?.value {
            [0, octets @ ..] => Ok(octets),
            _ => Err(self.fault(Fault::Value)),
        }
    }

    /// All that is left, unread.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`Fault::Trailing`] if something is.
    pub const fn finish(self) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(self.fault(Fault::Trailing)) }
    }
}
