//! The calls on the admin socket, and the HTTPS listener for health and metrics.

use crate::engine::Engine;
use crate::events;
use crate::groupkeys::GroupKeys;
use crate::owners;
use axum::Router;
use std::sync::Arc;
use twinseal_proto::api::admin::exploder::{ListQueue, QueuedPost};
use twinseal_proto::api::admin::feed::{
    AcceptGeneration, AcceptGenerationRequest, AcknowledgeAlarm, FollowedFeed, ResyncFeed,
};
use twinseal_proto::api::admin::rosters::{Acknowledge, ListRosters, PinList, Standing};
use twinseal_proto::api::admin::{GetStatus, Nothing, Status};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::time::UnixTime;
use twinseal_svc::follow::trust::{Followed, TrustError};
use twinseal_svc::http::{Caller, route};

/// What the calls read.
pub(crate) struct Admin {
    /// The sending side.
    pub(crate) engine: Arc<Engine>,
    /// The groups' keys.
    pub(crate) keys: Arc<GroupKeys>,
    /// Which feed is followed, and what is wrong with it.
    pub(crate) feed: Arc<Followed>,
    /// What an operator should change.
    pub(crate) warnings: Vec<String>,
}

impl Admin {
    /// Whether mail can be taken: whom it is for and to which keys is known.
    pub(crate) fn ready(&self) -> bool {
        self.engine.roster.known() && self.keys.known()
    }

    /// The routes of the admin socket.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        let router = route::<GetStatus, _, _, _>(Router::new(), status);
        let router = route::<AcceptGeneration, _, _, _>(router, accept_generation);
        let router = route::<ResyncFeed, _, _, _>(router, resync);
        let router = route::<AcknowledgeAlarm, _, _, _>(router, acknowledge);
        let router = route::<PinList, _, _, _>(router, owners::pin);
        let router = route::<ListRosters, _, _, _>(router, owners::list);
        let router = route::<Acknowledge, _, _, _>(router, owners::acknowledge);
        route::<ListQueue, _, _, _>(router, list_queue).with_state(Arc::clone(self))
    }
}

async fn status(admin: Arc<Admin>, _: Caller, _: Nothing) -> Result<Status, Problem> {
    let standings = admin.engine.roster.standings(UnixTime::now());
    Ok(Status {
        service: "exploder".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: admin.ready(),
        feed_sequence: admin.engine.roster.sequence(),
        lease_seconds: admin.engine.lease.left().map(|left| left.as_secs()),
        warnings: admin
            .warnings
            .iter()
            .cloned()
            .chain(admin.feed.warning())
            .chain(standings.iter().flat_map(Standing::warnings))
            .collect(),
    })
}

async fn list_queue(admin: Arc<Admin>, _: Caller, _: Nothing) -> Result<Vec<QueuedPost>, Problem> {
    let roster = &admin.engine.roster;
    let mut posts = admin.engine.queue().list(|group| roster.count(group));
    if let Some(reason) = admin.engine.blocked() {
        let now = UnixTime::now();
        for post in posts.iter_mut().filter(|post| post.waiting.is_none() && post.next_attempt <= now) {
            post.waiting = Some(reason.to_owned());
        }
    }
    Ok(posts)
}

async fn accept_generation(
    admin: Arc<Admin>,
    _: Caller,
    request: AcceptGenerationRequest,
) -> Result<FollowedFeed, Problem> {
    let accepted = admin.feed.accept(&request).map_err(|error| told(&error))?;
    events::generation_accepted(request.generation);
    Ok(accepted)
}

async fn resync(admin: Arc<Admin>, _: Caller, _: Nothing) -> Result<FollowedFeed, Problem> {
    admin.feed.resync().map_err(|error| told(&error))
}

async fn acknowledge(admin: Arc<Admin>, _: Caller, _: Nothing) -> Result<FollowedFeed, Problem> {
    Ok(admin.feed.acknowledge())
}

fn told(error: &TrustError) -> Problem {
    Problem::new(ProblemCode::Conflict, error.to_string())
}
