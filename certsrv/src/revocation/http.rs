//! The plain HTTP routes, and how long what they give may be kept (RFC 9919 sections 5 and 6; RFC 9111).

use super::answers::{self, Answer};
use super::request::MAX_REQUEST;
use super::{lists, places, response};
use crate::app::App;
use crate::failure::Failure;
use crate::rows::Published;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::format_description;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Refusal, read_body};

/// Seconds for which caches may keep what is signed: a revocation is known everywhere after this.
const MAX_AGE: u64 = 3600;
/// Media types (RFC 6960 appendix C, RFC 2585 section 4).
const OCSP_RESPONSE: &str = "application/ocsp-response";
const CRL: &str = "application/pkix-crl";
const CERTIFICATE: &str = "application/pkix-cert";

/// Adds the paths of `places.rs`.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .route(places::OCSP_POST, post(ocsp_post))
        .route(places::OCSP_GET, get(ocsp_get))
        .route(places::CRL, get(crl))
        .route(places::CA, get(certificate))
}

async fn ocsp_post(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(by) = Published::named(&name) else { return nothing() };
    match read_body(request.into_body(), MAX_REQUEST).await {
        // A POST is not kept by caches, so nothing is said about it.
        Ok(body) => ocsp(&app, by, &body).0,
        Err(refused) => refused.into_response(),
    }
}

async fn ocsp_get(State(app): State<Arc<App>>, Path((name, text)): Path<(String, String)>) -> Response {
    let Some(by) = Published::named(&name) else { return nothing() };
    // What is not base64 is a request that cannot be read, like the empty one.
    let request = if text.len() <= MAX_REQUEST * 2 { STANDARD.decode(text).unwrap_or_default() } else { Vec::new() };
    match ocsp(&app, by, &request) {
        (response, Some(kept)) => kept.say(response),
        (response, None) => response,
    }
}

fn ocsp(app: &App, by: Published, request: &[u8]) -> (Response, Option<Kept>) {
    let now = UnixTime::now();
    let (der, kept) = match answers::answer(app, by, request, now) {
        Answer::Signed { der, this_update, next_update } => {
            let kept = Kept::new(&der, this_update, next_update, now);
            (der, Some(kept))
        }
        Answer::Refused(why) => (response::refused(why), None),
    };
    (([(header::CONTENT_TYPE, OCSP_RESPONSE)], der).into_response(), kept)
}

async fn crl(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    let now = UnixTime::now();
    let Some(name) = file.strip_suffix(".crl") else { return nothing() };
    let Some(by) = Published::named(name) else {
        let root = app.revocation.root_crl.as_ref().filter(|_| name == places::ROOT);
        return root.map_or_else(nothing, |der| ([(header::CONTENT_TYPE, CRL)], der.clone()).into_response());
    };
    match lists::present(&app, by, now).await {
        Ok(list) => {
            let response = ([(header::CONTENT_TYPE, CRL)], list.der.0.clone()).into_response();
            Kept::new(&list.der.0, list.this_update, list.next_update, now).say(response)
        }
        Err(failure) => Refusal(failure.into_problem()).into_response(),
    }
}

async fn certificate(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    let der = match file.as_str() {
        "root.cer" => app.root.to_der(),
        "members.cer" => Ok(app.members_ca.der().to_vec()),
        "services.cer" => Ok(app.services_ca.der().to_vec()),
        _ => return nothing(),
    };
    match der {
        Ok(der) => ([(header::CONTENT_TYPE, CERTIFICATE)], der).into_response(),
        Err(error) => Refusal(Failure::from(error).into_problem()).into_response(),
    }
}

fn nothing() -> Response {
    Refusal(Problem::new(ProblemCode::NotFound, "there is nothing here")).into_response()
}

/// How long something may be kept.
struct Kept {
    etag: Digest,
    this_update: UnixTime,
    next_update: UnixTime,
    max_age: u64,
}

impl Kept {
    fn new(octets: &[u8], this_update: UnixTime, next_update: UnixTime, now: UnixTime) -> Self {
        // Never longer than what is signed is true.
        let max_age = next_update.since(now).min(MAX_AGE);
        Self { etag: Digest::of(octets), this_update, next_update, max_age }
    }

    fn say(&self, mut response: Response) -> Response {
        let fields = [
            (header::CACHE_CONTROL, format!("max-age={}, public, no-transform, must-revalidate", self.max_age)),
            (header::LAST_MODIFIED, http_date(self.this_update)),
            (header::EXPIRES, http_date(self.next_update)),
            (header::ETAG, format!("\"{}\"", self.etag)),
        ];
        for (name, text) in fields {
            if let Ok(value) = HeaderValue::try_from(text) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// An HTTP date (RFC 9110 section 5.6.7).
fn http_date(at: UnixTime) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let civil = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    civil.format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_for_an_hour_and_never_past_its_end() {
        assert_eq!(http_date(UnixTime(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        let age = |now| Kept::new(b"", UnixTime(0), UnixTime(10_000), UnixTime(now)).max_age;
        assert_eq!((age(0), age(9_999), age(10_001)), (3600, 1, 0));
    }
}
