//! Randomness, from OpenSSL's generator.

use openssl::error::ErrorStack;
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
