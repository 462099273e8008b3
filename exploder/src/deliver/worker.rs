//! One connection's work: take a copy, make its text, send it, say how it ended. No task, file or sync a copy.

use super::lanes::{Copy, End, Sending};
use super::session::{Buffers, Message, Sent, Session};
use super::{Outcome, Reason};
use crate::engine::Engine;
use crate::events;
use crate::verp::Claim;
use std::time::Duration;
use tokio::time::timeout;
use twinseal_proto::time::UnixTime;

/// A connection that has nothing to do is closed after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Sends copies until the lanes are closed.
pub(crate) async fn run(engine: &Engine) {
    let mut session: Option<Session> = None;
    let mut buffers = Buffers::default();
    let mut sender = Vec::new();
    loop {
        let next = match &session {
            None => Ok(engine.lanes.next().await),
            Some(_) => timeout(IDLE, engine.lanes.next()).await,
        };
        match next {
            Ok(Some((sending, copy))) => {
                let end = deliver(engine, &sending, &copy, &mut session, &mut buffers, &mut sender).await;
                sending.settle(copy.number, end);
            }
            Ok(None) => break,
            Err(_) => {
                if let Some(idle) = session.take() {
                    idle.quit().await;
                }
            }
        }
    }
    if let Some(session) = session {
        session.quit().await;
    }
}

async fn deliver(
    engine: &Engine,
    sending: &Sending,
    copy: &Copy,
    session: &mut Option<Session>,
    buffers: &mut Buffers,
    sender: &mut Vec<u8>,
) -> End {
    let Some(member) = engine.roster.member(copy.number) else { return End::Left };
    if !engine.lease.live() {
        return End::Untouched;
    }
    let head = sending.assembler.head(&copy.recipient_info);
    let tail = match sending.assembler.tail(head.alignment).await {
        Ok(tail) => tail,
        Err(error) => {
            events::unreadable(sending.id, &error);
            return End::Tried(Outcome::Defer(Reason::NoText));
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
            None => match engine.connect().await {
                Ok(new) => new,
                // The lanes are empty now.
                Err(_) => return End::Untouched,
            },
        };
        let sent = kept.send(&message, buffers).await;
        if kept.is_usable() {
            *session = Some(kept);
        }
        match sent {
            Sent::Outcome(outcome) => return End::Tried(outcome),
            Sent::Turned(reason) => {
                engine.smarthost_closes(&reason);
                return End::Untouched;
            }
            Sent::Stale => {}
        }
    }
    End::Tried(Outcome::Defer(Reason::Lost))
}
