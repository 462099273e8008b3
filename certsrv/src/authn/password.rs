//! Passwords: Argon2id (RFC 9106). A password is a secret from the moment at which it comes in; its hash is kept.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use twinseal_proto::encoding::B64;
use zeroize::Zeroizing;

/// Longest password in octets that is hashed.
const MAX_PASSWORD: usize = 1024;
/// Passes over the memory (RFC 9106: t).
const PASSES: u32 = 2;
/// Octets of a hash.
const HASH_LEN: usize = 32;

/// A password in the clear. Neither shown nor copied; wiped when dropped.
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    pub(crate) const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

/// A password's hash with its salt and cost, so that the cost can be raised for new passwords.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordHash {
    /// Memory in KiB.
    memory: u32,
    /// Passes.
    passes: u32,
    /// 16 random octets.
    salt: B64,
    /// The hash.
    hash: B64,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// The password cannot be hashed: too long, or the memory is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be used: 1 to 1024 octets are wanted")]
pub(crate) struct BadPassword;

impl PasswordHash {
    /// Hashes a new password. Takes `memory` KiB and tens of milliseconds: never on an async thread.
    pub(crate) fn new(password: &Password, salt: [u8; 16], memory: u32) -> Result<Self, BadPassword> {
        if password.0.is_empty() || password.0.len() > MAX_PASSWORD {
            return Err(BadPassword);
        }
        let hash = run(password, &salt, memory, PASSES)?;
        Ok(Self { memory, passes: PASSES, salt: B64(salt.to_vec()), hash: B64(hash.to_vec()) })
    }

    /// The hash of no password, which costs as much to compare with: for accounts that do not exist.
    pub(crate) fn of_nobody(memory: u32) -> Self {
        Self { memory, passes: PASSES, salt: B64(vec![0; 16]), hash: B64(Vec::new()) }
    }

    /// Whether this is the password. As costly as hashing.
    pub(crate) fn verify(&self, password: &Password) -> bool {
        let run = (password.0.len() <= MAX_PASSWORD)
            .then(|| run(password, self.salt.as_ref(), self.memory, self.passes).ok())
            .flatten();
        run.is_some_and(|hash| bool::from(hash.as_slice().ct_eq(self.hash.as_ref())))
    }
}

fn run(password: &Password, salt: &[u8], memory: u32, passes: u32) -> Result<Zeroizing<[u8; HASH_LEN]>, BadPassword> {
    let params = Params::new(memory, passes, 1, Some(HASH_LEN)).map_err(|_| BadPassword)?;
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.0.as_bytes(), salt, hash.as_mut_slice())
        .map_err(|_| BadPassword)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn the_password_and_no_other_verifies() {
        let hash = PasswordHash::new(&password("sesame"), [7; 16], 64).unwrap();
        assert!(hash.verify(&password("sesame")));
        for wrong in ["", "Sesame", "sesame "] {
            assert!(!hash.verify(&password(wrong)), "{wrong:?}");
        }
        assert!(!PasswordHash::of_nobody(64).verify(&password("")));
        assert!(PasswordHash::new(&password(""), [7; 16], 64).is_err());
        let json = serde_json::to_string(&hash).unwrap();
        assert!(serde_json::from_str::<PasswordHash>(&json).unwrap().verify(&password("sesame")));
    }
}
