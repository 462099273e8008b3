//! Accounts that are there already: passwords, locks, removal, and what they look like.

use super::{Failure, bad_password, hash_password};
use crate::app::App;
use crate::audit::Actor;
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::decide::{self, Decision};
use crate::failure::refuse;
use crate::key_change;
use crate::rows::{self, Holder, KeyUse, RequestEnd};
use crate::store::Tx;
use crate::tokens::posting;
use axum::Router;
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::accounts::{
    Account, AccountCertificate, AccountRequest, ListAccounts, LockAccount, RemoveAccount, SetPassword,
    SetPasswordRequest, ShowAccount, ShownAccount, UnlockAccount, Whose,
};
use twinseal_proto::api::admin::certsrv::{Changed, RevocationReason};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::{Caller, route};

/// Adds these calls to the admin socket's.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = route::<SetPassword, _, _, _>(router, set_password);
    let router = route::<LockAccount, _, _, _>(router, lock);
    let router = route::<UnlockAccount, _, _, _>(router, unlock);
    let router = route::<RemoveAccount, _, _, _>(router, remove);
    let router = route::<ListAccounts, _, _, _>(router, list);
    route::<ShowAccount, _, _, _>(router, show)
}

async fn set_password(app: Arc<App>, _: Caller, request: SetPasswordRequest) -> Result<Changed, Problem> {
    let SetPasswordRequest { address, password } = request;
    let memory = app.config.password_memory_kib;
    let hashed = async {
        let Some(text) = password else { return Ok(None) };
        let hash = tokio::task::spawn_blocking(move || hash_password(text, memory)).await??;
        hash.map(Some).map_err(|e| bad_password(&address, &e))
    };
    let password = hashed.await.map_err(Failure::into_problem)?;
    change(&app, move |tx| {
        let address = there(tx, &address)?.address;
        Ok(tx.push(Change::PasswordSet { address, password })?)
    })
    .await
}

async fn lock(app: Arc<App>, _: Caller, whose: Whose) -> Result<Changed, Problem> {
    change(&app, move |tx| {
        let account = match whose {
            Whose::Address(address) => there(tx, &address)?,
            Whose::Serial(text) => holder(tx, &text)?,
        };
        if account.locked {
            return Ok(());
        }
        posting::end_all(tx, &account.address)?;
        Ok(tx.push(Change::AccountLocked { address: account.address })?)
    })
    .await
}

async fn unlock(app: Arc<App>, _: Caller, request: AccountRequest) -> Result<Changed, Problem> {
    change(&app, move |tx| {
        let account = there(tx, &request.address)?;
        if !account.locked {
            return Ok(());
        }
        Ok(tx.push(Change::AccountUnlocked { address: account.address })?)
    })
    .await
}

async fn remove(app: Arc<App>, _: Caller, request: AccountRequest) -> Result<Changed, Problem> {
    change(&app, move |tx| remove_one(tx, &request.address)).await
}

/// The memberships end, the certificates are revoked, and what waited for the account waits no more.
fn remove_one(tx: &mut Tx<'_>, address: &MailAddress) -> Result<(), Failure> {
    let address = there(tx, address)?.address;
    for group in key_change::groups(tx, &address)? {
        let present = tx.member(&group.group, &address)?;
        match decide::leave(&group, present.as_ref()) {
            Decision::Do => tx.push(Change::MemberLeft { group: group.group, address: address.clone() })?,
            Decision::Refuse(problem) => return Err(problem.into()),
            _ => {}
        }
    }
    let now = UnixTime::now();
    for row in tx.certificates_of(&address)? {
        if row.live(now) {
            let reason = RevocationReason::CessationOfOperation;
            tx.push(Change::CertificateRevoked { serial: row.serial, reason, at: now })?;
        }
    }
    for request in tx.requests_of(&address)? {
        tx.push(Change::RequestEnded { request: request.id, end: RequestEnd::Rejected })?;
    }
    posting::end_all(tx, &address)?;
    Ok(tx.push(Change::AccountRemoved { address })?)
}

async fn change(
    app: &Arc<App>,
    decide: impl FnOnce(&mut Tx<'_>) -> Result<(), Failure> + Send + 'static,
) -> Result<Changed, Problem> {
    let ((), sequence) = app.registry.commit(Actor::Administrator, decide).await.map_err(Failure::into_problem)?;
    hit("certsrv.account.before-answer");
    Ok(Changed { sequence })
}

fn there(tx: &Tx<'_>, address: &MailAddress) -> Result<rows::Account, Failure> {
    Ok(tx.account(address)?.ok_or_else(|| decide::no_account(address))?)
}

fn holder(tx: &Tx<'_>, serial: &str) -> Result<rows::Account, Failure> {
    let number: Serial = serial.parse().map_err(|e| refuse(ProblemCode::BadRequest, format!("{serial}: {e}")))?;
    match tx.certificate(&number)?.map(|row| row.holder) {
        Some(Holder::Member { address } | Holder::Membership { address, .. }) => there(tx, &address),
        Some(_) => Err(refuse(ProblemCode::Conflict, format!("{serial} is no account's certificate"))),
        None => Err(refuse(ProblemCode::NotFound, format!("no certificate with serial {serial} was issued here"))),
    }
}

async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Vec<Account>, Problem> {
    let read = move || -> Result<Vec<Account>, Failure> {
        let view = app.registry.view();
        view.accounts()?.iter().map(|row| shown(&view, row)).collect()
    };
    let answer = tokio::task::spawn_blocking(read).await.map_err(Failure::from);
    answer.and_then(|rows| rows).map_err(Failure::into_problem)
}

async fn show(app: Arc<App>, _: Caller, request: AccountRequest) -> Result<ShownAccount, Problem> {
    show_one(&app.registry.view(), &request.address).map_err(Failure::into_problem)
}

fn show_one(view: &Tx<'_>, address: &MailAddress) -> Result<ShownAccount, Failure> {
    let now = UnixTime::now();
    let certificates = view.certificates_of(address)?.into_iter().map(|row| AccountCertificate {
        serial: row.serial.to_string(),
        purpose: purpose(row.purpose).to_owned(),
        until: row.until,
        live: row.live(now),
        foreign: row.foreign.is_some(),
    });
    Ok(ShownAccount { account: shown(view, &there(view, address)?)?, certificates: certificates.collect() })
}

const fn purpose(purpose: KeyUse) -> &'static str {
    match purpose {
        KeyUse::Both => "both",
        KeyUse::Sign => "sign",
        KeyUse::Encrypt => "encrypt",
    }
}

fn shown(view: &Tx<'_>, row: &rows::Account) -> Result<Account, Failure> {
    let now = UnixTime::now();
    let live = |serial: Option<Serial>| -> Result<Option<String>, Failure> {
        let row = serial.map(|serial| view.certificate(&serial)).transpose()?.flatten();
        Ok(row.filter(|row| row.live(now)).map(|row| row.serial.to_string()))
    };
    Ok(Account {
        address: row.address.clone(),
        locked: row.locked,
        password: row.password.is_some(),
        encryption: live(row.current)?,
        signing: live(row.signing)?,
    })
}
