//! Memberships: joining and leaving, by members and by administrators, and what a certificate's fate does to them.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::certificate;
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::decide::{self, By, Decision};
use crate::failure::Failure;
use crate::rows::{Account, Group};
use crate::store::Tx;
use crate::{owners, random};
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::certsrv::{
    Changed, ListMembersRequest, Member, MemberRole, MemberState, MembersRequest,
};
use twinseal_proto::api::groups::{ListRequest, Membership};
use twinseal_proto::ids::{Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// `Join`: a member joins a list.
pub(crate) async fn join(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Membership, Problem> {
    change_own(app, caller, request, true).await.map_err(Failure::into_problem)
}

/// `Leave`: a member leaves a list.
pub(crate) async fn leave(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Membership, Problem> {
    change_own(app, caller, request, false).await.map_err(Failure::into_problem)
}

async fn change_own(app: Arc<App>, caller: Caller, request: ListRequest, joins: bool) -> Result<Membership, Failure> {
    let account = certificate::member(&app, &caller)?;
    let (list, address) = (request.list.clone(), account.address.clone());
    hit(if joins { "certsrv.join.before-commit" } else { "certsrv.leave.before-commit" });
    app.registry
        .commit(Actor::Account(account.address.clone()), move |tx| {
            if joins { join_one(tx, &list, &address, By::Member) } else { leave_one(tx, &list, &address) }
        })
        .await?;
    hit(if joins { "certsrv.join.before-answer" } else { "certsrv.leave.before-answer" });
    Ok(Membership { list: request.list, address: account.address, member: joins })
}

/// `AddMembers`: an administrator puts accounts in.
pub(crate) async fn add(app: Arc<App>, _: Caller, request: MembersRequest) -> Result<Changed, Problem> {
    change_many(app, request, |tx, list, address| join_one(tx, list, address, By::Administrator)).await
}

/// `RemoveMembers`: an administrator takes accounts out.
pub(crate) async fn remove(app: Arc<App>, _: Caller, request: MembersRequest) -> Result<Changed, Problem> {
    change_many(app, request, leave_one).await
}

async fn change_many(
    app: Arc<App>,
    request: MembersRequest,
    one: impl Fn(&mut Tx<'_>, &ListAddress, &MailAddress) -> Result<(), Failure> + Send + 'static,
) -> Result<Changed, Problem> {
    let decide = move |tx: &mut Tx<'_>| {
        group(tx, &request.list)?;
        request.addresses.iter().try_for_each(|address| one(tx, &request.list, address))
    };
    let ((), sequence) = app.registry.commit(Actor::Administrator, decide).await.map_err(Failure::into_problem)?;
    Ok(Changed { sequence })
}

/// `ListMembers`.
pub(crate) async fn list(app: Arc<App>, _: Caller, request: ListMembersRequest) -> Result<Vec<Member>, Problem> {
    let read = move || -> Result<Vec<Member>, Failure> {
        let view = app.registry.view();
        let group = group(&view, &request.list)?;
        let rows = view.members(&group.group)?;
        Ok(rows
            .into_iter()
            .map(|row| Member {
                address: row.address,
                state: row.state,
                role: row.role,
                handle: row.handle,
                serial: row.serial.map(|serial| serial.to_string()),
            })
            .collect())
    };
    let answer = tokio::task::spawn_blocking(read).await.map_err(Failure::from);
    answer.and_then(|rows| rows).map_err(Failure::into_problem)
}

pub(crate) fn group(tx: &Tx<'_>, list: &ListAddress) -> Result<Group, Failure> {
    Ok(tx.group(list)?.ok_or_else(|| decide::no_list(list))?)
}

fn account(tx: &Tx<'_>, address: &MailAddress) -> Result<Account, Failure> {
    Ok(tx.account(address)?.ok_or_else(|| decide::no_account(address))?)
}

fn join_one(tx: &mut Tx<'_>, list: &ListAddress, address: &MailAddress, by: By) -> Result<(), Failure> {
    let (group, account) = (group(tx, list)?, account(tx, address)?);
    match decide::join(&group, tx.member(&group.group, address)?.as_ref(), by) {
        Decision::Do => put_in(tx, &group, &account, MemberRole::Member),
        Decision::Nothing => Ok(()),
        Decision::Refuse(problem) => Err(problem.into()),
    }
}

fn leave_one(tx: &mut Tx<'_>, list: &ListAddress, address: &MailAddress) -> Result<(), Failure> {
    let (group, account) = (group(tx, list)?, account(tx, address)?);
    match decide::leave(&group, tx.member(&group.group, address)?.as_ref()) {
        Decision::Do => Ok(tx.push(Change::MemberLeft { group: group.group, address: account.address })?),
        Decision::Nothing => Ok(()),
        Decision::Refuse(problem) => Err(problem.into()),
    }
}

/// Adds a membership: active at once when the account has a live certificate, pending until it has one.
pub(crate) fn put_in(tx: &mut Tx<'_>, group: &Group, account: &Account, role: MemberRole) -> Result<(), Failure> {
    let certificate = account.current.map(|serial| tx.certificate(&serial)).transpose()?.flatten();
    let serial = certificate.filter(|certificate| certificate.live(UnixTime::now())).map(|live| live.serial);
    let handle = Handle::from_random(random::octets()?);
    let number = MemberNumber(tx.applied()?.next_number);
    let (group, address) = (group.group, account.address.clone());
    Ok(tx.push(Change::MemberAdded { group, address, handle, number, role, serial })?)
}

/// An account has a new certificate: all its memberships have it.
pub(crate) fn key_memberships(tx: &mut Tx<'_>, address: &MailAddress, serial: Serial) -> Result<(), StoreError> {
    for group in tx.memberships(address)? {
        tx.push(Change::MemberKeyed { group, address: address.clone(), serial })?;
    }
    Ok(())
}

/// A certificate was revoked or ran out: the memberships that copies were made for with it are suspended.
pub(crate) fn suspend_memberships(tx: &mut Tx<'_>, address: &MailAddress, serial: Serial) -> Result<(), StoreError> {
    for group in tx.memberships(address)? {
        let hit = tx.member(&group, address)?;
        let Some(row) = hit.filter(|row| row.state == MemberState::Active) else { continue };
        if row.serial == Some(serial) || owners::told_serial(&group, &row, &serial, tx)? {
            tx.push(Change::MemberSuspended { group, address: address.clone() })?;
        }
    }
    Ok(())
}
