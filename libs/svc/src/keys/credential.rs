//! The credential under which everything secret in the state directory is sealed: 32 octets that the service manager
//! hands over, or a file.

use crate::durable;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use twinseal_proto::encoding::B64;
use zeroize::Zeroizing;

/// Octets of the credential.
const LENGTH: usize = 32;
/// Octets of a GCM nonce, random for each sealing: there are few.
const NONCE: usize = 12;
/// Octets of a GCM tag.
const TAG: usize = 16;

/// Where a credential is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The file that the configuration names.
    pub configured: Option<&'a Path>,
    /// The state directory, in which one is made when there is none.
    pub state: &'a Path,
}

/// The sealing key (AES-256-GCM, SP 800-38D).
pub struct Credential(Zeroizing<[u8; LENGTH]>);

/// Sealed octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    nonce: B64,
    /// Ciphertext, then tag.
    octets: B64,
}

impl Credential {
    fn path(place: &Place<'_>) -> PathBuf {
        let handed = || std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join("key-credential"));
        place
            .configured
            .map(Path::to_owned)
            .or_else(|| handed().filter(|path| path.exists()))
            .unwrap_or_else(|| place.state.join("credential"))
    }

    /// Reads the credential.
    ///
    /// # Errors
    /// The file's I/O error, `PermissionDenied` when others may read it, `InvalidData` unless it has 32 octets.
    pub fn load<'a>(place: impl Into<Place<'a>>) -> io::Result<Self> {
        let path = Self::path(&place.into());
        let named = |e: io::Error| io::Error::new(e.kind(), format!("credential {}: {e}", path.display()));
        let octets = durable::read_secret(&path).map_err(named)?;
        let octets: [u8; LENGTH] = octets
            .as_slice()
            .try_into()
            .map_err(|_| named(io::Error::new(io::ErrorKind::InvalidData, "32 octets are wanted")))?;
        Ok(Self(Zeroizing::new(octets)))
    }

    /// Makes the credential in the state directory when there is none anywhere.
    ///
    /// # Errors
    /// The I/O error of writing it.
    pub fn make_if_missing<'a>(place: impl Into<Place<'a>>) -> io::Result<()> {
        let place = place.into();
        let path = Self::path(&place);
        if path.exists() || path != place.state.join("credential") {
            return Ok(());
        }
        let mut octets = Zeroizing::new([0; LENGTH]);
        rand_bytes(octets.as_mut_slice())?;
        durable::replace(&path, octets.as_slice())
    }

    /// Seals `secret`; only the same `context` opens it again.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> Result<Sealed, ErrorStack> {
        let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
        rand_bytes(&mut nonce)?;
        let cipher = Cipher::aes_256_gcm();
        let mut octets = encrypt_aead(cipher, self.0.as_slice(), Some(&nonce), context, secret, &mut tag)?;
        octets.extend_from_slice(&tag);
        Ok(Sealed { nonce: B64(nonce.to_vec()), octets: B64(octets) })
    }

    /// Opens what was sealed; `None` if a single octet of it, of its context or of the credential is another.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let (octets, nonce) = (sealed.octets.as_ref(), sealed.nonce.as_ref());
        let (ciphertext, tag) = octets.split_at_checked(octets.len().checked_sub(TAG)?)?;
        let opened = decrypt_aead(Cipher::aes_256_gcm(), self.0.as_slice(), Some(nonce), context, ciphertext, tag);
        opened.ok().filter(|_| nonce.len() == NONCE).map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_same_credential_and_context_open() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { configured: None, state: dir.path() };
        Credential::make_if_missing(place).unwrap();
        let credential = Credential::load(place).unwrap();
        let sealed = credential.seal(b"here", b"secret").unwrap();
        assert_eq!(credential.open(b"here", &sealed).unwrap().as_slice(), b"secret");
        assert!(credential.open(b"there", &sealed).is_none());
        let mut changed = sealed.clone();
        changed.octets.0.truncate(3);
        assert!(credential.open(b"here", &changed).is_none());
        std::fs::remove_file(dir.path().join("credential")).unwrap();
        Credential::make_if_missing(place).unwrap();
        assert!(Credential::load(place).unwrap().open(b"here", &sealed).is_none());
    }

    #[test]
    fn a_configured_credential_is_never_made_and_has_32_octets() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("given");
        let place = Place { configured: Some(&file), state: dir.path() };
        Credential::make_if_missing(place).unwrap();
        assert!(Credential::load(place).is_err());
        durable::replace(&file, &[1; 31]).unwrap();
        assert_eq!(Credential::load(place).err().unwrap().kind(), io::ErrorKind::InvalidData);
        durable::replace(&file, &[1; 32]).unwrap();
        assert!(Credential::load(place).is_ok());
    }
}
