//! Following the feed: fetch, verify, apply durably, renew the lease; again.
//!
//! * [`mod@trust`]: which feed, generation and key an administrator trusts, and the alarm that is shown.
//! * `snapshot`: fetching the state of the view in one piece, in place of its entries.
//! * [`mod@command`]: what an administrator says about it.

pub mod command;
mod snapshot;
pub mod trust;

use crate::client::{CallError, Client};
use crate::store::StoreError;
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Public};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use trust::Followed;
use twinseal_proto::api::feed::{Feed, FeedPage, FeedRequest};
use twinseal_proto::feed::{Cursor, FeedError, Heartbeat, LEASE_SECONDS, View};
use twinseal_proto::time::UnixTime;

/// Longest wait of one poll in seconds: a heartbeat comes at least this often.
const POLL_SECONDS: u64 = 20;
/// Back-off while certsrv is away: from 0.2 s, doubled, to 10 s.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// A poll that brings nothing lasts at least so long: a certsrv that answers at once is not asked without a pause.
const EMPTY_POLL: Duration = Duration::from_millis(200);

/// A new consumer goes through so many entries at most; a feed that has more is begun with a snapshot.
const LONG: u64 = 10_000;
/// The time of the newest heartbeat is made durable when it is so many seconds newer than the one that is: whoever
/// repeats an old heartbeat after a restart renews nothing.
const KEEP_HEARTBEAT: u64 = 60;

/// What a consumer of the feed keeps.
pub trait Roster: Send + Sync + 'static {
    /// What the entries of its view say.
    type Change: DeserializeOwned + Send + 'static;
    /// Its view.
    const VIEW: View;

    /// How far it has followed.
    fn cursor(&self) -> Cursor;

    /// Takes changes, each with its sequence, together with the new place: all durable when this returns. Blocks.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    fn apply(&self, changes: Vec<(u64, Self::Change)>, cursor: &Cursor) -> Result<(), StoreError>;

    /// Takes a snapshot in place of all that it has: what these changes give to an empty roster, and the new place; all
    /// durable when this returns, all or nothing. Blocks.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    fn replace(&self, changes: Vec<(u64, Self::Change)>, cursor: &Cursor) -> Result<(), StoreError>;
}

/// Until when a consumer may act on its roster (DESIGN 3.1), on the monotonic clock.
#[derive(Clone, Default)]
pub struct Lease(Arc<Mutex<Option<Instant>>>);

impl Lease {
    /// What is left of it; `None` when it ended or never began.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Whether it is in force.
    #[must_use]
    pub fn live(&self) -> bool {
        self.left().is_some()
    }

    /// Never for longer than [`LEASE_SECONDS`], whatever certsrv says.
    fn renew(&self, asked: Instant, seconds: u64) {
        let lease = Duration::from_secs(seconds.min(LEASE_SECONDS));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked + lease);
    }
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("ALARM: {0}")]
    Feed(#[from] FeedError),
    #[error("store: {0}")]
    Store(#[from] StoreError),
    #[error("stopped while applying")]
    Stopped(#[from] tokio::task::JoinError),
    #[error("feed.json: the feed key cannot be read")]
    Key(#[from] ErrorStack),
}

/// Follows the feed until `stop`. `news` is told after each change that was taken.
pub async fn follow<R: Roster>(
    roster: Arc<R>,
    client: Client,
    followed: Arc<Followed>,
    lease: Lease,
    news: impl Fn() + Send + 'static,
    stop: CancellationToken,
) {
    let mut backoff = BACKOFF.0;
    let mut wait = 0;
    // The roster may have come further than feed.json when the process died in between.
    followed.reached(&roster.cursor(), false);
    let mut follower = Follower { roster, client, followed, lease, newest: UnixTime(0) };
    loop {
        let (asked, before) = (Instant::now(), follower.roster.cursor().sequence);
        let step = tokio::select! {
            step = follower.step(wait) => step,
            () = stop.cancelled() => return,
        };
        match step {
            // What is trusted has changed: asked anew, under it.
            Ok(Step::Told) => wait = 0,
            Ok(step) => {
                backoff = BACKOFF.0;
                follower.followed.calm();
                news();
                if wait > 0 && follower.roster.cursor().sequence == before {
                    let pause = EMPTY_POLL.saturating_sub(asked.elapsed());
                    tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                }
                wait = if step == Step::More { 0 } else { POLL_SECONDS };
            }
            Err(error) => {
                match &error {
                    FollowError::Feed(alarm) => {
                        tracing::error!(%error, advice = alarm.advice(), "feed not followed");
                        follower.followed.raise(alarm);
                    }
                    _ => tracing::warn!(%error, "feed not followed"),
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = follower.followed.told() => {}
                    () = stop.cancelled() => return,
                }
                backoff = (backoff * 2).min(BACKOFF.1);
                wait = 0;
            }
        }
    }
}

struct Follower<R> {
    roster: Arc<R>,
    client: Client,
    followed: Arc<Followed>,
    lease: Lease,
    /// When the newest heartbeat so far was issued; the roster's is up to a minute older.
    newest: UnixTime,
}

/// What came of a step that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is more to come at once.
    More,
    /// There is nothing more for now.
    End,
    /// Nothing: an administrator changed what is trusted.
    Told,
}

impl<R: Roster> Follower<R> {
    /// One page, or a snapshot.
    async fn step(&mut self, wait: u64) -> Result<Step, FollowError> {
        let trust = self.followed.trust();
        let key = trust.key()?;
        let start = self.place(trust.generation);
        if trust.resync {
            return self.begin_anew(start, key).await.map(|()| Step::More);
        }
        let asked = Instant::now();
        let request = FeedRequest { after: start.sequence, wait };
        let page = tokio::select! {
            page = self.client.call::<Feed>(&request, Duration::from_secs(wait + 10)) => page?,
            () = self.followed.told() => return Ok(Step::Told),
        };
        if start.sequence == 0 && is_long(&page) {
            return self.begin_anew(start, key).await.map(|()| Step::More);
        }
        let mut cursor = start.clone();
        let (changes, renewed) = match take::<R>(&mut cursor, &page, &key) {
            Ok(taken) => taken,
            // A new consumer need not know the keys of long ago; and after a restore the chain goes on from elsewhere.
            Err(error) if start.sequence == 0 || start.is_behind() => {
                return match self.begin_anew(start, key).await {
                    Err(FollowError::Call(_)) => Err(error.into()),
                    other => other.map(|()| Step::More),
                };
            }
            Err(error) => return Err(error.into()),
        };
        self.newest = cursor.heartbeat;
        let entries = !page.entries.is_empty();
        if entries || cursor.heartbeat.since(self.roster.cursor().heartbeat) >= KEEP_HEARTBEAT {
            let (roster, place) = (Arc::clone(&self.roster), cursor.clone());
            tokio::task::spawn_blocking(move || roster.apply(changes, &place)).await??;
            self.followed.reached(&cursor, false);
        }
        if let Some(seconds) = renewed {
            self.lease.renew(asked, seconds);
        }
        Ok(if entries && renewed.is_none() { Step::More } else { Step::End })
    }

    /// Where the roster is, with the newest heartbeat, and how far it may go.
    fn place(&self, accepted: u64) -> Cursor {
        let mut cursor = self.roster.cursor().accepting(accepted);
        cursor.heartbeat = cursor.heartbeat.max(self.newest);
        if cursor.is_behind() {
            // The key was accepted together with the generation.
            cursor.key = None;
        }
        cursor
    }
}

type Taken<R> = (Vec<(u64, <R as Roster>::Change)>, Option<u64>);

/// Verifies a page: its changes, and for how many seconds the lease is renewed.
fn take<R: Roster>(cursor: &mut Cursor, page: &FeedPage, key: &PKeyRef<Public>) -> Result<Taken<R>, FeedError> {
    let mut changes = Vec::new();
    for entry in &page.entries {
        if let Some(change) = cursor.accept::<R::Change>(entry, R::VIEW, key)? {
            changes.push((cursor.sequence, change));
        }
    }
    let renewed = page.heartbeat.as_ref().map(|beat| cursor.heartbeat(beat, key)).transpose()?;
    Ok((changes, renewed.flatten()))
}

/// Whether a first page is that of a feed that is better begun with a snapshot. The heartbeat is not verified: it decides
/// upon the way alone.
fn is_long(page: &FeedPage) -> bool {
    page.heartbeat
        .as_ref()
        .is_none_or(|beat| serde_json::from_str::<Heartbeat>(&beat.text).is_ok_and(|beat| beat.sequence > LONG))
}

#[cfg(test)]
mod tests;
