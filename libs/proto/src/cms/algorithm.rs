//! The content encryption of a message: which algorithm, and whether its parameters are the ones that we take.

use super::der::{DerError, Oid, Reader, Tag};
use super::labels;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The two content types that carry RecipientInfos and that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// AuthEnvelopedData (RFC 5083): encrypted and authenticated.
    AuthEnvelopedData,
    /// EnvelopedData (RFC 5652 section 6): encrypted only.
    EnvelopedData,
}

impl ContentKind {
    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::AuthEnvelopedData => labels::AUTH_ENVELOPED_DATA,
            Self::EnvelopedData => labels::ENVELOPED_DATA,
        }
    }
}

/// A content-encryption algorithm. In JSON and in text it is a short string: `aes-256-cbc`, `des-ede3-cbc`,
/// `oid:1.2.840.113549.3.2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ContentAlgorithm {
    /// AES-128 in CBC mode (RFC 3565).
    Aes128Cbc,
    /// AES-128 in GCM mode (RFC 5084), nonce 12, tag 16.
    Aes128Gcm,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-192 in GCM mode.
    Aes192Gcm,
    /// AES-256 in CBC mode.
    Aes256Cbc,
    /// AES-256 in GCM mode.
    Aes256Gcm,
    /// Three-key triple DES in CBC mode (RFC 3370 section 5.1): what `openssl cms` takes unless told otherwise.
    DesEde3Cbc,
    /// Anything else, by its dotted object identifier: recognised so that a refusal can name it.
    Other(String),
}

/// Names and identifiers of the algorithms that we know.
static KNOWN: [(ContentAlgorithm, &str, Oid<'static>); 7] = [
    (ContentAlgorithm::Aes128Cbc, "aes-128-cbc", labels::AES128_CBC),
    (ContentAlgorithm::Aes128Gcm, "aes-128-gcm", labels::AES128_GCM),
    (ContentAlgorithm::Aes192Cbc, "aes-192-cbc", labels::AES192_CBC),
    (ContentAlgorithm::Aes192Gcm, "aes-192-gcm", labels::AES192_GCM),
    (ContentAlgorithm::Aes256Cbc, "aes-256-cbc", labels::AES256_CBC),
    (ContentAlgorithm::Aes256Gcm, "aes-256-gcm", labels::AES256_GCM),
    (ContentAlgorithm::DesEde3Cbc, "des-ede3-cbc", labels::DES_EDE3_CBC),
];

/// Authenticated algorithms that we recognise without taking them.
const OTHER_AEAD: [Oid<'static>; 4] =
    [labels::AES128_CCM, labels::AES192_CCM, labels::AES256_CCM, labels::CHACHA20_POLY1305];

/// Why a contentEncryptionAlgorithm is refused whatever the list's policy says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// An authenticated algorithm without the tag's field: rewritten on the way, or by an old program (CVE-2026-34182).
    #[error("{0} may not stand in EnvelopedData")]
    AeadInEnvelopedData(ContentAlgorithm),
    /// AuthEnvelopedData whose algorithm does not authenticate.
    #[error("{0} may not stand in AuthEnvelopedData")]
    NotAead(ContentAlgorithm),
    /// A CBC initialisation vector that is not one block long.
    #[error("an initialisation vector of {0} octets")]
    InitialisationVector(usize),
    /// A GCM nonce that is not 12 octets long.
    #[error("a GCM nonce of {0} octets, not 12")]
    Nonce(usize),
    /// A GCM tag that is not 16 octets long.
    #[error("a GCM tag of {0} octets, not 16")]
    Tag(u64),
    /// Not an AlgorithmIdentifier, or parameters that are not the algorithm's.
    #[error(transparent)]
    Malformed(#[from] DerError),
}

/// What a contentEncryptionAlgorithm says.
pub(crate) struct ContentParameters<'a> {
    /// The algorithm.
    pub(crate) algorithm: ContentAlgorithm,
    /// Initialisation vector or nonce; empty for algorithms that we do not know.
    pub(crate) iv: &'a [u8],
}

impl ContentAlgorithm {
    /// Octets of its content-encryption key; `None` for algorithms that we do not know.
    #[must_use]
    pub const fn key_len(&self) -> Option<usize> {
        match self {
            Self::Aes128Cbc | Self::Aes128Gcm => Some(16),
            Self::Aes192Cbc | Self::Aes192Gcm | Self::DesEde3Cbc => Some(24),
            Self::Aes256Cbc | Self::Aes256Gcm => Some(32),
            Self::Other(_) => None,
        }
    }

    /// AES in CBC mode.
    #[must_use]
    pub const fn is_aes_cbc(&self) -> bool {
        matches!(self, Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc)
    }

    /// AES in GCM mode.
    #[must_use]
    pub const fn is_aes_gcm(&self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm)
    }

    /// Octets of the blocks that its ciphertext consists of; `None` where any length may be.
    #[must_use]
    pub const fn block_len(&self) -> Option<usize> {
        match self {
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => Some(labels::AES_BLOCK),
            Self::DesEde3Cbc => Some(labels::DES_BLOCK),
            _ => None,
        }
    }

    fn from_oid(oid: Oid<'_>) -> Self {
        KNOWN
            .iter()
            .find(|(_, _, known)| *known == oid)
            .map_or_else(|| Self::Other(oid.to_string()), |(algorithm, ..)| algorithm.clone())
    }

    /// Reads a DER contentEncryptionAlgorithm that stands in a `kind`.
    pub(crate) fn decode(der: &[u8], kind: ContentKind) -> Result<ContentParameters<'_>, AlgorithmError> {
        Reader::all(der, "ContentEncryptionAlgorithmIdentifier", |outer| {
            let mut reader = outer.enter(Tag::SEQUENCE, "ContentEncryptionAlgorithmIdentifier")?;
            let oid = reader.oid()?;
            let algorithm = Self::from_oid(oid);
            let aead = algorithm.is_aes_gcm() || OTHER_AEAD.contains(&oid);
            match kind {
                ContentKind::EnvelopedData if aead => return Err(AlgorithmError::AeadInEnvelopedData(algorithm)),
                ContentKind::AuthEnvelopedData if !aead => return Err(AlgorithmError::NotAead(algorithm)),
                _ => {}
            }
            let iv = if let Some(block) = algorithm.block_len() {
                let iv = reader.octets()?;
                reader.finish()?;
                if iv.len() != block {
                    return Err(AlgorithmError::InitialisationVector(iv.len()));
                }
                iv
            } else if algorithm.is_aes_gcm() {
                let nonce = gcm_nonce(reader.enter(Tag::SEQUENCE, "GCMParameters")?)?;
                reader.finish()?;
                nonce
            } else {
                &[]
            };
            Ok(ContentParameters { algorithm, iv })
        })
    }
}

/// GCMParameters (RFC 5084 section 3.2): the nonce, once its length and the tag's are right.
fn gcm_nonce<'a>(mut parameters: Reader<'a>) -> Result<&'a [u8], AlgorithmError> {
    let nonce = parameters.octets()?;
    // aes-ICVlen INTEGER DEFAULT 12
    let tag = if parameters.is_empty() { 12 } else { parameters.small()? };
    parameters.finish()?;
    if nonce.len() != labels::GCM_NONCE {
        return Err(AlgorithmError::Nonce(nonce.len()));
    }
    if usize::from(tag) != labels::GCM_TAG {
        return Err(AlgorithmError::Tag(u64::from(tag)));
    }
    Ok(nonce)
}

impl fmt::Display for ContentAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Other(dotted) = self {
            return write!(f, "oid:{dotted}");
        }
        let known = KNOWN.iter().find(|(algorithm, ..)| algorithm == self);
        f.write_str(known.map_or("", |(_, name, _)| name))
    }
}

/// The text names no content-encryption algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a content-encryption algorithm: aes-256-cbc, aes-256-gcm, … or oid:1.2.3 is wanted")]
pub struct NotAnAlgorithm;

impl FromStr for ContentAlgorithm {
    type Err = NotAnAlgorithm;

    fn from_str(text: &str) -> Result<Self, NotAnAlgorithm> {
        if let Some((algorithm, ..)) = KNOWN.iter().find(|(_, name, _)| *name == text) {
            return Ok(algorithm.clone());
        }
        let dotted = text.strip_prefix("oid:").ok_or(NotAnAlgorithm)?;
        let decimal = |arc: &str| !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit());
        let plausible = dotted.len() <= 200 && dotted.split('.').count() >= 2 && dotted.split('.').all(decimal);
        let known = KNOWN.iter().any(|(_, _, oid)| oid.to_string() == dotted);
        (plausible && !known).then(|| Self::Other(dotted.to_owned())).ok_or(NotAnAlgorithm)
    }
}

impl From<ContentAlgorithm> for String {
    fn from(algorithm: ContentAlgorithm) -> Self {
        algorithm.to_string()
    }
}

impl TryFrom<String> for ContentAlgorithm {
    type Error = NotAnAlgorithm;

    fn try_from(text: String) -> Result<Self, NotAnAlgorithm> {
        text.parse()
    }
}
