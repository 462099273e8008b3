//! The administrators' calls.

use crate::record::Event;
use crate::service::{Service, internal};
use std::sync::{Arc, PoisonError};
use twinseal_proto::api::admin::feed::{AcceptGenerationRequest, FollowedFeed};
use twinseal_proto::api::admin::groupsrv::{
    AllowExploderRequest, AllowedPeers, CreateKeyRequest, CreatedKey, ListedKeys,
};
use twinseal_proto::api::admin::rosters::Standing;
use twinseal_proto::api::admin::{Nothing, Status};
use twinseal_proto::api::keys::GroupKeys;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::follow::trust::TrustError;
use twinseal_svc::http::Caller;

/// `POST /v1/admin/status`.
pub(crate) async fn status(service: Arc<Service>, _: Caller, _: Nothing) -> Result<Status, Problem> {
    service.pass_day(UnixTime::now());
    Ok(Status {
        service: "groupsrv".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: service.is_ready(),
        feed_sequence: service.roster.sequence(),
        lease_seconds: service.lease.left().map(|left| left.as_secs()),
        warnings: service
            .warnings
            .iter()
            .cloned()
            .chain(service.substituted_warning())
            .chain(service.feed.warning())
            .chain(service.roster.standings(UnixTime::now()).iter().flat_map(Standing::warnings))
            .collect(),
    })
}

/// `POST /v1/admin/keys/create`. Goes on to its end when the administrator hangs up.
pub(crate) async fn create_key(
    service: Arc<Service>,
    _: Caller,
    request: CreateKeyRequest,
) -> Result<CreatedKey, Problem> {
    let task = tokio::spawn(async move { service.create_key(request.group, request.algorithm).await });
    task.await.map_err(|error| internal("task", &error))?
}

/// `POST /v1/admin/keys/list`.
pub(crate) async fn list_keys(service: Arc<Service>, _: Caller, _: Nothing) -> Result<Vec<ListedKeys>, Problem> {
    service.pass_day(UnixTime::now());
    let published = service.ring().published(|group| !service.roster.is_deleted(group));
    let listed =
        |GroupKeys { group, epochs }| ListedKeys { group, epochs, substituted: service.told_substituted(&group) };
    Ok(published.into_iter().map(listed).collect())
}

/// `POST /v1/admin/exploders/allow`.
pub(crate) async fn allow_exploder(
    service: Arc<Service>,
    _: Caller,
    request: AllowExploderRequest,
) -> Result<AllowedPeers, Problem> {
    let AllowExploderRequest { pin, allowed } = request;
    service.record(Event::ExploderPinned { pin, allowed }).await?;
    let pins = {
        let mut pins = service.pins.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = pins.clone();
        if allowed {
            changed.exploders.insert(pin);
        } else {
            changed.exploders.remove(&pin);
        }
        changed.save(&service.state).map_err(|error| internal("pins.toml", &error))?;
        pins.clone_from(&changed);
        changed
    };
    Ok(AllowedPeers { certsrv: pins.certsrv, exploders: pins.exploders.into_iter().collect() })
}

/// What was recorded of the acceptance of a generation.
pub(crate) fn acceptance(request: &AcceptGenerationRequest) -> Event {
    let key = request.key.as_ref().map(|key| Digest::of(key.as_ref()));
    Event::GenerationAccepted { generation: request.generation, key }
}

/// `POST /v1/admin/feed/accept-generation`.
pub(crate) async fn accept_generation(
    service: Arc<Service>,
    _: Caller,
    request: AcceptGenerationRequest,
) -> Result<FollowedFeed, Problem> {
    // What cannot be is refused before it is recorded.
    service.feed.trust().accept(&request).map_err(|error| told(&error))?;
    service.record(acceptance(&request)).await?;
    service.feed.accept(&request).map_err(|error| told(&error))
}

/// `POST /v1/admin/feed/resync`.
pub(crate) async fn resync(service: Arc<Service>, _: Caller, _: Nothing) -> Result<FollowedFeed, Problem> {
    service.record(Event::RosterResync).await?;
    service.feed.resync().map_err(|error| told(&error))
}

/// `POST /v1/admin/feed/acknowledge`.
pub(crate) async fn acknowledge(service: Arc<Service>, _: Caller, _: Nothing) -> Result<FollowedFeed, Problem> {
    Ok(service.feed.acknowledge())
}

fn told(error: &TrustError) -> Problem {
    Problem::new(ProblemCode::Conflict, error.to_string())
}
