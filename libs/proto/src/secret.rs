//! Secrets: no `Debug`, `Clone`, `PartialEq` or `Serialize`; zeroized when dropped; read only through `expose`.

use crate::encoding::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// A content-encryption key (RFC 5652 section 6): 16, 24 or 32 octets.
pub struct Cek(Zeroizing<Vec<u8>>);

/// The octets offered as a content-encryption key are not 16, 24 or 32 long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content-encryption key has 16, 24 or 32 octets")]
pub struct CekLength;

impl Cek {
    /// Takes the key's octets.
    ///
    /// # Errors
    /// [`CekLength`] unless there are 16, 24 or 32 of them.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, CekLength> {
        matches!(octets.len(), 16 | 24 | 32).then_some(Self(octets)).ok_or(CekLength)
    }

    /// The key's octets, for the one operation at hand.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty by construction")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A bearer token (enrolment, posting, service joining): 32 random octets, shown once as base64url; kept as a digest.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token for 32 random octets.
    #[must_use]
    pub fn from_random(octets: &Zeroizing<[u8; 32]>) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(octets.as_slice())))
    }

    /// Takes a token as somebody presents it. Any text is accepted; only its digest is ever compared.
    #[must_use]
    pub fn presented(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text to show to its owner, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a store keeps in its place.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_parts(&[b"twinseal token\0", self.0.as_bytes()])
    }
}
