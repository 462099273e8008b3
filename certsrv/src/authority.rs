//! Who may do what with which group, in one place for every call (spec mail P4): an administrator on the admin socket, or
//! an account by its own certificate. The rule itself is [`decide::authorise`]. It is asked inside the commit that it
//! allows, so that what it saw still holds.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::certificate;
use crate::decide::{self, By, Need, Standing};
use crate::failure::{Failure, refuse};
use crate::rows::Group;
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::MemberRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_svc::http::Caller;

/// Somebody who proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// An administrator.
    Administrator,
    /// The holder of this account.
    Account(MailAddress),
}

impl Who {
    /// Finds out who calls.
    ///
    /// # Errors
    /// `not-authenticated`: neither an administrator nor an account with a live key.
    pub(crate) fn of(app: &App, caller: &Caller) -> Result<Self, Failure> {
        match caller {
            Caller::Administrator => Ok(Self::Administrator),
            _ => Ok(Self::Account(certificate::member(app, caller)?.address)),
        }
    }

    /// For the audit log.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Administrator => Actor::Administrator,
            Self::Account(address) => Actor::Account(address.clone()),
        }
    }

    /// The account, where it is one.
    ///
    /// # Errors
    /// `bad-request`: an administrator has none, and has to name one.
    pub(crate) fn account(&self) -> Result<&MailAddress, Failure> {
        match self {
            Self::Account(address) => Ok(address),
            Self::Administrator => Err(refuse(ProblemCode::BadRequest, "an administrator has to name the account")),
        }
    }

    /// In whose name it puts others into a group that it may change.
    pub(crate) const fn by(&self) -> By {
        match self {
            Self::Administrator => By::Administrator,
            Self::Account(_) => By::Owner,
        }
    }

    /// How it stands to a group.
    pub(crate) fn standing(&self, tx: &Tx<'_>, group: &Group) -> Result<Standing, Failure> {
        let Self::Account(address) = self else { return Ok(Standing::Administrator) };
        Ok(match tx.member(&group.group, address)?.map(|member| member.role) {
            Some(MemberRole::Owner) => Standing::Owner,
            Some(MemberRole::Member) => Standing::Member,
            None => Standing::Outsider,
        })
    }

    /// The group with this list, and how the caller stands to it, if that is enough for `need`.
    ///
    /// # Errors
    /// The same `not-found` when there is no such list and when the caller is no member of it; `not-authorised` for a
    /// member who is no owner.
    pub(crate) fn group(&self, tx: &Tx<'_>, list: &ListAddress, need: Need) -> Result<(Group, Standing), Failure> {
        let group = tx.group(list)?.ok_or_else(|| decide::no_list(list))?;
        let standing = self.standing(tx, &group)?;
        // The name in the text is the one that was asked for, in the same spelling in both cases.
        decide::authorise(list, standing, need)?;
        Ok((group, standing))
    }
}

/// Changes something in the caller's name: `decide` asks for the authority that it needs. Returns what `decide` returned,
/// and the feed's sequence with the changes in it.
pub(crate) async fn change_as<T: Send + 'static>(
    app: Arc<App>,
    caller: Caller,
    decide: impl FnOnce(&App, &mut Tx<'_>, &Who) -> Result<T, Failure> + Send + 'static,
) -> Result<(T, u64), Problem> {
    let changed = async {
        let who = Who::of(&app, &caller)?;
        let (at, actor) = (Arc::clone(&app), who.actor());
        app.registry.commit(actor, move |tx| decide(&at, tx, &who)).await
    };
    changed.await.map_err(Failure::into_problem)
}

/// Reads something in the caller's name: `read` asks for the authority that it needs.
pub(crate) async fn read_as<T: Send + 'static>(
    app: Arc<App>,
    caller: Caller,
    read: impl FnOnce(&Tx<'_>, &Who) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Problem> {
    let reading = tokio::task::spawn_blocking(move || read(&app.registry.view(), &Who::of(&app, &caller)?));
    reading.await.map_err(Failure::from).and_then(|found| found).map_err(Failure::into_problem)
}
