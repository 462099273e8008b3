//! A member by certificate: the one we issued, presented in mutual TLS, live at this moment. The handshake checked the
//! chain and that the caller has the key; revocation is asked of the index at every call.

use crate::app::App;
use crate::cert::serial::Serial;
use crate::failure::{Failure, refuse};
use crate::rows::{Account, Holder};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::cert::serial_octets;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// The account whose live key the caller has. An older certificate for that key does too, until the account's present
/// one is revoked: then no certificate of the account lets anybody in.
pub(crate) fn member(app: &App, caller: &Caller) -> Result<Account, Failure> {
    let Caller::Certificate { certificate, .. } = caller else {
        return Err(refuse(
            ProblemCode::NotAuthenticated,
            "present your certificate in the TLS handshake; enrol first",
        ));
    };
    let unknown = || refuse(ProblemCode::NotAuthenticated, "the certificate is not a member's of this server");
    let octets = serial_octets(certificate).map_err(|_| unknown())?;
    let serial = Serial::from_octets(&octets).map_err(|_| unknown())?;
    let view = app.registry.view();
    let row = view.certificate(&serial)?.ok_or_else(unknown)?;
    if certificate.to_der()? != row.certificate.0 {
        return Err(unknown());
    }
    let Holder::Member { address } = &row.holder else { return Err(unknown()) };
    let account = view.account(address)?.ok_or_else(unknown)?;
    let current = account.current.map(|serial| view.certificate(&serial)).transpose()?.flatten();
    let now = UnixTime::now();
    if !row.live(now) || !current.is_some_and(|current| current.live(now) && current.key == row.key) {
        return Err(refuse(ProblemCode::NotAuthenticated, "the certificate was revoked or ran out; enrol again"));
    }
    Ok(account)
}
