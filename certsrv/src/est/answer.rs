//! EST's answers (RFC 7030 sections 4.1.3, 4.2.3 and 3.2.3).

use crate::cert::certs_only;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_svc::http::Refusal;
use zeroize::Zeroizing;

/// Seconds after which it makes sense to ask whether a key was approved.
pub(crate) const WAIT: u64 = 300;
/// Media type of one new certificate.
pub(super) const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";

/// One certificate.
pub(super) fn certificate(der: &[u8]) -> Response {
    certificates(&[der], CERTS_ONLY)
}

/// Certificates (DER) without a signature.
pub(super) fn certificates(ders: &[&[u8]], media_type: &'static str) -> Response {
    octets(&certs_only::encode(ders), media_type)
}

/// Octets in base64. The field that RFC 8951 section 3.1 takes back is still sent: old clients look for it.
pub(super) fn octets(octets: &[u8], media_type: &'static str) -> Response {
    let fields = [(header::CONTENT_TYPE.as_str(), media_type), ("Content-Transfer-Encoding", "base64")];
    (fields, lines(octets)).into_response()
}

/// Base64 in lines. Bare line feeds: base64(1), at the end of many a pipe, refuses carriage returns.
pub(super) fn lines(octets: &[u8]) -> String {
    // Private keys come by here too: what they were in is wiped, and nothing grows.
    let text = Zeroizing::new(STANDARD.encode(octets));
    let mut lines = String::with_capacity(text.len() + text.len() / 64 + 1);
    for line in text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()) {
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// Not refused and not done: an approval is awaited (RFC 7030 section 4.2.3).
pub(super) fn waiting() -> Response {
    let text = "An owner of each list of this account, or an administrator, has to approve the other key.\n\
                The same request again gives the certificate then.\n";
    let wait = WAIT.to_string();
    let fields = [(header::RETRY_AFTER, wait.as_str()), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::ACCEPTED, fields, text).into_response()
}

/// A refusal; one for want of a log-in says how to log in.
pub(crate) fn refusal(problem: Problem) -> Response {
    let challenge = problem.code == ProblemCode::NotAuthenticated;
    let mut response = Refusal(problem).into_response();
    if challenge {
        // RFC 7617 section 2 and 2.1; clients that answer challenges know this one.
        let value = header::HeaderValue::from_static("Basic realm=\"twinseal\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
