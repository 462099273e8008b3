//! Groups: made by administrators, changed and ended by their owners too.

use crate::app::App;
use crate::audit::Actor;
use crate::authority::{Who, change_as, read_as};
use crate::change::Change;
use crate::decide::{Need, Standing};
use crate::failure::{Failure, refuse};
use crate::rows::{self, Notice, RequestEnd};
use crate::store::Tx;
use crate::tokens::posting;
use crate::{decide, members, notices, random};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{Changed, CreateGroupRequest, Group, MemberRole, RevocationReason};
use twinseal_proto::api::groups::{GroupDetails, ListRequest, RosterVisibility, SetGroupRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::feed::ListSettings;
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;
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
    check(&request.settings)?;
    decide::certifiable(request.list.address())?;
    if tx.group(&request.list)?.is_some() {
        return Err(refuse(ProblemCode::Conflict, format!("there is a list {} already", request.list)));
    }
    if tx.account(request.list.address())?.is_some() {
        return Err(refuse(ProblemCode::Conflict, format!("{} is an account's address", request.list)));
    }
    let owner = tx.account(&request.owner)?.ok_or_else(|| decide::no_account(&request.owner))?;
    for mailbox in decide::mailboxes(&request.list) {
        if tx.account(&mailbox)?.is_some() {
            return Err(decide::not_an_owner(&mailbox).into());
        }
    }
    may_own(tx, &owner.address)?;
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

fn check(settings: &ListSettings) -> Result<(), Failure> {
    if settings.description.len() > MAX_DESCRIPTION || settings.description.chars().any(char::is_control) {
        let detail = format!("description: at most {MAX_DESCRIPTION} octets without control characters are wanted");
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    if !MAX_SIZE.contains(&settings.max_size) {
        let detail = format!("max_size: {} to {} octets are wanted", MAX_SIZE.start(), MAX_SIZE.end());
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    Ok(())
}

/// Refuses an owner whose mailbox is a list's own.
pub(crate) fn may_own(tx: &Tx<'_>, address: &MailAddress) -> Result<(), Failure> {
    match decide::mailbox_of(address).map(|list| tx.group(&list)).transpose()?.flatten() {
        Some(_) => Err(decide::not_an_owner(address).into()),
        None => Ok(()),
    }
}

/// `ListGroups`.
pub(crate) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Vec<Group>, Problem> {
    let groups = app.registry.view().groups().map_err(|e| Failure::from(e).into_problem())?;
    Ok(groups.into_iter().map(shown).collect())
}

fn shown(row: rows::Group) -> Group {
    Group { group: row.group, list: row.list, owner: row.owner, join: row.join, members: row.members }
}

/// `ShowGroup`.
pub(crate) async fn show(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<GroupDetails, Problem> {
    read_as(app, caller, move |tx, who| details(tx, who, &request.list)).await
}

fn details(tx: &Tx<'_>, who: &Who, list: &ListAddress) -> Result<GroupDetails, Failure> {
    let (group, standing) = who.group(tx, list, Need::Member)?;
    let sees = standing != Standing::Member || group.roster == RosterVisibility::Members;
    let owners = sees.then(|| tx.owners(&group.group)).transpose()?;
    Ok(GroupDetails {
        group: group.group,
        list: group.list,
        join: group.join,
        key_change: group.key_change,
        mode: group.mode,
        history: group.history,
        roster: group.roster,
        notices: group.notices,
        settings: group.settings,
        owners,
        members: sees.then_some(group.members),
    })
}

/// `SetGroup`.
pub(crate) async fn set(app: Arc<App>, caller: Caller, request: SetGroupRequest) -> Result<Changed, Problem> {
    let done = change_as(app, caller, move |_, tx, who| set_one(tx, who, request)).await;
    done.map(|((), sequence)| Changed { sequence })
}

fn set_one(tx: &mut Tx<'_>, who: &Who, request: SetGroupRequest) -> Result<(), Failure> {
    let (group, standing) = who.group(tx, &request.list, Need::Owner)?;
    let set = request.set;
    if set.max_size.is_some_and(|size| size != group.settings.max_size) && standing != Standing::Administrator {
        return Err(refuse(ProblemCode::NotAuthorised, "max_size: only an administrator may change it"));
    }
    let was = group.settings.clone();
    let settings = ListSettings {
        post: set.post.unwrap_or(was.post),
        content: set.content.unwrap_or(was.content),
        legacy_3des: set.legacy_3des.unwrap_or(was.legacy_3des),
        max_size: set.max_size.unwrap_or(was.max_size),
        description: set.description.unwrap_or(was.description),
    };
    check(&settings)?;
    let after = rows::Group {
        join: set.join.unwrap_or(group.join),
        key_change: set.key_change.unwrap_or(group.key_change),
        mode: set.mode.unwrap_or(group.mode),
        history: set.history.unwrap_or(group.history),
        roster: set.roster.unwrap_or(group.roster),
        notices: set.notices.unwrap_or(group.notices),
        settings,
        ..group.clone()
    };
    if after == group {
        return Ok(());
    }
    let rows::Group { group, join, key_change, mode, history, settings, roster, notices, .. } = after;
    Ok(tx.push(Change::GroupSet { group, join, key_change, mode, history, settings, roster, notices })?)
}

/// `DeleteGroup`: requests and certificates of the group end with it, and its owners are told.
pub(crate) async fn delete(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Changed, Problem> {
    let done = change_as(app, caller, move |app, tx, who| delete_one(app, tx, who, &request.list)).await;
    done.map(|((), sequence)| Changed { sequence })
}

fn delete_one(app: &App, tx: &mut Tx<'_>, who: &Who, list: &ListAddress) -> Result<(), Failure> {
    let (group, _) = who.group(tx, list, Need::Owner)?;
    let now = UnixTime::now();
    for request in tx.requests_in(&group.group)? {
        tx.push(Change::RequestEnded { request: request.id, end: RequestEnd::Rejected })?;
    }
    for serial in tx.group_certificates(&group.group)? {
        if tx.certificate(&serial)?.is_some_and(|row| row.live(now)) {
            tx.push(Change::CertificateRevoked { serial, reason: RevocationReason::CessationOfOperation, at: now })?;
        }
    }
    let (owners, members) = (tx.owners(&group.group)?, tx.members(&group.group)?);
    tx.push(Change::GroupDeleted { group: group.group })?;
    members.iter().try_for_each(|member| posting::end_outsiders(tx, &member.address))?;
    for to in owners {
        notices::queue(app, tx, now, Notice::Goodbye { to, list: group.list.clone() })?;
    }
    Ok(())
}
