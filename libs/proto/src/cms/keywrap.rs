//! AES key wrap (RFC 3394): a content-encryption key under a key-encryption key.

use super::der::{self, DerError, Reader, Tag};
use super::labels::{self, KEY_WRAP_OVERHEAD};
use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::error::ErrorStack;
use zeroize::Zeroizing;

/// An AES key wrap as a message names it: the length of the wrapping key, and the octets that say so. The octets matter:
/// they enter the key derivation, where absent parameters and NULL differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapAlgorithm {
    key_len: usize,
    der: Vec<u8>,
}

impl WrapAlgorithm {
    /// The wrap for a content-encryption key of `cek_len` octets: AES-128 for 16, AES-256 for longer ones. AES-192 is
    /// what some clients lack.
    #[must_use]
    pub fn for_cek(cek_len: usize) -> Self {
        Self::with_key_len(if cek_len <= 16 { 16 } else { 32 })
    }

    /// The wrap with a key of this length.
    fn with_key_len(key_len: usize) -> Self {
        let oid = match key_len {
            16 => labels::AES128_WRAP,
            24 => labels::AES192_WRAP,
            _ => labels::AES256_WRAP,
        };
        Self { key_len, der: der::sequence(&[&der::object_id(oid)]) }
    }

    /// Reads a DER AlgorithmIdentifier; `None` for anything but AES key wrap with absent or NULL parameters.
    ///
    /// # Errors
    /// [`DerError`] if it is not an AlgorithmIdentifier.
    pub fn decode(octets: &[u8]) -> Result<Option<Self>, DerError> {
        Reader::all(octets, "KeyWrapAlgorithm", |outer| {
            let mut algorithm = outer.enter(Tag::SEQUENCE, "KeyWrapAlgorithm")?;
            let key_len = match algorithm.oid()? {
                labels::AES128_WRAP => 16,
                labels::AES192_WRAP => 24,
                labels::AES256_WRAP => 32,
                _ => return Ok(None),
            };
            let plain = matches!(algorithm.rest(), [] | [0x05, 0x00]);
            Ok(plain.then(|| Self { key_len, der: octets.to_vec() }))
        })
    }

    /// Octets of the wrapping key: 16, 24 or 32.
    #[must_use]
    pub const fn key_len(&self) -> usize {
        self.key_len
    }

    /// Its AlgorithmIdentifier.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// A key that wraps keys: 16, 24 or 32 octets. Like every secret it shows itself to nobody and is wiped when dropped.
pub struct KeyEncryptionKey(Zeroizing<Vec<u8>>);

/// The octets offered as a key-encryption key are not 16, 24 or 32 long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key-encryption key has 16, 24 or 32 octets")]
pub struct KekLength;

impl KeyEncryptionKey {
    /// Takes the key's octets.
    ///
    /// # Errors
    /// [`KekLength`] unless there are 16, 24 or 32 of them.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, KekLength> {
        if matches!(octets.len(), 16 | 24 | 32) { Ok(Self(octets)) } else { Err(KekLength) }
    }

    /// The key that was derived to the length of its [`WrapAlgorithm`].
    pub(super) const fn derived(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }

    /// Octets of the key.
    pub(crate) fn key_len(&self) -> usize {
        self.0.len()
    }

    /// The key wrap with this key.
    pub(crate) fn algorithm(&self) -> WrapAlgorithm {
        WrapAlgorithm::with_key_len(self.0.len())
    }

    /// Wraps `key`, whose length is a multiple of 8 (RFC 3394 section 2.2.1).
    pub(crate) fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut context = wrap_context()?;
        context.encrypt_init(Some(self.cipher()), Some(&self.0), None)?;
        let mut wrapped = vec![0; key.len() + KEY_WRAP_OVERHEAD];
        context.cipher_update(key, Some(&mut wrapped))?;
        Ok(wrapped)
    }

    /// Unwraps a key (RFC 3394 section 2.2.2); `None` if it was not wrapped under this one.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // Two blocks of 8 octets at least, and the check value. OpenSSL takes no octets at all for a key of none.
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return None;
        }
        let mut context = wrap_context().ok()?;
        context.decrypt_init(Some(self.cipher()), Some(&self.0), None).ok()?;
        let mut key = Zeroizing::new(vec![0; wrapped.len()]);
        let octets = context.cipher_update(wrapped, Some(&mut key)).ok()?;
        key.truncate(octets);
        Some(key)
    }

    fn cipher(&self) -> &'static CipherRef {
        match self.0.len() {
            16 => Cipher::aes_128_wrap(),
            24 => Cipher::aes_192_wrap(),
            _ => Cipher::aes_256_wrap(),
        }
    }
}

/// OpenSSL offers key wrap only to callers who say that they mean it.
fn wrap_context() -> Result<CipherCtx, ErrorStack> {
    let mut context = CipherCtx::new()?;
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    Ok(context)
}
