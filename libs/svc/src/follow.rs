//! Following the feed: fetch, verify, apply durably, renew the lease; again.

use crate::client::{CallError, Client};
use crate::store::StoreError;
use openssl::pkey::{PKey, Public};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::feed::{Feed, FeedRequest};
use twinseal_proto::feed::{Cursor, FeedError, LEASE_SECONDS, View};
use twinseal_proto::time::UnixTime;

/// Longest wait of one poll in seconds: a heartbeat comes at least this often.
const POLL_SECONDS: u64 = 20;
/// Back-off while certsrv is away: from 0.2 s, doubled, to 10 s.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// A poll that brings nothing lasts at least so long: a certsrv that answers at once is not asked without a pause.
const EMPTY_POLL: Duration = Duration::from_millis(200);

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
    let mut newest = UnixTime(0);
    loop {
        let (asked, before) = (Instant::now(), roster.cursor().sequence);
        let step = tokio::select! {
            step = poll(&roster, &client, &key, &lease, wait, &mut newest) => step,
            () = stop.cancelled() => return,
        };
        match step {
            Ok(changed) => {
                backoff = BACKOFF.0;
                news();
                if wait > 0 && roster.cursor().sequence == before {
                    let pause = EMPTY_POLL.saturating_sub(asked.elapsed());
                    tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                }
                wait = if changed { 0 } else { POLL_SECONDS };
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

/// One page. `true`: it had entries, and there are more. `newest` is when the newest heartbeat so far was issued.
async fn poll<R: Roster>(
    roster: &Arc<R>,
    client: &Client,
    key: &PKey<Public>,
    lease: &Lease,
    wait: u64,
    newest: &mut UnixTime,
) -> Result<bool, FollowError> {
    let mut cursor = roster.cursor();
    // The roster's is as old as its last entry.
    cursor.heartbeat = cursor.heartbeat.max(*newest);
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
    *newest = cursor.heartbeat;
    let entries = !page.entries.is_empty();
    if entries {
        let roster = Arc::clone(roster);
        tokio::task::spawn_blocking(move || roster.apply(changes, &cursor)).await??;
    }
    if let Some(seconds) = renewed {
        lease.renew(asked, seconds);
    }
    Ok(entries && renewed.is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::{Caller, route};
    use openssl::pkey::Private;
    use openssl::sign::Signer;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use twinseal_proto::api::feed::FeedPage;
    use twinseal_proto::encoding::{B64, Digest};
    use twinseal_proto::feed::{HEARTBEAT_CONTEXT, Heartbeat, SignedHeartbeat};
    use twinseal_proto::ids::FeedId;

    struct Empty(FeedId);

    impl Roster for Empty {
        type Change = serde::de::IgnoredAny;
        const VIEW: View = View::Exploder;

        fn cursor(&self) -> Cursor {
            Cursor::start(self.0, 1)
        }

        fn apply(&self, _: Vec<(u64, Self::Change)>, _: &Cursor) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// A certsrv that answers at once with this heartbeat, and counts how often.
    #[derive(Clone)]
    struct Certsrv {
        page: Arc<Mutex<FeedPage>>,
        asked: Arc<AtomicUsize>,
    }

    fn page(key: &PKey<Private>, issued: u64, sequence: u64, lease: u64) -> FeedPage {
        let (feed, head, issued) = (FeedId::from_random([1; 16]), Digest([0; 32]), UnixTime(issued));
        let beat = Heartbeat { feed, generation: 1, sequence, head, issued, lease };
        let text = serde_json::to_string(&beat).unwrap();
        let mut signer = Signer::new_without_digest(key).unwrap();
        let signature = signer.sign_oneshot_to_vec(&[HEARTBEAT_CONTEXT, text.as_bytes()].concat()).unwrap();
        FeedPage { entries: Vec::new(), heartbeat: SignedHeartbeat { text, signature: B64(signature) } }
    }

    fn serve(dir: &std::path::Path, first: FeedPage) -> (Certsrv, Client) {
        let certsrv = Certsrv { page: Arc::new(Mutex::new(first)), asked: Arc::default() };
        let router =
            route::<Feed, _, _, _>(axum::Router::new(), async |certsrv: Certsrv, _: Caller, _: FeedRequest| {
                certsrv.asked.fetch_add(1, Ordering::Relaxed);
                let page = certsrv.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(page)
            });
        let path = dir.join("certsrv.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(crate::admin::serve(listener, router.with_state(certsrv.clone()), CancellationToken::new()));
        (certsrv, Client::unix(path))
    }

    #[tokio::test]
    async fn an_old_heartbeat_renews_nothing_and_no_lease_is_longer_than_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let private = PKey::generate_ed25519().unwrap();
        let key = PKey::public_key_from_der(&private.public_key_to_der().unwrap()).unwrap();
        let (certsrv, client) = serve(dir.path(), page(&private, 10_000, 0, u64::MAX));
        let roster = Arc::new(Empty(FeedId::from_random([1; 16])));
        let (lease, mut newest) = (Lease::default(), UnixTime(0));
        assert!(!poll(&roster, &client, &key, &lease, 0, &mut newest).await.unwrap());
        let left = lease.left().unwrap().as_secs();
        assert!((LEASE_SECONDS - 5..=LEASE_SECONDS).contains(&left), "{left}");
        for (issued, taken) in [(9_800, true), (9_600, false), (10_050, true), (9_749, false)] {
            *certsrv.page.lock().unwrap() = page(&private, issued, 0, 300);
            let polled = poll(&roster, &client, &key, &lease, 0, &mut newest).await;
            assert_eq!(polled.is_ok(), taken, "issued at {issued}");
        }
        // Behind, and nothing comes: the lease is not renewed.
        let behind = Lease::default();
        *certsrv.page.lock().unwrap() = page(&private, 10_060, 5, 300);
        assert!(!poll(&roster, &client, &key, &behind, 0, &mut newest).await.unwrap());
        assert!(!behind.live());
    }

    #[tokio::test]
    async fn a_certsrv_that_never_waits_is_not_asked_without_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        let private = PKey::generate_ed25519().unwrap();
        let key = PKey::public_key_from_der(&private.public_key_to_der().unwrap()).unwrap();
        let (certsrv, client) = serve(dir.path(), page(&private, 10_000, 5, 300));
        let roster = Arc::new(Empty(FeedId::from_random([1; 16])));
        let following = follow(roster, client, key, Lease::default(), || {}, CancellationToken::new());
        let _ = tokio::time::timeout(Duration::from_secs(1), following).await;
        let asked = certsrv.asked.load(Ordering::Relaxed);
        assert!((2..=8).contains(&asked), "{asked}");
    }
}
