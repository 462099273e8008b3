//! RecipientInfo (RFC 5652 section 6.2): decoded into what the rest of the crate needs, and written again.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use super::der::DerError;
pub use super::kdf::Hash;
use super::keywrap::WrapAlgorithm;
use super::labels;
use crate::encoding::B64;
use serde::{Deserialize, Serialize};

/// One RecipientInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientInfo {
    /// KeyTransRecipientInfo: the key encrypted under an RSA key.
    KeyTransport(KeyTransport),
    /// KeyAgreeRecipientInfo: the key wrapped under an agreed one.
    KeyAgreement(KeyAgreement),
    /// KEKRecipientInfo: the key wrapped under a key that both sides hold.
    Kek(Kek),
    /// PasswordRecipientInfo, OtherRecipientInfo or one of a later day: well-formed, and not for us. Its DER.
    Other(Vec<u8>),
}

/// Names the certificate whose key can open a RecipientInfo (RFC 5652 section 6.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecipientId {
    /// IssuerAndSerialNumber.
    IssuerAndSerial {
        /// DER of the issuer's Name. Compared octet by octet: senders copy it out of the certificate.
        issuer_der: B64,
        /// Content octets of the serial number's INTEGER.
        serial: B64,
    },
    /// SubjectKeyIdentifier (RFC 5280 section 4.2.1.2).
    SubjectKeyId(B64),
}

/// KeyTransRecipientInfo (RFC 5652 section 6.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTransport {
    /// For whom.
    pub rid: RecipientId,
    /// How it is encrypted.
    pub algorithm: KeyTransportAlgorithm,
    /// encryptedKey.
    pub encrypted_key: Vec<u8>,
}

/// A keyEncryptionAlgorithm of key transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTransportAlgorithm {
    /// rsaEncryption: RSAES-PKCS1-v1_5 (RFC 3370 section 4.2.1).
    RsaPkcs1v15,
    /// RSAES-OAEP (RFC 3560).
    RsaOaep(Oaep),
    /// Anything else: its AlgorithmIdentifier.
    Other(Vec<u8>),
}

/// Parameters of RSAES-OAEP (RFC 4055 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oaep {
    /// The hash of the label.
    pub hash: Hash,
    /// The hash inside MGF1.
    pub mgf_hash: Hash,
    /// The label. Only the empty one is opened.
    pub label: Vec<u8>,
}

/// KeyAgreeRecipientInfo (RFC 5652 section 6.2.2) with an elliptic-curve originator key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAgreement {
    /// The sender's ephemeral public key.
    pub originator: Originator,
    /// UserKeyingMaterial, where the sender added some.
    pub ukm: Option<Vec<u8>>,
    /// How the wrapping key is agreed and used.
    pub algorithm: KeyAgreementAlgorithm,
    /// For whom, one or more.
    pub recipients: Vec<RecipientEncryptedKey>,
}

/// The originator of a key agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Originator {
    /// originatorKey of id-ecPublicKey: an ephemeral key (RFC 5753 section 3.1.1).
    Point {
        /// DER of the algorithm's parameters: empty where absent, NULL, or the curve.
        parameters: Vec<u8>,
        /// The encoded point (SEC 1 section 2.3.3), not yet checked.
        point: Vec<u8>,
    },
    /// A static key's name, or a key of another sort. Its DER.
    Other(Vec<u8>),
}

/// A keyEncryptionAlgorithm of key agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAgreementAlgorithm {
    /// Single-pass ECDH with the X9.63 key-derivation function and AES key wrap (RFC 5753 section 7.1).
    EcDh {
        /// The cofactor variant; the same numbers on curves with cofactor 1, as all of ours are.
        cofactor: bool,
        /// The hash of the key-derivation function.
        hash: Hash,
        /// The key wrap, with its octets: they enter the derivation as they stand.
        wrap: WrapAlgorithm,
    },
    /// Anything else: its AlgorithmIdentifier.
    Other(Vec<u8>),
}

/// RecipientEncryptedKey (RFC 5652 section 6.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientEncryptedKey {
    /// For whom.
    pub rid: RecipientId,
    /// encryptedKey.
    pub encrypted_key: Vec<u8>,
}

/// KEKRecipientInfo (RFC 5652 section 6.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kek {
    /// keyIdentifier: names the key that both sides hold.
    pub key_id: Vec<u8>,
    /// DER of date and other, where given.
    pub qualifiers: Vec<u8>,
    /// How the key is wrapped.
    pub algorithm: KekAlgorithm,
    /// encryptedKey.
    pub encrypted_key: Vec<u8>,
}

/// A keyEncryptionAlgorithm of a KEKRecipientInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KekAlgorithm {
    /// AES key wrap.
    Wrap(WrapAlgorithm),
    /// Anything else: its AlgorithmIdentifier.
    Other(Vec<u8>),
}

/// Why octets are not a RecipientInfo that we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Not the structure of RFC 5652.
    #[error(transparent)]
    Malformed(#[from] DerError),
    /// Longer than [`labels::MAX_RECIPIENT_INFO`].
    #[error("a RecipientInfo of {0} octets")]
    TooLong(usize),
}

impl RecipientInfo {
    /// Reads one DER RecipientInfo as it came over the API: at most [`labels::MAX_RECIPIENT_INFO`] octets.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn decode_bounded(octets: &[u8]) -> Result<Self, RecipientError> {
        if octets.len() > labels::MAX_RECIPIENT_INFO {
            return Err(RecipientError::TooLong(octets.len()));
        }
        Ok(Self::decode(octets)?)
    }

    /// Everybody for whom it is; nobody for the sorts without recipient ids.
    pub fn recipient_ids(&self) -> impl Iterator<Item = &RecipientId> {
        let (one, many) = match self {
            Self::KeyTransport(info) => (Some(&info.rid), [].as_slice()),
            Self::KeyAgreement(info) => (None, info.recipients.as_slice()),
            Self::Kek(_) | Self::Other(_) => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().map(|recipient| &recipient.rid))
    }
}

impl Oaep {
    /// OAEP with one hash for both purposes and no label.
    #[must_use]
    pub const fn with(hash: Hash) -> Self {
        Self { hash, mgf_hash: hash, label: Vec::new() }
    }
}
