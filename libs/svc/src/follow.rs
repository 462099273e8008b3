//! Following the feed: fetch, verify, apply durably, renew the lease; again.

use crate::client::{CallError, Client};
use crate::store::StoreError;
use openssl::pkey::{PKey, Public};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::feed::{Feed, FeedRequest};
use twinseal_proto::feed::{Cursor, FeedError, View};

/// Longest wait of one poll in seconds: a heartbeat comes at least this often.
const POLL_SECONDS: u64 = 20;
/// Back-off while certsrv is away: from 0.2 s, doubled, to 10 s.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

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

    fn renew(&self, asked: Instant, seconds: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked + Duration::from_secs(seconds));
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
}

/// Follows the feed until `stop`. `news` is told after each change that was taken.
pub async fn follow<R: Roster>(
    roster: Arc<R>,
    client: Client,
    key: PKey<Public>,
    lease: Lease,
    news: impl Fn() + Send + 'static,
    stop: CancellationToken,
) {
    let mut backoff = BACKOFF.0;
    let mut wait = 0;
    loop {
        let step = tokio::select! {
            step = poll(&roster, &client, &key, &lease, wait) => step,
            () = stop.cancelled() => return,
        };
        match step {
            Ok(changed) => {
                backoff = BACKOFF.0;
                wait = if changed { 0 } else { POLL_SECONDS };
                news();
            }
            Err(error) => {
                match &error {
                    FollowError::Feed(_) => tracing::error!(%error, "feed not followed"),
                    _ => tracing::warn!(%error, "feed not followed"),
                }
                tokio::select! { () = tokio::time::sleep(backoff) => {}, () = stop.cancelled() => return }
                backoff = (backoff * 2).min(BACKOFF.1);
                wait = 0;
            }
        }
    }
}

/// One page. `true`: there may be more at once.
async fn poll<R: Roster>(
    roster: &Arc<R>,
    client: &Client,
    key: &PKey<Public>,
    lease: &Lease,
    wait: u64,
) -> Result<bool, FollowError> {
    let mut cursor = roster.cursor();
    let asked = Instant::now();
    let request = FeedRequest { after: cursor.sequence, wait };
    let page = client.call::<Feed>(&request, Duration::from_secs(wait + 10)).await?;
    let mut changes = Vec::new();
    for entry in &page.entries {
        if let Some(change) = cursor.accept::<R::Change>(entry, R::VIEW, key)? {
            changes.push((cursor.sequence, change));
        }
    }
    let renewed = cursor.heartbeat(&page.heartbeat, key)?;
    if !page.entries.is_empty() {
        let roster = Arc::clone(roster);
        tokio::task::spawn_blocking(move || roster.apply(changes, &cursor)).await??;
    }
    if let Some(seconds) = renewed {
        lease.renew(asked, seconds);
    }
    Ok(renewed.is_none())
}
