//! Recognising a content-encryption key that came before under another wrapping, without keeping it (DESIGN 3.2).

use crate::keys::credential::{Credential, Sealed};
use crate::keys::file::IDENTITY;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sign::Signer;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::GroupId;
use twinseal_proto::secret::Cek;
use twinseal_svc::durable;
use zeroize::Zeroizing;

/// What the seal is bound to.
const CONTEXT: &[u8] = b"twinseal cek identity\0";

/// The server's own key, by which identities say nothing to anybody else.
pub(crate) struct IdentityKey(Zeroizing<[u8; 32]>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    version: u8,
    secret: Sealed,
}

impl IdentityKey {
    /// Reads the key in `keys`; makes it when it is missing and `may_make` (no key pair is there yet, so nothing was ever
    /// opened).
    ///
    /// # Errors
    /// The file's I/O error; `InvalidData` when it is not what was written; `NotFound` when it is missing and may not be
    /// made.
    pub(crate) fn load_or_make(keys: &Path, credential: &Credential, may_make: bool) -> io::Result<Self> {
        let path = keys.join(IDENTITY);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if may_make && !path.exists() {
            let mut octets = Zeroizing::new([0; 32]);
            rand_bytes(octets.as_mut_slice())?;
            let file = IdentityFile { version: 1, secret: credential.seal(CONTEXT, octets.as_slice())? };
            durable::replace(&path, &serde_json::to_vec(&file)?).map_err(named)?;
        }
        let changed = || {
            let text =
                "changed since it was written, or sealed under another credential\ntry: restore it from the backup";
            named(io::Error::new(io::ErrorKind::InvalidData, text))
        };
        let octets = durable::read_secret(&path).map_err(named)?;
        let file: IdentityFile = serde_json::from_slice(&octets).map_err(|_| changed())?;
        let secret = credential.open(CONTEXT, &file.secret).filter(|_| file.version == 1).ok_or_else(changed)?;
        secret.as_slice().try_into().map(|octets| Self(Zeroizing::new(octets))).map_err(|_| changed())
    }

    /// The identity of `cek` within `group`: HMAC-SHA-256(server key, group ‖ CEK). The group is in it because one mail to
    /// two lists has one key, and is first seen by each in its own time.
    ///
    /// # Errors
    /// OpenSSL's.
    pub(crate) fn identity(&self, group: &GroupId, cek: &Cek) -> Result<Digest, ErrorStack> {
        let key = PKey::hmac(self.0.as_slice())?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(group.octets())?;
        signer.update(cek.expose())?;
        let mut identity = Digest([0; 32]);
        signer.sign(&mut identity.0)?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_key_stays_and_tells_groups_apart() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { state: dir.path().into(), ..Config::default() };
        Credential::make_if_missing(&config).unwrap();
        let credential = Credential::load(&config).unwrap();
        assert!(IdentityKey::load_or_make(dir.path(), &credential, false).is_err());
        let one = IdentityKey::load_or_make(dir.path(), &credential, true).unwrap();
        let again = IdentityKey::load_or_make(dir.path(), &credential, true).unwrap();
        let (a, b) = (GroupId::from_random([1; 16]), GroupId::from_random([2; 16]));
        let cek = Cek::new(Zeroizing::new(vec![7; 32])).unwrap();
        assert_eq!(one.identity(&a, &cek).unwrap(), again.identity(&a, &cek).unwrap());
        assert_ne!(one.identity(&a, &cek).unwrap(), one.identity(&b, &cek).unwrap());
    }
}
