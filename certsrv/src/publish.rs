//! What everybody may know: the certificates to encrypt to, of a list and of its issuers.

use crate::app::App;
use crate::cert::certs_only;
use crate::failure::{Failure, refuse};
use crate::store::Tx;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use openssl::pkey::Id;
use openssl::x509::{X509, X509Ref};
use std::cmp::Reverse;
use std::sync::Arc;
use twinseal_proto::api::groups::{Certificates, ListRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{GroupId, ListAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Caller, Refusal};

/// Path of a list's certificates for `curl`, browsers and bounce texts; `FILE` is the list's address and `.pem` or `.p7c`.
pub(crate) const FILE_PATH: &str = "/lists/{file}";

/// `ListCertificates`.
pub(crate) async fn certificates(app: Arc<App>, _: Caller, request: ListRequest) -> Result<Certificates, Problem> {
    of_list(&app, &request.list).map_err(Failure::into_problem)
}

/// `GET /lists/ADDRESS.pem` and `/lists/ADDRESS.p7c` (RFC 8551 section 3.8).
pub(crate) async fn file(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    let list = |suffix| file.strip_suffix(suffix).and_then(|address: &str| address.parse::<ListAddress>().ok());
    let made = match (list(".pem"), list(".p7c")) {
        (Some(list), _) => pem(&app, &list),
        (_, Some(list)) => certs_only(&app, &list),
        (None, None) => Err(refuse(ProblemCode::NotFound, "a list's address with .pem or .p7c behind it is wanted")),
    };
    made.unwrap_or_else(|failure| Refusal(failure.into_problem()).into_response())
}

fn pem(app: &App, list: &ListAddress) -> Result<Response, Failure> {
    let found = of_list(app, list)?;
    let text = found.live.into_iter().chain(found.chain).collect::<String>();
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], text).into_response())
}

fn certs_only(app: &App, list: &ListAddress) -> Result<Response, Failure> {
    let found = of_list(app, list)?;
    let ders = found.live.iter().chain(&found.chain).map(|pem| X509::from_pem(pem.as_bytes())?.to_der());
    let ders = ders.collect::<Result<Vec<_>, _>>()?;
    let message = certs_only::encode(&ders.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(([(header::CONTENT_TYPE, "application/pkcs7-mime; smime-type=certs-only")], message).into_response())
}

/// The live certificates: newest epoch first; within an epoch RSA first, which every sender can use.
fn of_list(app: &App, list: &ListAddress) -> Result<Certificates, Failure> {
    let view = app.registry.view();
    let group = view.group(list)?.ok_or_else(|| none(list))?;
    let found = live(&view, &group.group, UnixTime::now())?;
    if found.is_empty() {
        return Err(none(list));
    }
    let chain = vec![text(app.members_ca.certificate())?, text(&app.root)?];
    Ok(Certificates { live: found.iter().map(|one| text(one)).collect::<Result<_, _>>()?, chain })
}

/// A group's live certificates, the one to use first.
pub(crate) fn live(view: &Tx<'_>, group: &GroupId, now: UnixTime) -> Result<Vec<X509>, Failure> {
    let mut found = Vec::new();
    for serial in view.group_certificates(group)? {
        let Some(row) = view.certificate(&serial)?.filter(|row| row.live(now)) else { continue };
        // A key that was certified again has its newest certificate here, and no other.
        let Some(key) = view.group_key(&row.key)?.filter(|key| key.serial == serial) else { continue };
        let certificate = X509::from_der(row.certificate.as_ref())?;
        let rsa = certificate.public_key()?.id() == Id::RSA;
        found.push(((Reverse(key.epoch.0), !rsa, serial), certificate));
    }
    found.sort_by_key(|(order, _)| *order);
    Ok(found.into_iter().map(|(_, certificate)| certificate).collect())
}

/// One answer for a list that is not there and for one without a certificate: strangers learn nothing of the difference.
fn none(list: &ListAddress) -> Failure {
    refuse(ProblemCode::NotFound, format!("there is no certificate for {list}"))
}

fn text(certificate: &X509Ref) -> Result<String, openssl::error::ErrorStack> {
    Ok(String::from_utf8_lossy(&certificate.to_pem()?).into_owned())
}
