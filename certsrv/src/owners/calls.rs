//! What owners ask for, and what they hand in.

use super::take::accept;
use crate::app::App;
use crate::audit::Actor;
use crate::authn::certificate;
use crate::change::Change;
use crate::decide;
use crate::failure::{Failure, refuse};
use crate::members;
use crate::rows::{Account, Certificate, Group, Member};
use crate::store::Tx;
use std::collections::HashMap;
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::MemberRole;
use twinseal_proto::api::owners::{
    RosterMember, RosterPage, RosterRequest, StatementsPage, StatementsRequest, Submission, SubmitRequest, Submitted,
};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::DeliveryOptions;
use twinseal_proto::ids::{Handle, ListAddress};
use twinseal_proto::roster::{Accepted, Binding, Entry, OwnerState, Removal, Role, Statement};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// Most members, and most statements, in an answer: it stays below a megabyte.
const PAGE: usize = 500;

/// `GetRoster`.
pub(crate) async fn roster(app: Arc<App>, caller: Caller, request: RosterRequest) -> Result<RosterPage, Problem> {
    let read = move || -> Result<RosterPage, Failure> {
        let account = certificate::member(&app, &caller)?;
        let view = app.registry.view();
        let group = owned(&view, &request.list, &account)?;
        let row = view.roster(&group.group)?;
        let after = request.after.as_ref().map(|after| after.folded());
        let all = view.members(&group.group)?;
        let mut rest = all.into_iter().filter(|member| after.is_none_or(|after| member.address.folded() > after));
        let now = UnixTime::now();
        let members = rest.by_ref().take(PAGE).map(|member| shown(&view, &group, member, now));
        let members = members.collect::<Result<_, StoreError>>()?;
        let (first, sequence) = row.map_or((None, 0), |row| (Some(row.first), row.state.high));
        Ok(RosterPage { group: group.group, first, sequence, members, more: rest.next().is_some() })
    };
    let answer = tokio::task::spawn_blocking(read).await.map_err(Failure::from);
    answer.and_then(|page| page).map_err(Failure::into_problem)
}

fn shown(view: &Tx<'_>, group: &Group, member: Member, now: UnixTime) -> Result<RosterMember, StoreError> {
    let certificate = live(view, &member, now)?;
    let entry = view.entry(&group.group, &member.handle)?;
    Ok(RosterMember {
        handle: member.handle,
        address: member.address,
        role: member.role,
        key: certificate.as_ref().map(|certificate| certificate.key),
        certificate: certificate.map(|certificate| Digest::of(certificate.certificate.as_ref())),
        salt: entry.as_ref().map(|row| row.salt.clone()),
        entry: entry.map(|row| row.entry.digest),
    })
}

/// `GetStatements`.
pub(crate) async fn statements(
    app: Arc<App>,
    caller: Caller,
    request: StatementsRequest,
) -> Result<StatementsPage, Problem> {
    let read = move || -> Result<StatementsPage, Failure> {
        let account = certificate::member(&app, &caller)?;
        let view = app.registry.view();
        let group = owned(&view, &request.list, &account)?;
        let mut statements = view.statements(&group.group, request.after, PAGE + 1)?;
        let more = statements.len() > PAGE;
        statements.truncate(PAGE);
        Ok(StatementsPage { statements, more })
    };
    let answer = tokio::task::spawn_blocking(read).await.map_err(Failure::from);
    answer.and_then(|page| page).map_err(Failure::into_problem)
}

/// `Submit`.
pub(crate) async fn submit(app: Arc<App>, caller: Caller, request: SubmitRequest) -> Result<Submitted, Problem> {
    submit_all(app, &caller, request).await.map_err(Failure::into_problem)
}

async fn submit_all(app: Arc<App>, caller: &Caller, request: SubmitRequest) -> Result<Submitted, Failure> {
    let account = certificate::member(&app, caller)?;
    let now = UnixTime::now();
    let at = Arc::clone(&app);
    let decide = move |tx: &mut Tx<'_>| take_all(&at, tx, &account, request, now);
    let by = Actor::Account(certificate::member(&app, caller)?.address);
    let ((), feed) = app.registry.commit(by, decide).await?;
    Ok(Submitted { feed })
}

/// The group, if it is a signed one and the account an owner of it.
fn owned(tx: &Tx<'_>, list: &ListAddress, account: &Account) -> Result<Group, Failure> {
    let group = members::group(tx, list)?;
    let key = account.current.map(|serial| tx.certificate(&serial)).transpose()?.flatten().map(|row| row.key);
    let signs = tx.roster(&group.group)?.is_some_and(|row| key.is_some_and(|key| row.state.owners.contains(&key)));
    let member = tx.member(&group.group, &account.address)?;
    if !signs && member.is_none_or(|member| member.role != MemberRole::Owner) {
        return Err(refuse(ProblemCode::NotAuthorised, format!("only an owner of {list} may do this")));
    }
    if !group.signed {
        let detail = format!("the roster of {list} is not signed by its owners, and needs no signatures");
        return Err(refuse(ProblemCode::Conflict, detail));
    }
    Ok(group)
}

/// The certificate that a member has now, if it is live.
fn live(tx: &Tx<'_>, member: &Member, now: UnixTime) -> Result<Option<Certificate>, StoreError> {
    let row = member.serial.map(|serial| tx.certificate(&serial)).transpose()?.flatten();
    Ok(row.filter(|row| row.live(now)))
}

fn take_all(
    app: &App,
    tx: &mut Tx<'_>,
    account: &Account,
    request: SubmitRequest,
    now: UnixTime,
) -> Result<(), Failure> {
    let group = owned(tx, &request.list, account)?;
    let mut state = match tx.roster(&group.group)? {
        Some(row) => row.state,
        None => {
            let owner = first_owner(tx, &group, now)?;
            tx.push(Change::RosterPinned { group: group.group, owner })?;
            OwnerState::pin(group.group, owner)
        }
    };
    let members = tx.members(&group.group)?;
    let members: HashMap<Handle, Member> = members.into_iter().map(|member| (member.handle, member)).collect();
    for Submission { statement, salt } in request.statements {
        let refused = |error: &dyn std::fmt::Display| refuse(ProblemCode::Conflict, format!("statement: {error}"));
        let said = statement.read().map_err(|error| refused(&error))?;
        said.check_time(now).map_err(|error| refused(&error))?;
        let accepted = accept(&mut state, &statement, tx)?.map_err(|error| refused(&error))?;
        if matches!(accepted, Accepted::Known(_)) {
            continue;
        }
        let (address, salt, leaves) = match &said {
            Statement::Entry(entry) => {
                let member = members.get(&entry.handle).ok_or_else(|| refused(&"it is about nobody of the group"))?;
                let salt = salt.unwrap_or_default();
                fits(tx, &group, member, entry, &salt, now)?;
                (Some(member.address.clone()), Some(salt), None)
            }
            Statement::Removal(Removal { handle, .. }) => (None, None, members.get(handle)),
            Statement::Owners(_) | Statement::Head(_) => (None, None, None),
        };
        let joins = match &said {
            Statement::Entry(entry) if tx.entry(&group.group, &entry.handle)?.is_none() => members.get(&entry.handle),
            _ => None,
        };
        tx.push(Change::StatementTaken { group: group.group, statement, address, salt })?;
        // The exploder hears of the membership now for the first time, with the options that everybody has.
        if let Some(row) = joins.filter(|row| row.options.for_delivery() != DeliveryOptions::default()) {
            let (address, role, options) = (row.address.clone(), row.role, row.options.clone());
            tx.push(Change::MemberSet { group: group.group, address, role, options })?;
        }
        if let Some(member) = leaves {
            // Counted anew: what came before may have changed how many own it.
            let group = members::group(tx, &request.list)?;
            members::leave_one(app, tx, now, &group, &member.address)?;
        }
    }
    Ok(())
}

/// The key of the group's first owner: the consumers' administrators pin the same.
fn first_owner(tx: &Tx<'_>, group: &Group, now: UnixTime) -> Result<Digest, Failure> {
    let account = tx.account(&group.owner)?.ok_or_else(|| decide::no_account(&group.owner))?;
    let row = account.current.map(|serial| tx.certificate(&serial)).transpose()?.flatten();
    let missing = || {
        let detail = format!("{}, who owns {} first, has no live certificate", group.owner, group.list);
        refuse(ProblemCode::Conflict, detail)
    };
    Ok(row.filter(|row| row.live(now)).ok_or_else(missing)?.key)
}

/// Whether the entry says of the member what is so.
fn fits(tx: &Tx<'_>, group: &Group, member: &Member, entry: &Entry, salt: &B64, now: UnixTime) -> Result<(), Failure> {
    let wrong = |what: &str| Err(refuse(ProblemCode::Conflict, format!("entry of {}: {what}", member.address)));
    let Some(certificate) = live(tx, member, now)? else { return wrong("the member has no live certificate") };
    if certificate.key != entry.key {
        return wrong("the member's key is another one by now; look again who waits");
    }
    let told = Binding::Address { salt: salt.as_ref(), address: &member.address };
    if told.check(&entry.key, &entry.address).is_err() {
        return wrong("its digest is not that of the member's address with a salt of 16 octets");
    }
    if (entry.role == Role::Owner) != (member.role == MemberRole::Owner) {
        return wrong("the member has another role");
    }
    match tx.entry(&group.group, &member.handle)? {
        // The exploder has the first salt.
        Some(row) if row.salt != *salt => wrong("its salt is not that of the entry in force"),
        _ => Ok(()),
    }
}
