//! The loop over the queue: registers, sends, waits for what is away, ends what is done. It lives on a thread of its own
//! with the connections to the smarthost, so that a copy never wakes another thread.

use crate::deliver::worker;
use crate::engine::Engine;
use crate::events;
use crate::queue::Pause;
use crate::queue::schedule::Next;
use crate::send::{chance, send};
use crate::ticket::register;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::{self, JoinSet};
use twinseal_proto::ids::PostId;
use twinseal_proto::time::UnixTime;

/// Messages that are registered, and that are sent, at the same time.
const REGISTERING: usize = 16;
const SENDING: usize = 16;
/// Seconds until what a message waits for is written into the spool again, when that failed.
const WRITE_AGAIN: u64 = if cfg!(test) { 1 } else { 60 };
/// What is told meanwhile.
const NO_END: &str = "its end cannot be written into the spool";
/// The same of a message of which nothing was sent.
pub(crate) const NO_RECIPIENTS: &str = "its recipients cannot be written into the spool";
/// The longest time between two looks at the queue; metrics are renewed then.
const TICK: Duration = Duration::from_secs(15);
/// How long running transactions may take when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);

/// How a step of a message ended.
pub(crate) enum Turn {
    /// For now.
    Pause(Pause),
    /// Nothing is left to do.
    Done,
}

/// groupsrv refused a message, or it cannot be read: it is held, and tried again more and more seldom until the end of
/// its lifetime.
pub(crate) fn hold(engine: &Engine, id: PostId, reason: &str) -> Turn {
    let now = UnixTime::now();
    let (accepted, refusals) = {
        let queue = engine.queue();
        (queue.get(id).map_or(now, |post| post.summary.accepted), queue.refusals(id))
    };
    match engine.schedule.next(accepted, now, refusals.saturating_add(1), chance()) {
        Next::At(at) => {
            events::held(id, reason);
            Turn::Pause(Pause::Held(reason.to_owned(), at))
        }
        Next::GiveUp => {
            events::given_up(id, reason);
            Turn::Done
        }
    }
}

/// The pause of a message for which the spool did not take what must be there first.
pub(crate) fn unwritten(reason: &'static str) -> Pause {
    Pause::Unwritten(reason, UnixTime::now().plus(WRITE_AGAIN))
}

/// Runs until the daemon stops, with `connections` connections to the smarthost.
pub(crate) async fn run(engine: Arc<Engine>, connections: usize) {
    let mut runner =
        Runner { engine: Arc::clone(&engine), workers: JoinSet::new(), steps: JoinSet::new(), running: HashMap::new() };
    for _ in 0..connections {
        runner.add_worker();
    }
    runner.run().await;
    engine.lanes.close();
    let drained = async {
        while let Some(step) = runner.steps.join_next_with_id().await {
            runner.ended(step).await;
        }
        while runner.workers.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

struct Runner {
    engine: Arc<Engine>,
    /// One for each connection.
    workers: JoinSet<()>,
    /// What is being done, and for which message.
    steps: JoinSet<Turn>,
    running: HashMap<task::Id, (PostId, Step)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    Send,
}

impl Runner {
    async fn run(&mut self) {
        let engine = Arc::clone(&self.engine);
        loop {
            engine.queue().feed_moved(engine.roster.sequence(), UnixTime::now());
            self.start();
            self.measure();
            let rest = self.rest();
            tokio::select! {
                Some(step) = self.steps.join_next_with_id() => self.ended(step).await,
                // Before the lanes are closed a worker ends only by failing inside.
                Some(_) = self.workers.join_next() => {
                    events::worker_failed();
                    self.add_worker();
                }
                () = engine.changed.notified() => {}
                () = tokio::time::sleep(rest) => {}
                () = engine.stop.cancelled() => return,
            }
        }
    }

    fn add_worker(&mut self) {
        let engine = Arc::clone(&self.engine);
        self.workers.spawn(async move { worker::run(&engine).await });
    }

    /// Takes up what may be done now. Of a peer that was away only one message asks first.
    fn start(&mut self) {
        let now = UnixTime::now();
        let (groupsrv, groupsrv_open) = self.engine.groupsrv_gate();
        let (smarthost, smarthost_open) = self.engine.smarthost_gate();
        let limit = |most: usize, open: bool| if open { most } else { 1 };
        while groupsrv && self.count(Step::Register) < limit(REGISTERING, groupsrv_open) {
            let Some(id) = self.engine.queue().take_unregistered(now) else { break };
            let engine = Arc::clone(&self.engine);
            let step = self.steps.spawn(async move { register(&engine, id).await });
            self.running.insert(step.id(), (id, Step::Register));
        }
        let may_send = groupsrv && smarthost && self.engine.lease.live();
        // While groupsrv is away, asking is left to registrations if there are any.
        let most = if groupsrv_open { SENDING } else { 1_usize.saturating_sub(self.count(Step::Register)) };
        while may_send && self.count(Step::Send) < limit(most, smarthost_open).min(most) {
            let Some(id) = self.engine.queue().take_due(now) else { break };
            let engine = Arc::clone(&self.engine);
            let step = self.steps.spawn(async move { send(&engine, id).await });
            self.running.insert(step.id(), (id, Step::Send));
        }
    }

    fn count(&self, step: Step) -> usize {
        self.running.values().filter(|(_, running)| *running == step).count()
    }

    /// How long nothing can be done.
    #[expect(clippy::disallowed_methods, reason = "UnixTime has whole seconds, and a retry should not be one late")]
    fn rest(&self) -> Duration {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What is due already waits for a peer, for the lease or for a step to end.
        let ahead = |due: UnixTime| Duration::from_secs(due.0).checked_sub(since).filter(|wait| !wait.is_zero());
        let due = self.engine.queue().next_due().and_then(ahead).unwrap_or(TICK);
        let probe = self.engine.next_probe().map_or(TICK, |at| at.saturating_duration_since(Instant::now()));
        due.min(probe).min(TICK)
    }

    async fn ended(&mut self, step: Result<(task::Id, Turn), task::JoinError>) {
        let task = step.as_ref().map_or_else(task::JoinError::id, |(task, _)| *task);
        let Some((id, _)) = self.running.remove(&task) else { return };
        // One message on which the code fails must not stop the others.
        let turn = step.map_or_else(|_| hold(&self.engine, id, "failed inside"), |(_, turn)| turn);
        match turn {
            Turn::Pause(pause) => {
                if let Pause::Waiting(reason) = &pause {
                    events::waiting(id, reason);
                }
                self.engine.queue().put_back(id, pause, UnixTime::now());
            }
            Turn::Done => self.done(id).await,
        }
        self.move_forward().await;
    }

    async fn done(&mut self, id: PostId) {
        let (sent, failed) = self.engine.queue().get(id).map_or((0, 0), |post| post.totals());
        if let Err(error) = self.engine.spool.done(id).await {
            events::not_written(id, &error);
            // Forgotten now, it would keep its place on the disk until the next start; and a full disk full.
            return self.engine.queue().put_back(id, unwritten(NO_END), UnixTime::now());
        }
        self.engine.queue().remove(id);
        events::done(id, sent, failed);
    }

    /// Messages that alone keep an old segment are written again.
    async fn move_forward(&mut self) {
        for id in self.engine.spool.stuck() {
            let Some(copies) = self.engine.queue().take_idle(id) else { continue };
            if let Err(error) = self.engine.spool.move_forward(id, copies.as_deref()).await {
                events::not_written(id, &error);
            }
            self.engine.queue().release(id);
        }
    }

    fn measure(&self) {
        let queue = self.engine.queue();
        let age = queue.oldest().map_or(0, |oldest| UnixTime::now().since(oldest));
        self.engine.metrics.queue.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
        self.engine.metrics.oldest.set(i64::try_from(age).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
pub(crate) mod tests;
