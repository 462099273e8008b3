//! Writing DER: definite lengths in their shortest form.

use super::{Oid, Tag};

/// How many octets the length octets for `length` take.
pub(super) const fn length_octets(length: u64) -> usize {
    if length < 0x80 { 1 } else { 1 + (u64::BITS - length.leading_zeros()).div_ceil(8) as usize }
}

/// How many octets a value with `length` content octets takes.
#[must_use]
pub const fn tlv_len(length: u64) -> u64 {
    1 + length_octets(length) as u64 + length
}

/// Identifier and length octets, ready to write.
#[derive(Debug, Clone, Copy)]
pub struct HeaderOctets {
    octets: [u8; 10],
    len: usize,
}

impl HeaderOctets {
    /// Those of a value with this tag and so many content octets.
    #[must_use]
    pub fn new(tag: Tag, length: u64) -> Self {
        let mut octets = [0; 10];
        let count = length_octets(length);
        let significant = length.to_be_bytes().into_iter().rev().take(count);
        octets.iter_mut().take(1 + count).rev().zip(significant).for_each(|(octet, value)| *octet = value);
        if count > 1 {
            octets[1] = 0x80 | (count - 1) as u8;
        }
        octets[0] = tag.0;
        Self { octets, len: 1 + count }
    }
}

impl std::ops::Deref for HeaderOctets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// A value with the parts, one after the other, as its content.
#[must_use]
pub fn tlv(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len() as u64).sum();
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 10);
    out.extend_from_slice(&HeaderOctets::new(tag, length));
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A SEQUENCE of the parts.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(Tag::SEQUENCE, parts)
}

/// An OCTET STRING.
#[must_use]
pub fn octet_string(octets: &[u8]) -> Vec<u8> {
    tlv(Tag::OCTET_STRING, &[octets])
}

/// An OBJECT IDENTIFIER.
#[must_use]
pub fn object_id(oid: Oid<'_>) -> Vec<u8> {
    tlv(Tag::OID, &[oid.octets()])
}

/// An INTEGER in 0 to 127.
#[must_use]
pub fn small(value: u8) -> Vec<u8> {
    tlv(Tag::INTEGER, &[&[value & 0x7f]])
}

/// NULL.
pub const NULL: &[u8] = &[0x05, 0x00];
