//! Where the CAs' private keys are: files sealed under the credential, or a token (DESIGN 3.2, spec C7). Both answer the
//! same question, a signature; neither gives a key away.

use crate::config::{CaKeyHolder, CaKeyType, Config};
use crate::init::SUB_CAS;
use crate::layout::Layout;
use crate::random;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_svc::durable;
use twinseal_svc::keys::credential::{Credential, Place};
use twinseal_svc::keys::file::{self, KeyFileError};
use twinseal_svc::keys::passphrase::{self, Passphrase, PassphraseError};
use twinseal_svc::keys::pkcs11::Token;
use twinseal_svc::keys::{SigningError, SigningKey, SigningKind, SoftwareSigner};

/// The root's name: its key and certificate are files of this name.
pub(crate) const ROOT: &str = "root";

/// A CA's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaKeyError {
    /// Its file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The credential, or another file.
    #[error("CA keys")]
    Io(#[from] io::Error),
    /// The file that the root's key was carried in, or its passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The root's key is encrypted already.
    #[error("{0}: encrypted under a passphrase already\ntry: move the file")]
    Encrypted(PathBuf),
    /// The key itself, or the token.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// OpenSSL, while a key was made.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// The token has no such key.
    #[error("the token has no key pair labelled {0}\ntry: ca_keys.label, or restore the token's backup")]
    NotInToken(String),
    /// The configuration names no PIN file, and the service manager handed none over.
    #[error("ca_keys.pin_file: missing, and there is no credential named ca-pin")]
    NoPin,
}

/// The holder of the CAs' keys.
pub(crate) enum CaKeys {
    /// `ca/NAME.key`, each sealed under the credential.
    Files {
        /// The directory.
        dir: PathBuf,
        /// Opens them.
        credential: Credential,
    },
    /// Key pairs labelled `LABEL-NAME` in a token.
    Token {
        /// The token, logged in.
        token: Arc<Token>,
        /// First part of the labels.
        label: String,
    },
}

impl CaKeys {
    /// The holder that the configuration names. A credential is made in the state directory when nothing is sealed yet.
    pub(crate) fn open(config: &Config) -> Result<Self, CaKeyError> {
        let layout = Layout::new(&config.state);
        if config.ca_keys.kind == CaKeyHolder::File && !any_sealed(&layout.ca())? {
            // Else a lost credential would be hidden behind a new one that opens nothing.
            Credential::make_if_missing(place(config))?;
        }
        Self::open_existing(config)
    }

    /// The holder that the configuration names; nothing is made.
    pub(crate) fn open_existing(config: &Config) -> Result<Self, CaKeyError> {
        let settings = &config.ca_keys;
        match settings.kind {
            CaKeyHolder::File => {
                let dir = Layout::new(&config.state).ca();
                Ok(Self::Files { dir, credential: Credential::load(place(config))? })
            }
            CaKeyHolder::Pkcs11 => {
                let handed = || std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join("ca-pin"));
                let pin = settings.pin_file.clone().or_else(handed).ok_or(CaKeyError::NoPin)?;
                let module = settings.module.clone().unwrap_or_default();
                let token = Token::open(&module, settings.token.as_deref().unwrap_or_default(), &pin)?;
                Ok(Self::Token { token, label: settings.label.clone() })
            }
        }
    }

    /// The key of the CA of this name. A file in plain PEM, as older versions wrote it, is sealed first.
    pub(crate) fn load(&self, name: &str) -> Result<Box<dyn SigningKey>, CaKeyError> {
        match self {
            Self::Files { dir, credential } => Ok(Box::new(file::open(&key_path(dir, name), name, credential)?)),
            Self::Token { token, label } => {
                let label = format!("{label}-{name}");
                Ok(Box::new(token.key(&label)?.ok_or(CaKeyError::NotInToken(label))?))
            }
        }
    }

    /// Makes the key of the CA of this name; durable when this returns. A pair that the token has under this label is
    /// taken as it is: tokens are often filled by their own custodians, and an `init` that broke off is begun again.
    pub(crate) fn make(&self, name: &str, key_type: CaKeyType) -> Result<Box<dyn SigningKey>, CaKeyError> {
        match self {
            Self::Files { dir, credential } => {
                let key = new_key(key_type)?;
                file::seal(&key_path(dir, name), name, &key, credential)?;
                Ok(Box::new(key))
            }
            Self::Token { token, label } => {
                let label = format!("{label}-{name}");
                let kind = match key_type {
                    CaKeyType::P256 => SigningKind::P256,
                    CaKeyType::Rsa3072 => SigningKind::Rsa,
                };
                match token.key(&label)? {
                    Some(key) => Ok(Box::new(key)),
                    None => Ok(Box::new(token.generate(&label, kind)?)),
                }
            }
        }
    }

    /// Seals what an older version left in plain PEM, the root's key too if it is still here.
    pub(crate) fn seal_plain(&self) -> Result<(), CaKeyError> {
        let Self::Files { dir, credential } = self else { return Ok(()) };
        for name in [ROOT].iter().chain(&SUB_CAS) {
            let path = key_path(dir, name);
            if path.try_exists()? && file::is_plain(&path)? {
                file::open(&path, name, credential)?;
            }
        }
        Ok(())
    }
}

/// The file of a CA's key.
pub(crate) fn key_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

/// Where the credential is looked for.
pub(crate) fn place(config: &Config) -> Place<'_> {
    Place { configured: config.credential_file.as_deref(), state: &config.state }
}

fn any_sealed(dir: &Path) -> Result<bool, CaKeyError> {
    for name in [ROOT].iter().chain(&SUB_CAS) {
        let path = key_path(dir, name);
        if path.try_exists()? && !file::is_plain(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a key pair in memory.
pub(crate) fn new_key(key_type: CaKeyType) -> Result<SoftwareSigner, CaKeyError> {
    let key = match key_type {
        CaKeyType::P256 => random::p256_key()?,
        CaKeyType::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?)?,
    };
    Ok(SoftwareSigner::new(key)?)
}

/// Reads the root's key from a file that is sealed under this service's credential, or in plain PEM as older versions
/// left it; `None` for one that needs a passphrase. The file is left as it is.
pub(crate) fn root_without_passphrase(path: &Path, config: &Config) -> Result<Option<SoftwareSigner>, CaKeyError> {
    let octets = durable::read_secret(path)?;
    if octets.starts_with(b"{") {
        return Ok(Some(file::open(path, ROOT, &Credential::load(place(config))?)?));
    }
    if file::is_plain(path)? {
        return Ok(Some(SoftwareSigner::new(PKey::private_key_from_pem(&octets)?)?));
    }
    Ok(None)
}

/// Reads the root's key from a file that was kept apart: encrypted under a passphrase, sealed under this service's
/// credential, or in plain PEM as older versions left it.
pub(crate) fn carried_root(
    path: &Path,
    passphrase_file: Option<&Path>,
    config: &Config,
) -> Result<Box<dyn SigningKey>, CaKeyError> {
    if let Some(key) = root_without_passphrase(path, config)? {
        return Ok(Box::new(key));
    }
    let passphrase = Passphrase::get(passphrase_file, "Passphrase of the root key: ", false)?;
    Ok(Box::new(passphrase::read(path, &passphrase)?))
}
