//! One connection's work: take a copy, make its text, send it, say how it ended. No task, file or sync a copy.

use super::lanes::{Copy, End, Sending};
use super::session::{Buffers, Message, Sent, Session};
use super::{Outcome, Reason};
use crate::engine::{Engine, Seat};
use crate::events;
use crate::verp::Claim;
use std::time::Duration;
use tokio::time::timeout;
use twinseal_proto::ids::MemberNumber;
use twinseal_proto::time::UnixTime;

/// A connection that has nothing to do is closed after so long.
const IDLE: Duration = Duration::from_secs(60);

/// A smarthost that takes no further connection beside the ones it has is asked for another after so long.
const CROWDED: Duration = Duration::from_secs(10);

/// Sends copies until the lanes are closed.
pub(crate) async fn run(engine: &Engine) {
    let mut session: Option<Seated> = None;
    let mut buffers = Buffers::default();
    let mut sender = Vec::new();
    loop {
        let next = match &session {
            None => Ok(engine.lanes.next().await),
            Some(_) => timeout(IDLE, engine.lanes.next()).await,
        };
        match next {
            Ok(Some((sending, copy))) => {
                let lost = End::Tried(Outcome::Defer(Reason::Lost));
                let mut flight = Flight { sending: &sending, copy: copy.number, end: Some(lost) };
                flight.end = deliver(engine, &sending, &copy, &mut session, &mut buffers, &mut sender).await;
                if flight.end.is_none() {
                    engine.lanes.push(&sending, vec![copy]);
                    tokio::select! { () = tokio::time::sleep(CROWDED) => {}, () = engine.stop.cancelled() => {} }
                }
            }
            Ok(None) => break,
            Err(_) => {
                if let Some(idle) = session.take() {
                    idle.session.quit().await;
                }
            }
        }
    }
    if let Some(kept) = session {
        kept.session.quit().await;
    }
}

/// A connection that is counted.
struct Seated {
    session: Session,
    _seat: Seat,
}

/// A copy on its way. It is settled whatever happens: when delivering it fails inside it was a try, so that a copy on
/// which the code fails every time is given up at the end.
struct Flight<'a> {
    sending: &'a Sending,
    copy: MemberNumber,
    /// `None`: it goes back into its lane.
    end: Option<End>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            self.sending.settle(self.copy, end);
        }
    }
}

/// How a copy ended; `None` when there is no connection for it and other connections are there.
async fn deliver(
    engine: &Engine,
    sending: &Sending,
    copy: &Copy,
    session: &mut Option<Seated>,
    buffers: &mut Buffers,
    sender: &mut Vec<u8>,
) -> Option<End> {
    let Some(member) = engine.roster.member(copy.number) else { return Some(End::Left) };
    if !engine.lease.live() {
        return Some(End::Untouched);
    }
    #[cfg(test)]
    crate::runner::tests::stumble(copy.number, crate::runner::tests::DELIVERY_STUMBLES);
    let head = sending.assembler.head(&copy.recipient_info);
    let tail = match sending.assembler.tail(head.alignment).await {
        Ok(tail) => tail,
        Err(error) => {
            events::unreadable(sending.id, &error);
            return Some(End::Tried(Outcome::Defer(Reason::NoText)));
        }
    };
    sender.clear();
    let claim = Claim { post: sending.id, member: copy.number, day: UnixTime::now().day() };
    engine.verp.write_sender(claim, sending.list.domain(), sender);
    let message =
        Message { sender, recipient: &member.address, header: sending.assembler.header(), head: &head.text, tail };
    // A connection that was kept may be gone; a new one has to work.
    for _ in 0..2 {
        let mut kept = match session.take() {
            Some(kept) => kept,
            None => {
                let seat = engine.seat();
                match engine.connect().await {
                    Ok(session) => Seated { session, _seat: seat },
                    Err(error) => {
                        drop(seat);
                        if engine.seats() > 0 {
                            events::crowded(&error);
                            return None;
                        }
                        // The lanes are empty then.
                        engine.smarthost_closes(&error);
                        return Some(End::Untouched);
                    }
                }
            }
        };
        let sent = kept.session.send(&message, buffers).await;
        if kept.session.is_usable() {
            *session = Some(kept);
        }
        match sent {
            Sent::Outcome(outcome) => return Some(End::Tried(outcome)),
            Sent::Turned(reason) => {
                engine.smarthost_closes(&reason);
                return Some(End::Untouched);
            }
            Sent::Stale => {}
        }
    }
    Some(End::Tried(Outcome::Defer(Reason::Lost)))
}
