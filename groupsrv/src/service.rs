//! What the calls share, and the routes by which they come.

use crate::admin;
use crate::authn::{Caller, authenticate};
use crate::certs::{self, Page};
use crate::expand;
use crate::identity::IdentityKey;
use crate::keys::KeyRing;
use crate::keys::create::Creator;
use crate::metrics::Metrics;
use crate::owners;
use crate::record::{Call, Event, Record};
use crate::register;
use crate::roster::Roster;
use crate::store::Index;
use crate::substituted::Substituted;
use axum::Router;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::admin::GetStatus;
use twinseal_proto::api::admin::feed::{AcceptGeneration, AcknowledgeAlarm, ResyncFeed};
use twinseal_proto::api::admin::groupsrv::{AllowExploder, CreateKey, ListKeys};
use twinseal_proto::api::admin::rosters::{Acknowledge, ListRosters, PinGroup};
use twinseal_proto::api::expand::Expand;
use twinseal_proto::api::keys::Certs;
use twinseal_proto::api::tickets::Register;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::GroupId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::follow::Lease;
use twinseal_svc::follow::trust::Followed;
use twinseal_svc::http::{self, route};
use twinseal_svc::pins::Pins;

/// The running service.
pub(crate) struct Service {
    /// The state directory.
    pub(crate) state: PathBuf,
    /// The index.
    pub(crate) index: Arc<Index>,
    /// Groups and members.
    pub(crate) roster: Arc<Roster>,
    /// Which feed is followed, and what is wrong with it.
    pub(crate) feed: Arc<Followed>,
    /// Until when the roster may be acted on.
    pub(crate) lease: Lease,
    /// The group keys; replaced when one is made.
    pub(crate) ring: RwLock<Arc<KeyRing>>,
    /// What exploders are told about them.
    pub(crate) page: watch::Sender<Arc<Page>>,
    /// Recognises content-encryption keys.
    pub(crate) identity: IdentityKey,
    /// The audit log.
    pub(crate) audit: Audit,
    /// Who may call.
    pub(crate) pins: RwLock<Pins>,
    /// Makes group keys.
    pub(crate) creator: Creator,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// How many substitute keys were given, by day.
    pub(crate) substituted: Mutex<Substituted>,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
    /// Cancelled when the daemon stops.
    pub(crate) stop: CancellationToken,
}

impl Service {
    /// The group keys at this moment.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether calls are answered: the roster is there and up to date.
    pub(crate) fn is_ready(&self) -> bool {
        self.roster.is_complete() && self.lease.live()
    }

    /// Who calls.
    pub(crate) fn caller(&self, caller: &http::Caller) -> Caller {
        authenticate(caller, &self.pins.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a record; durable when this returns.
    ///
    /// # Errors
    /// An `internal` problem: the answer may not be given.
    pub(crate) async fn record(&self, event: Event) -> Result<(), Problem> {
        let record = Record { time: UnixTime::now(), event };
        self.audit.record(&record).await.map_err(|error| internal("audit", &error))
    }

    /// Records and counts the refusal of a whole call, and gives it back to be answered.
    pub(crate) async fn refuse(
        &self,
        caller: Caller,
        call: Call,
        group: GroupId,
        message: Option<Digest>,
        problem: Problem,
    ) -> Problem {
        self.metrics.refused(&problem.code.to_string(), 1);
        let reason = problem.to_string();
        match self.record(Event::Refused { caller: caller.digest(), call, group, message, reason }).await {
            Ok(()) => problem,
            Err(failed) => failed,
        }
    }

    /// Blocking work that must not hold up others.
    ///
    /// # Errors
    /// An `internal` problem when it did not end.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&service)).await.map_err(|error| internal("task", &error))
    }
}

/// A failure of our own: the log has the rest.
pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> Problem {
    tracing::error!(what, error = %chain(error), "a call failed");
    Problem::new(ProblemCode::Internal, format!("{what} failed"))
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text.push_str(&format!(": {cause}"));
        at = cause.source();
    }
    text
}

/// The exploders' calls.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    let router = Router::new();
    let router = route::<Certs, _, _, _>(router, certs::certs);
    let router = route::<Register, _, _, _>(router, register::register);
    let router = route::<Expand, _, _, _>(router, expand::expand);
    router.with_state(service)
}

/// The administrators' calls.
pub(crate) fn admin_routes(service: Arc<Service>) -> Router {
    let router = Router::new();
    let router = route::<GetStatus, _, _, _>(router, admin::status);
    let router = route::<CreateKey, _, _, _>(router, admin::create_key);
    let router = route::<ListKeys, _, _, _>(router, admin::list_keys);
    let router = route::<AllowExploder, _, _, _>(router, admin::allow_exploder);
    let router = route::<AcceptGeneration, _, _, _>(router, admin::accept_generation);
    let router = route::<ResyncFeed, _, _, _>(router, admin::resync);
    let router = route::<AcknowledgeAlarm, _, _, _>(router, admin::acknowledge);
    let router = route::<PinGroup, _, _, _>(router, owners::pin);
    let router = route::<ListRosters, _, _, _>(router, owners::list);
    let router = route::<Acknowledge, _, _, _>(router, owners::acknowledge);
    router.with_state(service)
}
