//! Where things lie in an enveloped message: one streaming pass over DER or BER, in memory that does not grow with the
//! content.
//!
//! ```text
//! ContentInfo                                                    total: the length of all this
//!   contentType, [0]
//!     EnvelopedData or AuthEnvelopedData
//!       version, originatorInfo
//!       RecipientInfos           ri_start .. ri_end   recorded, each made DER
//!       EncryptedContentInfo     ri_end .. eci_end    walked over, never held
//!       attributes, mac          eci_end .. end
//!       end-of-contents octets of the outer levels, where their lengths are indefinite
//! ```
//!
//! The octets from `ri_end` to `end` are the *tail*, which every copy of the message carries as it was received.

pub use super::algorithm::{AlgorithmError, ContentAlgorithm, ContentKind};
use super::der::{self, DerError, Fault, Reader, Tag};
use super::labels;
use super::walk::{Level, Walk};
use std::fmt;
use std::io::{self, BufRead};

/// How much of a message's RecipientInfos is held. The other bounds are in [`labels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most octets of all RecipientInfos.
    pub recipient_set: usize,
    /// Most RecipientInfos.
    pub recipients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { recipient_set: labels::MAX_RECIPIENT_SET, recipients: labels::MAX_RECIPIENTS }
    }
}

/// What one pass over a message found. Offsets are in octets from the beginning of the ContentInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which of the two content types.
    pub kind: ContentKind,
    /// The CMSVersion of the EnvelopedData or AuthEnvelopedData.
    pub cms_version: u8,
    /// The first octet of the RecipientInfos SET.
    pub ri_start: u64,
    /// The octet after the SET, and after its end-of-contents octets.
    pub ri_end: u64,
    /// The octet after the EncryptedContentInfo.
    pub eci_end: u64,
    /// The octet after the last field: before the end-of-contents octets of the outer levels.
    pub end: u64,
    /// All octets of the ContentInfo.
    pub total: u64,
    /// There are unprotectedAttrs (EnvelopedData) or unauthAttrs (AuthEnvelopedData).
    pub has_unprotected_attrs: bool,
    /// Attributes of any sort follow the content.
    pub attributes_follow: bool,
    /// The content encryption, parameters checked.
    pub content_algorithm: ContentAlgorithm,
    /// Octets of ciphertext, without the headers of its segments.
    pub content_octets: u64,
    /// The RecipientInfos in the order of the message, each as DER.
    pub recipient_infos: Vec<Vec<u8>>,
}

impl Frame {
    /// Octets of the tail: EncryptedContentInfo, attributes and MAC.
    #[must_use]
    pub const fn tail_len(&self) -> u64 {
        self.end - self.ri_end
    }
}

/// Content types of CMS that carry no RecipientInfos for us: named, so that a refusal can say what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// AuthenticatedData (RFC 5652 section 9).
    AuthenticatedData,
    /// CompressedData (RFC 3274).
    CompressedData,
    /// Data (RFC 5652 section 4).
    Data,
    /// DigestedData (RFC 5652 section 7).
    DigestedData,
    /// EncryptedData (RFC 5652 section 8).
    EncryptedData,
    /// Another one, by its dotted object identifier.
    Other(String),
    /// SignedData (RFC 5652 section 5).
    SignedData,
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthenticatedData => "AuthenticatedData",
            Self::CompressedData => "CompressedData",
            Self::Data => "Data",
            Self::DigestedData => "DigestedData",
            Self::EncryptedData => "EncryptedData",
            Self::Other(dotted) => dotted,
            Self::SignedData => "SignedData",
        })
    }
}

/// Why a message is refused. Offsets count octets from the beginning of the ContentInfo.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A content-encryption algorithm, or parameters, that no policy allows.
    #[error("content encryption: {0}")]
    Algorithm(#[from] AlgorithmError),
    /// A ciphertext that its block cipher cannot have made.
    #[error("{octets} octets of ciphertext are not whole blocks of {block}")]
    ContentLength {
        /// Octets of ciphertext.
        octets: u64,
        /// Octets of a block.
        block: usize,
    },
    /// The input cannot be read.
    #[error("the message cannot be read")]
    Io(#[source] io::Error),
    /// Not BER, or not the structure of RFC 5652 or RFC 5083.
    #[error("at octet {offset}: {error}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What.
        error: DerError,
    },
    /// The encryptedContent is elsewhere: there is nothing to deliver.
    #[error("the encrypted content is not in the message")]
    NoContent,
    /// A CMS message, but not an enveloped one.
    #[error("{0}, not an encrypted message")]
    NotEnveloped(ContentType),
    /// More than we are ready to hold.
    #[error("at octet {offset}: {what} larger than {limit}")]
    TooLarge {
        /// Where.
        offset: u64,
        /// The part that is too large.
        what: &'static str,
        /// The bound, in octets or in number.
        limit: usize,
    },
    /// Octets follow the ContentInfo.
    #[error("octets follow the message at octet {offset}")]
    TrailingData {
        /// Where.
        offset: u64,
    },
}

/// Walks over one ContentInfo with EnvelopedData or AuthEnvelopedData inside, to the end of `source`.
///
/// # Errors
/// [`FrameError`], which says what is wrong and where.
pub fn scan<R: BufRead>(source: R, limits: &Limits) -> Result<Frame, FrameError> {
    let mut walk = Walk::new(source);
    let message = walk.open(Tag::SEQUENCE, "ContentInfo")?;
    let kind = content_kind(&mut walk)?;
    let content = walk.open(Tag::context_constructed(0), "ContentInfo.content")?;
    let name = match kind {
        ContentKind::AuthEnvelopedData => "AuthEnvelopedData",
        ContentKind::EnvelopedData => "EnvelopedData",
    };
    let enveloped = walk.open(Tag::SEQUENCE, name)?;
    let cms_version = cms_version(&mut walk)?;
    skip_optional(&mut walk, &enveloped, 0, "originatorInfo")?;
    let ri_start = walk.offset();
    let recipient_infos = recipient_infos(&mut walk, limits)?;
    let ri_end = walk.offset();
    let (content_algorithm, content_octets) = encrypted_content_info(&mut walk, kind)?;
    let eci_end = walk.offset();

    let mut attributes_follow = false;
    let unprotected = match kind {
        ContentKind::AuthEnvelopedData => {
            attributes_follow |= skip_optional(&mut walk, &enveloped, 1, "authAttrs")?;
            mac(&mut walk, &content_algorithm)?;
            (2, "unauthAttrs")
        }
        ContentKind::EnvelopedData => (1, "unprotectedAttrs"),
    };
    let has_unprotected_attrs = skip_optional(&mut walk, &enveloped, unprotected.0, unprotected.1)?;
    attributes_follow |= has_unprotected_attrs;
    let end = walk.offset();

    walk.leave(enveloped)?;
    walk.leave(content)?;
    walk.leave(message)?;
    let total = walk.offset();
    walk.finish()?;
    Ok(Frame {
        kind,
        cms_version,
        ri_start,
        ri_end,
        eci_end,
        end,
        total,
        has_unprotected_attrs,
        attributes_follow,
        content_algorithm,
        content_octets,
        recipient_infos,
    })
}

/// contentType: one of the two kinds, or the refusal that names what it is.
fn content_kind<R: BufRead>(walk: &mut Walk<R>) -> Result<ContentKind, FrameError> {
    let der = recorded(walk, Tag::OID, labels::MAX_ALGORITHM, "contentType")?;
    let oid = in_place(walk, Reader::all(&der, "contentType", Reader::oid))?;
    let other = match oid {
        labels::ENVELOPED_DATA => return Ok(ContentKind::EnvelopedData),
        labels::AUTH_ENVELOPED_DATA => return Ok(ContentKind::AuthEnvelopedData),
        labels::AUTHENTICATED_DATA => ContentType::AuthenticatedData,
        labels::COMPRESSED_DATA => ContentType::CompressedData,
        labels::DATA => ContentType::Data,
        labels::DIGESTED_DATA => ContentType::DigestedData,
        labels::ENCRYPTED_DATA => ContentType::EncryptedData,
        labels::SIGNED_DATA => ContentType::SignedData,
        other => ContentType::Other(other.to_string()),
    };
    Err(FrameError::NotEnveloped(other))
}

/// CMSVersion: 0 to 5 exist (RFC 5652 section 10.2.5). Which one it is matters to nobody who reads the message.
fn cms_version<R: BufRead>(walk: &mut Walk<R>) -> Result<u8, FrameError> {
    let der = recorded(walk, Tag::INTEGER, labels::MAX_ALGORITHM, "CMSVersion")?;
    let version = in_place(walk, Reader::all(&der, "CMSVersion", Reader::small))?;
    if version > 5 { Err(walk.malformed("CMSVersion", Fault::Value)) } else { Ok(version) }
}

/// RecipientInfos: SET SIZE (1..MAX), each recorded and made DER.
fn recipient_infos<R: BufRead>(walk: &mut Walk<R>, limits: &Limits) -> Result<Vec<Vec<u8>>, FrameError> {
    const WHAT: &str = "RecipientInfos";
    let set = walk.open(Tag::SET, WHAT)?;
    let mut room = limits.recipient_set;
    let mut infos = Vec::new();
    while !walk.at_end(&set)? {
        if infos.len() == limits.recipients {
            return Err(FrameError::TooLarge { offset: walk.offset(), what: WHAT, limit: limits.recipients });
        }
        let mut ber = Vec::new();
        walk.record(&mut ber, room, "RecipientInfo")?;
        room -= ber.len();
        infos.push(in_place(walk, der::normalise(&ber, "RecipientInfo"))?);
    }
    if infos.is_empty() {
        return Err(walk.malformed(WHAT, Fault::Value));
    }
    walk.leave(set)?;
    Ok(infos)
}

/// EncryptedContentInfo: its algorithm, and how many octets of ciphertext it holds.
fn encrypted_content_info<R: BufRead>(
    walk: &mut Walk<R>,
    kind: ContentKind,
) -> Result<(ContentAlgorithm, u64), FrameError> {
    let info = walk.open(Tag::SEQUENCE, "EncryptedContentInfo")?;
    recorded(walk, Tag::OID, labels::MAX_ALGORITHM, "EncryptedContentInfo.contentType")?;
    let mut ber = Vec::new();
    walk.record(&mut ber, labels::MAX_ALGORITHM, "contentEncryptionAlgorithm")?;
    let der = in_place(walk, der::normalise(&ber, "contentEncryptionAlgorithm"))?;
    let algorithm = ContentAlgorithm::decode(&der, kind)?.algorithm;
    if walk.at_end(&info)? {
        return Err(FrameError::NoContent);
    }
    let header = walk.header("encryptedContent")?;
    if header.tag != Tag::context(0) && header.tag != Tag::context_constructed(0) {
        return Err(walk.malformed("encryptedContent", Fault::Tag(header.tag.0)));
    }
    let octets = walk.skip_octets(header, "encryptedContent")?;
    walk.leave(info)?;
    match algorithm.block_len() {
        Some(block) if octets == 0 || octets % block as u64 != 0 => Err(FrameError::ContentLength { octets, block }),
        _ => Ok((algorithm, octets)),
    }
}

/// Walks over the `[number] IMPLICIT` field of `level`, if it is there.
fn skip_optional<R: BufRead>(
    walk: &mut Walk<R>,
    level: &Level,
    number: u8,
    what: &'static str,
) -> Result<bool, FrameError> {
    let found = !walk.at_end(level)? && walk.peek_tag(what)? == Tag::context_constructed(number);
    if found {
        walk.skip(what)?;
    }
    Ok(found)
}

/// The MessageAuthenticationCode of AuthEnvelopedData: as long as the algorithm's parameters promise.
fn mac<R: BufRead>(walk: &mut Walk<R>, algorithm: &ContentAlgorithm) -> Result<(), FrameError> {
    let header = walk.header("mac")?;
    if !matches!(header.tag, Tag::OCTET_STRING | Tag::SEGMENTED_OCTETS) {
        return Err(walk.malformed("mac", Fault::Tag(header.tag.0)));
    }
    let octets = walk.skip_octets(header, "mac")?;
    if algorithm.is_aes_gcm() && octets != labels::GCM_TAG as u64 {
        return Err(AlgorithmError::Tag(octets).into());
    }
    Ok(())
}

/// One primitive value with this tag, as DER.
fn recorded<R: BufRead>(walk: &mut Walk<R>, tag: Tag, limit: usize, what: &'static str) -> Result<Vec<u8>, FrameError> {
    let found = walk.peek_tag(what)?;
    if found != tag {
        return Err(walk.malformed(what, Fault::Tag(found.0)));
    }
    let mut der = Vec::new();
    walk.record(&mut der, limit, what)?;
    Ok(der)
}

/// Says where in the message the fault is: at the end of what was just read.
fn in_place<T, R: BufRead>(walk: &Walk<R>, result: Result<T, DerError>) -> Result<T, FrameError> {
    result.map_err(|error| FrameError::Malformed { offset: walk.offset(), error })
}
