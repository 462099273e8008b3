//! What everybody can see of a RecipientInfo, checked before a private key is asked anything.

use super::{KeyKind, oaep, pkcs1};
use crate::cms::algorithm::ContentAlgorithm;
use crate::cms::curve::Curve;
use crate::cms::der;
use crate::cms::kdf::Hash;
use crate::cms::keywrap::WrapAlgorithm;
use crate::cms::labels::KEY_WRAP_OVERHEAD;
use crate::cms::recipient::{
    KeyAgreement, KeyAgreementAlgorithm, KeyTransport, KeyTransportAlgorithm, Oaep, Originator, RecipientId,
    RecipientInfo,
};

/// What is wrong with a RecipientInfo in plain sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicCheck {
    /// A key-encryption algorithm or parameters that we do not open: also an OAEP label, or a hash too long for the key.
    #[error("a key-encryption algorithm that is not taken")]
    Algorithm,
    /// A content encryption whose key length we do not know.
    #[error("a content-encryption algorithm that is not taken")]
    ContentAlgorithm,
    /// An encryptedKey that is not as long as the modulus, or as the key and its wrapping.
    #[error("an encrypted key of the wrong length")]
    EncryptedKeyLength,
    /// An encryptedKey that is not less than the modulus.
    #[error("an encrypted key that is not below the modulus")]
    EncryptedKeyRange,
    /// The RecipientInfo is for another sort of key than ours.
    #[error("a RecipientInfo for another sort of key")]
    KeyKind,
    /// No ephemeral elliptic-curve key, or one that names another curve.
    #[error("an originator key of the wrong sort")]
    Originator,
    /// An ephemeral key that is not on the curve.
    #[error("an originator key that is not on the curve")]
    Point,
    /// The RecipientInfo is not for this recipient id.
    #[error("a RecipientInfo for somebody else")]
    RecipientId,
}

/// A RecipientInfo in which nothing is wrong in plain sight. Only such a one meets a private key.
pub struct Checked<'a> {
    cek_len: usize,
    form: Form<'a>,
}

/// The two forms that we open.
pub(crate) enum Form<'a> {
    KeyAgreement {
        curve: Curve,
        /// The ephemeral public key, uncompressed, on the curve.
        point: Vec<u8>,
        hash: Hash,
        wrap: &'a WrapAlgorithm,
        ukm: Option<&'a [u8]>,
        encrypted_key: &'a [u8],
    },
    KeyTransport {
        /// As long as the modulus, and less.
        encrypted_key: &'a [u8],
        padding: RsaPadding<'a>,
    },
}

/// What is around the key in a decrypted RSA block.
pub(crate) enum RsaPadding<'a> {
    Oaep(&'a Oaep),
    Pkcs1v15,
}

impl<'a> Checked<'a> {
    /// Checks `info` for a key of `kind` whose recipient id is `rid`, and for a message with `content` encryption.
    ///
    /// # Errors
    /// [`PublicCheck`].
    pub fn new(
        info: &'a RecipientInfo,
        rid: &RecipientId,
        kind: KeyKind<'_>,
        content: &ContentAlgorithm,
    ) -> Result<Self, PublicCheck> {
        let cek_len = content.key_len().ok_or(PublicCheck::ContentAlgorithm)?;
        let form = match (info, kind) {
            (RecipientInfo::KeyTransport(info), KeyKind::Rsa { modulus }) => {
                key_transport(info, rid, modulus, cek_len)?
            }
            (RecipientInfo::KeyAgreement(info), KeyKind::Ec(curve)) => key_agreement(info, rid, curve, cek_len)?,
            _ => return Err(PublicCheck::KeyKind),
        };
        Ok(Self { cek_len, form })
    }

    /// Octets of the content-encryption key.
    pub(super) const fn cek_len(&self) -> usize {
        self.cek_len
    }

    pub(crate) const fn form(&self) -> &Form<'a> {
        &self.form
    }
}

fn key_transport<'a>(
    info: &'a KeyTransport,
    rid: &RecipientId,
    modulus: &[u8],
    cek_len: usize,
) -> Result<Form<'a>, PublicCheck> {
    if info.rid != *rid {
        return Err(PublicCheck::RecipientId);
    }
    let (padding, overhead) = match &info.algorithm {
        KeyTransportAlgorithm::RsaOaep(oaep) if oaep.label.is_empty() => (RsaPadding::Oaep(oaep), oaep::overhead(oaep)),
        KeyTransportAlgorithm::RsaPkcs1v15 => (RsaPadding::Pkcs1v15, pkcs1::OVERHEAD),
        KeyTransportAlgorithm::RsaOaep(_) | KeyTransportAlgorithm::Other(_) => return Err(PublicCheck::Algorithm),
    };
    if modulus.len() < overhead + cek_len {
        return Err(PublicCheck::Algorithm);
    }
    let encrypted_key = info.encrypted_key.as_slice();
    if encrypted_key.len() != modulus.len() {
        return Err(PublicCheck::EncryptedKeyLength);
    }
    // Of equal length and big-endian: the order of the octets is the order of the numbers.
    if encrypted_key >= modulus {
        return Err(PublicCheck::EncryptedKeyRange);
    }
    Ok(Form::KeyTransport { encrypted_key, padding })
}

fn key_agreement<'a>(
    info: &'a KeyAgreement,
    rid: &RecipientId,
    curve: Curve,
    cek_len: usize,
) -> Result<Form<'a>, PublicCheck> {
    let recipient = info.recipients.iter().find(|recipient| recipient.rid == *rid).ok_or(PublicCheck::RecipientId)?;
    let KeyAgreementAlgorithm::EcDh { hash, wrap, .. } = &info.algorithm else {
        return Err(PublicCheck::Algorithm);
    };
    let Originator::Point { parameters, point } = &info.originator else {
        return Err(PublicCheck::Originator);
    };
    // RFC 5753 section 3.1.1 wants the parameters absent or NULL; some programs repeat the curve, which does no harm.
    if !parameters.is_empty() && parameters != der::NULL && *parameters != der::object_id(curve.oid()) {
        return Err(PublicCheck::Originator);
    }
    wrapped_key_len(&recipient.encrypted_key, cek_len)?;
    let point = curve.point(point).ok_or(PublicCheck::Point)?;
    Ok(Form::KeyAgreement {
        curve,
        point: curve.uncompressed(&point).map_err(|_| PublicCheck::Point)?,
        hash: *hash,
        wrap,
        ukm: info.ukm.as_deref(),
        encrypted_key: &recipient.encrypted_key,
    })
}

/// Key wrap hides no lengths: a wrapped key is as long as the content's key makes it.
pub(super) fn wrapped_key_len(encrypted_key: &[u8], cek_len: usize) -> Result<(), PublicCheck> {
    if encrypted_key.len() == cek_len + KEY_WRAP_OVERHEAD { Ok(()) } else { Err(PublicCheck::EncryptedKeyLength) }
}
