//! Whose copy is next: each message that is being sent has a lane, and the connections take from the lanes in turn, so
//! that a large list does not hold up a small one.

use super::Outcome;
use crate::assemble::Assembler;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use twinseal_proto::ids::{ListAddress, MemberNumber, PostId};

/// A message that is being sent.
pub(crate) struct Sending {
    /// The message.
    pub(crate) id: PostId,
    /// Its list.
    pub(crate) list: ListAddress,
    /// Makes its copies.
    pub(crate) assembler: Assembler,
    settled: Mutex<Vec<(MemberNumber, End)>>,
    news: Notify,
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was tried.
    Tried(Outcome),
    /// The member has left meanwhile.
    Left,
    /// It was not tried: still due, and no try is counted.
    Untouched,
}

/// A copy that may be sent now.
pub(crate) struct Copy {
    /// For this member.
    pub(crate) number: MemberNumber,
    /// The DER RecipientInfo under the member's key.
    pub(crate) recipient_info: Vec<u8>,
}

impl Sending {
    /// A message, before any of its copies is sent.
    pub(crate) fn new(id: PostId, list: ListAddress, assembler: Assembler) -> Arc<Self> {
        Arc::new(Self { id, list, assembler, settled: Mutex::default(), news: Notify::new() })
    }

    fn settled(&self) -> MutexGuard<'_, Vec<(MemberNumber, End)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how a copy ended.
    pub(crate) fn settle(&self, number: MemberNumber, end: End) {
        let mut settled = self.settled();
        settled.push((number, end));
        // Whoever listens takes all there are.
        if settled.len() == 1 {
            self.news.notify_one();
        }
    }

    /// Waits until copies have ended.
    pub(crate) async fn news(&self) {
        while self.settled().is_empty() {
            self.news.notified().await;
        }
    }

    /// Takes the copies that have ended.
    pub(crate) fn take_settled(&self) -> Vec<(MemberNumber, End)> {
        std::mem::take(&mut *self.settled())
    }
}

/// The lanes of all messages that are being sent.
#[derive(Default)]
pub(crate) struct Lanes {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Default)]
struct Inner {
    lanes: VecDeque<(Arc<Sending>, VecDeque<Copy>)>,
    closed: bool,
}

impl Lanes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds copies to a message's lane.
    pub(crate) fn push(&self, sending: &Arc<Sending>, copies: Vec<Copy>) {
        let mut inner = self.inner();
        if inner.closed {
            copies.iter().for_each(|copy| sending.settle(copy.number, End::Untouched));
            return;
        }
        match inner.lanes.iter_mut().find(|(lane, _)| Arc::ptr_eq(lane, sending)) {
            Some((_, lane)) => lane.extend(copies),
            None => inner.lanes.push_back((Arc::clone(sending), copies.into())),
        }
        drop(inner);
        self.filled.notify_waiters();
    }

    /// The next copy, lane after lane; waits for one. `None`: closed.
    pub(crate) async fn next(&self) -> Option<(Arc<Sending>, Copy)> {
        loop {
            // Made before looking, so that no filling in between is missed.
            let filled = self.filled.notified();
            {
                let mut inner = self.inner();
                while let Some((sending, mut lane)) = inner.lanes.pop_front() {
                    let Some(copy) = lane.pop_front() else { continue };
                    if !lane.is_empty() {
                        inner.lanes.push_back((Arc::clone(&sending), lane));
                    }
                    return Some((sending, copy));
                }
                if inner.closed {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Takes a message's lane away, with what is in it.
    pub(crate) fn remove(&self, sending: &Arc<Sending>) {
        self.inner().lanes.retain(|(lane, _)| !Arc::ptr_eq(lane, sending));
    }

    /// Empties the lanes: what is in them is still due.
    pub(crate) fn clear(&self) {
        let lanes = std::mem::take(&mut self.inner().lanes);
        for (sending, lane) in lanes {
            lane.iter().for_each(|copy| sending.settle(copy.number, End::Untouched));
        }
    }

    /// Empties the lanes and lets nothing more in.
    pub(crate) fn close(&self) {
        self.inner().closed = true;
        self.clear();
        self.filled.notify_waiters();
    }
}
