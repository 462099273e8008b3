//! The request that a browser carries to the identity provider (SAML profiles section 4.1.4.1, HTTP-Redirect binding).

use super::metadata::Idp;
use samael::metadata::HTTP_POST_BINDING;
use samael::schema::{AuthnRequest, Issuer};
use twinseal_proto::time::UnixTime;

/// The URL that takes a browser to the identity provider with the request `id`. `None` when its location is no URL.
pub(super) fn url(idp: &Idp, id: &str, relay_state: &str, now: UnixTime) -> Option<String> {
    let request = AuthnRequest {
        id: id.to_owned(),
        version: "2.0".to_owned(),
        issue_instant: now.to_string().parse().ok()?,
        destination: Some(idp.sso.clone()),
        assertion_consumer_service_url: idp.provider.acs_url.clone(),
        protocol_binding: Some(HTTP_POST_BINDING.to_owned()),
        issuer: Some(Issuer { value: idp.provider.entity_id.clone(), ..Issuer::default() }),
        ..AuthnRequest::default()
    };
    request.redirect(relay_state).ok().flatten().map(String::from)
}
