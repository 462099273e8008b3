//! What every call has at hand.

use crate::authn::guesses::Guesses;
use crate::cert::ca::Ca;
use crate::config::Config;
use crate::events::Metrics;
use crate::foreign::Imports;
use crate::notices::Post;
use crate::registry::Registry;
use crate::revocation::RevocationState;
use crate::saml::{LoginMetrics, Saml};
use crate::session::Sessions;
use crate::snapshot::Snapshots;
use openssl::x509::X509;
use std::sync::{Arc, Mutex};
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
    /// Signs memberships' certificates.
    pub(crate) memberships_ca: Ca,
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
    /// Counts wrong passwords.
    pub(crate) guesses: Mutex<Guesses>,
    /// What other CAs' certificates have to be under, and how their keys are proven.
    pub(crate) imports: Imports,
    /// Own mail.
    pub(crate) post: Post,
    /// Held by the one examination that runs.
    pub(crate) examining: tokio::sync::Mutex<()>,
    /// Snapshots of the feed that are being fetched.
    pub(crate) snapshots: Snapshots,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Log-in through an identity provider, where one is configured.
    pub(crate) saml: Option<Arc<Saml>>,
    /// Counters of it.
    pub(crate) logins: LoginMetrics,
    /// Who is logged in.
    pub(crate) sessions: Sessions,
    /// Cancelled when the service stops.
    pub(crate) stop: CancellationToken,
}
