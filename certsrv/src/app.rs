//! What every call has at hand.

use crate::cert::ca::Ca;
use crate::config::Config;
use crate::events::Metrics;
use crate::registry::Registry;
use crate::revocation::RevocationState;
use openssl::x509::X509;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use twinseal_proto::encoding::Digest;

/// Password hashes that are computed at once; each takes memory and a processor.
pub(crate) const HASHING: usize = 2;
/// Log-ins that are waiting or being computed at once; whoever comes after them is told to come later.
pub(crate) const LOGGING_IN: usize = 64;

/// The running service.
pub(crate) struct App {
    /// The configuration.
    pub(crate) config: Config,
    /// What is known, and the way to change it.
    pub(crate) registry: Arc<Registry>,
    /// Signs members' and lists' certificates.
    pub(crate) members_ca: Ca,
    /// Signs the services' certificates.
    pub(crate) services_ca: Ca,
    /// What is told about certificates' status.
    pub(crate) revocation: RevocationState,
    /// The root of both.
    pub(crate) root: X509,
    /// SHA-256 of the own TLS key.
    pub(crate) pin: Digest,
    /// Guards [`HASHING`].
    pub(crate) hashing: Arc<Semaphore>,
    /// Guards [`LOGGING_IN`].
    pub(crate) logging_in: Semaphore,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Cancelled when the service stops.
    pub(crate) stop: CancellationToken,
}
