//! A signing key in a file: JSON, the private key sealed under the credential. The seal covers the key's name and its
//! public half: a file with one changed octet, or under another key's name, is refused.
//!
//! Older versions wrote plain PKCS #8 PEM. Such a file is sealed in place when it is next opened: replaced as a whole, so
//! that no plain copy is left beside it. What the disk's free blocks remember is beyond us.

use super::credential::{Credential, Sealed};
use super::{SigningError, SigningKey as _, SoftwareSigner};
use crate::durable;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use twinseal_proto::encoding::{B64, Digest};
use zeroize::Zeroizing;

/// What a private key in plain PEM begins with, whatever its kind.
const PLAIN: &[u8] = b"-----BEGIN ";

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{0}: cannot be read or written")]
    File(PathBuf, #[source] io::Error),
    /// It is not what was written.
    #[error("{0}: not a key file of this version")]
    Unreadable(PathBuf, #[source] serde_json::Error),
    /// It does not open.
    #[error("{0}: changed since it was written, or sealed under another credential\ntry: restore it from the backup")]
    Sealed(PathBuf),
    /// The private key in it is no key.
    #[error("{0}: no private key")]
    NoKey(PathBuf, #[source] ErrorStack),
    /// The private key in it is not one that signs here.
    #[error("{0}")]
    Kind(PathBuf, #[source] SigningError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u8,
    name: String,
    public_key: B64,
    private_key: Sealed,
}

/// Writes `key` to `path`, sealed; durable when this returns.
///
/// # Errors
/// [`KeyFileError`].
pub fn seal(path: &Path, name: &str, key: &SoftwareSigner, credential: &Credential) -> Result<(), KeyFileError> {
    let refused = |e| KeyFileError::NoKey(path.to_owned(), e);
    let secret = Zeroizing::new(key.key().private_key_to_pkcs8().map_err(refused)?);
    let private_key = credential.seal(&context(name, key.spki()), &secret).map_err(refused)?;
    let file = KeyFile { version: 1, name: name.to_owned(), public_key: B64(key.spki().to_vec()), private_key };
    let json = serde_json::to_vec(&file).map_err(|e| KeyFileError::Unreadable(path.to_owned(), e))?;
    durable::replace(path, &json).map_err(|e| KeyFileError::File(path.to_owned(), e))
}

/// Reads the key of this name from `path`. A file in plain PEM is sealed first, and read back.
///
/// # Errors
/// [`KeyFileError`].
pub fn open(path: &Path, name: &str, credential: &Credential) -> Result<SoftwareSigner, KeyFileError> {
    let octets = read(path)?;
    if octets.starts_with(PLAIN) {
        let key = PKey::private_key_from_pem(&octets).map_err(|e| KeyFileError::NoKey(path.to_owned(), e))?;
        let key = SoftwareSigner::new(key).map_err(|e| KeyFileError::Kind(path.to_owned(), e))?;
        seal(path, name, &key, credential)?;
        tracing::warn!(path = %path.display(), "private key was in plain PEM: sealed under the credential");
        return unseal(path, name, &read(path)?, credential);
    }
    unseal(path, name, &octets, credential)
}

/// Whether the file at `path` holds a private key in plain PEM.
///
/// # Errors
/// [`KeyFileError::File`].
pub fn is_plain(path: &Path) -> Result<bool, KeyFileError> {
    let octets = read(path)?;
    let encrypted = octets.starts_with(b"-----BEGIN ENCRYPTED");
    Ok(octets.starts_with(PLAIN) && !encrypted)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    durable::read_secret(path).map_err(|e| KeyFileError::File(path.to_owned(), e))
}

fn unseal(path: &Path, name: &str, octets: &[u8], credential: &Credential) -> Result<SoftwareSigner, KeyFileError> {
    let sealed = || KeyFileError::Sealed(path.to_owned());
    let file: KeyFile = serde_json::from_slice(octets).map_err(|e| KeyFileError::Unreadable(path.to_owned(), e))?;
    if file.version != 1 || file.name != name {
        return Err(sealed());
    }
    let secret = credential.open(&context(name, file.public_key.as_ref()), &file.private_key).ok_or_else(sealed)?;
    let key = PKey::private_key_from_pkcs8(&secret).map_err(|e| KeyFileError::NoKey(path.to_owned(), e))?;
    SoftwareSigner::new(key).map_err(|e| KeyFileError::Kind(path.to_owned(), e))
}

/// What a seal is bound to: the key's name, and the digest of its public half.
fn context(name: &str, spki: &[u8]) -> Vec<u8> {
    [b"twinseal signing key\0", name.as_bytes(), &[0], &Digest::of(spki).0].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::credential::Place;
    use super::*;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;

    fn key() -> PKey<openssl::pkey::Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn credential(dir: &Path) -> Credential {
        let place = Place { configured: None, state: dir };
        Credential::make_if_missing(place).unwrap();
        Credential::load(place).unwrap()
    }

    #[test]
    fn a_sealed_key_opens_under_its_name_and_credential_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, credential) = (dir.path().join("members.key"), credential(dir.path()));
        let signer = SoftwareSigner::new(key()).unwrap();
        seal(&path, "members", &signer, &credential).unwrap();
        assert_eq!(open(&path, "members", &credential).unwrap().spki(), signer.spki());
        assert!(matches!(open(&path, "services", &credential), Err(KeyFileError::Sealed(_))));
        let whole = std::fs::read(&path).unwrap();
        // Another public key beside the same sealed one.
        let mut file: KeyFile = serde_json::from_slice(&whole).unwrap();
        file.public_key.0[30] ^= 1;
        durable::replace(&path, &serde_json::to_vec(&file).unwrap()).unwrap();
        assert!(matches!(open(&path, "members", &credential), Err(KeyFileError::Sealed(_))));
        durable::replace(&path, &whole).unwrap();
        std::fs::remove_file(dir.path().join("credential")).unwrap();
        let other = super::tests::credential(dir.path());
        assert!(matches!(open(&path, "members", &other), Err(KeyFileError::Sealed(_))));
    }

    #[test]
    fn a_plain_key_is_sealed_when_it_is_opened_and_nothing_plain_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (path, credential) = (dir.path().join("members.key"), credential(dir.path()));
        let key = key();
        durable::replace(&path, &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        assert!(is_plain(&path).unwrap());
        let opened = open(&path, "members", &credential).unwrap();
        assert_eq!(opened.spki(), key.public_key_to_der().unwrap());
        assert!(!is_plain(&path).unwrap());
        let secret = key.ec_key().unwrap().private_key().to_vec();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let octets = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!octets.windows(7).any(|w| w == b"PRIVATE"));
            assert!(!octets.windows(secret.len()).any(|w| w == secret));
        }
        assert_eq!(open(&path, "members", &credential).unwrap().spki(), opened.spki());
    }
}
