//! Groups: made by administrators.

use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::rows;
use crate::store::Tx;
use crate::{decide, members, random};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{CreateGroupRequest, Group, MemberRole};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::GroupId;
use twinseal_svc::http::Caller;

/// Longest description of a list in octets; it becomes a header field.
const MAX_DESCRIPTION: usize = 200;
/// Sizes of messages that a list may be set to take, in octets.
const MAX_SIZE: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024 * 1024;

/// `CreateGroup`: the group, its list, and its owner as its first member.
pub(crate) async fn create(app: Arc<App>, _: Caller, request: CreateGroupRequest) -> Result<Group, Problem> {
    let made = app.registry.commit(Actor::Administrator, move |tx| create_one(tx, request)).await;
    made.map(|(group, _)| group).map_err(Failure::into_problem)
}

fn create_one(tx: &mut Tx<'_>, request: CreateGroupRequest) -> Result<Group, Failure> {
    let description = &request.settings.description;
    if description.len() > MAX_DESCRIPTION || description.chars().any(char::is_control) {
        let detail = format!("description: at most {MAX_DESCRIPTION} octets without control characters are wanted");
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    if !MAX_SIZE.contains(&request.settings.max_size) {
        let detail = format!("max_size: {} to {} octets are wanted", MAX_SIZE.start(), MAX_SIZE.end());
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    decide::certifiable(request.list.address())?;
    if tx.group(&request.list)?.is_some() {
        return Err(refuse(ProblemCode::Conflict, format!("there is a list {} already", request.list)));
    }
    if tx.account(request.list.address())?.is_some() {
        return Err(refuse(ProblemCode::Conflict, format!("{} is an account's address", request.list)));
    }
    let owner = tx.account(&request.owner)?.ok_or_else(|| decide::no_account(&request.owner))?;
    tx.push(Change::GroupCreated {
        group: GroupId::from_random(random::octets()?),
        list: request.list.clone(),
        owner: owner.address.clone(),
        join: request.join,
        mode: request.mode,
        history: request.history,
        settings: request.settings,
        signed: request.signed,
    })?;
    let group = members::group(tx, &request.list)?;
    members::put_in(tx, &group, &owner, MemberRole::Owner)?;
    Ok(shown(members::group(tx, &request.list)?))
}

/// `ListGroups`.
pub(crate) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Vec<Group>, Problem> {
    let groups = app.registry.view().groups().map_err(|e| Failure::from(e).into_problem())?;
    Ok(groups.into_iter().map(shown).collect())
}

fn shown(row: rows::Group) -> Group {
    Group { group: row.group, list: row.list, owner: row.owner, join: row.join, members: row.members }
}
