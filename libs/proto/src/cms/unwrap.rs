//! The group's side: a RecipientInfo in, its content-encryption key out, by a key that answers questions.
//!
//! What everybody can see is checked first and refused by name. From the private-key operation on there is one answer for
//! all that is wrong: PKCS #1 v1.5 gives a key in any case (implicit rejection), OAEP and ECDH give
//! [`UnwrapError::Refused`].

mod check;
mod oaep;
mod pkcs1;
mod software;
#[cfg(test)]
mod tests;

pub use check::{Checked, PublicCheck};
pub use pkcs1::RejectionSecret;
pub use software::{SoftwareKey, SoftwareKeyError};

use super::algorithm::ContentAlgorithm;
use super::curve::Curve;
use super::kdf::ecc_cms_kek;
use super::keywrap::KeyEncryptionKey;
use super::recipient::{Kek, KekAlgorithm, RecipientId, RecipientInfo};
use crate::secret::Cek;
pub(crate) use check::{Form, RsaPadding};
use openssl::error::ErrorStack;
use subtle::Choice;
use zeroize::Zeroizing;

/// A private key that answers questions and does not travel: in a file, or in a token.
pub trait PrivateKeyOps: Send + Sync {
    /// What sort of key it is, and its public half as far as checks need it.
    fn kind(&self) -> KeyKind<'_>;

    /// RSADP (RFC 8017 section 5.1.2): `input` to the private exponent, with blinding. `input` has the modulus' length
    /// and is less than it; so has the answer, leading zeros included. In PKCS #11: CKM_RSA_X_509.
    ///
    /// # Errors
    /// [`KeyError`], which never depends on what the answer would have been.
    fn rsa_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;

    /// The agreed secret Z with `point`, an uncompressed point that was found to be on the key's curve: the x coordinate,
    /// [`Curve::field_len`] octets. In PKCS #11: CKM_ECDH1_DERIVE with CKD_NULL.
    ///
    /// # Errors
    /// [`KeyError`], which never depends on what the answer would have been.
    fn ecdh(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// The sorts of private keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind<'a> {
    /// For key agreement on this curve.
    Ec(Curve),
    /// For key transport.
    Rsa {
        /// n, big-endian, without leading zeros.
        modulus: &'a [u8],
    },
}

/// A private key did not answer.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// OpenSSL failed, with a fault of its own.
    #[error("the cryptographic library failed")]
    Crypto(#[from] ErrorStack),
    /// The token or store that holds the key is away or in trouble.
    #[error("the key cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was asked what its sort cannot answer, or answered in the wrong length.
    #[error("the key is of the wrong sort")]
    WrongSort,
}

/// Why a RecipientInfo was not opened.
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError {
    /// The key did not answer: try again later.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something in plain sight is wrong; no private-key work was done.
    #[error(transparent)]
    Public(#[from] PublicCheck),
    /// It does not open. One answer for all reasons.
    #[error("the wrapped key does not open")]
    Refused,
}

impl From<ErrorStack> for UnwrapError {
    fn from(error: ErrorStack) -> Self {
        Self::Key(KeyError::Crypto(error))
    }
}

/// An opened key.
pub struct Opened {
    /// The content-encryption key, or the one that stands in for it.
    pub cek: Cek,
    /// Whether it stands in for one: the PKCS #1 v1.5 block was none, and was answered by implicit rejection. Never so for
    /// OAEP and ECDH, which refuse. It is as secret as the key: nothing may branch on it, and nothing that others can see
    /// may depend on it, one message at a time. It is there to be added to a total of many.
    pub substituted: Choice,
}

/// Opens `info` with `key`, whose recipient id is `rid`, for a message with `content` encryption: [`Checked::new`] and
/// [`Checked::open`] in one.
///
/// # Errors
/// [`UnwrapError`].
pub fn unwrap(
    info: &RecipientInfo,
    rid: &RecipientId,
    key: &dyn PrivateKeyOps,
    content: &ContentAlgorithm,
    rejection: &RejectionSecret,
) -> Result<Opened, UnwrapError> {
    Checked::new(info, rid, key.kind(), content)?.open(key, rejection)
}

/// Opens `info` with a key that both sides hold; the caller has compared its keyIdentifier (L9).
///
/// # Errors
/// [`UnwrapError`].
pub fn unwrap_kek(info: &Kek, kek: &KeyEncryptionKey, content: &ContentAlgorithm) -> Result<Cek, UnwrapError> {
    let cek_len = content.key_len().ok_or(PublicCheck::ContentAlgorithm)?;
    match &info.algorithm {
        KekAlgorithm::Wrap(wrap) if wrap.key_len() == kek.key_len() => {}
        _ => return Err(PublicCheck::Algorithm.into()),
    }
    check::wrapped_key_len(&info.encrypted_key, cek_len)?;
    unwrapped(kek, &info.encrypted_key)
}

impl Checked<'_> {
    /// Opens it: one private-key operation.
    ///
    /// # Errors
    /// [`UnwrapError::Key`] and [`UnwrapError::Refused`]; for PKCS #1 v1.5 the former alone.
    pub fn open(&self, key: &dyn PrivateKeyOps, rejection: &RejectionSecret) -> Result<Opened, UnwrapError> {
        let cek_len = self.cek_len();
        let (octets, substituted) = match self.form() {
            Form::KeyTransport { encrypted_key, padding } => {
                let block = key.rsa_raw(encrypted_key)?;
                if block.len() != encrypted_key.len() {
                    return Err(KeyError::WrongSort.into());
                }
                match padding {
                    RsaPadding::Oaep(parameters) => {
                        (oaep::decode(&block, parameters, cek_len)?.ok_or(UnwrapError::Refused)?, Choice::from(0))
                    }
                    RsaPadding::Pkcs1v15 => pkcs1::decode(&block, cek_len, encrypted_key, rejection)?,
                }
            }
            Form::KeyAgreement { curve, point, hash, wrap, ukm, encrypted_key } => {
                let z = key.ecdh(point)?;
                if z.len() != curve.field_len() {
                    return Err(KeyError::WrongSort.into());
                }
                let cek = unwrapped(&ecc_cms_kek(&z, *hash, wrap, *ukm)?, encrypted_key)?;
                return Ok(Opened { cek, substituted: Choice::from(0) });
            }
        };
        let cek = Cek::new(octets).map_err(|_| UnwrapError::Refused)?;
        Ok(Opened { cek, substituted })
    }
}

fn unwrapped(kek: &KeyEncryptionKey, encrypted_key: &[u8]) -> Result<Cek, UnwrapError> {
    let octets = kek.unwrap(encrypted_key).ok_or(UnwrapError::Refused)?;
    Cek::new(octets).map_err(|_| UnwrapError::Refused)
}
