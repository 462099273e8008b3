//! The middle: the assertion consumer service. The browser brings the identity provider's response.

use super::refused::Refused;
use super::{account, code, form, login, page, verify};
use crate::app::App;
use crate::audit::{Actor, Record};
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use twinseal_proto::encoding::Digest;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::read_body;

/// Longest form in octets.
const MAX_FORM: usize = 256 * 1024;
/// How long a browser may take to send it.
const BODY: Duration = Duration::from_secs(10);

/// Takes a response; on success the browser goes to the client that began.
pub(super) async fn consume(app: &Arc<App>, saml: &Arc<super::Saml>, request: Request) -> Result<Response, Refused> {
    let headers = request.headers();
    let form = headers.get(header::CONTENT_TYPE).and_then(|field| field.to_str().ok()).is_some_and(|text| {
        text.split(';').next().is_some_and(|own| own.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    if !form {
        return Err(Refused::Form);
    }
    let cookie = form::cookie(headers, login::COOKIE).map(|text| Token::presented(text.to_owned()).digest());
    // Held until the answer is known, so that what came in takes so much memory and no more.
    let _place = saml.arriving.try_acquire().map_err(|_| Refused::Busy)?;
    let [response, relay] = read(request).await?;
    let now = UnixTime::now();
    // From here on the request is used up, whatever comes of this response.
    let relay = Token::presented(relay).digest();
    let pending = saml.pending.take(now, &relay).ok_or(Refused::NotPending)?;
    if !same(&cookie?, &pending.cookie) {
        return Err(Refused::OtherBrowser);
    }
    let person = verify::verify(saml, response, pending.request, now).await?;
    saml.replay.once(&person, now)?;
    let subject = person.subject;
    let address = account::find(app, person, saml.config.create_accounts).await?;
    let by = Actor::Account(address.clone());
    app.registry.audit().record(&Record::login(now, &by, &subject)).await.map_err(inside)?;
    let url = code::grant(saml, pending.client, address, UnixTime::now()).map_err(inside)?;
    page::see_other(&url, None).ok_or(Refused::Internal)
}

/// SAMLResponse and RelayState.
async fn read(request: Request) -> Result<[String; 2], Refused> {
    let body = tokio::time::timeout(BODY, read_body(request.into_body(), MAX_FORM)).await;
    let body = body.map_err(|_| Refused::Form)?.map_err(|_| Refused::Form)?;
    form::fields(&body, ["SAMLResponse", "RelayState"]).ok_or(Refused::Form)
}

fn same(one: &Digest, other: &Digest) -> bool {
    bool::from(one.0.ct_eq(&other.0))
}

fn inside(error: impl std::error::Error) -> Refused {
    tracing::error!(%error, "log-in failed inside");
    Refused::Internal
}
