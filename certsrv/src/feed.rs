//! Step 7: the feed, for those who follow it. Long poll; the caller's pinned key decides what it is told.

use crate::app::App;
use crate::authn::service;
use crate::failure::Failure;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::Problem;
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
    let pages = Arc::clone(app.registry.pages());
    let entries = tokio::task::spawn_blocking(move || pages.read(request.after, view)).await??;
    let now = *app.registry.head().borrow();
    let heartbeat = app.registry.key().heartbeat(now, UnixTime::now())?;
    Ok(FeedPage { entries, heartbeat })
}
