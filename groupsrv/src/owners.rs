//! What owners sign about the readers of their groups (DESIGN 3.4), where it decides: a key is wrapped for a member of a
//! pinned group only if an owner signed for this very key, and for none while no owner has vouched for the roster lately.

use crate::record::Event;
use crate::roster::Member;
use crate::service::{Service, internal};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::rosters::{AcknowledgeRequest, PinGroupRequest, Standing};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::feed::GroupsrvChange;
use twinseal_proto::ids::Handle;
use twinseal_proto::roster::{OwnerRoster, Unserved};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use twinseal_svc::owners::{PinError, Turn};

/// The member as the owners' roster leaves it: as it is, without a key for the time being, or not at all.
pub(crate) fn admitted(
    roster: &OwnerRoster,
    handle: &Handle,
    member: &Arc<Member>,
    now: UnixTime,
) -> Option<Arc<Member>> {
    match roster.serves(handle, now) {
        Ok(entry) if member.key_digest.is_none_or(|key| key == entry.key) => Some(Arc::clone(member)),
        Ok(_) | Err(Unserved::Period) => Some(Arc::new(member.without_key())),
        Err(Unserved::NotLive | Unserved::NoHead | Unserved::StaleHead { .. }) => None,
    }
}

/// All is told anew by `changes`: what owners signed among them is taken before anything else of it.
pub(crate) fn resync(changes: &[(u64, GroupsrvChange)], turn: &mut Turn<'_>) {
    let signed = changes.iter().filter_map(|(_, change)| match change {
        GroupsrvChange::MemberJoined { group, signed: Some(statement), .. }
        | GroupsrvChange::MemberKeyChanged { group, signed: Some(statement), .. }
        | GroupsrvChange::Statement { group, statement } => Some((*group, statement)),
        _ => None,
    });
    let gone = changes.iter().filter_map(|(_, change)| match change {
        GroupsrvChange::MemberLeft { group, handle } => Some((*group, *handle)),
        _ => None,
    });
    turn.resync(signed, gone);
}

/// `POST /v1/admin/rosters/pin-group`.
pub(crate) async fn pin(service: Arc<Service>, _: Caller, request: PinGroupRequest) -> Result<Standing, Problem> {
    let PinGroupRequest { group, owner, replace } = request;
    if !service.roster.has_group(&group) {
        let text = "group: there is none of this id, as far as certsrv's feed has come";
        return Err(Problem::new(ProblemCode::NotFound, text));
    }
    let conflict = |other: &PinError| Problem::new(ProblemCode::Conflict, other.to_string());
    if let Some(pinned) = service.roster.owners.get(&group).filter(|_| !replace) {
        if pinned.first != owner {
            return Err(conflict(&PinError::Other(pinned.first)));
        }
        return standing(&service, &group);
    }
    service.record(Event::OwnerPinned { group, owner }).await?;
    match service.blocking(move |service| service.roster.owners.pin(group, owner, replace)).await? {
        Ok(()) => standing(&service, &group),
        Err(PinError::Store(error)) => Err(internal("index", &error)),
        Err(other) => Err(conflict(&other)),
    }
}

fn standing(service: &Service, group: &twinseal_proto::ids::GroupId) -> Result<Standing, Problem> {
    let standing = service.roster.standings(UnixTime::now()).into_iter().find(|of| of.group.as_ref() == Some(group));
    standing.ok_or_else(|| Problem::new(ProblemCode::NotFound, "group: it is gone meanwhile"))
}

/// `POST /v1/admin/rosters/list`.
pub(crate) async fn list(service: Arc<Service>, _: Caller, _: Nothing) -> Result<Vec<Standing>, Problem> {
    Ok(service.roster.standings(UnixTime::now()))
}

/// `POST /v1/admin/rosters/acknowledge`.
pub(crate) async fn acknowledge(
    service: Arc<Service>,
    _: Caller,
    request: AcknowledgeRequest,
) -> Result<Nothing, Problem> {
    service.record(Event::AlarmsAcknowledged { group: request.group }).await?;
    let done = service.blocking(move |service| service.roster.owners.acknowledge(&request.group)).await?;
    done.map(|()| Nothing {}).map_err(|error| internal("index", &error))
}
