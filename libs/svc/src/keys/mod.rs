//! Private keys at rest, and keys that sign without leaving where they are kept (DESIGN 3.2: keys answer questions, they
//! do not travel; the other question, opening a wrapped key, is `twinseal_proto::cms::unwrap::PrivateKeyOps`).
//!
//! * [`credential`]: the 32 octets under which everything secret in a state directory is sealed.
//! * [`mod@file`]: a signing key in a file that is sealed under the credential.
//! * [`pkcs11`]: a signing key in a token.
//! * [`passphrase`]: a signing key that is carried on a medium: PKCS #8, encrypted under a passphrase.

pub mod credential;
pub mod file;
pub mod passphrase;
pub mod pkcs11;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::sign::Signer;
use std::io;

/// Keeps this process's memory out of core files. Called before any key is read.
///
/// # Errors
/// The I/O error of setting the limit.
pub fn no_core_files() -> io::Result<()> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Core, none)?)
}

/// The kinds of signing keys, and so the signature algorithm: always with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKind {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2), 2048 bits or more.
    Rsa,
    /// ECDSA on P-256.
    P256,
}

impl SigningKind {
    /// The kind of a key.
    ///
    /// # Errors
    /// [`SigningError::Kind`] for any other sort.
    pub fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, SigningError> {
        match key.id() {
            Id::RSA if key.bits() >= 2048 => Ok(Self::Rsa),
            Id::EC if key.ec_key()?.group().curve_name() == Some(Nid::X9_62_PRIME256V1) => Ok(Self::P256),
            _ => Err(SigningError::Kind),
        }
    }
}

/// A key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// OpenSSL refused.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// Neither RSA nor P-256.
    #[error("a signing key of another kind than RSA (2048 bits or more) or P-256")]
    Kind,
    /// The token refused, or does not answer.
    #[error(transparent)]
    Token(#[from] pkcs11::TokenError),
}

/// A private key that signs: in a file, or in a token. It is asked, never given away.
pub trait SigningKey: Send + Sync {
    /// Its public half: DER SubjectPublicKeyInfo.
    fn spki(&self) -> &[u8];

    /// What kind of key it is.
    fn kind(&self) -> SigningKind;

    /// The signature over `tbs`, with SHA-256; of ECDSA the DER form (RFC 3279 section 2.2.3). May block on a token.
    ///
    /// # Errors
    /// [`SigningError`].
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SigningError>;
}

/// A signing key in this process's memory.
pub struct SoftwareSigner {
    key: PKey<Private>,
    spki: Vec<u8>,
    kind: SigningKind,
}

impl SoftwareSigner {
    /// Takes a private key.
    ///
    /// # Errors
    /// [`SigningError::Kind`], or OpenSSL's.
    pub fn new(key: PKey<Private>) -> Result<Self, SigningError> {
        let (kind, spki) = (SigningKind::of(&key)?, key.public_key_to_der()?);
        Ok(Self { key, spki, kind })
    }

    /// For the two files that keep it: sealed, or encrypted.
    pub(crate) const fn key(&self) -> &PKey<Private> {
        &self.key
    }
}

impl SigningKey for SoftwareSigner {
    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn kind(&self) -> SigningKind {
        self.kind
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(Signer::new(MessageDigest::sha256(), &self.key)?.sign_oneshot_to_vec(tbs)?)
    }
}
