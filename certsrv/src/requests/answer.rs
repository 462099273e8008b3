//! Owners and administrators say yes or no to what waits.

use super::{complete, may_replace, no_request, waiting, waits_for};
use crate::app::App;
use crate::authority::{Who, change_as, read_as};
use crate::change::Change;
use crate::decide::Need;
use crate::failure::{Failure, refuse};
use crate::notices;
use crate::rows::{Notice, Request, RequestEnd, Wish};
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{Changed, MemberRole};
use twinseal_proto::api::groups::WaitsFor;
use twinseal_proto::api::requests::{self as api, Approved, ListRequestsRequest, RequestRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress, RequestId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// `ListRequests`.
pub(crate) async fn list(
    app: Arc<App>,
    caller: Caller,
    request: ListRequestsRequest,
) -> Result<Vec<api::Request>, Problem> {
    read_as(app, caller, move |tx, who| list_all(tx, who, UnixTime::now(), request.list.as_ref())).await
}

fn list_all(tx: &Tx<'_>, who: &Who, now: UnixTime, list: Option<&ListAddress>) -> Result<Vec<api::Request>, Failure> {
    let only = list.map(|list| who.group(tx, list, Need::Owner)).transpose()?.map(|(group, _)| group.group);
    let mut found = Vec::new();
    for request in tx.requests()?.into_iter().filter(|request| now < request.expires) {
        let concerned = concerned(tx, &request)?;
        if only.is_none_or(|only| concerned.contains(&only)) && !say(tx, who, concerned)?.is_empty() {
            found.push(request);
        }
    }
    found.sort_by_key(|request| (request.made, request.id));
    found.into_iter().map(|request| shown(tx, request)).collect()
}

fn shown(tx: &Tx<'_>, request: Request) -> Result<api::Request, Failure> {
    let list = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten();
    let waits_for = waits_for(tx, &request)?;
    let name = list.as_ref().map(ToString::to_string).unwrap_or_default();
    let (wish, address, key, means) = match request.wish {
        Wish::Join { address, .. } => {
            let means = format!("{address} will belong to {name}, may post to it and reads what comes from then on");
            (api::Wish::Join, address, None, means)
        }
        Wish::Invitation { address, .. } => {
            (api::Wish::Invitation, address, None, "nothing: the invited accepts or does not".to_owned())
        }
        Wish::Key { address, key } => {
            let means = format!(
                "whoever has the new key {key} will read all that {address} reads, and its present key no more: \
                 ask {address} in person or by telephone whether that is so"
            );
            (api::Wish::Key, address, Some(key), means)
        }
    };
    let Request { id, made, expires, .. } = request;
    Ok(api::Request { id, wish, address, list, key, made, expires, waits_for, means })
}

/// The groups whose owners have a say in a request.
fn concerned(tx: &Tx<'_>, request: &Request) -> Result<Vec<GroupId>, StoreError> {
    match request.wish.group() {
        Some(group) => Ok(vec![*group]),
        None => tx.memberships(request.wish.address()),
    }
}

/// For which of these groups the caller speaks. `None` is for all of them: an administrator.
fn say(tx: &Tx<'_>, who: &Who, groups: Vec<GroupId>) -> Result<Vec<Option<GroupId>>, StoreError> {
    let Who::Account(address) = who else { return Ok(vec![None]) };
    let mut found = Vec::new();
    for group in groups {
        if tx.member(&group, address)?.is_some_and(|member| member.role == MemberRole::Owner) {
            found.push(Some(group));
        }
    }
    Ok(found)
}

/// `ApproveRequest`.
pub(crate) async fn approve(app: Arc<App>, caller: Caller, request: RequestRequest) -> Result<Approved, Problem> {
    hit("certsrv.request.before-commit");
    let decide =
        move |app: &App, tx: &mut Tx<'_>, who: &Who| approve_one(app, tx, who, UnixTime::now(), &request.request);
    let (waits_for, sequence) = change_as(app, caller, decide).await?;
    hit("certsrv.request.before-answer");
    Ok(Approved { waits_for, sequence })
}

fn approve_one(
    app: &App,
    tx: &mut Tx<'_>,
    who: &Who,
    now: UnixTime,
    id: &RequestId,
) -> Result<Option<WaitsFor>, Failure> {
    let request = waiting(tx, now, id)?;
    let say = say(tx, who, concerned(tx, &request)?)?;
    if say.is_empty() {
        return Err(no_request(id));
    }
    if own(who, &request) {
        let detail = "nobody approves for themselves: another owner or an administrator has to";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    match &request.wish {
        Wish::Invitation { address, .. } => {
            let detail = format!("an invitation waits for {address}, not for an owner");
            return Err(refuse(ProblemCode::Conflict, detail));
        }
        Wish::Key { .. } if may_replace(tx, &request)? => return Ok(Some(WaitsFor::Nothing)),
        Wish::Join { .. } | Wish::Key { .. } => {}
    }
    for group in say {
        let given = group.map_or(request.by_administrator, |group| request.approved.contains(&group));
        if !given {
            tx.push(Change::RequestApproved { request: *id, group })?;
        }
    }
    complete(app, tx, now, id)
}

/// Whether the caller asked for it.
fn own(who: &Who, request: &Request) -> bool {
    let asked_by = |address: &MailAddress| request.wish.address() == address;
    matches!(who, Who::Account(address) if asked_by(address))
}

/// `RejectRequest`.
pub(crate) async fn reject(app: Arc<App>, caller: Caller, request: RequestRequest) -> Result<Changed, Problem> {
    let decide =
        move |app: &App, tx: &mut Tx<'_>, who: &Who| reject_one(app, tx, who, UnixTime::now(), &request.request);
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

fn reject_one(app: &App, tx: &mut Tx<'_>, who: &Who, now: UnixTime, id: &RequestId) -> Result<(), Failure> {
    let request = waiting(tx, now, id)?;
    let own = own(who, &request);
    if !own && say(tx, who, concerned(tx, &request)?)?.is_empty() {
        return Err(no_request(id));
    }
    tx.push(Change::RequestEnded { request: *id, end: RequestEnd::Rejected })?;
    if own || matches!(request.wish, Wish::Invitation { .. }) {
        return Ok(());
    }
    let list = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten();
    notices::queue(app, tx, now, Notice::Rejected { to: request.wish.address().clone(), list })?;
    Ok(())
}
