//! `twinseal export`: key, certificate and issuers as a PKCS #12 file (RFC 7292) for a mail program.

use crate::exit::{Exit, Explain, Failure};
use crate::home::{self, Home};
use crate::identity::Identity;
use crate::trust::{self, Anchors};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::stack::Stack;
use std::path::Path;
use zeroize::Zeroizing;

/// PKCS #12 iterations: what OpenSSL takes itself. The password should be good, or the file short-lived.
const ITERATIONS: u32 = 2048;

/// The file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// OpenSSL failed.
    #[error("the PKCS #12 file cannot be made")]
    Crypto(#[from] ErrorStack),
}

impl Explain for ExportError {
    fn exit(&self) -> Exit {
        Exit::Internal
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// Writes the file, readable by its owner only.
///
/// Key and certificates are encrypted with pbeWithSHAAnd3-KeyTripleDES-CBC under an HMAC with SHA-1: old, but the one form
/// that Thunderbird, gpgsm, Outlook, macOS and OpenSSL without its legacy provider all import.
///
/// # Errors
/// [`Failure`].
pub fn export(home: &Home, path: &Path, password: &Zeroizing<String>) -> Result<(), Failure> {
    let identity = Identity::load(home)?;
    let der = build(&identity, &Anchors::load(home)?, password).map_err(ExportError::from)?;
    Ok(home::write(path, &der, 0o600)?)
}

fn build(identity: &Identity, anchors: &Anchors, password: &str) -> Result<Vec<u8>, ErrorStack> {
    let mut issuers = Stack::new()?;
    for issuer in identity.chain.iter().chain(anchors.roots()) {
        issuers.push(issuer.clone())?;
    }
    Pkcs12::builder()
        .name(&trust::name(&identity.certificate))
        .pkey(&identity.key)
        .cert(&identity.certificate)
        .ca(issuers)
        .key_algorithm(Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC)
        .cert_algorithm(Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC)
        .key_iter(ITERATIONS)
        .mac_iter(ITERATIONS)
        .mac_md(MessageDigest::sha1())
        .build2(password)?
        .to_der()
}
