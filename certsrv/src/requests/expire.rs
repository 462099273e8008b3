//! What time does to what waits: it is forgotten; and an invitation that was accepted before there was an account is done
//! when there is one.

use super::{complete, waits_for};
use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::failure::Failure;
use crate::rows::{RequestEnd, Wish};
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::groups::WaitsFor;
use twinseal_proto::ids::RequestId;
use twinseal_proto::time::UnixTime;

/// Most requests that end in one commit.
const SWEPT: usize = 1000;

/// Ends what has waited long enough, and does what nothing is missing for any more; how many it was.
pub(crate) async fn sweep(app: &Arc<App>, now: UnixTime) -> Result<usize, Failure> {
    let at = Arc::clone(app);
    let due = tokio::task::spawn_blocking(move || due(&at.registry.view(), now)).await??;
    if due.is_empty() {
        return Ok(0);
    }
    let (at, count) = (Arc::clone(app), due.len());
    let decide = move |tx: &mut Tx<'_>| due.iter().try_for_each(|id| see_to(&at, tx, now, id));
    app.registry.commit(Actor::Clock, decide).await?;
    Ok(count)
}

fn due(tx: &Tx<'_>, now: UnixTime) -> Result<Vec<RequestId>, Failure> {
    let mut found = Vec::new();
    for request in tx.requests()? {
        let join = !matches!(request.wish, Wish::Key { .. });
        if request.expires <= now || (join && waits_for(tx, &request)? == WaitsFor::Nothing) {
            found.push(request.id);
        }
        if found.len() == SWEPT {
            break;
        }
    }
    Ok(found)
}

fn see_to(app: &App, tx: &mut Tx<'_>, now: UnixTime, id: &RequestId) -> Result<(), Failure> {
    match tx.request(id)? {
        None => Ok(()),
        Some(request) if request.expires <= now => {
            Ok(tx.push(Change::RequestEnded { request: *id, end: RequestEnd::Expired })?)
        }
        Some(_) => complete(app, tx, now, id).map(|_| ()),
    }
}
