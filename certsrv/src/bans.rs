//! Whom a group lets in no more. A ban is looked up, never matched against by an expression (spec mail P23).

use crate::app::App;
use crate::authority::{Who, change_as, read_as};
use crate::change::Change;
use crate::decide::Need;
use crate::failure::{Failure, refuse};
use crate::members;
use crate::rows::{Group, RequestEnd};
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{Changed, MemberRole};
use twinseal_proto::api::groups::ListRequest;
use twinseal_proto::api::members::BanRequest;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{BanPattern, GroupId, MailAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// Most bans of a group.
const MOST: usize = 1000;

/// `Ban`.
pub(crate) async fn ban(app: Arc<App>, caller: Caller, request: BanRequest) -> Result<Changed, Problem> {
    let decide = move |app: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        ban_one(app, tx, UnixTime::now(), &group, request.pattern)
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

fn ban_one(app: &App, tx: &mut Tx<'_>, now: UnixTime, group: &Group, pattern: BanPattern) -> Result<(), Failure> {
    let hit = match pattern.address() {
        Some(address) => tx.member(&group.group, &address)?.into_iter().collect(),
        None => tx.members(&group.group)?,
    };
    let hit: Vec<_> = hit.into_iter().filter(|member| pattern.means(&member.address)).collect();
    if let Some(owner) = hit.iter().find(|member| member.role == MemberRole::Owner) {
        let detail = format!("{} owns {}: take the ownership away first", owner.address, group.list);
        return Err(refuse(ProblemCode::Conflict, detail));
    }
    if !tx.ban(&group.group, &pattern)? {
        if tx.bans(&group.group)?.len() >= MOST {
            return Err(refuse(
                ProblemCode::Conflict,
                format!("{} has {MOST} bans: lift some, or ban a domain", group.list),
            ));
        }
        tx.push(Change::BanSet { group: group.group, pattern: pattern.clone(), banned: true })?;
    }
    for member in hit {
        members::leave_one(app, tx, now, group, &member.address)?;
    }
    for request in tx.requests_in(&group.group)? {
        if pattern.means(request.wish.address()) {
            tx.push(Change::RequestEnded { request: request.id, end: RequestEnd::Rejected })?;
        }
    }
    Ok(())
}

/// `Unban`.
pub(crate) async fn unban(app: Arc<App>, caller: Caller, request: BanRequest) -> Result<Changed, Problem> {
    let decide = move |_: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        if tx.ban(&group.group, &request.pattern)? {
            tx.push(Change::BanSet { group: group.group, pattern: request.pattern, banned: false })?;
        }
        Ok(())
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// `ListBans`.
pub(crate) async fn list(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Vec<BanPattern>, Problem> {
    let read = move |tx: &Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        Ok(tx.bans(&group.group)?)
    };
    read_as(app, caller, read).await
}

/// Whether the group lets this address in no more.
pub(crate) fn banned(tx: &Tx<'_>, group: &GroupId, address: &MailAddress) -> Result<bool, StoreError> {
    for pattern in BanPattern::meaning(address) {
        if tx.ban(group, &pattern)? {
            return Ok(true);
        }
    }
    Ok(false)
}
