//! Key pairs at rest: `keys/GROUP-EPOCH-ALGORITHM.json`, one file each, the private key sealed under the credential.
//!
//! A pair is stored before its certificate is asked for, so that no certificate is ever published for a key that was
//! lost; such a file has no certificate yet and is finished later. The seal covers everything else in the file too: a
//! key file with one changed octet is refused.

use super::credential::{Credential, Sealed};
use super::{GroupKey, KeyHolder};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::cms::unwrap::SoftwareKey;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{Epoch, GroupId};
use twinseal_svc::durable;

/// The file in `keys/` that is not a key pair: see `identity.rs`.
pub(crate) const IDENTITY: &str = "cek-identity.json";

/// A key pair cannot be used. The service does not start with such a file: mail would be lost in silence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read or written.
    #[error("{0}: cannot be read or written")]
    File(PathBuf, #[source] io::Error),
    /// It is not what was written.
    #[error("{0}: not a key file of this version")]
    Unreadable(PathBuf, #[source] serde_json::Error),
    /// It does not open.
    #[error("{0}: changed since it was written, or sealed under another credential\ntry: restore it from the backup")]
    Sealed(PathBuf),
    /// Its name says something else than its contents.
    #[error("{0}: the name does not fit the key inside")]
    Name(PathBuf),
    /// The certificate is not this key's, or not a certificate.
    #[error("{0}: the certificate is not this key's")]
    Certificate(PathBuf),
    /// It existed, and the log says so.
    #[error("{0}: missing, though the audit log tells of its making\ntry: restore it from the backup")]
    Missing(PathBuf),
    /// OpenSSL failed.
    #[error("OpenSSL")]
    Crypto(#[from] ErrorStack),
}

/// Which key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct KeyName {
    /// The group.
    pub(crate) group: GroupId,
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// Kind of key.
    pub(crate) algorithm: KeyAlgorithm,
}

impl KeyName {
    /// Its file.
    pub(crate) fn path(&self, keys: &Path) -> PathBuf {
        keys.join(format!("{}-{}-{}.json", self.group, self.epoch, algorithm_name(self.algorithm)))
    }
}

/// The name of a kind of key in files and on the command line.
pub(crate) const fn algorithm_name(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::Rsa3072 => "rsa3072",
        KeyAlgorithm::P256 => "p256",
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u8,
    group: GroupId,
    epoch: Epoch,
    algorithm: KeyAlgorithm,
    certificate: Option<B64>,
    chain: Vec<B64>,
    private_key: Sealed,
}

/// The certificate of a finished pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certified {
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// DER certificates from its issuer to the root.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// A key pair as it is stored.
pub(crate) struct StoredKey {
    /// Which one.
    pub(crate) name: KeyName,
    /// The pair.
    pub(crate) key: PKey<Private>,
    /// `None`: not certified yet.
    pub(crate) certified: Option<Certified>,
}

impl StoredKey {
    /// Writes the pair; durable when this returns.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(crate) fn save(&self, keys: &Path, credential: &Credential) -> Result<(), KeyFileError> {
        let path = self.name.path(keys);
        let certified = self.certified.as_ref();
        let certificate = certified.map(|c| B64(c.certificate.clone()));
        let chain: Vec<B64> = certified.iter().flat_map(|c| c.chain.iter().cloned().map(B64)).collect();
        let secret = zeroize::Zeroizing::new(self.key.private_key_to_pkcs8()?);
        let private_key = credential.seal(&context(&self.name, certificate.as_ref(), &chain), &secret)?;
        let KeyName { group, epoch, algorithm } = self.name;
        let file = KeyFile { version: 1, group, epoch, algorithm, certificate, chain, private_key };
        let json = serde_json::to_vec(&file).map_err(|e| KeyFileError::Unreadable(path.clone(), e))?;
        durable::replace(&path, &json).map_err(|e| KeyFileError::File(path, e))
    }

    fn load(path: &Path, keys: &Path, credential: &Credential) -> Result<Self, KeyFileError> {
        let octets = durable::read_secret(path).map_err(|e| KeyFileError::File(path.to_owned(), e))?;
        let file: KeyFile =
            serde_json::from_slice(&octets).map_err(|e| KeyFileError::Unreadable(path.to_owned(), e))?;
        let name = KeyName { group: file.group, epoch: file.epoch, algorithm: file.algorithm };
        if name.path(keys) != path {
            return Err(KeyFileError::Name(path.to_owned()));
        }
        let sealed = || KeyFileError::Sealed(path.to_owned());
        let context = context(&name, file.certificate.as_ref(), &file.chain);
        let secret = credential.open(&context, &file.private_key).filter(|_| file.version == 1).ok_or_else(sealed)?;
        let key = PKey::private_key_from_pkcs8(&secret)?;
        let chain = file.chain.into_iter().map(|der| der.0).collect();
        let certified = file.certificate.map(|der| Certified { certificate: der.0, chain });
        Ok(Self { name, key, certified })
    }

    /// The pair as a key that answers questions. `None`: not certified yet.
    ///
    /// # Errors
    /// [`KeyFileError`] when certificate and key do not belong together.
    pub(crate) fn holder(&self, keys: &Path) -> Result<Option<GroupKey>, KeyFileError> {
        let Some(certified) = &self.certified else {
            return Ok(None);
        };
        let wrong = || KeyFileError::Certificate(self.name.path(keys));
        let certificate = X509::from_der(&certified.certificate).map_err(|_| wrong())?;
        if !certificate.public_key()?.public_eq(&self.key) {
            return Err(wrong());
        }
        let software = SoftwareKey::new(&self.key).map_err(|_| wrong())?;
        let rejection = software.rejection_secret()?;
        let holder = KeyHolder { ops: Box::new(software), rejection };
        let KeyName { group, epoch, algorithm } = self.name;
        GroupKey::new(group, epoch, algorithm, certified.certificate.clone(), holder).map(Some).map_err(|_| wrong())
    }
}

/// What a seal is bound to: group ‖ epoch ‖ algorithm, and the digests of certificate and chain.
fn context(name: &KeyName, certificate: Option<&B64>, chain: &[B64]) -> Vec<u8> {
    let mut context = b"twinseal group key\0".to_vec();
    context.extend_from_slice(name.group.octets());
    context.extend_from_slice(&name.epoch.0.to_be_bytes());
    context.extend_from_slice(algorithm_name(name.algorithm).as_bytes());
    context.push(0);
    for der in certificate.into_iter().chain(chain) {
        context.extend_from_slice(&Digest::of(der.as_ref()).0);
    }
    context
}

/// Reads every key pair in `keys`, making the directory when it is missing.
///
/// # Errors
/// [`KeyFileError`] for the first that cannot be used.
pub(crate) fn load_all(keys: &Path, credential: &Credential) -> Result<Vec<StoredKey>, KeyFileError> {
    let file = |e| KeyFileError::File(keys.to_owned(), e);
    durable::make_dir(keys).map_err(file)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(keys).map_err(file)? {
        let path = entry.map_err(file)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            // What a crash left of a replacement: the file that it was to replace is whole.
            std::fs::remove_file(&path).map_err(file)?;
        } else if name != IDENTITY {
            found.push(StoredKey::load(&path, keys, credential)?);
        }
    }
    Ok(found)
}
