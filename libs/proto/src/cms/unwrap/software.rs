//! A private key in this process's memory: a group's key that came out of its file, or a member's own.

use super::{KeyError, KeyKind, PrivateKeyOps, RejectionSecret};
use crate::cms::curve::{self, Curve};
use crate::cms::labels;
use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKeyRef, Private};
use openssl::rsa::{Padding, Rsa};
use zeroize::Zeroizing;

/// A private key held by OpenSSL.
pub struct SoftwareKey {
    key: Loaded,
}

enum Loaded {
    Ec { curve: Curve, key: EcKey<Private> },
    Rsa { key: Rsa<Private>, modulus: Vec<u8> },
}

/// A private key that we do not use.
#[derive(Debug, thiserror::Error)]
pub enum SoftwareKeyError {
    /// OpenSSL failed.
    #[error("the private key cannot be used")]
    Crypto(#[from] ErrorStack),
    /// Neither RSA nor P-256 nor P-384.
    #[error("a private key of another sort than RSA, P-256 or P-384")]
    Sort,
}

impl SoftwareKey {
    /// Takes a private key.
    ///
    /// # Errors
    /// [`SoftwareKeyError`].
    pub fn new(key: &PKeyRef<Private>) -> Result<Self, SoftwareKeyError> {
        let key = match key.id() {
            Id::RSA => {
                let key = key.rsa()?;
                let modulus = key.n().to_vec();
                Loaded::Rsa { key, modulus }
            }
            Id::EC => {
                let key = key.ec_key()?;
                let curve = match key.group().curve_name() {
                    Some(Nid::X9_62_PRIME256V1) => Curve::P256,
                    Some(Nid::SECP384R1) => Curve::P384,
                    _ => return Err(SoftwareKeyError::Sort),
                };
                Loaded::Ec { curve, key }
            }
            _ => return Err(SoftwareKeyError::Sort),
        };
        Ok(Self { key })
    }

    /// The secret of implicit rejection, derived from the private key: there is nothing more to keep.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn rejection_secret(&self) -> Result<RejectionSecret, ErrorStack> {
        let private = Zeroizing::new(match &self.key {
            Loaded::Ec { key, .. } => key.private_key_to_der()?,
            Loaded::Rsa { key, .. } => key.private_key_to_der()?,
        });
        let mut secret = Zeroizing::new([0; 32]);
        crate::cms::kdf::Hash::Sha256.digest(&[labels::REJECTION_SECRET, &private], secret.as_mut_slice())?;
        Ok(RejectionSecret::new(secret))
    }
}

impl PrivateKeyOps for SoftwareKey {
    fn kind(&self) -> KeyKind<'_> {
        match &self.key {
            Loaded::Ec { curve, .. } => KeyKind::Ec(*curve),
            Loaded::Rsa { modulus, .. } => KeyKind::Rsa { modulus },
        }
    }

    fn rsa_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Loaded::Rsa { key, modulus } = &self.key else {
            return Err(KeyError::WrongSort);
        };
        if input.len() != modulus.len() {
            return Err(KeyError::WrongSort);
        }
        let mut output = Zeroizing::new(vec![0; modulus.len()]);
        key.private_decrypt(input, &mut output, Padding::NONE)?;
        Ok(output)
    }

    fn ecdh(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Loaded::Ec { curve, key } = &self.key else {
            return Err(KeyError::WrongSort);
        };
        // Checked once more: a point off the curve would leak the key (invalid-curve attack).
        let point = curve.point(point).ok_or(KeyError::WrongSort)?;
        Ok(curve::agree(*curve, &point, key.private_key())?)
    }
}
