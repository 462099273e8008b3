//! TLS 1.2 and 1.3 with the system's OpenSSL: who we are, whom we let in, whom we call.

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    SslAcceptor, SslConnector, SslContextBuilder, SslMethod, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::verify::X509VerifyFlags;
use std::path::Path;
use std::sync::Arc;
use twinseal_proto::cert::spki_digest;
use twinseal_proto::encoding::Digest;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key or certificate file cannot be read.
    #[error("TLS file")]
    File(#[from] std::io::Error),
    /// OpenSSL does not take it.
    #[error("TLS set-up")]
    Ssl(#[from] ErrorStack),
    /// The files hold no certificate.
    #[error("no certificate in {0}")]
    Empty(String),
}

/// A service's TLS key, its certificate with issuers, and the root it believes in.
#[derive(Clone)]
pub struct Identity {
    key: PKey<Private>,
    chain: Vec<X509>,
    root: X509,
}

impl Identity {
    /// Puts an identity together. `chain` begins with the service's own certificate.
    #[must_use]
    pub const fn new(key: PKey<Private>, chain: Vec<X509>, root: X509) -> Self {
        Self { key, chain, root }
    }

    /// Reads `key.pem`, `chain.pem` and `root.pem` in `dir`.
    ///
    /// # Errors
    /// [`TlsError`]; a key that others may read is refused.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let key = PKey::private_key_from_pem(&crate::durable::read_secret(&dir.join("key.pem"))?)?;
        let chain = X509::stack_from_pem(&std::fs::read(dir.join("chain.pem"))?)?;
        if chain.is_empty() {
            return Err(TlsError::Empty(dir.join("chain.pem").display().to_string()));
        }
        let root = X509::from_pem(&std::fs::read(dir.join("root.pem"))?)?;
        Ok(Self { key, chain, root })
    }

    /// Writes the three files into `dir`, making it.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn save(&self, dir: &Path) -> Result<(), TlsError> {
        crate::durable::make_dir(dir)?;
        let mut chain = Vec::new();
        for certificate in &self.chain {
            chain.extend_from_slice(&certificate.to_pem()?);
        }
        let key = zeroize::Zeroizing::new(self.key.private_key_to_pem_pkcs8()?);
        crate::durable::replace(&dir.join("key.pem"), &key)?;
        crate::durable::replace(&dir.join("root.pem"), &self.root.to_pem()?)?;
        crate::durable::replace(&dir.join("chain.pem"), &chain)?;
        Ok(())
    }

    /// SHA-256 of our own public key: what peers pin.
    ///
    /// # Errors
    /// [`TlsError::Ssl`].
    pub fn pin(&self) -> Result<Digest, TlsError> {
        Ok(Digest::of(&self.key.public_key_to_der()?))
    }

    /// The root that we believe in.
    #[must_use]
    pub const fn root(&self) -> &X509 {
        &self.root
    }

    fn present(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        context.set_private_key(&self.key)?;
        let mut certificates = self.chain.iter();
        if let Some(own) = certificates.next() {
            context.set_certificate(own)?;
        }
        for issuer in certificates {
            context.add_extra_chain_cert(issuer.clone())?;
        }
        Ok(())
    }
}

/// Whom a server lets in.
#[derive(Clone)]
pub enum Clients {
    /// Anybody; a certificate is asked for and checked against `roots`, and its absence is left to the calls. Chains are
    /// checked for any purpose: a member's S/MIME certificate (EKU emailProtection) may log in.
    Optional(Vec<X509>),
    /// Only these public keys, under the service's own root.
    Pinned(Arc<dyn Fn(&Digest) -> bool + Send + Sync>),
}

/// A server's side of TLS.
///
/// # Errors
/// [`TlsError::Ssl`].
pub fn acceptor(identity: &Identity, clients: Clients) -> Result<SslAcceptor, TlsError> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_session_id_context(b"twinseal")?;
    // A resumed session would skip the check of the client's certificate.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(openssl::ssl::SslOptions::NO_TICKET);
    builder.set_num_tickets(0)?;
    identity.present(&mut builder)?;
    match clients {
        Clients::Optional(roots) => {
            for root in roots {
                builder.add_client_ca(&root)?;
                builder.cert_store_mut().add_cert(root)?;
            }
            builder.verify_param_mut().set_purpose(openssl::x509::X509PurposeId::ANY)?;
            builder.set_verify(SslVerifyMode::PEER);
        }
        Clients::Pinned(known) => {
            builder.cert_store_mut().add_cert(identity.root.clone())?;
            builder.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |ok, store| {
                let leaf = store.error_depth() == 0;
                ok && (!leaf || store.current_cert().is_some_and(|c| spki_digest(c).is_ok_and(|d| known(&d))))
            });
        }
    }
    Ok(builder.build())
}

/// A client's side of TLS: the server's certificate must be under `root` and its public key must be `pin`. Names are not
/// looked at: the pin says more.
///
/// # Errors
/// [`TlsError::Ssl`].
pub fn connector(root: &X509, pin: Digest, identity: Option<&Identity>) -> Result<SslConnector, TlsError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    let mut roots = openssl::x509::store::X509StoreBuilder::new()?;
    roots.add_cert(root.clone())?;
    builder.set_cert_store(roots.build());
    builder.verify_param_mut().set_flags(X509VerifyFlags::X509_STRICT)?;
    builder.set_verify_callback(SslVerifyMode::PEER, move |ok, store| {
        let leaf = store.error_depth() == 0;
        ok && (!leaf || store.current_cert().is_some_and(|c| spki_digest(c).is_ok_and(|d| d == pin)))
    });
    if let Some(identity) = identity {
        identity.present(&mut builder)?;
    }
    Ok(builder.build())
}
