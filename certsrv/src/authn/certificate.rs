//! A member by certificate: a live one of the account, presented in mutual TLS. The handshake checked the chain and that
//! the caller has the key; revocation is asked of the index at every call.

use super::{Class, LogIn, Principal};
use crate::app::App;
use crate::cert::serial::Serial;
use crate::failure::{Failure, refuse};
use crate::key_change;
use crate::rows::{Account, Certificate, Holder};
use crate::store::Tx;
use openssl::x509::X509Ref;
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::cert::serial_octets;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// A caller who may have presented a certificate.
pub(crate) struct Presented(pub(crate) Caller);

impl LogIn for Presented {
    async fn principal(self, app: &Arc<App>) -> Result<Principal, Failure> {
        Ok(Principal { account: member(app, &self.0)?, class: Class::Key, token: None })
    }
}

/// The account whose live key the caller has. An older certificate for that key does too, until the account's present
/// one is revoked: then no certificate for it lets anybody in.
pub(crate) fn member(app: &App, caller: &Caller) -> Result<Account, Failure> {
    presented(app, caller).map(|(account, _)| account)
}

/// The account, and the certificate that the caller presented.
pub(crate) fn presented(app: &App, caller: &Caller) -> Result<(Account, Certificate), Failure> {
    let Caller::Certificate { certificate, .. } = caller else {
        return Err(refuse(
            ProblemCode::NotAuthenticated,
            "present your certificate in the TLS handshake; enrol first",
        ));
    };
    let unknown = || refuse(ProblemCode::NotAuthenticated, "the certificate is not a member's of this server");
    let view = app.registry.view();
    let row = find(&view, certificate)?.ok_or_else(unknown)?;
    let Holder::Member { address } = &row.holder else { return Err(unknown()) };
    let account = view.account(address)?.ok_or_else(unknown)?;
    let now = UnixTime::now();
    if !row.live(now) || !key_change::live(&view, &account, now)?.iter().any(|live| live.key == row.key) {
        return Err(refuse(ProblemCode::NotAuthenticated, "the certificate was revoked or ran out; enrol again"));
    }
    if account.locked { Err(super::locked()) } else { Ok((account, row)) }
}

/// What is known of a certificate, by its serial number where we issued it, else by its digest.
fn find(view: &Tx<'_>, certificate: &X509Ref) -> Result<Option<Certificate>, Failure> {
    let der = certificate.to_der()?;
    let own = serial_octets(certificate).ok().and_then(|octets| Serial::from_octets(&octets).ok());
    for serial in own.into_iter().chain([Serial::of_foreign(&Digest::of(&der))]) {
        if let Some(row) = view.certificate(&serial)?.filter(|row| row.certificate.0 == der) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
