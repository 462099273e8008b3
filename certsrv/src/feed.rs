//! Step 7: the feed, for those who follow it. Long poll; the caller's pinned key decides what it is told. And the
//! replacement of the key that signs it.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::service;
use crate::change::Change;
use crate::events;
use crate::failure::Failure;
use crate::layout::Layout;
use crate::log::key::make_next;
use crate::store::Tx;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::feed::RotatedFeedKey;
use twinseal_proto::api::feed::{FeedPage, FeedRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::feed::View;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// Longest wait in seconds.
const MAX_WAIT: u64 = 20;

/// `Feed`.
pub(crate) async fn feed(app: Arc<App>, caller: Caller, request: FeedRequest) -> Result<FeedPage, Problem> {
    page(&app, &caller, request).await.map_err(Failure::into_problem)
}

async fn page(app: &Arc<App>, caller: &Caller, request: FeedRequest) -> Result<FeedPage, Failure> {
    service::role(app, caller)?;
    let mut head = app.registry.head();
    let patience = Duration::from_secs(request.wait.min(MAX_WAIT));
    tokio::select! {
        // An error would mean that the registry is gone, and with it this call.
        _ = tokio::time::timeout(patience, head.wait_for(|head| head.sequence != request.after)) => {}
        () = app.stop.cancelled() => {}
    }
    // Asked again after the wait: a service that was revoked meanwhile is told nothing.
    let view = match service::role(app, caller)? {
        ServiceRole::Groupsrv => View::Groupsrv,
        ServiceRole::Exploder => View::Exploder,
    };
    // What is told ends at one head: an entry that is in the log and not in force yet is not told.
    let head = *app.registry.head().borrow();
    let pages = Arc::clone(app.registry.pages());
    let read = move || pages.read(request.after, head.sequence, view);
    let (entries, last) = tokio::task::spawn_blocking(read).await??;
    let heartbeat = app.registry.key().heartbeat(last, head, UnixTime::now())?;
    Ok(FeedPage { entries, heartbeat })
}

/// `RotateFeedKey`.
pub(crate) async fn rotate_key(app: Arc<App>, _: Caller, _: Nothing) -> Result<RotatedFeedKey, Problem> {
    let dir = Layout::new(&app.config.state).feed();
    let rotate = move |tx: &mut Tx<'_>| {
        // Under the writer's lock: nobody else is at the file of the next key.
        let key = make_next(&dir)?;
        tx.push(Change::FeedKeyRotated { key: key.clone() })?;
        Ok(key)
    };
    let (key, sequence) = app.registry.commit(Actor::Administrator, rotate).await.map_err(Failure::into_problem)?;
    events::feed_key_rotated(sequence);
    Ok(RotatedFeedKey { sequence, key })
}
