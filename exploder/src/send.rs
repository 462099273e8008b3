//! One turn of a message: at the first it is written down to whom it goes. Its due copies are expanded in batches, handed
//! to the connections, and what became of them is written down. The next batch is asked for while the one before is sent.

use crate::assemble::Assembler;
use crate::deliver::lanes::{End, Sending};
use crate::deliver::{Outcome, Reason};
use crate::engine::{Engine, GROUPSRV_AWAY, LEASE_ENDED, SMARTHOST_AWAY};
use crate::events;
use crate::expand::{BATCH, Expansion, NotExpanded, expand};
use crate::owners;
use crate::queue::schedule::Next;
use crate::queue::{Pause, seconds};
use crate::roster::Member;
use crate::runner::{NO_RECIPIENTS, Turn, hold, unwritten};
use crate::spool::SpoolError;
use crate::spool::post::SpooledPost;
use crate::spool::record::{Recipient, State};
use std::sync::Arc;
use std::time::{Duration, Instant};
use twinseal_proto::api::expand::Denied;
use twinseal_proto::feed::Delivery;
use twinseal_proto::ids::{MemberNumber, PostId};
use twinseal_proto::time::UnixTime;

/// While other messages wait, a message hands over after so long.
const SLICE: Duration = Duration::from_secs(5);
/// How long copies that ended are gathered before they are written down together: what a crash may send twice.
const GATHER: Duration = Duration::from_millis(2);

/// Seconds until a message is looked at again that waits for an owner's word about the roster.
const UNSERVED: u64 = if cfg!(test) { 1 } else { 10 };

/// Sends what is due of a message.
pub(crate) async fn send(engine: &Engine, id: PostId) -> Turn {
    if !engine.lease.live() {
        return Turn::Pause(Pause::Waiting(LEASE_ENDED));
    }
    if !engine.smarthost_is_there().await {
        return Turn::Pause(Pause::Waiting(SMARTHOST_AWAY));
    }
    let loaded = engine.load(id).and_then(|(post, body)| {
        let assembler = Assembler::new(&post, body, engine.spool.tmp())?;
        Ok((post, assembler))
    });
    let (post, assembler) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            events::unreadable(id, &error);
            return hold(engine, id, "cannot be read from the spool");
        }
    };
    if let Some(reason) = engine.roster.unserved(&post.group, UnixTime::now()) {
        return match hold(engine, id, &reason) {
            // An owner or an administrator ends it, so look again soon.
            Turn::Pause(Pause::Held(reason, at)) => {
                Turn::Pause(Pause::Held(reason, at.min(UnixTime::now().plus(UNSERVED))))
            }
            other => other,
        };
    }
    if let Err(error) = settle_recipients(engine, id, &post).await {
        events::not_written(id, &error);
        // What is sent now would be sent again after a restart, which knows of no copies.
        return Turn::Pause(unwritten(NO_RECIPIENTS));
    }
    let mut turn = Sender {
        engine,
        sending: Sending::new(id, post.list.clone(), assembler),
        post: &post,
        place: 0,
        flying: 0,
        asked: 0,
        unwritten: Vec::new(),
    };
    let pause = turn.run().await;
    turn.write_down().await;
    let next = engine.queue().get(id).map(|post| post.next_copy().is_some());
    match (pause, next) {
        (_, Some(false)) => Turn::Done,
        (Stop::Pause(pause), _) => Turn::Pause(pause),
        (Stop::Refused(detail), _) => hold(engine, id, &detail),
    }
}

/// At the first turn: the message goes to who is a member now. That is settled when it is written down.
async fn settle_recipients(engine: &Engine, id: PostId, post: &SpooledPost) -> Result<(), SpoolError> {
    if engine.queue().get(id).is_none_or(|post| post.copies.is_some()) {
        return Ok(());
    }
    let members = engine.roster.recipients(&post.group, post.author, UnixTime::now());
    engine.spool.recipients(id, &members).await?;
    events::recipients(id, members.len());
    engine.queue().set_members(id, members);
    Ok(())
}

/// Why no further batch is asked for.
enum Stop {
    /// The turn is over.
    Pause(Pause),
    /// groupsrv does not open the message: why.
    Refused(String),
}

/// A turn under way.
struct Sender<'a> {
    engine: &'a Engine,
    post: &'a SpooledPost,
    sending: Arc<Sending>,
    /// The first copy that was not looked at in this turn.
    place: usize,
    /// Copies that are in a lane or on a connection.
    flying: usize,
    /// Copies that were asked for.
    asked: usize,
    /// Copies of which something is to be written down.
    unwritten: Vec<Recipient>,
}

impl Drop for Sender<'_> {
    /// Only a turn that fails inside leaves copies in its lane. Nobody would write down what becomes of them.
    fn drop(&mut self) {
        self.engine.lanes.remove(&self.sending);
    }
}

impl Sender<'_> {
    async fn run(&mut self) -> Stop {
        let (engine, post) = (self.engine, self.post);
        let began = Instant::now();
        let mut stop = None;
        let mut asking = None;
        loop {
            if asking.is_none() && stop.is_none() && self.flying <= BATCH.1 / 2 {
                stop = self.stopped(began);
                if stop.is_none() {
                    let batch = self.next_batch();
                    if batch.is_empty() {
                        stop = Some(Stop::Pause(Pause::NextCopy));
                    } else {
                        self.asked += batch.len();
                        asking = Some(Box::pin(expand(engine, post, batch)));
                    }
                }
            }
            if asking.is_none() && self.flying == 0 {
                return stop.unwrap_or(Stop::Pause(Pause::NextCopy));
            }
            let sending = Arc::clone(&self.sending);
            tokio::select! {
                answer = async {
                    match &mut asking {
                        Some(asking) => asking.await,
                        None => std::future::pending().await,
                    }
                } => {
                    asking = None;
                    match answer {
                        Ok(expansion) => self.take_expansion(expansion),
                        Err(NotExpanded::Away) => stop = Some(Stop::Pause(Pause::Waiting(GROUPSRV_AWAY))),
                        Err(NotExpanded::NotRegistered) if engine.queue().refusals(sending.id) == 0 => {
                            stop = Some(Stop::Pause(Pause::Unregistered));
                        }
                        Err(NotExpanded::NotRegistered) => stop = Some(Stop::Refused("groupsrv forgets the message's key".into())),
                        Err(NotExpanded::Refused(problem)) => {
                            stop = Some(Stop::Refused(format!("groupsrv: {}", problem.detail)));
                        }
                    }
                }
                () = sending.news() => {
                    tokio::time::sleep(GATHER).await;
                    self.settle();
                    self.write_down().await;
                    if self.engine.smarthost_gate() == (false, false) {
                        stop = Some(Stop::Pause(Pause::Waiting(SMARTHOST_AWAY)));
                    }
                }
                () = engine.stop.cancelled(), if asking.is_some() => {
                    asking = None;
                    stop = Some(Stop::Pause(Pause::NextCopy));
                }
            }
        }
    }

    /// Why no further batch is asked for, if so.
    fn stopped(&self, began: Instant) -> Option<Stop> {
        if !self.engine.lease.live() {
            return Some(Stop::Pause(Pause::Waiting(LEASE_ENDED)));
        }
        let others = began.elapsed() > SLICE && self.engine.queue().others_due(UnixTime::now());
        (others || self.engine.stop.is_cancelled()).then_some(Stop::Pause(Pause::NextCopy))
    }

    /// The next due copies whose members are still there and want them. The others are dropped here.
    fn next_batch(&mut self) -> Vec<(MemberNumber, Arc<Member>)> {
        let time = UnixTime::now();
        let now = seconds(time);
        let mut later = Vec::new();
        let size = if self.asked == 0 { BATCH.0 } else { BATCH.1 };
        let mut batch = Vec::with_capacity(size);
        let mut queue = self.engine.queue();
        let copies = queue.get_mut(self.sending.id).and_then(|post| post.copies.as_mut());
        for copy in copies.into_iter().flatten().skip(self.place) {
            if batch.len() == size {
                break;
            }
            self.place += 1;
            if copy.state.is_final() || copy.due > now {
                continue;
            }
            let wants =
                |member: &Arc<Member>| member.group == self.post.group && member.options.delivery == Delivery::On;
            let member = self.engine.roster.member(copy.number).filter(wants);
            let may = member.as_ref().map(|member| self.engine.roster.delivery(member, time));
            match (member, may) {
                (Some(member), Some(owners::Delivery::Now)) => batch.push((copy.number, member)),
                (Some(_), Some(owners::Delivery::Later)) => later.push(copy.number),
                _ => {
                    copy.state = State::Dropped;
                    self.engine.metrics.dropped.inc();
                    self.unwritten.push(*copy);
                }
            }
        }
        drop(queue);
        later.into_iter().for_each(|number| self.park(number));
        batch
    }

    /// A member to whom nothing may go at present has no copy until the feed brings news, or the next try.
    fn park(&mut self, number: MemberNumber) {
        let sequence = self.engine.roster.sequence();
        self.engine.queue().note_parked(self.sending.id, sequence);
        self.again(number, State::Parked, Reason::NoLiveKey);
    }

    /// Hands wrapped copies to the connections, and deals with the members who get none.
    fn take_expansion(&mut self, expansion: Expansion) {
        self.flying += expansion.copies.len();
        self.engine.lanes.push(&self.sending, expansion.copies);
        for number in expansion.unusable {
            self.again(number, State::Due, Reason::Unusable);
        }
        for (number, reason) in expansion.denied {
            match reason {
                Denied::JoinedLater => self.drop_copy(number, "joined later"),
                Denied::NotAMember if self.ask_once_more(number) => {
                    self.again(number, State::Due, Reason::NotKnownYet);
                }
                Denied::NotAMember => self.drop_copy(number, "not a member"),
                Denied::NoLiveKey => self.park(number),
            }
        }
    }

    fn copy(&self, number: MemberNumber) -> Option<Recipient> {
        self.engine.queue().get_mut(self.sending.id)?.copy_mut(number).copied()
    }

    /// Whether groupsrv, which does not know the member, may only not have followed the feed so far: when the roster here
    /// has the member, once for each copy, however often the copy was tried otherwise.
    fn ask_once_more(&self, number: MemberNumber) -> bool {
        let here = self.engine.roster.member(number).is_some_and(|member| member.group == self.post.group);
        here && self.engine.queue().get_mut(self.sending.id).is_some_and(|post| post.note_unknown(number))
    }

    /// Takes what became of copies in the lanes and on connections into the queue.
    fn settle(&mut self) {
        let settled = self.sending.take_settled();
        self.flying -= settled.len();
        for (number, end) in settled {
            match end {
                End::Tried(Outcome::Sent) => {
                    self.engine.metrics.sent.inc();
                    self.change(number, |copy| copy.state = State::Sent);
                }
                End::Tried(Outcome::Defer(reason)) => self.again(number, State::Due, reason),
                End::Tried(Outcome::Fail(reason)) => self.fail(number, reason),
                End::Left => self.drop_copy(number, "left"),
                End::Untouched => {}
            }
        }
    }

    fn change(&mut self, number: MemberNumber, change: impl FnOnce(&mut Recipient)) {
        let mut queue = self.engine.queue();
        if let Some(copy) = queue.get_mut(self.sending.id).and_then(|post| post.copy_mut(number)) {
            change(copy);
            self.unwritten.push(*copy);
        }
    }

    fn drop_copy(&mut self, number: MemberNumber, why: &'static str) {
        events::dropped(self.sending.id, number, why);
        self.engine.metrics.dropped.inc();
        self.change(number, |copy| copy.state = State::Dropped);
    }

    fn fail(&mut self, number: MemberNumber, reason: Reason) {
        events::failed(self.sending.id, number, &reason);
        self.engine.metrics.failed.inc();
        self.change(number, |copy| copy.state = State::Failed);
    }

    /// A try failed: another one later, or none.
    fn again(&mut self, number: MemberNumber, state: State, reason: Reason) {
        #[cfg(test)]
        crate::runner::tests::stumble(number, crate::runner::tests::STEP_STUMBLES);
        let (now, id) = (UnixTime::now(), self.sending.id);
        let attempts = self.copy(number).map_or(0, |copy| copy.attempts).saturating_add(1);
        match self.engine.schedule.next(self.post.accepted, now, attempts, chance()) {
            Next::GiveUp => self.fail(number, if state == State::Parked { Reason::NoLiveKey } else { Reason::Expired }),
            Next::At(at) => {
                match state {
                    State::Parked => events::parked(id, number),
                    _ => events::deferred(id, number, attempts, &reason),
                }
                self.engine.metrics.deferred.inc();
                self.change(number, |copy| {
                    *copy = Recipient { number, due: seconds(at), attempts, state };
                });
            }
        }
    }

    /// Writes down what became of copies. When that fails it is right in memory all the same.
    async fn write_down(&mut self) {
        let unwritten = std::mem::take(&mut self.unwritten);
        if !unwritten.is_empty()
            && let Err(error) = self.engine.spool.outcomes(self.sending.id, &unwritten).await
        {
            events::not_written(self.sending.id, &error);
        }
    }
}

/// A random octet, for the schedule.
pub(crate) fn chance() -> u8 {
    let mut octet = [0];
    // Without chance copies come back together, which is no harm.
    let _ = openssl::rand::rand_bytes(&mut octet);
    octet[0]
}
