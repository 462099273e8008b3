//! What a request should have in it (RFC 7030 section 4.5.2, RFC 9908 section 3): the address as alternative name, in the
//! old form where it is known, and as a template that the client fills in.

use super::answer::{octets, refusal};
use super::label::Label;
use crate::app::App;
use crate::authn::{Credentials, authenticate};
use crate::cert::labels;
use crate::failure::Failure;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::cms::labels::RSA_ENCRYPTION;
use twinseal_proto::ids::MailAddress;

/// A good length for an RSA key, in bits: the content octets of an INTEGER.
const RSA_BITS: [u8; 2] = 3072_u16.to_be_bytes();

/// RFC 7030 section 4.5.1. Nobody has to log in; who does gets the very name to ask for.
pub(super) async fn csr_attributes(
    State(app): State<Arc<App>>,
    Path(label): Path<String>,
    request: Request,
) -> Response {
    match label.parse() {
        Ok(Label::Mail(_)) => {}
        // Nothing is wanted in a request for a membership certificate (section 4.5.2: 204 then).
        Ok(Label::Member { .. }) => return StatusCode::NO_CONTENT.into_response(),
        Err(unknown) => return refusal(unknown),
    }
    let address = match whose(&app, Credentials::of(&request)).await {
        Ok(address) => address,
        Err(failure) => return refusal(failure.into_problem()),
    };
    octets(&encode(address.as_ref()), "application/csrattrs")
}

async fn whose(app: &Arc<App>, credentials: Option<Credentials>) -> Result<Option<MailAddress>, Failure> {
    let Some(credentials) = credentials else { return Ok(None) };
    Ok(Some(authenticate(app, credentials).await?.account.address))
}

/// A DER CsrAttrs.
fn encode(address: Option<&MailAddress>) -> Vec<u8> {
    let mut all = vec![attribute(RSA_ENCRYPTION, &der::tlv(Tag::INTEGER, &[&RSA_BITS]))];
    if let Some(address) = address {
        all.push(attribute(labels::EXTENSION_REQUEST, &der::sequence(&[&alternative_name(Some(address))])));
    }
    all.push(attribute(labels::REQUEST_TEMPLATE, &template(address)));
    // CsrAttrs is a SEQUENCE OF: the order is ours.
    der::sequence(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn attribute(id: Oid<'_>, value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::object_id(id), &der::tlv(Tag::SET, &[value])])
}

/// CertificationRequestInfoTemplate (RFC 9908 section 3.4): a common name of the client's choice, a key of any kind that
/// we certify, and the alternative name.
fn template(address: Option<&MailAddress>) -> Vec<u8> {
    let single = der::sequence(&[&der::object_id(labels::COMMON_NAME)]);
    let subject = der::sequence(&[&der::tlv(Tag::SET, &[&single])]);
    let extensions = attribute(labels::EXTENSION_TEMPLATE, &der::sequence(&[&alternative_name(address)]));
    der::sequence(&[&der::small(0), &subject, &der::tlv(Tag::context_constructed(1), &[&extensions])])
}

/// An Extension, or an ExtensionTemplate without its value.
fn alternative_name(address: Option<&MailAddress>) -> Vec<u8> {
    let value = address.map(|address| {
        der::octet_string(&der::sequence(&[&der::tlv(Tag::context(1), &[address.as_str().as_bytes()])]))
    });
    der::sequence(&[&der::object_id(labels::SUBJECT_ALT_NAME), value.as_deref().unwrap_or_default()])
}
