//! A response from base64 to the person whom it speaks for: structure, signature (samael with xmlsec), judgement.

use super::Saml;
use super::judge::{Rules, Verified, judge};
use super::refused::Refused;
use super::structure::{self, Expected};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use samael::service_provider::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use twinseal_proto::time::UnixTime;

/// Verifies the answer to `request`, at most as many at once as the service's semaphore lets.
pub(super) async fn verify(
    saml: &Arc<Saml>,
    encoded: String,
    request: String,
    now: UnixTime,
) -> Result<Verified, Refused> {
    let permit = Arc::clone(&saml.verifying).acquire_owned().await.map_err(|_| Refused::Busy)?;
    let saml = Arc::clone(saml);
    let work = move || {
        // Held by the work and not by the call, which ends at once when the browser goes away.
        let _permit = permit;
        // The C libraries below are behind bindings that assert: a panic there is a refusal here.
        catch_unwind(AssertUnwindSafe(|| verify_blocking(&saml, &encoded, &request, now)))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(Refused::Internal),
    }
}

/// [`verify`] on this thread.
pub(super) fn verify_blocking(saml: &Saml, encoded: &str, request: &str, now: UnixTime) -> Result<Verified, Refused> {
    let expected = Expected { acs: &saml.acs, idp: &saml.idp.entity_id, request };
    if !saml.idp.valid(now) {
        return Err(Refused::MetadataExpired);
    }
    let text = decode(encoded)?;
    let shape = structure::check(&text, &expected, now)?;
    let ids = [request];
    let signed = saml.idp.provider.parse_xml_response(&text, Some(&ids));
    // xmlsec leaves OpenSSL's errors on this thread, where the next caller would take them for its own.
    drop(ErrorStack::get());
    let assertion = signed.map_err(|error| reason(&error))?;
    let rules = Rules {
        expected,
        audience: &saml.config.entity_id,
        mail_attribute: &saml.config.mail_attribute,
        mail_domains: &saml.config.mail_domains,
    };
    judge(&assertion, &shape, &rules, now)
}

/// samael's refusals in our words; its texts may hold what the document says.
const fn reason(error: &Error) -> Refused {
    match error {
        Error::AssertionExpired { .. } | Error::ResponseExpired { .. } => Refused::IssueInstant,
        Error::AssertionIssuerMismatch { .. } | Error::ResponseIssuerMismatch { .. } => Refused::Issuer,
        Error::AssertionConditionExpired { .. }
        | Error::AssertionConditionExpiredBefore { .. }
        | Error::AssertionSubjectConfirmationExpired { .. }
        | Error::AssertionSubjectConfirmationExpiredBefore { .. } => Refused::Time,
        Error::AssertionConditionAudienceRestrictionFailed { .. } => Refused::Audience,
        Error::AssertionRecipientMismatch { .. } | Error::DestinationValidationError { .. } => Refused::Destination,
        Error::AssertionInResponseToInvalid { .. } | Error::ResponseInResponseToInvalid { .. } => Refused::InResponseTo,
        Error::AssertionSubjectConfirmationMissing | Error::AssertionBearerSubjectConfirmationMissing => {
            Refused::Confirmation
        }
        Error::ResponseBadStatusCode { .. } => Refused::Status,
        Error::FailedToParseSamlResponse(_) | Error::FailedToParseSamlAssertion(_) => Refused::Structure,
        _ => Refused::Signature,
    }
}

/// Base64 (SAML bindings section 3.5.4), in lines or not.
fn decode(encoded: &str) -> Result<String, Refused> {
    let octets: Vec<u8> = encoded.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    STANDARD.decode(octets).ok().and_then(|octets| String::from_utf8(octets).ok()).ok_or(Refused::NotXml)
}
