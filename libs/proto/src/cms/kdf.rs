//! Hashes, and the key derivation of ECDH in CMS (RFC 5753 section 7.2, SEC 1 section 3.6.1).

use super::der::{self, Oid, Tag};
use super::keywrap::{KeyEncryptionKey, WrapAlgorithm};
use super::labels;
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::md_ctx::MdCtx;
use zeroize::Zeroizing;

/// A hash of OAEP or of a key-derivation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1: broken where collisions matter, sound in OAEP and in key derivation.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its object identifier.
    pub(crate) const fn oid(self) -> Oid<'static> {
        match self {
            Self::Sha1 => labels::SHA1,
            Self::Sha224 => labels::SHA224,
            Self::Sha256 => labels::SHA256,
            Self::Sha384 => labels::SHA384,
            Self::Sha512 => labels::SHA512,
        }
    }

    /// The hash with this identifier, if we know it.
    pub(crate) fn from_oid(oid: Oid<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.oid() == oid)
    }

    /// Octets of a digest.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn md(self) -> &'static MdRef {
        match self {
            Self::Sha1 => Md::sha1(),
            Self::Sha224 => Md::sha224(),
            Self::Sha256 => Md::sha256(),
            Self::Sha384 => Md::sha384(),
            Self::Sha512 => Md::sha512(),
        }
    }

    /// Hashes the parts, one after the other, into `out`, which has [`Hash::size`] octets. OpenSSL wipes its own state.
    pub(crate) fn digest(self, parts: &[&[u8]], out: &mut [u8]) -> Result<(), ErrorStack> {
        let mut context = MdCtx::new()?;
        context.digest_init(self.md())?;
        for part in parts {
            context.digest_update(part)?;
        }
        context.digest_final(out)?;
        Ok(())
    }
}

/// The key-encryption key for `wrap` from the agreed secret `z` (X9.63 key derivation over ECC-CMS-SharedInfo).
pub(crate) fn ecc_cms_kek(
    z: &[u8],
    hash: Hash,
    wrap: &WrapAlgorithm,
    ukm: Option<&[u8]>,
) -> Result<KeyEncryptionKey, ErrorStack> {
    let info = shared_info(wrap, ukm);
    let blocks = wrap.key_len().div_ceil(hash.size());
    let mut kek = Zeroizing::new(vec![0; blocks * hash.size()]);
    for (block, counter) in kek.chunks_exact_mut(hash.size()).zip(1_u32..) {
        hash.digest(&[z, &counter.to_be_bytes(), &info], block)?;
    }
    kek.truncate(wrap.key_len());
    Ok(KeyEncryptionKey::derived(kek))
}

/// ECC-CMS-SharedInfo: keyInfo as it was encoded, the ukm if there is one, and the length of the key in bits.
fn shared_info(wrap: &WrapAlgorithm, ukm: Option<&[u8]>) -> Vec<u8> {
    let entity_u_info = ukm.map(|ukm| der::tlv(Tag::context_constructed(0), &[&der::octet_string(ukm)]));
    let bits = (wrap.key_len() as u32 * 8).to_be_bytes();
    let supp_pub_info = der::tlv(Tag::context_constructed(2), &[&der::octet_string(&bits)]);
    der::sequence(&[wrap.der(), &entity_u_info.unwrap_or_default(), &supp_pub_info])
}
