//! What the `group` commands of groupsrv and the exploder share.

use openssl::error::ErrorStack;
use openssl::x509::X509;
use std::io;
use std::path::{Path, PathBuf};
use twinseal_proto::api::admin::rosters::Standing;
use twinseal_proto::cert::{CertError, spki_digest};
use twinseal_proto::encoding::Digest;

/// The owner to pin.
#[derive(Debug, clap::Args)]
pub struct OwnerArgs {
    /// The first owner's certificate, in PEM or DER
    #[arg(long, value_name = "FILE")]
    pub owner_cert: PathBuf,
    /// Take the place of another pin: all that was signed under it is void
    #[arg(long)]
    pub replace: bool,
}

/// A certificate to pin.
pub struct OwnerCertificate {
    /// SHA-256 of its DER SubjectPublicKeyInfo: what is pinned.
    pub key: Digest,
    /// SHA-256 of the certificate, for comparison with what the owner sees.
    pub fingerprint: Digest,
}

/// The file holds no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OwnerCertificateError {
    /// It cannot be read.
    #[error("{path}: cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate is in it.
    #[error("{path}: no certificate in PEM or DER")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ErrorStack,
    },
    /// Its key cannot be used.
    #[error(transparent)]
    Key(#[from] CertError),
    /// It has no digest.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
}

impl OwnerCertificate {
    /// Reads the first certificate in a file.
    ///
    /// # Errors
    /// [`OwnerCertificateError`].
    pub fn load(path: &Path) -> Result<Self, OwnerCertificateError> {
        let octets =
            std::fs::read(path).map_err(|source| OwnerCertificateError::File { path: path.to_owned(), source })?;
        let certificate = X509::from_pem(&octets)
            .or_else(|_| X509::from_der(&octets))
            .map_err(|source| OwnerCertificateError::Content { path: path.to_owned(), source })?;
        Ok(Self { key: spki_digest(&certificate)?, fingerprint: Digest::of(&certificate.to_der()?) })
    }

    /// For people, who compare it.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "owner's key {}\ncertificate fingerprint (SHA-256) {}\ncompare it with the owner",
            self.key, self.fingerprint
        )
    }
}

/// A signed roster, for people.
#[must_use]
pub fn text(standing: &Standing) -> String {
    let Standing { group, list, signed, pinned, owners, members, sequence, head, .. } = standing;
    let name = match (list, group) {
        (Some(list), Some(group)) => format!("{list} (group {group})"),
        (Some(list), None) => format!("{list} (not in the feed yet)"),
        (None, group) => group.map(|group| group.to_string()).unwrap_or_default(),
    };
    let said = if *signed { "signed" } else { "not signed" };
    let mut text = format!("{name}: {said} by the feed");
    match pinned {
        Some(pinned) => {
            let head = head.map_or("none".to_owned(), |issued| issued.to_string());
            text.push_str(&format!(
                "\n  first owner {pinned}\n  {members} members at statement {sequence}, head {head}"
            ));
            owners.iter().for_each(|owner| text.push_str(&format!("\n  owner {owner}")));
        }
        None => text.push_str(", no owner pinned"),
    }
    standing.warnings().iter().for_each(|warning| text.push_str(&format!("\n  warning: {warning}")));
    text
}
