//! An answer that was lost after its commit is given again: a one-time token that was used is good for the certificate
//! that it was used for, to whoever proves to have that certificate's key, until the token expires.

use crate::app::App;
use crate::audit::{Actor, Record};
use crate::cert::csr;
use crate::decide;
use crate::failure::Failure;
use crate::issue::Authority;
use crate::rows::{Certificate, Holder};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;

/// The certificate that `token` was used for, if `request` is for its key and it is in force. Nothing is changed; the
/// audit log tells of it.
pub(crate) async fn given(
    app: &App,
    token: &Digest,
    authority: Authority,
    request: &[u8],
) -> Result<Option<Certificate>, Failure> {
    let now = UnixTime::now();
    let Some((row, by)) = find(app, token, authority, request, now)? else { return Ok(None) };
    app.registry.audit().record(&Record::again(now, &by, &row.serial)).await?;
    Ok(Some(row))
}

fn find(
    app: &App,
    token: &Digest,
    authority: Authority,
    request: &[u8],
    now: UnixTime,
) -> Result<Option<(Certificate, Actor)>, Failure> {
    let view = app.registry.view();
    let Some(used) = decide::used_token(view.token(token)?, now) else { return Ok(None) };
    let asked = csr::read(request).ok().filter(|asked| Digest::of(&asked.key.spki) == used.key);
    let row = view.certificate(&used.serial)?.filter(|row| row.live(now));
    let (Some(_), Some(row)) = (asked, row) else { return Ok(None) };
    let by = match (&row.holder, authority) {
        (Holder::Member { address }, Authority::Members) if row.foreign.is_none() => Actor::Account(address.clone()),
        // A groupsrv whose place another one took is not let in again.
        (Holder::Service { role }, Authority::Services) if view.pin(&row.key)?.is_some() => Actor::Service(*role),
        _ => return Ok(None),
    };
    Ok(Some((row, by)))
}
