//! Renewal: another certificate for the holder of a live one, who presents it.

use crate::app::App;
use crate::authn::{Class, Principal, certificate};
use crate::cert::csr;
use crate::cert::profile::AltName;
use crate::enrol::{Enrolled, certify, own_names};
use crate::failure::{Failure, refuse};
use crate::rows::KeyUse;
use openssl::x509::{X509, X509Name};
use std::collections::BTreeSet;
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::cert::mail_addresses;
use twinseal_proto::ids::MailAddress;
use twinseal_svc::http::Caller;

/// Renewal, with the same key or another one, by a certificate that is presented (RFC 7030 section 4.2.2): subject and
/// names of the request are those of the certificate.
pub(crate) async fn renew(
    app: &Arc<App>,
    caller: &Caller,
    purpose: KeyUse,
    request: &[u8],
) -> Result<Enrolled, Failure> {
    let (account, present) = certificate::presented(app, caller)?;
    let request = csr::read(request).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    own_names(&request.names, &account.address)?;
    if present.purpose != purpose {
        let detail = "the certificate that was presented is for another use than this label; present the one to renew";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    let old = X509::from_der(present.certificate.as_ref())?;
    let subject = X509Name::from_der(&request.subject)?;
    let same = old.subject_name().try_cmp(&subject)?.is_eq();
    let asked: BTreeSet<MailAddress> = mail_names(&request.names);
    let had: BTreeSet<MailAddress> = mail_addresses(&old).iter().filter_map(|text| text.parse().ok()).collect();
    if !same || asked != had {
        let detail = "subject and subjectAltName of the request are not those of the certificate that was presented \
                      (RFC 7030 section 4.2.2)";
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    certify(app, &Principal { account, class: Class::Key, token: None }, request.key, purpose).await
}

fn mail_names(names: &[AltName]) -> BTreeSet<MailAddress> {
    let mail = |name: &AltName| match name {
        AltName::Mail(text) => text.parse().ok(),
        _ => None,
    };
    names.iter().filter_map(mail).collect()
}
