//! RSAES-PKCS1-v1_5 with implicit rejection: a block that is not one gives a key all the same, so that no answer and no
//! delay tells an asker about padding (RFC 3218, RFC 8017 section 7.2.2).
//!
//! The length of the key is known from the content encryption. That fixes where everything lies in the block, and leaves
//! nothing to search for.

use crate::cms::labels;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// Octets of a block that are not the key: 00 02, eight of filler at least, 00.
pub(super) const OVERHEAD: usize = 11;

/// Makes the keys of implicit rejection. It belongs to one private key and stays with it, so that the same block gives
/// the same key today and tomorrow.
pub struct RejectionSecret(Zeroizing<[u8; 32]>);

impl RejectionSecret {
    /// Takes the secret's octets: random, or derived from the private key.
    #[must_use]
    pub const fn new(octets: Zeroizing<[u8; 32]>) -> Self {
        Self(octets)
    }

    /// The key that stands in for `encrypted_key`'s: a pseudo-random function of it and of the wanted length. The length
    /// is part of the input; else the keys of two lengths would be related, and so betray what they are.
    pub(super) fn substitute(&self, encrypted_key: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
        let one_key = hmac(self.0.as_slice(), &[labels::REJECTION_EXTRACT, encrypted_key])?;
        let mut key = hmac(&one_key, &[labels::REJECTION_EXPAND, &(length as u64).to_be_bytes()])?;
        key.truncate(length);
        Ok(key)
    }
}

/// The key in a decrypted block, or the substitute, in the same time; and whether it is the substitute.
pub(super) fn decode(
    block: &[u8],
    cek_len: usize,
    encrypted_key: &[u8],
    rejection: &RejectionSecret,
) -> Result<(Zeroizing<Vec<u8>>, Choice), ErrorStack> {
    let mut key = rejection.substitute(encrypted_key, cek_len)?;
    let (padding, message) = block.split_at(block.len().saturating_sub(cek_len));
    let good = is_padding(padding);
    for (octet, sent) in key.iter_mut().zip(message) {
        octet.conditional_assign(sent, good);
    }
    Ok((key, !good))
}

/// Whether all of the block before the key is 00 02, filler without zeros, 00.
fn is_padding(padding: &[u8]) -> Choice {
    let [first, second, filler @ .., last] = padding else {
        return Choice::from(0);
    };
    let framed = first.ct_eq(&0) & second.ct_eq(&2) & last.ct_eq(&0);
    filler.iter().fold(framed, |good, octet| good & !octet.ct_eq(&0))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    for part in parts {
        signer.update(part)?;
    }
    Ok(Zeroizing::new(signer.sign_to_vec()?))
}
