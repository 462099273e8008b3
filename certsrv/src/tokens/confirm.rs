//! A mailbox confirms what was asked for in its name. Only POST does so: programs that look at the links in mails send GET
//! (spec L2).

use super::page;
use crate::app::App;
use crate::audit::Actor;
use crate::failure::{Failure, refuse};
use crate::rows::{Request as Asked, TokenPurpose};
use crate::store::Tx;
use crate::{notices, requests};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use twinseal_proto::api::tokens::{Confirm, ConfirmRequest, Confirmed};
use twinseal_proto::api::{Endpoint, Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Refusal, read_body};

/// `Confirm`: from a program as JSON, from the page as a form.
pub(crate) async fn confirm(State(app): State<Arc<App>>, request: Request) -> Response {
    let form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    let body = match read_body(request.into_body(), Confirm::MAX_BODY).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    if form {
        let token = std::str::from_utf8(&body).ok().and_then(page::token);
        let done = match token {
            Some(token) => with_token(&app, &Token::presented(token.to_owned())).await,
            None => Err(bad_token()),
        };
        return page::answer(done.map_err(Failure::into_problem));
    }
    match serde_json::from_slice::<ConfirmRequest>(&body) {
        Ok(asked) => match with_token(&app, &Token::presented(asked.token)).await {
            Ok(confirmed) => Json(confirmed).into_response(),
            Err(failure) => Refusal(failure.into_problem()).into_response(),
        },
        Err(error) => Refusal(Problem::new(ProblemCode::BadRequest, error.to_string())).into_response(),
    }
}

async fn with_token(app: &Arc<App>, token: &Token) -> Result<Confirmed, Failure> {
    let (digest, now) = (token.digest(), UnixTime::now());
    let request = request_of(&app.registry.view(), &digest, now)?;
    let by = Actor::Account(request.wish.address().clone());
    let at = Arc::clone(app);
    let decide = move |tx: &mut Tx<'_>| {
        let request = request_of(tx, &digest, now)?;
        let list = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten();
        requests::confirm(&at, tx, now, &request.id, Some(digest))?;
        notices::memberships(&at, tx, now)?;
        Ok(Confirmed { list, done: tx.request(&request.id)?.is_none() })
    };
    Ok(app.registry.commit(by, decide).await?.0)
}

/// The request that this token confirms, if both are good still. The token was looked up by its digest: how long that
/// takes says nothing about other tokens.
fn request_of(tx: &Tx<'_>, token: &Digest, now: UnixTime) -> Result<Asked, Failure> {
    let row = tx.token(token)?.filter(|row| now < row.expires && row.used.is_none()).ok_or_else(bad_token)?;
    let TokenPurpose::Confirm { request } = row.purpose else { return Err(bad_token()) };
    let request = tx.request(&request)?.filter(|request| now < request.expires && !request.confirmed);
    request.ok_or_else(bad_token)
}

/// One answer for a token that does not exist, is out of time, was used, or is for something else.
fn bad_token() -> Failure {
    refuse(ProblemCode::NotAuthenticated, "the token is unknown, used or out of time; ask for the same again")
}
