//! Whose account is it? An account's first log-in binds it to the subject at the identity provider; nobody else's name
//! there opens it afterwards, whatever address comes with it.

use super::judge::Verified;
use super::refused::Refused;
use crate::accounts::may_add;
use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::decide::no_account;
use crate::failure::Failure;
use crate::rows::Account;
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::certsrv::{Changed, UnbindAccountRequest};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_svc::http::Caller;

/// What a log-in does to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Nothing: it is bound to this subject.
    Nothing,
    /// Binds it.
    Bind,
    /// Makes it and binds it.
    Create,
}

/// Pure.
fn decide(account: Option<&Account>, subject: &Digest, create: bool) -> Result<Decision, Refused> {
    match account.map(|account| account.bound) {
        Some(Some(bound)) if bound == *subject => Ok(Decision::Nothing),
        Some(Some(_)) => Err(Refused::OtherSubject),
        Some(None) => Ok(Decision::Bind),
        None if create => Ok(Decision::Create),
        None => Err(Refused::NoAccount),
    }
}

/// The account's own address, after what the log-in changes is durable.
pub(super) async fn find(app: &Arc<App>, person: Verified, create: bool) -> Result<MailAddress, Refused> {
    let by = Actor::Account(person.mail.clone());
    match app.registry.commit(by, move |tx| bind(tx, person, create)).await {
        Ok((found, _)) => found,
        Err(failure) => {
            failure.into_problem();
            Err(Refused::Internal)
        }
    }
}

/// A refusal is a value here: nothing is changed, and the reason stays one of the closed vocabulary.
fn bind(tx: &mut Tx<'_>, person: Verified, create: bool) -> Result<Result<MailAddress, Refused>, Failure> {
    let Verified { subject, mail, .. } = person;
    let account = tx.account(&mail)?;
    let decision = match decide(account.as_ref(), &subject, create) {
        Ok(decision) => decision,
        Err(refused) => return Ok(Err(refused)),
    };
    let address = account.map_or(mail, |account| account.address);
    if decision == Decision::Create {
        match may_add(tx, &address) {
            Err(Failure::Refused(_)) => return Ok(Err(Refused::NoAccount)),
            other => other?,
        }
        tx.push(Change::AccountAdded { address: address.clone(), password: None })?;
    }
    if decision != Decision::Nothing {
        tx.push(Change::AccountBound { address: address.clone(), subject })?;
    }
    Ok(Ok(address))
}

/// `UnbindAccount`: for a person whose name at the identity provider changed.
pub(crate) async fn unbind(app: Arc<App>, _: Caller, request: UnbindAccountRequest) -> Result<Changed, Problem> {
    let decide = move |tx: &mut Tx<'_>| {
        let address = request.address;
        let account = tx.account(&address)?.ok_or_else(|| no_account(&address))?;
        match account.bound {
            Some(_) => Ok(tx.push(Change::AccountUnbound { address: account.address })?),
            None => Ok(()),
        }
    };
    let done = app.registry.commit(Actor::Administrator, decide).await;
    done.map(|((), sequence)| Changed { sequence }).map_err(Failure::into_problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subject_has_the_account() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let account = |bound| Account {
            address: crate::tests::address("ann"),
            password: None,
            current: None,
            signing: None,
            locked: false,
            bound,
        };
        let table = [
            (Some(account(None)), Ok(Decision::Bind)),
            (Some(account(Some(one))), Ok(Decision::Nothing)),
            (Some(account(Some(other))), Err(Refused::OtherSubject)),
            (None, Err(Refused::NoAccount)),
        ];
        for (account, wanted) in table {
            assert_eq!(decide(account.as_ref(), &one, false), wanted);
        }
        assert_eq!(decide(None, &one, true), Ok(Decision::Create));
    }
}
