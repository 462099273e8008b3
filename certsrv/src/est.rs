//! Enrolment over Secure Transport (RFC 7030 with RFC 8951 and RFC 9908), for any stock client. What a certificate is for
//! is in the label of the path ([`Label`]).

pub(crate) mod answer;
mod attributes;
mod keygen;
mod label;

use crate::app::App;
use crate::authn::{Credentials, authenticate};
use crate::enrol::{Enrolled, enrol};
use crate::failure::{Failure, refuse};
use crate::{membership, renew};
use answer::{certificate, certificates, refusal};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use label::Label;
use std::sync::Arc;
use twinseal_proto::api::enrol::{MAX_BODY, path};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_svc::http::{caller, read_body};

/// Adds EST's paths.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let at = |operation| path("{label}", operation);
    router
        .route(&at("cacerts"), get(ca_certs))
        .route(&at("csrattrs"), get(attributes::csr_attributes))
        .route(&at("simpleenroll"), post(simple_enroll))
        .route(&at("simplereenroll"), post(simple_reenroll))
        .route(&at("serverkeygen"), post(keygen::server_keygen))
}

/// RFC 7030 section 4.1: the root and the CA below it that signs certificates of this label.
async fn ca_certs(State(app): State<Arc<App>>, Path(label): Path<String>) -> Response {
    let issuer = match label.parse() {
        Ok(Label::Mail(_)) => &app.members_ca,
        Ok(Label::Member { .. }) => &app.memberships_ca,
        Err(unknown) => return refusal(unknown),
    };
    match app.root.to_der() {
        Ok(root) => certificates(&[&root, issuer.der()], "application/pkcs7-mime"),
        Err(error) => refusal(Failure::from(error).into_problem()),
    }
}

/// RFC 7030 section 4.2.1: PKCS#10 in, the one new certificate out.
async fn simple_enroll(State(app): State<Arc<App>>, Path(label): Path<String>, request: Request) -> Response {
    let (label, credentials, body) = match opened(&label, request).await {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    let done = match label {
        Label::Mail(purpose) => enrol(&app, credentials, purpose, &body).await,
        Label::Member { group, pseudonym } => match authenticate(&app, credentials).await {
            Ok(principal) => {
                membership::certify(&app, &principal, group, pseudonym, &body).await.map(Enrolled::Certificate)
            }
            Err(failure) => Err(failure),
        },
    };
    answered(&app, done)
}

/// RFC 7030 section 4.2.2: for the holder of the certificate that is presented in TLS, whatever else is presented.
async fn simple_reenroll(State(app): State<Arc<App>>, Path(label): Path<String>, request: Request) -> Response {
    let caller = caller(&request);
    let purpose = match label.parse() {
        Ok(Label::Mail(purpose)) => purpose,
        Ok(Label::Member { .. }) => {
            let detail = "a membership certificate is not renewed: ask for another one with simpleenroll";
            return refusal(Problem::new(ProblemCode::NotFound, detail));
        }
        Err(unknown) => return refusal(unknown),
    };
    let done = match body(request).await {
        Ok(body) => renew::renew(&app, &caller, purpose, &body).await,
        Err(refused) => return refused,
    };
    answered(&app, done)
}

/// What each request for a certificate has: a label that there is, credentials, and a body in base64.
async fn opened(label: &str, request: Request) -> Result<(Label, Credentials, Vec<u8>), Response> {
    let label = label.parse().map_err(refusal)?;
    let credentials = Credentials::of(&request).ok_or_else(|| {
        let detail = "an Authorization field is wanted (Bearer with a one-time token, or Basic with address and \
                      password), or a live certificate of the account in TLS";
        refusal(Problem::new(ProblemCode::NotAuthenticated, detail))
    })?;
    Ok((label, credentials, body(request).await?))
}

async fn body(request: Request) -> Result<Vec<u8>, Response> {
    let body = read_body(request.into_body(), MAX_BODY).await.map_err(axum::response::IntoResponse::into_response)?;
    decode(&body)
        .ok_or_else(|| refusal(Problem::new(ProblemCode::BadRequest, "the body is not base64 (RFC 8951 section 3.1)")))
}

/// Base64 with any line ends and spaces between, whatever Content-Transfer-Encoding says (RFC 8951 section 3.1).
fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok().filter(|der| !der.is_empty())
}

fn answered(app: &App, done: Result<Enrolled, Failure>) -> Response {
    match done {
        Ok(Enrolled::Certificate(der)) => certificate(&der),
        Ok(Enrolled::Waiting) => answer::waiting(),
        Err(failure) => refused(app, failure),
    }
}

fn refused(app: &App, failure: Failure) -> Response {
    let problem = failure.into_problem();
    app.metrics.enrolment_refused(&problem);
    refusal(problem)
}

/// A refusal of this crate's own.
fn bad(detail: &str) -> Failure {
    refuse(ProblemCode::BadRequest, detail)
}
