//! The member's key and certificate.

use crate::exit::{Exit, Explain};
use crate::home::{self, Home, HomeError};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use twinseal_proto::cert::CertError;
use zeroize::Zeroizing;

/// The sorts of key that a member may have (DESIGN 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// The curve P-256.
    P256,
    /// The curve P-384.
    P384,
}

/// Key and certificate, both present and belonging together.
pub struct Identity {
    /// The private key.
    pub key: PKey<Private>,
    /// The member's certificate.
    pub certificate: X509,
    /// Its issuers below the root.
    pub chain: Vec<X509>,
}

/// Key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Others may read the private key.
    #[error("others may read {0}")]
    Exposed(PathBuf),
    /// A file does not hold what it should.
    #[error("{path} holds no {what}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// The certificate is for another key.
    #[error("the certificate and the private key do not belong together")]
    Mismatch,
    /// OpenSSL failed.
    #[error("cryptography failed")]
    Crypto(#[from] ErrorStack),
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertError),
}

impl Explain for IdentityError {
    fn exit(&self) -> Exit {
        match self {
            Self::Home(error) => error.exit(),
            Self::Crypto(_) => Exit::Internal,
            _ => Exit::Setup,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::Exposed(path) => Some(format!("chmod 600 {}", path.display())),
            Self::Content { .. } | Self::Mismatch | Self::Certificate(_) => {
                Some("put the right files back, or enrol again in another TWINSEAL_HOME".to_owned())
            }
            Self::Crypto(_) => None,
        }
    }
}

impl KeyType {
    /// Makes a key pair.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn generate(self) -> Result<PKey<Private>, ErrorStack> {
        let curve = |nid| PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(nid)?)?);
        match self {
            Self::Rsa2048 => PKey::from_rsa(Rsa::generate(2048)?),
            Self::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?),
            Self::P256 => curve(Nid::X9_62_PRIME256V1),
            Self::P384 => curve(Nid::SECP384R1),
        }
    }
}

impl Identity {
    /// Reads key and certificate.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(home: &Home) -> Result<Self, IdentityError> {
        let key = load_key(home)?;
        let (certificate, chain) = load_certificate(home)?;
        if !key.public_eq(&*certificate.public_key()?) {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self { key, certificate, chain })
    }

    /// Writes the certificate and its issuers.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn save_certificate(&self, home: &Home) -> Result<(), IdentityError> {
        let mut pem = self.certificate.to_pem()?;
        for issuer in &self.chain {
            pem.extend(issuer.to_pem()?);
        }
        Ok(home::write(&home.certificate(), &pem, 0o644)?)
    }
}

/// Reads the private key; one that others may read is refused.
///
/// # Errors
/// [`IdentityError`].
pub fn load_key(home: &Home) -> Result<PKey<Private>, IdentityError> {
    let path = home.key();
    let pem = Zeroizing::new(home::read(&path)?);
    let mode = std::fs::metadata(&path).map_err(|error| home::failed(&path, error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed(path));
    }
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
        .map_err(|_| IdentityError::Content { path, what: "private key without a password, in PEM" })
}

/// Reads the member's certificate and its issuers.
///
/// # Errors
/// [`IdentityError`].
pub fn load_certificate(home: &Home) -> Result<(X509, Vec<X509>), IdentityError> {
    let path = home.certificate();
    let all = X509::stack_from_pem(&home::read(&path)?).unwrap_or_default();
    let mut all = all.into_iter();
    let own = all.next().ok_or(IdentityError::Content { path, what: "certificate in PEM" })?;
    Ok((own, all.collect()))
}

/// The key of an earlier, unfinished enrolment, or a new one, which is saved before it is used.
///
/// # Errors
/// [`IdentityError`].
pub fn key_for_enrolment(home: &Home, key_type: KeyType) -> Result<PKey<Private>, IdentityError> {
    match load_key(home) {
        Err(IdentityError::Home(HomeError::Missing(path))) => {
            let key = key_type.generate()?;
            let pem = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
            home::write(&path, &pem, 0o600)?;
            Ok(key)
        }
        other => other,
    }
}
