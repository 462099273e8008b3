//! The pool of test keys: 64 of each kind, made once and checked in (they protect nothing).

use anyhow::{Context as _, Result};
use openssl::pkey::{PKey, Private};

/// Keys of each kind in the pool; members above this number share them.
pub const POOL: usize = 64;

/// A kind of member key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MemberAlgorithm {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl MemberAlgorithm {
    const fn pem(self) -> &'static str {
        match self {
            Self::Rsa2048 => include_str!("keys/rsa2048.pem"),
            Self::Rsa3072 => include_str!("keys/rsa3072.pem"),
            Self::P256 => include_str!("keys/p256.pem"),
            Self::P384 => include_str!("keys/p384.pem"),
        }
    }
}

/// The private key of member `index` (from 0) in PEM, and parsed.
///
/// # Errors
/// When the pool is damaged.
pub fn member_key(algorithm: MemberAlgorithm, index: usize) -> Result<(&'static str, PKey<Private>)> {
    let end = "-----END PRIVATE KEY-----\n";
    let pem = algorithm.pem().split_inclusive(end).nth(index % POOL).context("the key pool is too short")?;
    Ok((pem, PKey::private_key_from_pem(pem.as_bytes())?))
}
