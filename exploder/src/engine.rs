//! What the steps after the spool share: the queue, the peers and whether they are there.

use crate::config::Config;
use crate::deliver::connect::{ConnectError, Smarthost};
use crate::deliver::lanes::Lanes;
use crate::deliver::session::Session;
use crate::events;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::queue::gate::Gate;
use crate::queue::schedule::Schedule;
use crate::roster::Roster;
use crate::spool::Spool;
use crate::spool::post::{SpooledPost, Summary};
use crate::spool::{SpoolError, body::Body};
use crate::verp::VerpKeys;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::{Endpoint, RetryClass};
use twinseal_proto::ids::PostId;
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::follow::Lease;

/// What waits for groupsrv says so.
pub(crate) const GROUPSRV_AWAY: &str = "groupsrv is away or not ready";
/// groupsrv counts as silent when it answers nothing for so long.
const SILENCE: Duration = Duration::from_secs(1);
/// What waits for certsrv says so.
pub(crate) const LEASE_ENDED: &str = "the lease has ended: certsrv is away";
/// What waits for the smarthost says so.
pub(crate) const SMARTHOST_AWAY: &str = "the smarthost is away";

/// The sending side of the exploder.
pub(crate) struct Engine {
    /// Step 3.
    pub(crate) spool: Spool,
    queue: Mutex<Queue>,
    /// Who is on which list.
    pub(crate) roster: Arc<Roster>,
    /// Until when the roster may be acted on.
    pub(crate) lease: Lease,
    groupsrv: Client,
    smarthost: Smarthost,
    /// The copies that may be sent now.
    pub(crate) lanes: Lanes,
    /// Makes envelope senders.
    pub(crate) verp: VerpKeys,
    /// When failed copies are tried again.
    pub(crate) schedule: Schedule,
    /// Counters.
    pub(crate) metrics: Metrics,
    gates: Mutex<Gates>,
    asking: Mutex<Asking>,
    spare: Mutex<Option<Session>>,
    seats: Arc<()>,
    /// Something changed: the runner looks again.
    pub(crate) changed: Notify,
    /// The daemon stops.
    pub(crate) stop: CancellationToken,
    /// The runner has ended.
    pub(crate) sent_all: CancellationToken,
}

/// The questions that groupsrv has not answered, and since when it has answered none.
#[derive(Default)]
struct Asking {
    open: usize,
    since: Option<Instant>,
}

/// One question; dropped when it is answered or given up.
struct Question<'a>(&'a Engine);

impl<'a> Question<'a> {
    fn new(engine: &'a Engine) -> Self {
        let mut asking = engine.asking();
        asking.open += 1;
        asking.since.get_or_insert_with(Instant::now);
        Self(engine)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut asking = self.0.asking();
        asking.open -= 1;
        asking.since = (asking.open > 0).then(Instant::now);
    }
}

/// A connection to the smarthost, open or being made.
pub(crate) struct Seat(#[expect(dead_code, reason = "is counted")] Arc<()>);

#[derive(Default)]
struct Gates {
    groupsrv: Gate,
    smarthost: Gate,
}

/// What [`Engine`] is made of.
pub(crate) struct Parts {
    /// The spool.
    pub(crate) spool: Spool,
    /// The queue that it held.
    pub(crate) queue: Queue,
    /// The roster.
    pub(crate) roster: Arc<Roster>,
    /// Its lease.
    pub(crate) lease: Lease,
    /// groupsrv.
    pub(crate) groupsrv: Client,
    /// The smarthost.
    pub(crate) smarthost: Smarthost,
    /// The keys for envelope senders.
    pub(crate) verp: VerpKeys,
    /// The counters.
    pub(crate) metrics: Metrics,
}

/// groupsrv did not do as asked.
pub(crate) enum AskError {
    /// It is away, or not ready: ask again later.
    Away,
    /// It refused, and would again.
    Refused(twinseal_proto::api::Problem),
}

impl Engine {
    /// Puts it together.
    pub(crate) fn new(config: &Config, parts: Parts, stop: CancellationToken) -> Self {
        let Parts { spool, queue, roster, lease, groupsrv, smarthost, verp, metrics } = parts;
        Self {
            spool,
            queue: Mutex::new(queue),
            roster,
            lease,
            groupsrv,
            smarthost,
            lanes: Lanes::default(),
            verp,
            schedule: Schedule {
                first: config.retry_first_seconds,
                max: config.retry_max_seconds,
                lifetime: config.lifetime_seconds,
            },
            metrics,
            gates: Mutex::default(),
            asking: Mutex::default(),
            spare: Mutex::default(),
            seats: Arc::default(),
            changed: Notify::new(),
            stop,
            sent_all: CancellationToken::new(),
        }
    }

    /// The queue.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message that has just become durable.
    pub(crate) fn add(&self, id: PostId, summary: Summary) {
        self.queue().add(id, summary);
        self.changed.notify_one();
    }

    /// The intake record and the body of a message.
    pub(crate) fn load(&self, id: PostId) -> Result<(SpooledPost, Body), SpoolError> {
        let (intake, body) = self.spool.read(id)?;
        let post = serde_json::from_slice(&intake).map_err(std::io::Error::from)?;
        Ok((post, body))
    }

    fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether groupsrv may be asked, and whether it was there last time.
    pub(crate) fn groupsrv_gate(&self) -> (bool, bool) {
        let gates = self.gates();
        (gates.groupsrv.may_try(Instant::now()), gates.groupsrv.is_open())
    }

    /// The same for the smarthost.
    pub(crate) fn smarthost_gate(&self) -> (bool, bool) {
        let gates = self.gates();
        (gates.smarthost.may_try(Instant::now()), gates.smarthost.is_open())
    }

    /// When a peer that is away is asked next.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        let gates = self.gates();
        [gates.groupsrv.opens(), gates.smarthost.opens()].into_iter().flatten().filter(|at| *at > Instant::now()).min()
    }

    /// groupsrv answered some other call: whatever waits for it goes on.
    pub(crate) fn groupsrv_seen(&self) {
        self.gates().groupsrv.knocked(Instant::now());
        self.changed.notify_one();
    }

    /// Asks groupsrv.
    pub(crate) async fn ask<E: Endpoint>(
        &self,
        request: &E::Request,
        patience: Duration,
    ) -> Result<E::Response, AskError> {
        let asked = Instant::now();
        let question = Question::new(self);
        let answer = self.groupsrv.call::<E>(request, patience).await;
        drop(question);
        self.metrics.groupsrv_answered(asked.elapsed());
        let away: &dyn std::fmt::Display = match &answer {
            Ok(_) => {
                self.peer_answered("groupsrv", |gates| &mut gates.groupsrv);
                return answer.map_err(|_| AskError::Away);
            }
            Err(CallError::Refused(problem)) if problem.code.retry() == RetryClass::Never => {
                self.peer_answered("groupsrv", |gates| &mut gates.groupsrv);
                return Err(AskError::Refused(problem.clone()));
            }
            Err(error) => error,
        };
        self.peer_failed("groupsrv", away, |gates| &mut gates.groupsrv);
        Err(AskError::Away)
    }

    /// A connection to the smarthost: the spare one, or a new one. What follows when there is none, the caller decides.
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(spare) = spare {
            return Ok(spare);
        }
        let connected = self.smarthost.connect().await?;
        self.peer_answered("smarthost", |gates| &mut gates.smarthost);
        Ok(connected)
    }

    /// Counts a connection until the seat is dropped.
    pub(crate) fn seat(&self) -> Seat {
        Seat(Arc::clone(&self.seats))
    }

    /// Connections that are open or being made.
    pub(crate) fn seats(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    /// The smarthost is away, or wants no mail now: nothing is sent until it is asked again.
    pub(crate) fn smarthost_closes(&self, reason: &dyn std::fmt::Display) {
        self.peer_failed("smarthost", reason, |gates| &mut gates.smarthost);
        self.lanes.clear();
    }

    /// Why nothing is sent at present, if so.
    pub(crate) fn blocked(&self) -> Option<&'static str> {
        let silent = self.asking().since.is_some_and(|since| since.elapsed() > SILENCE);
        match (self.lease.live(), self.groupsrv_gate().1 && !silent, self.smarthost_gate().1) {
            (false, ..) => Some(LEASE_ENDED),
            (_, false, _) => Some(GROUPSRV_AWAY),
            (.., false) => Some(SMARTHOST_AWAY),
            _ => None,
        }
    }

    /// Makes sure that the smarthost is there, before any key is wrapped for it.
    pub(crate) async fn smarthost_is_there(&self) -> bool {
        let (may_try, open) = self.smarthost_gate();
        if open || !may_try {
            return open;
        }
        match self.connect().await {
            Ok(session) => {
                *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
                true
            }
            Err(error) => {
                self.smarthost_closes(&error);
                false
            }
        }
    }

    fn peer_answered(&self, peer: &'static str, gate: impl Fn(&mut Gates) -> &mut Gate) {
        let mut gates = self.gates();
        let away = gate(&mut gates).away(Instant::now());
        if gate(&mut gates).answered() {
            drop(gates);
            events::peer_back(peer, away.unwrap_or_default());
            self.changed.notify_one();
        }
    }

    fn peer_failed(&self, peer: &'static str, reason: &dyn std::fmt::Display, gate: impl Fn(&mut Gates) -> &mut Gate) {
        if gate(&mut self.gates()).failed(Instant::now()) {
            events::peer_away(peer, reason);
        }
    }
}
