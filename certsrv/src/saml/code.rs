//! The end: the browser brings the client a code, and the client trades it for a session. The code passed through the
//! browser and a redirection, so it is worth nothing without the verifier that never left the client (RFC 7636).

use super::login::Client;
use crate::app::App;
use crate::authn::Class;
use crate::failure::{Failure, refuse};
use crate::random;
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use twinseal_proto::api::login::{LoginCodeRequest, LoginSession};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use zeroize::Zeroizing;

/// Life of a code in seconds.
pub(super) const LIFE: u64 = 60;
/// Codes that wait at once; the oldest is dropped when there are more.
pub(super) const MOST: usize = 4096;

/// What a code stands for.
pub(super) struct Grant {
    /// The account that logged in.
    address: MailAddress,
    /// SHA-256 of the verifier.
    challenge: [u8; 32],
    /// What the log-in counts as.
    class: Class,
}

/// Makes a code for `address`; gives the URL that brings it to the client.
pub(super) fn grant(
    saml: &super::Saml,
    client: Client,
    address: MailAddress,
    now: UnixTime,
) -> Result<String, ErrorStack> {
    let code = random::token()?;
    let grant = Grant { address, challenge: client.challenge, class: saml.class() };
    saml.codes.put(now, code.digest(), grant);
    Ok(format!("http://127.0.0.1:{}/?code={}", client.port, code.expose()))
}

/// `LoginCode`.
pub(crate) async fn redeem(app: Arc<App>, _: Caller, request: LoginCodeRequest) -> Result<LoginSession, Problem> {
    let code = Token::presented(request.code);
    let verifier = Zeroizing::new(request.verifier);
    open(&app, &code, &verifier, UnixTime::now()).map_err(Failure::into_problem)
}

/// The first attempt uses the code up, whatever comes of it.
fn open(app: &App, code: &Token, verifier: &str, now: UnixTime) -> Result<LoginSession, Failure> {
    let unknown = || {
        let detail = "the code is unknown, used or older than a minute, or the verifier is not its own; log in again";
        refuse(ProblemCode::NotAuthenticated, detail)
    };
    let grant = app.saml.as_ref().and_then(|saml| saml.codes.take(now, &code.digest())).ok_or_else(unknown)?;
    let right = (43..=128).contains(&verifier.len()) && bool::from(sha256(verifier.as_bytes()).ct_eq(&grant.challenge));
    if !right {
        return Err(unknown());
    }
    let (token, expires) = app.sessions.open(now, grant.address.clone(), grant.class)?;
    Ok(LoginSession { token: token.expose().to_owned(), address: grant.address, expires })
}
