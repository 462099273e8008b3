//! Key pairs that the server makes (RFC 7030 section 4.4), where the configuration allows it. The private key is in
//! certsrv's memory until it is sent: never stored, wiped afterwards, and only sent to whoever logged in with a password or
//! a certificate, inside TLS.

use super::answer::{self, CERTS_ONLY, refusal};
use super::label::Label;
use super::{bad, opened, refused};
use crate::app::App;
use crate::audit::{Actor, Record};
use crate::authn::{Class, Credentials, authenticate};
use crate::cert::certs_only;
use crate::cert::csr;
use crate::cert::good_key;
use crate::enrol::{Enrolled, certify, own_names};
use crate::failure::{Failure, refuse};
use crate::key_change::{account, live};
use crate::{membership, random};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use std::sync::Arc;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cms::curve::Curve;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use zeroize::Zeroizing;

/// RFC 7030 section 4.4: a request without meaning in its key; a private key and its certificate come back.
pub(super) async fn server_keygen(
    State(app): State<Arc<App>>,
    Path(label): Path<String>,
    request: Request,
) -> Response {
    if !app.config.server_keygen {
        let detail = "this server makes no key pairs (server_keygen is false): make one and send a request for it";
        return refusal(Problem::new(ProblemCode::NotFound, detail));
    }
    let (label, credentials, body) = match opened(&label, request).await {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    match make(&app, credentials, label, &body).await {
        Ok((key, certificate)) => match multipart(&key, &certificate) {
            Ok(response) => response,
            Err(error) => refused(&app, error.into()),
        },
        Err(failure) => refused(&app, failure),
    }
}

/// The PKCS#8 key and the DER certificate.
async fn make(
    app: &Arc<App>,
    credentials: Credentials,
    label: Label,
    request: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Failure> {
    let principal = authenticate(app, credentials).await?;
    if principal.class < Class::Password {
        let detail = "a key pair is made for whoever logs in with a password or a certificate, not with a mailed token";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    let asked = csr::read_keyless(request).map_err(|e| bad(&e.to_string()))?;
    match label {
        Label::Mail(_) => own_names(&asked.names, &principal.account.address)?,
        Label::Member { .. } => membership::no_names(&asked.names)?,
    }
    if asked.encrypted {
        // Section 4.4.1: a server that cannot do so must not send the key another way.
        return Err(bad("the key is wanted encrypted under another one, which is not done here"));
    }
    if matches!(label, Label::Mail(_)) {
        may(app, &principal.account.address, principal.class)?;
    }
    let by = Actor::Account(principal.account.address.clone());
    app.registry.audit().record(&Record::making_key(UnixTime::now(), &by)).await?;
    let (key, spki) = tokio::task::spawn_blocking(move || pair(&asked.spki)).await??;
    let public = good_key::check(&spki).map_err(|e| bad(&e.to_string()))?;
    let made = match label {
        Label::Mail(purpose) => certify(app, &principal, public, purpose).await?,
        Label::Member { group, pseudonym } => {
            let made = membership::certify_key(app, &principal, group, pseudonym, public).await?;
            Enrolled::Certificate(made)
        }
    };
    match made {
        Enrolled::Certificate(certificate) => {
            hit("certsrv.keygen.before-answer");
            Ok((key, certificate))
        }
        Enrolled::Waiting => Err(not_over_a_live_key()),
    }
}

/// A made key is not kept, so it cannot wait for an approval.
fn may(app: &App, address: &twinseal_proto::ids::MailAddress, class: Class) -> Result<(), Failure> {
    let view = app.registry.view();
    let live = live(&view, &account(&view, address)?, UnixTime::now())?;
    if live.is_empty() || class == Class::Key { Ok(()) } else { Err(not_over_a_live_key()) }
}

fn not_over_a_live_key() -> Failure {
    let detail =
        "the account has a live key, which is replaced by a made one only for its holder: present its certificate";
    refuse(ProblemCode::Conflict, detail)
}

/// A new key pair of the sort of `like`, RSA with 3072 bits where that is no sort of ours: PKCS#8 and SubjectPublicKeyInfo.
fn pair(like: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ErrorStack> {
    let curve = |nid| PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(nid)?)?);
    let key: PKey<Private> = match good_key::curve(like) {
        Some(Curve::P256) => curve(Nid::X9_62_PRIME256V1)?,
        Some(Curve::P384) => curve(Nid::SECP384R1)?,
        None => PKey::from_rsa(Rsa::generate(3072)?)?,
    };
    Ok((Zeroizing::new(key.private_key_to_pkcs8()?), key.public_key_to_der()?))
}

/// RFC 7030 section 4.4.2: the key as `application/pkcs8`, then the certificate.
fn multipart(key: &[u8], certificate: &[u8]) -> Result<Response, ErrorStack> {
    let boundary = format!("twinseal-{}", Digest::of(&random::octets()?));
    let key = Zeroizing::new(answer::lines(key));
    let certificate = answer::lines(&certs_only::encode(&[certificate]));
    let parts = [
        "--",
        &boundary,
        "\r\nContent-Type: application/pkcs8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        &key,
        "\r\n--",
        &boundary,
        "\r\nContent-Type: ",
        CERTS_ONLY,
        "\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        &certificate,
        "\r\n--",
        &boundary,
        "--\r\n",
    ];
    // Large enough from the start: the key is not left behind in a smaller buffer.
    let mut body = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
    let media_type = format!("multipart/mixed; boundary={boundary}");
    // Wiped when hyper has written it.
    let body = Body::from(Bytes::from_owner(body));
    Ok(([(header::CONTENT_TYPE, media_type.as_str()), (header::CACHE_CONTROL, "no-store")], body).into_response())
}
