//! Enrolment over Secure Transport (RFC 7030 with RFC 8951) under the label `smime`, for any stock client.

use crate::app::App;
use crate::authn::Credentials;
use crate::cert::certs_only;
use crate::enrol::enrol;
use crate::failure::Failure;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use twinseal_proto::api::enrol::{CA_CERTS, MAX_BODY, SIMPLE_ENROLL};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_svc::http::{Refusal, read_body};

/// Adds EST's paths.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route(CA_CERTS, get(ca_certs)).route(SIMPLE_ENROLL, post(simple_enroll))
}

/// RFC 7030 section 4.1: the root and the CA below it that signs members' certificates.
async fn ca_certs(State(app): State<Arc<App>>) -> Response {
    match app.root.to_der() {
        Ok(root) => certificates(&[&root, app.members_ca.der()], "application/pkcs7-mime"),
        Err(error) => refusal(Failure::from(error).into_problem()),
    }
}

/// RFC 7030 section 4.2: PKCS#10 in, the one new certificate out.
async fn simple_enroll(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(credentials) = Credentials::read(request.headers()) else {
        let detail =
            "an Authorization field is wanted: Bearer with a one-time token, or Basic with address and password";
        return refusal(Problem::new(ProblemCode::NotAuthenticated, detail));
    };
    let body = match read_body(request.into_body(), MAX_BODY).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let Some(csr) = decode(&body) else {
        return refusal(Problem::new(ProblemCode::BadRequest, "the body is not base64 (RFC 8951 section 3.1)"));
    };
    match enrol(&app, credentials, &csr).await {
        Ok(certificate) => certificates(&[&certificate], "application/pkcs7-mime; smime-type=certs-only"),
        Err(failure) => {
            let problem = failure.into_problem();
            app.metrics.enrolment_refused(&problem);
            refusal(problem)
        }
    }
}

/// Base64 with any line ends and spaces between.
fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok().filter(|der| !der.is_empty())
}

fn certificates(ders: &[&[u8]], media_type: &'static str) -> Response {
    let text = STANDARD.encode(certs_only::encode(ders));
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let fields = [(header::CONTENT_TYPE.as_str(), media_type), ("Content-Transfer-Encoding", "base64")];
    // Bare line feeds: base64(1), at the end of many a pipe, refuses carriage returns.
    (fields, lines.join("\n") + "\n").into_response()
}

fn refusal(problem: Problem) -> Response {
    let challenge = problem.code == ProblemCode::NotAuthenticated;
    let mut response = Refusal(problem).into_response();
    if challenge {
        // RFC 7617 section 2 and 2.1; clients that answer challenges know this one.
        let value = header::HeaderValue::from_static("Basic realm=\"twinseal\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
