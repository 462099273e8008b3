//! Randomness, from OpenSSL's generator.

use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;
use twinseal_proto::secret::Token;
use zeroize::Zeroizing;

/// 16 random octets: identifiers, serial numbers, salts.
pub(crate) fn octets() -> Result<[u8; 16], ErrorStack> {
    let mut octets = [0; 16];
    rand_bytes(&mut octets)?;
    Ok(octets)
}

/// A new one-time token.
pub(crate) fn token() -> Result<Token, ErrorStack> {
    let mut octets = Zeroizing::new([0; 32]);
    rand_bytes(octets.as_mut_slice())?;
    Ok(Token::from_random(&octets))
}

/// A new key pair on P-256.
pub(crate) fn p256_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}
