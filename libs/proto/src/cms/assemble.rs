//! A member's copy of a message: a head that is the member's own, and a tail that all copies share.
//!
//! ```text
//! octets   ContentInfo, [0], EnvelopedData, version, SET     written anew, definite lengths
//!          RecipientInfo                                     the member's, the only one
//!          first 0, 1 or 2 octets of the tail                so that the head is a multiple of 3 octets
//!          ------------------------------------------------- here base64 begins a line and has nothing to pad
//!          the rest of the tail                              EncryptedContentInfo, attributes, MAC as received
//!
//! text     head: lines of 76, the last one shorter, CRLF     one a copy, about 1 kB
//!          tail: lines of 76, the last one padded, CRLF      one for each of at most three alignments
//! ```
//!
//! Base64 turns 3 octets into 4 characters (RFC 4648 section 4). Where the head ends on such a joint, its text and the
//! tail's can be put one after the other; a short line in the middle is allowed (RFC 2045 section 6.8).

use super::algorithm::ContentKind;
use super::der::{HeaderOctets, Reader, Tag, tlv_len};
use super::frame::Frame;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets in a full line of base64, and its characters without CRLF (RFC 2045 section 6.8).
const LINE: (usize, usize) = (57, 76);

/// What all copies of a message have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyShape {
    kind: ContentKind,
    tail_len: u64,
    has_unprotected_attrs: bool,
}

/// How many octets of the tail stand in the head: the tail's text begins after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alignment {
    /// None.
    Zero,
    /// One.
    One,
    /// Two.
    Two,
}

impl Alignment {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Zero, Self::One, Self::Two];

    /// That makes `octets` octets a multiple of 3.
    const fn after(octets: u64) -> Self {
        match octets % 3 {
            0 => Self::Zero,
            1 => Self::Two,
            _ => Self::One,
        }
    }

    /// How many octets.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// The head of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Lines of base64, each ended by CRLF.
    pub text: Vec<u8>,
    /// Which of the tail's texts goes after it.
    pub alignment: Alignment,
}

impl CopyShape {
    /// The shape of the copies of a message.
    #[must_use]
    pub const fn of(frame: &Frame) -> Self {
        Self { kind: frame.kind, tail_len: frame.tail_len(), has_unprotected_attrs: frame.has_unprotected_attrs }
    }

    /// The head of the copy with this DER RecipientInfo. `first_tail` are the first two octets of the tail.
    #[must_use]
    pub fn head(&self, recipient_info: &[u8], first_tail: [u8; 2]) -> Head {
        let oid = self.kind.oid().octets();
        let version = cms_version(self.kind, [recipient_info], self.has_unprotected_attrs);
        // From the inside out, what each header has to announce.
        let set = recipient_info.len() as u64;
        let enveloped = VERSION_LEN + tlv_len(set) + self.tail_len;
        let content = tlv_len(enveloped);
        let message = tlv_len(oid.len() as u64) + tlv_len(content);

        let head_len = tlv_len(message) - self.tail_len;
        let alignment = Alignment::after(head_len);
        let mut text = Vec::with_capacity(text_len(head_len + alignment.octets() as u64) as usize);
        let mut lines = LineEncoder::new();
        for part in [
            &*HeaderOctets::new(Tag::SEQUENCE, message),
            &HeaderOctets::new(Tag::OID, oid.len() as u64),
            oid,
            &HeaderOctets::new(Tag::context_constructed(0), content),
            &HeaderOctets::new(Tag::SEQUENCE, enveloped),
            &[Tag::INTEGER.0, 1, version],
            &HeaderOctets::new(Tag::SET, set),
            recipient_info,
            first_tail.get(..alignment.octets()).unwrap_or_default(),
        ] {
            lines.push(part, &mut text);
        }
        lines.finish(&mut text);
        Head { text, alignment }
    }

    /// Octets of the tail's text for this alignment.
    #[must_use]
    pub const fn tail_text_len(&self, alignment: Alignment) -> u64 {
        text_len(self.tail_len.saturating_sub(alignment.octets() as u64))
    }
}

/// Octets of a CMSVersion.
const VERSION_LEN: u64 = 3;

/// The CMSVersion that goes with these DER RecipientInfos, originatorInfo being absent (RFC 5652 section 6.1, RFC 5083
/// section 2.1).
pub(crate) fn cms_version<'a>(
    kind: ContentKind,
    recipient_infos: impl IntoIterator<Item = &'a [u8]>,
    has_unprotected_attrs: bool,
) -> u8 {
    // KeyTransRecipientInfo is the SEQUENCE among the RecipientInfos; its version 0 says issuerAndSerialNumber.
    let is_version_0 = |info: &[u8]| {
        let mut reader = Reader::new(info, "RecipientInfo");
        let fields = reader.enter(Tag::SEQUENCE, "KeyTransRecipientInfo");
        fields.is_ok_and(|mut fields| fields.small() == Ok(0))
    };
    let plain = !has_unprotected_attrs && recipient_infos.into_iter().all(is_version_0);
    if kind == ContentKind::AuthEnvelopedData || plain { 0 } else { 2 }
}

/// Characters of the text of so many octets, CRLFs included.
const fn text_len(octets: u64) -> u64 {
    let (full, rest) = (octets / LINE.0 as u64, octets % LINE.0 as u64);
    let last = if rest == 0 { 0 } else { rest.div_ceil(3) * 4 + 2 };
    full * (LINE.1 as u64 + 2) + last
}

/// Makes octets that come piece by piece into lines of base64. For the tail of a message: push all its octets but the
/// first [`Alignment::octets`], then finish.
#[derive(Debug)]
pub struct LineEncoder {
    /// The beginning of a line that is not yet full.
    pending: [u8; LINE.0],
    pending_len: usize,
}

impl Default for LineEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl LineEncoder {
    /// At the beginning of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: [0; LINE.0], pending_len: 0 }
    }

    /// Takes the next octets, and appends the lines that they fill to `text`.
    pub fn push(&mut self, mut octets: &[u8], text: &mut Vec<u8>) {
        if self.pending_len > 0 {
            let free = self.pending.get_mut(self.pending_len..).unwrap_or_default();
            let (taken, rest) = octets.split_at(free.len().min(octets.len()));
            free.iter_mut().zip(taken).for_each(|(free, octet)| *free = *octet);
            self.pending_len += taken.len();
            octets = rest;
            if self.pending_len < LINE.0 {
                return;
            }
            write_line(&self.pending, text);
        }
        let lines = octets.chunks_exact(LINE.0);
        let rest = lines.remainder();
        lines.for_each(|line| write_line(line, text));
        self.pending.iter_mut().zip(rest).for_each(|(free, octet)| *free = *octet);
        self.pending_len = rest.len();
    }

    /// Appends the last line, padded where its octets are no multiple of 3.
    pub fn finish(self, text: &mut Vec<u8>) {
        let rest = self.pending.get(..self.pending_len).unwrap_or_default();
        if !rest.is_empty() {
            write_line(rest, text);
        }
    }
}

fn write_line(octets: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    text.resize(start + octets.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(octets, text.get_mut(start..).unwrap_or_default());
    debug_assert_eq!(written.ok(), Some(text.len() - start));
    text.extend_from_slice(b"\r\n");
}
