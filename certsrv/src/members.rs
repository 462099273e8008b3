//! Memberships: joining and leaving, by members themselves, by owners and by administrators, and what a certificate's fate
//! does to them. Leaving never waits for anything, least of all for mail.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::certificate;
use crate::authority::{Who, change_as};
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::decide::{self, By, Decision, Need};
use crate::failure::{Failure, refuse};
use crate::rows::{Account, Group, Notice, RequestEnd};
use crate::store::Tx;
use crate::tokens::posting;
use crate::{bans, events, notices, owners, random, requests};
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{Changed, MemberRole, MemberState, MembersRequest};
use twinseal_proto::api::groups::{ListRequest, Membership, WaitsFor};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::feed::DeliveryOptions;
use twinseal_proto::ids::{Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// `Join`: a member joins a list, or asks to.
pub(crate) async fn join(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Membership, Problem> {
    change_own(app, caller, request, true).await.map_err(Failure::into_problem)
}

/// `Leave`: a member leaves a list.
pub(crate) async fn leave(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Membership, Problem> {
    change_own(app, caller, request, false).await.map_err(Failure::into_problem)
}

async fn change_own(app: Arc<App>, caller: Caller, request: ListRequest, joins: bool) -> Result<Membership, Failure> {
    let account = certificate::member(&app, &caller)?;
    let (at, list, address) = (Arc::clone(&app), request.list.clone(), account.address.clone());
    hit(if joins { "certsrv.join.before-commit" } else { "certsrv.leave.before-commit" });
    let (waits_for, _) = app
        .registry
        .commit(Actor::Account(account.address.clone()), move |tx| {
            let now = UnixTime::now();
            if joins {
                join_own(&at, tx, now, &list, &address)
            } else {
                leave_own(&at, tx, now, &list, &address).map(|()| None)
            }
        })
        .await?;
    hit(if joins { "certsrv.join.before-answer" } else { "certsrv.leave.before-answer" });
    Ok(Membership { list: request.list, address: account.address, member: joins && waits_for.is_none(), waits_for })
}

/// An account joins: at once, or by a request for what is missing.
fn join_own(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    list: &ListAddress,
    address: &MailAddress,
) -> Result<Option<WaitsFor>, Failure> {
    let (group, account) = (group(tx, list)?, account(tx, address)?);
    let invitation = requests::invitation(tx, now, &group.group, address)?;
    let by = if invitation.is_some() { By::Invited } else { By::Member };
    let banned = bans::banned(tx, &group.group, address)?;
    match decide::join(&group, tx.member(&group.group, address)?.as_ref(), by, banned) {
        Decision::Do => match invitation {
            Some(invitation) => requests::confirm(app, tx, now, &invitation, None),
            None => admit(app, tx, now, &group, &account, by).map(|()| None),
        },
        Decision::Nothing => Ok(None),
        Decision::Ask(missing) => requests::ask(app, tx, now, &group, &account, missing).map(Some),
        Decision::Refuse(problem) => Err(problem.into()),
    }
}

fn leave_own(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    list: &ListAddress,
    address: &MailAddress,
) -> Result<(), Failure> {
    let group = group(tx, list)?;
    if tx.member(&group.group, address)?.is_none() {
        return requests::end_those_of(tx, &group.group, address, RequestEnd::Rejected);
    }
    leave_one(app, tx, now, &group, address)?;
    tell_owners(app, tx, now, &group, address, false)
}

/// `AddMembers`: an owner or an administrator puts accounts in.
pub(crate) async fn add(app: Arc<App>, caller: Caller, request: MembersRequest) -> Result<Changed, Problem> {
    let decide = move |app: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        let now = UnixTime::now();
        request.addresses.iter().try_for_each(|address| add_one(app, tx, now, &group, address, who.by()))
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// `RemoveMembers`: an owner or an administrator takes accounts out.
pub(crate) async fn remove(app: Arc<App>, caller: Caller, request: MembersRequest) -> Result<Changed, Problem> {
    let decide = move |app: &App, tx: &mut Tx<'_>, who: &Who| {
        who.group(tx, &request.list, Need::Owner)?;
        let now = UnixTime::now();
        request.addresses.iter().try_for_each(|address| {
            account(tx, address)?;
            // Counted anew: another owner may have gone just now.
            leave_one(app, tx, now, &group(tx, &request.list)?, address)
        })
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// Puts an account in, for an owner or an administrator.
pub(crate) fn add_one(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    address: &MailAddress,
    by: By,
) -> Result<(), Failure> {
    let account = account(tx, address)?;
    let banned = bans::banned(tx, &group.group, address)?;
    match decide::join(group, tx.member(&group.group, address)?.as_ref(), by, banned) {
        Decision::Do => admit(app, tx, now, group, &account, by),
        Decision::Nothing => Ok(()),
        Decision::Refuse(problem) => Err(problem.into()),
        Decision::Ask(_) => Err(refuse(ProblemCode::Conflict, "an owner's word waits for nobody")),
    }
}

/// Ends a membership, if there is one.
pub(crate) fn leave_one(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    address: &MailAddress,
) -> Result<(), Failure> {
    let member = tx.member(&group.group, address)?;
    match (decide::leave(group, member.as_ref()), member) {
        (Decision::Do, Some(member)) => {
            let to = member.address.clone();
            tx.push(Change::MemberLeft { group: group.group, address: member.address })?;
            posting::end_outsiders(tx, &to)?;
            notices::queue(app, tx, now, Notice::Goodbye { to, list: group.list.clone() }).map(|_| ())
        }
        (Decision::Refuse(problem), _) => Err(problem.into()),
        _ => Ok(()),
    }
}

/// The account belongs to the group from now on: nothing waits for it any more, and it is told so.
pub(crate) fn admit(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    account: &Account,
    by: By,
) -> Result<(), Failure> {
    put_in(tx, group, account, MemberRole::Member)?;
    requests::end_those_of(tx, &group.group, &account.address, RequestEnd::Done)?;
    notices::memberships(app, tx, now)?;
    match by {
        By::Member | By::Invited => tell_owners(app, tx, now, group, &account.address, true),
        // Who puts somebody in knows it.
        By::Owner | By::Administrator => Ok(()),
    }
}

fn tell_owners(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    address: &MailAddress,
    joined: bool,
) -> Result<(), Failure> {
    if !group.notices || app.config.mail.is_none() {
        return Ok(());
    }
    for to in tx.owners(&group.group)? {
        let (list, address) = (group.list.clone(), address.clone());
        notices::queue(app, tx, now, Notice::Membership { to, list, address, joined })?;
    }
    Ok(())
}

/// The group with this list.
pub(crate) fn group(tx: &Tx<'_>, list: &ListAddress) -> Result<Group, Failure> {
    Ok(tx.group(list)?.ok_or_else(|| decide::no_list(list))?)
}

/// The account with this address.
pub(crate) fn account(tx: &Tx<'_>, address: &MailAddress) -> Result<Account, Failure> {
    Ok(tx.account(address)?.ok_or_else(|| decide::no_account(address))?)
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
        let before = tx.member(&group, address)?;
        tx.push(Change::MemberKeyed { group, address: address.clone(), serial })?;
        // The exploder hears of the membership now for the first time, with the options that everybody has.
        // Of a signed group it hears when an owner signs.
        if let Some(row) = before.filter(|row| row.state == MemberState::Pending)
            && row.options.for_delivery() != DeliveryOptions::default()
            && !owners::is_signed(&group, tx)?
        {
            tx.push(Change::MemberSet { group, address: row.address, role: row.role, options: row.options })?;
        }
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
            // The account stays an owner, but nobody can act as one until it has a key again.
            let list = tx.list_of(&group)?;
            owned_alone(tx, address)?
                .iter()
                .filter(|owned| Some(*owned) == list.as_ref())
                .for_each(events::owner_without_key);
        }
    }
    Ok(())
}

/// The lists of which this account is the only owner: it cannot be removed before each has another.
pub(crate) fn owned_alone(tx: &Tx<'_>, address: &MailAddress) -> Result<Vec<ListAddress>, StoreError> {
    let mut found = Vec::new();
    for id in tx.memberships(address)? {
        let owner = tx.member(&id, address)?.is_some_and(|row| row.role == MemberRole::Owner);
        let Some(group) = tx.list_of(&id)?.map(|list| tx.group(&list)).transpose()?.flatten() else { continue };
        if owner && group.owners <= 1 {
            found.push(group.list);
        }
    }
    Ok(found)
}
