//! RSAES-OAEP decoding over the raw operation (RFC 8017 section 7.1.2), so that one question to the key serves every
//! hash, also on tokens that know only SHA-1. No branch and no delay depends on where a block is wrong.

use crate::cms::kdf::Hash;
use crate::cms::recipient::Oaep;
use openssl::error::ErrorStack;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// Octets of a block that are not the key.
pub(super) const fn overhead(parameters: &Oaep) -> usize {
    2 * parameters.hash.size() + 2
}

/// The key of `cek_len` octets in a decrypted block; `None` if the block is not one, or holds one of another length.
/// The caller has seen to it that the block has room for both.
pub(super) fn decode(
    block: &[u8],
    parameters: &Oaep,
    cek_len: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, ErrorStack> {
    let hash = parameters.hash;
    let mut label_hash = vec![0; hash.size()];
    hash.digest(&[&parameters.label], &mut label_hash)?;

    // EM = 00 ‖ seed ‖ DB, seed and DB masked with each other.
    let mut block = Zeroizing::new(block.to_vec());
    let Some((first, masked)) = block.split_first_mut() else {
        return Ok(None);
    };
    let (seed, db) = masked.split_at_mut(hash.size());
    unmask(parameters.mgf_hash, db, seed)?;
    unmask(parameters.mgf_hash, seed, db)?;

    // DB = hash of the label ‖ 00 … 00 ‖ 01 ‖ key
    let (frame, key) = db.split_at(db.len().saturating_sub(cek_len));
    let (found_hash, filler) = frame.split_at(hash.size());
    let Some((last, zeros)) = filler.split_last() else {
        return Ok(None);
    };
    let framed: Choice = first.ct_eq(&0) & found_hash.ct_eq(&label_hash) & last.ct_eq(&1);
    let good = zeros.iter().fold(framed, |good, octet| good & octet.ct_eq(&0));
    Ok(bool::from(good).then(|| Zeroizing::new(key.to_vec())))
}

/// Takes MGF1 of `seed` (RFC 8017 appendix B.2.1) off `masked`.
fn unmask(hash: Hash, seed: &[u8], masked: &mut [u8]) -> Result<(), ErrorStack> {
    let mut mask = Zeroizing::new(vec![0; hash.size()]);
    for (piece, counter) in masked.chunks_mut(hash.size()).zip(0_u32..) {
        hash.digest(&[seed, &counter.to_be_bytes()], &mut mask)?;
        piece.iter_mut().zip(mask.iter()).for_each(|(octet, mask)| *octet ^= mask);
    }
    Ok(())
}
