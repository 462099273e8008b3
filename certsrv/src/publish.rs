//! What everybody may know: the certificates to encrypt to, of a list and of its issuers.

use crate::app::App;
use crate::failure::Failure;
use crate::store::Tx;
use crate::{decide, members};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use openssl::pkey::Id;
use openssl::x509::{X509, X509Ref};
use std::cmp::Reverse;
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::groups::{Certificates, ListRequest};
use twinseal_proto::ids::{GroupId, ListAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Caller, Refusal};

/// Path of a list's certificates for `curl`, browsers and bounce texts; `FILE` is the list's address and `.pem`.
pub(crate) const PEM_PATH: &str = "/lists/{file}";

/// `ListCertificates`.
pub(crate) async fn certificates(app: Arc<App>, _: Caller, request: ListRequest) -> Result<Certificates, Problem> {
    of_list(&app, &request.list).map_err(Failure::into_problem)
}

/// `GET /lists/ADDRESS.pem`.
pub(crate) async fn pem(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    let list = file.strip_suffix(".pem").and_then(|address| address.parse::<ListAddress>().ok());
    let Some(list) = list else {
        let detail = "a list's address with .pem behind it is wanted";
        return Refusal(Problem::new(twinseal_proto::api::ProblemCode::NotFound, detail)).into_response();
    };
    match of_list(&app, &list) {
        Ok(found) => {
            let text = found.live.into_iter().chain(found.chain).collect::<String>();
            ([(header::CONTENT_TYPE, "application/x-pem-file")], text).into_response()
        }
        Err(failure) => Refusal(failure.into_problem()).into_response(),
    }
}

/// The live certificates: newest epoch first; within an epoch RSA first, which every sender can use.
fn of_list(app: &App, list: &ListAddress) -> Result<Certificates, Failure> {
    let view = app.registry.view();
    let found = live(&view, &members::group(&view, list)?.group, UnixTime::now())?;
    if found.is_empty() {
        let detail = format!("{list} has no live certificate at present");
        return Err(Problem { detail, ..decide::no_list(list) }.into());
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

fn text(certificate: &X509Ref) -> Result<String, openssl::error::ErrorStack> {
    Ok(String::from_utf8_lossy(&certificate.to_pem()?).into_owned())
}
