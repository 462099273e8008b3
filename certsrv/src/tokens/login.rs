//! Logging in by mail: whoever reads the mailbox gets a one-time token. Anybody may ask, for any address; what comes back,
//! and when, says nothing about the address (spec L5): the answer goes out before anything is looked up.

use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::failure::Failure;
use crate::notices;
use crate::rows::{Account, Notice, TokenPurpose};
use crate::store::Tx;
use crate::{authn, decide};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use twinseal_proto::api::tokens::{Asked, LogInByMail, LogInByMailRequest};
use twinseal_proto::api::{Endpoint, Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Refusal, peer, read_body};

/// `LogInByMail`.
pub(crate) async fn ask(State(app): State<Arc<App>>, request: Request) -> Response {
    match heard(&app, request).await {
        Ok(address) => {
            see_to(&app, address);
            let detail =
                "if this address can log in here, a mail with a token is on its way; at most one a day is sent";
            Json(Asked { detail: detail.into() }).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The address that is asked about. Refusals depend on the source and the form of the question alone.
async fn heard(app: &App, request: Request) -> Result<MailAddress, Refusal> {
    let refused = |code, detail: &str| Refusal(Problem::new(code, detail));
    if app.config.mail.is_none() {
        return Err(refused(ProblemCode::NotFound, "this server sends no mail; ask an administrator for a token"));
    }
    let allowed = peer(&request).is_none_or(|source| app.post.limits().source(source, UnixTime::now()));
    if !allowed {
        return Err(refused(
            ProblemCode::RateLimited,
            "too many questions from your address; the same again in an hour",
        ));
    }
    let body = read_body(request.into_body(), LogInByMail::MAX_BODY).await?;
    let asked: LogInByMailRequest =
        serde_json::from_slice(&body).map_err(|e| refused(ProblemCode::BadRequest, &e.to_string()))?;
    decide::certifiable(&asked.address).map_err(Refusal)?;
    Ok(asked.address)
}

/// Queues the mail, if there is to be one, after the answer.
fn see_to(app: &Arc<App>, address: MailAddress) {
    let Ok(place) = Arc::clone(&app.post.asking).try_acquire_owned() else {
        return crate::events::mail_brake("at once");
    };
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if let Err(failure) = queue(&app, address, UnixTime::now()).await {
            failure.into_problem();
        }
        drop(place);
    });
}

/// Queues a mail with a token for logging in, within the limits.
pub(crate) async fn queue(app: &Arc<App>, address: MailAddress, now: UnixTime) -> Result<bool, Failure> {
    let at = Arc::clone(app);
    let decide = move |tx: &mut Tx<'_>| notices::queue(&at, tx, now, Notice::LogIn { to: address });
    Ok(app.registry.commit(Actor::Anybody, decide).await?.0)
}

/// Whose account the token is for: the token of a mailbox that may register makes the account.
pub(crate) async fn account(app: &Arc<App>, token: &Digest) -> Result<Account, Failure> {
    let now = UnixTime::now();
    let address = decide::enrol_token(app.registry.view().token(token)?.as_ref(), now).ok_or_else(authn::bad_token)?;
    if let Some(account) = app.registry.view().account(&address)? {
        return Ok(account);
    }
    let (at, token, by) = (Arc::clone(app), *token, Actor::Account(address.clone()));
    let register = move |tx: &mut Tx<'_>| {
        let row = tx.token(&token)?;
        let good = decide::enrol_token(row.as_ref(), now).as_ref() == Some(&address);
        let registers = matches!(row.map(|row| row.purpose), Some(TokenPurpose::Register { .. }));
        let allowed = match &at.config.mail {
            Some(mail) => notices::may_register(mail, tx, &address)?,
            None => false,
        };
        if good && registers && allowed {
            tx.push(Change::AccountAdded { address: address.clone(), password: None })?;
        }
        tx.account(&address)?.ok_or_else(authn::bad_token)
    };
    Ok(app.registry.commit(by, register).await?.0)
}
