//! certsrv's own TLS identity: made by `init`, renewed by `serve` with the same key, since that is what peers pin.

use crate::audit::{Actor, Record};
use crate::cert::ca::{Ca, CaError};
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::config::Config;
use crate::layout::Layout;
use crate::random;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use twinseal_proto::cert::not_after;
use twinseal_proto::encoding::B64;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::commit::CommitError;
use twinseal_svc::durable;
use twinseal_svc::tls::{Identity, TlsError};

/// The identity cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Its files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// OpenSSL.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// The audit log.
    #[error("audit")]
    Audit(#[from] CommitError),
    /// A name in the configuration is none.
    #[error("names: at least one DNS name or IP address of this service is wanted")]
    Names,
}

/// Certifies `key` for the configured names and keeps both in the state directory.
pub(crate) async fn make(
    layout: &Layout,
    config: &Config,
    services: &Ca,
    root: &X509,
    key: PKey<Private>,
    audit: &Audit,
) -> Result<Identity, IdentityError> {
    let names = config.names().filter(|names| !names.is_empty()).ok_or(IdentityError::Names)?;
    let now = UnixTime::now();
    let serial = Serial::from_random(random::octets()?);
    let profile = Profile::service("certsrv", names);
    let prepared = services.prepare(&profile, &key.public_key_to_der()?, serial, now, config.service_days)?;
    audit.record(&Record::intent(now, &Actor::Clock, None, &serial, B64(prepared.tbs.clone()))).await?;
    let own = X509::from_der(&services.issue(prepared)?)?;
    let identity = Identity::new(key, vec![own, services.certificate().clone()], root.clone());
    identity.save(&layout.tls())?;
    Ok(identity)
}

/// Reads the identity; one that ends within a third of its life is certified anew first.
pub(crate) async fn load(
    layout: &Layout,
    config: &Config,
    services: &Ca,
    root: &X509,
    audit: &Audit,
) -> Result<Identity, IdentityError> {
    let identity = Identity::load(&layout.tls())?;
    let file = |name: &str| layout.tls().join(name);
    let presented = X509::stack_from_pem(&std::fs::read(file("chain.pem")).map_err(TlsError::File)?)?;
    let own = presented.first().cloned().ok_or_else(|| TlsError::Empty(file("chain.pem").display().to_string()))?;
    let left = not_after(&own).unwrap_or_default().since(UnixTime::now());
    let key = PKey::private_key_from_pem(&durable::read_secret(&file("key.pem")).map_err(TlsError::File)?)?;
    if left > u64::from(config.service_days) * 86_400 / 3 {
        if presented.get(1).is_some_and(|issuer| *issuer == *services.certificate()) {
            return Ok(identity);
        }
        // The sub-CA was renewed: the certificate is good under the new one, which is presented from now on.
        let identity = Identity::new(key, vec![own, services.certificate().clone()], root.clone());
        identity.save(&layout.tls())?;
        return Ok(identity);
    }
    make(layout, config, services, root, key, audit).await
}
