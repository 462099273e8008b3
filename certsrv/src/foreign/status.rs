//! Whether a certificate of another CA, or a CA above it, was revoked: OCSP (RFC 6960) and CRLs (RFC 5280 section 5) as its
//! issuer gives them.

use super::fetch::Fetcher;
use super::path::{Path, crls};
use crate::app::App;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::ocsp::{
    OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus, OcspRevokedStatus,
};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{CrlStatus, ReasonCode, X509, X509Crl, X509Ref};
use std::time::Duration;
use twinseal_proto::time::UnixTime;

/// Longest time that somebody who brings a certificate waits for its issuers.
const PATIENCE: Duration = Duration::from_secs(60);
/// keyCompromise (RFC 5280 section 5.3.1).
const KEY_COMPROMISE: i64 = 1;
/// Seconds by which clocks may differ.
const SKEW: u32 = 300;

/// What an issuer says about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Says {
    /// It is revoked.
    pub(super) revoked: bool,
    /// It is revoked because its key is compromised.
    pub(super) lost: bool,
    /// When there is news at the latest.
    pub(super) next: Option<UnixTime>,
}

/// What the issuers say about a path.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The subject of the certificate in it that is revoked.
    pub(super) revoked: Option<String>,
    /// The key of the first certificate is compromised.
    pub(super) lost: bool,
    /// When there is news, at the latest.
    pub(super) next: Option<UnixTime>,
    /// Whoever gave no answer that can be believed.
    pub(super) silent: Vec<String>,
}

/// What a CRL says about `certificate`; `None` when it is not the issuer's, or is out of time.
pub(super) fn crl_says(der: &[u8], certificate: &X509, issuer: &X509Ref, now: UnixTime) -> Option<Says> {
    let says = read_crl(der, certificate, issuer, now);
    drop(ErrorStack::get());
    says
}

fn read_crl(der: &[u8], certificate: &X509, issuer: &X509Ref, now: UnixTime) -> Option<Says> {
    let crl = X509Crl::from_der(der).or_else(|_| X509Crl::from_pem(der)).ok()?;
    let key = issuer.public_key().ok()?;
    let names = crl.issuer_name().try_cmp(issuer.subject_name()).ok()?.is_eq()
        && certificate.issuer_name().try_cmp(issuer.subject_name()).ok()?.is_eq();
    let time = |at: UnixTime| Asn1Time::from_unix(i64::try_from(at.0).ok()?).ok();
    let (at, soon) = (time(now)?, time(now.plus(SKEW.into()))?);
    let next = crl.next_update()?;
    let begun = crl.last_update().compare(&soon).ok()?.is_le();
    if !names || !begun || !crl.verify(&key).ok()? || next.compare(&at).ok()?.is_lt() {
        return None;
    }
    let left = at.diff(next).ok()?;
    let seconds = i64::from(left.days) * 86_400 + i64::from(left.secs);
    let (revoked, lost) = match crl.get_by_cert(certificate) {
        CrlStatus::Revoked(entry) => {
            let reason = entry.extension::<ReasonCode>().ok().flatten().and_then(|(_, reason)| reason.get_i64().ok());
            (true, reason == Some(KEY_COMPROMISE))
        }
        CrlStatus::NotRevoked | CrlStatus::RemoveFromCrl(_) => (false, false),
    };
    Some(Says { revoked, lost, next: Some(now.plus(u64::try_from(seconds).ok()?)) })
}

/// The DER OCSP request for `certificate`.
fn ocsp_request(certificate: &X509Ref, issuer: &X509Ref) -> Result<Vec<u8>, ErrorStack> {
    let mut request = OcspRequest::new()?;
    // SHA-1 only names the issuer here, and is what every responder knows (RFC 6960 section 4.1.1).
    request.add_id(OcspCertId::from_cert(MessageDigest::sha1(), certificate, issuer)?)?;
    request.to_der()
}

/// What an OCSP answer says; `None` when it is not good for anything.
fn ocsp_says(der: &[u8], chain: &[X509]) -> Option<Says> {
    let says = read_ocsp(der, chain);
    drop(ErrorStack::get());
    says
}

fn read_ocsp(der: &[u8], chain: &[X509]) -> Option<Says> {
    let [certificate, issuer, ..] = chain else { return None };
    let response = OcspResponse::from_der(der).ok().filter(|r| r.status() == OcspResponseStatus::SUCCESSFUL)?;
    let basic = response.basic().ok()?;
    let mut issuers = Stack::new().ok()?;
    for one in chain.iter().skip(1) {
        issuers.push(one.clone()).ok()?;
    }
    let mut store = X509StoreBuilder::new().ok()?;
    store.add_cert(chain.last()?.clone()).ok()?;
    basic.verify(&issuers, &store.build(), OcspFlag::empty()).ok()?;
    let id = OcspCertId::from_cert(MessageDigest::sha1(), certificate, issuer).ok()?;
    let status = basic.find_status(&id)?;
    status.check_validity(SKEW, None).ok()?;
    // Until when it is good does not matter: it is asked again every day, for so long as it is short.
    let revoked = status.status == OcspCertStatus::REVOKED;
    let lost = revoked && status.reason == OcspRevokedStatus::KEY_COMPROMISE;
    (status.status != OcspCertStatus::UNKNOWN).then_some(Says { revoked, lost, next: None })
}

/// Asks about every certificate of `chain` (the certificate, its issuers, the root) but the root.
pub(super) async fn ask(chain: &[X509], ocsp: &[String], fetcher: &mut Fetcher, now: UnixTime) -> Answer {
    let mut answer = Answer::default();
    for (depth, pair) in chain.windows(2).enumerate() {
        let [certificate, issuer] = pair else { continue };
        let responders = if depth == 0 { ocsp } else { &[] };
        let points = crls(certificate);
        let mut says = None;
        for url in responders {
            let Ok(request) = ocsp_request(certificate, issuer) else { break };
            says = fetcher.ocsp(url, &request).await.and_then(|der| ocsp_says(&der, chain));
            if says.is_some() {
                break;
            }
        }
        for url in &points {
            if says.is_some() {
                break;
            }
            let Some(der) = fetcher.crl(url).await else { continue };
            let (certificate, issuer) = (certificate.clone(), issuer.clone());
            // A large CRL takes a while to read.
            let read = tokio::task::spawn_blocking(move || crl_says(&der, &certificate, &issuer, now));
            says = read.await.ok().flatten();
        }
        match says {
            Some(Says { revoked: true, lost, .. }) => {
                answer.lost = lost && depth == 0;
                answer.revoked = Some(subject(certificate));
                return answer;
            }
            Some(says) => answer.next = [answer.next, says.next].into_iter().flatten().min(),
            None if responders.is_empty() && points.is_empty() => {}
            None => answer.silent.push(subject(certificate)),
        }
    }
    answer
}

/// For people.
fn subject(certificate: &X509Ref) -> String {
    let entry = certificate.subject_name().entries().last();
    let text = entry.and_then(|entry| entry.data().to_string().ok()).unwrap_or_default();
    let plain: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("the certificate of {plain:?}")
}

/// The subject of a certificate of the path that is revoked at this moment. An issuer that does not answer keeps nobody
/// out: it is asked again by the watch.
pub(super) async fn revoked_now(app: &App, found: &Path) -> Option<String> {
    let chain: Vec<X509> = std::iter::once(&found.certificate).chain(&found.issuers).cloned().collect();
    let (ocsp, mut fetcher) = (found.ocsp(), Fetcher::new(app.config.evaluation));
    let asked = ask(&chain, &ocsp, &mut fetcher, UnixTime::now());
    tokio::time::timeout(PATIENCE, asked).await.ok()?.revoked
}

#[cfg(test)]
mod tests;
