//! Accounts: made by administrators, one or a hundred thousand at once, with a certificate for those that come with a
//! key.

pub(crate) mod manage;

use crate::app::App;
use crate::audit::Actor;
use crate::authn::password::{BadPassword, Password, PasswordHash};
use crate::cert::good_key;
use crate::cert::profile::Profile;
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Issued, Order, issue};
use crate::rows::{Holder, TokenPurpose};
use crate::store::Tx;
use crate::{decide, key_change, parallel, random};
use openssl::error::ErrorStack;
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{
    AddAccountsRequest, AddedAccounts, EnrolTokenRequest, IssuedToken, NewAccount,
};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use zeroize::Zeroizing;

/// Most accounts in one call.
const MOST: usize = 100_000;

/// A new account after the slow work, before the commit.
struct Ready {
    address: MailAddress,
    password: Option<PasswordHash>,
    /// The key for which a certificate is issued; certificates come in the order of the accounts.
    key: Option<Digest>,
}

/// `AddAccounts`: all or none.
pub(crate) async fn add(app: Arc<App>, _: Caller, request: AddAccountsRequest) -> Result<AddedAccounts, Problem> {
    add_all(&app, request.accounts).await.map_err(Failure::into_problem)
}

async fn add_all(app: &Arc<App>, accounts: Vec<NewAccount>) -> Result<AddedAccounts, Failure> {
    if accounts.len() > MOST {
        return Err(refuse(ProblemCode::BadRequest, format!("at most {MOST} accounts in one call")));
    }
    // Refused before the slow work, and once more in the commit.
    let view = app.registry.view();
    for account in &accounts {
        may_add(&view, &account.address)?;
    }
    let (memory, days) = (app.config.password_memory_kib, app.config.member_days);
    let ready = tokio::task::spawn_blocking(move || parallel::map(accounts, |one| get_ready(one, memory, days)));
    let (accounts, orders): (Vec<Ready>, Vec<Option<Order>>) = ready.await??.into_iter().unzip();
    let orders = orders.into_iter().flatten().collect();
    let issued = issue(app, &Actor::Administrator, Authority::Members, orders).await?;
    let (certificates, _) = app.registry.commit(Actor::Administrator, move |tx| publish(tx, accounts, issued)).await?;
    Ok(AddedAccounts { certificates })
}

/// Whether this address may have an account.
pub(crate) fn may_add(tx: &Tx<'_>, address: &MailAddress) -> Result<(), Failure> {
    let list = address.as_str().parse().ok().map(|list| tx.group(&list)).transpose()?.flatten();
    Ok(decide::add_account(address, tx.account(address)?.is_some(), list.is_some())?)
}

fn get_ready(account: NewAccount, memory: u32, days: u32) -> Result<(Ready, Option<Order>), Failure> {
    let bad = bad_password;
    let password = match account.password {
        None => None,
        Some(text) => Some(hash_password(text, memory)?.map_err(|e| bad(&account.address, &e))?),
    };
    let order = match account.public_key {
        None => None,
        Some(spki) => {
            let key = good_key::check(spki.as_ref()).map_err(|e| bad(&account.address, &e))?;
            Some(Order {
                holder: Holder::Member { address: account.address.clone() },
                profile: Profile::member(&account.address, key.kind),
                spki: key.spki,
                days,
            })
        }
    };
    let key = order.as_ref().map(|order| Digest::of(&order.spki));
    Ok((Ready { address: account.address, password, key }, order))
}

fn hash_password(text: String, memory: u32) -> Result<Result<PasswordHash, BadPassword>, ErrorStack> {
    let password = Password::new(Zeroizing::new(text));
    Ok(PasswordHash::new(&password, random::octets()?, memory))
}

fn bad_password(address: &MailAddress, error: &dyn std::error::Error) -> Failure {
    refuse(ProblemCode::BadRequest, format!("{address}: {error}"))
}

fn publish(tx: &mut Tx<'_>, accounts: Vec<Ready>, issued: Vec<Issued>) -> Result<Vec<Option<B64>>, Failure> {
    let mut issued = issued.into_iter();
    let mut certificates = Vec::with_capacity(accounts.len());
    for account in accounts {
        may_add(tx, &account.address)?;
        tx.push(Change::AccountAdded { address: account.address, password: account.password })?;
        let own = match &account.key {
            None => None,
            // The administrator vouches for whose key it is, not for one that was lost or has another use.
            Some(key) => match key_change::taken(tx, key)? {
                Some(problem) => return Err(problem.into()),
                None => issued.next(),
            },
        };
        if let Some(own) = &own {
            tx.push(own.change(None))?;
        }
        certificates.push(own.map(|own| B64(own.der)));
    }
    Ok(certificates)
}

/// `EnrolToken`: a one-time token for an account.
pub(crate) async fn token(app: Arc<App>, _: Caller, request: EnrolTokenRequest) -> Result<IssuedToken, Problem> {
    let made = async {
        let made = UnixTime::now();
        let expires = made.plus(u64::from(app.config.enrol_token_hours) * 3600);
        let token = random::token()?;
        let digest: Digest = token.digest();
        let decide = move |tx: &mut Tx<'_>| {
            let address = request.address;
            let account = tx.account(&address)?.ok_or_else(|| decide::no_account(&address))?;
            let purpose = TokenPurpose::Enrol { address: account.address };
            Ok(tx.push(Change::TokenMade { digest, purpose, expires, made })?)
        };
        app.registry.commit(Actor::Administrator, decide).await?;
        crate::services::issued_token(&app, &token)
    };
    made.await.map_err(Failure::into_problem)
}
