//! Which certificates we believe: those with a path to the root that was given at enrolment (RFC 5280 section 6).

use crate::exit::{Exit, Explain};
use crate::home::{self, Home, HomeError};
use crate::show;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext};
use twinseal_proto::cert;
use twinseal_proto::encoding::Digest;

/// The trust anchors.
pub struct Anchors(Vec<X509>);

/// What a certificate is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is under the root and live.
    Any,
    /// It made a signature on a mail (RFC 8550 section 4.4), which may have been long ago: its validity is not asked.
    Signature,
}

/// A certificate is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The roots cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The file with the roots holds none.
    #[error("there is no certificate in {0}")]
    NoRoot(String),
    /// There is no good path to a root.
    #[error("the certificate of {subject} is not under the root: {reason}")]
    NotUnderRoot {
        /// The certificate's addresses, or its subject.
        subject: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// OpenSSL failed.
    #[error("cryptography failed")]
    Crypto(#[from] ErrorStack),
}

impl Explain for TrustError {
    fn exit(&self) -> Exit {
        match self {
            Self::Home(error) => error.exit(),
            Self::NoRoot(_) => Exit::Setup,
            Self::NotUnderRoot { .. } => Exit::Data,
            Self::Crypto(_) => Exit::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::NoRoot(_) => Some("get the root certificate, in PEM, from whoever runs the lists".to_owned()),
            Self::NotUnderRoot { .. } => {
                Some("compare root.pem with the fingerprint that whoever runs the lists publishes".to_owned())
            }
            Self::Crypto(_) => None,
        }
    }
}

impl Anchors {
    /// Reads `root.pem`.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn load(home: &Home) -> Result<Self, TrustError> {
        Self::from_pem(&home::read(&home.root())?, &home.root().display().to_string())
    }

    /// Takes the certificates in a PEM text; `name` is for the error.
    ///
    /// # Errors
    /// [`TrustError::NoRoot`].
    pub fn from_pem(pem: &[u8], name: &str) -> Result<Self, TrustError> {
        let roots = X509::stack_from_pem(pem).unwrap_or_default();
        if roots.is_empty() { Err(TrustError::NoRoot(name.to_owned())) } else { Ok(Self(roots)) }
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[X509] {
        &self.0
    }

    /// Whether this certificate is one of the roots.
    #[must_use]
    pub fn contains(&self, certificate: &X509Ref) -> bool {
        let wanted = fingerprint(certificate);
        self.0.iter().any(|root| fingerprint(root) == wanted)
    }

    /// An OpenSSL store of the roots.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn store(&self) -> Result<X509StoreBuilder, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for root in &self.0 {
            store.add_cert(root.clone())?;
        }
        Ok(store)
    }

    /// Looks for a path from `certificate` to a root; `issuers` may help and are not believed themselves.
    ///
    /// # Errors
    /// [`TrustError::NotUnderRoot`].
    pub fn check<'a>(
        &self,
        certificate: &X509Ref,
        issuers: impl IntoIterator<Item = &'a X509>,
        purpose: Purpose,
    ) -> Result<(), TrustError> {
        let mut store = self.store()?;
        match purpose {
            Purpose::Any => store.set_purpose(X509PurposeId::ANY)?,
            Purpose::Signature => {
                store.set_purpose(X509PurposeId::SMIME_SIGN)?;
                store.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
            }
        }
        let store: X509Store = store.build();
        let mut untrusted = Stack::new()?;
        for issuer in issuers {
            untrusted.push(issuer.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        let (good, reason) = context.init(&store, certificate, &untrusted, |context| {
            let good = context.verify_cert()?;
            Ok((good, context.error().error_string()))
        })?;
        if good {
            return Ok(());
        }
        Err(TrustError::NotUnderRoot { subject: name(certificate), reason: reason.to_owned() })
    }
}

/// SHA-256 over the certificate's DER: how certificates are shown and compared.
#[must_use]
pub fn fingerprint(certificate: &X509Ref) -> Digest {
    // An X509 that was parsed can be written; the digest of nothing equals no certificate's.
    Digest::of(&certificate.to_der().unwrap_or_default())
}

/// Whether the certificate bears this address, without regard to case.
#[must_use]
pub fn is_for(certificate: &X509Ref, address: &str) -> bool {
    let wanted = address.to_lowercase();
    cert::mail_addresses(certificate).iter().any(|found| found.to_lowercase() == wanted)
}

/// The certificate's first address, else its common name, else its fingerprint; on one line, whatever it says.
#[must_use]
pub fn name(certificate: &X509Ref) -> String {
    let common_name = || {
        let entry = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME).next()?;
        entry.data().to_string().ok()
    };
    let name = cert::mail_addresses(certificate).into_iter().next().or_else(common_name);
    name.map_or_else(|| fingerprint(certificate).to_string(), |name| show::on_one_line(&name))
}
