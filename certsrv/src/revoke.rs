//! Step 8: the end of a certificate, by revocation or by time. In force at the answer: members with it are suspended,
//! a service with it is no longer known.

use crate::app::App;
use crate::audit::Actor;
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::rows::{Certificate, Holder};
use crate::store::Tx;
use crate::tokens::posting;
use crate::{events, members, requests};
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::admin::certsrv::{Changed, RevocationReason, RevokeRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;

/// How often it is looked for certificates that ran out.
const SWEEP: Duration = Duration::from_secs(30);
/// Most certificates that end in one commit.
const SWEPT: usize = 1000;

/// `Revoke`.
pub(crate) async fn revoke(app: Arc<App>, _: Caller, request: RevokeRequest) -> Result<Changed, Problem> {
    let serial: Serial = request
        .serial
        .parse()
        .map_err(|e| Problem::new(ProblemCode::BadRequest, format!("{}: {e}", request.serial)))?;
    hit("certsrv.revoke.before-commit");
    let committed = app.registry.commit(Actor::Administrator, move |tx| revoke_one(tx, serial, request.reason)).await;
    let ((), sequence) = committed.map_err(Failure::into_problem)?;
    hit("certsrv.revoke.before-answer");
    Ok(Changed { sequence })
}

fn revoke_one(tx: &mut Tx<'_>, serial: Serial, reason: RevocationReason) -> Result<(), Failure> {
    let row = revoke_certificate(tx, serial, reason)?;
    if reason == RevocationReason::KeyCompromise {
        // The key is lost, not this certificate alone: the newest one for it is revoked too. Older ones let nobody in
        // and are published no more.
        for other in newest(tx, &row)? {
            revoke_certificate(tx, other, reason)?;
        }
    }
    Ok(())
}

/// The certificates in use that have the same key as `row`.
fn newest(tx: &Tx<'_>, row: &Certificate) -> Result<Vec<Serial>, Failure> {
    let mut found = Vec::new();
    if let Holder::Member { address } = &row.holder {
        found.extend(tx.account(address)?.into_iter().flat_map(|a| [a.current, a.signing]).flatten());
    }
    found.extend(tx.pin(&row.key)?.map(|pin| pin.serial));
    found.extend(tx.group_key(&row.key)?.map(|known| known.serial));
    let mut same = Vec::new();
    for serial in found {
        if tx.certificate(&serial)?.is_some_and(|other| other.key == row.key && other.revoked.is_none()) {
            same.push(serial);
        }
    }
    Ok(same)
}

fn revoke_certificate(tx: &mut Tx<'_>, serial: Serial, reason: RevocationReason) -> Result<Certificate, Failure> {
    let row = tx
        .certificate(&serial)?
        .ok_or_else(|| refuse(ProblemCode::NotFound, format!("no certificate with serial {serial} was issued here")))?;
    match row.revoked {
        // Only "compromised" says more than what was said before (RFC 5280 section 5.3.1).
        Some(_) if reason != RevocationReason::KeyCompromise => return Ok(row),
        Some(RevocationReason::KeyCompromise) => return Ok(row),
        _ => tx.push(Change::CertificateRevoked { serial, reason, at: UnixTime::now() })?,
    }
    if let (Holder::Member { address }, false) = (&row.holder, reason == RevocationReason::Superseded) {
        posting::end_all(tx, address)?;
    }
    suspend(tx, &row)?;
    Ok(row)
}

fn suspend(tx: &mut Tx<'_>, row: &Certificate) -> Result<(), Failure> {
    if let Holder::Member { address } = &row.holder {
        members::suspend_memberships(tx, address, row.serial)?;
    }
    Ok(())
}

/// Sees to members' certificates that ran out and to requests that nobody answered, until the service stops.
pub(crate) async fn sweep(app: Arc<App>) {
    loop {
        match requests::expire::sweep(&app, UnixTime::now()).await {
            Ok(0) => {}
            Ok(count) => events::requests_swept(count),
            Err(failure) => {
                failure.into_problem();
            }
        }
        match end_due(&app).await {
            Ok(0) => {}
            Ok(count) => {
                events::certificates_ended(count);
                if count == SWEPT && !app.stop.is_cancelled() {
                    continue;
                }
            }
            Err(failure) => {
                failure.into_problem();
            }
        }
        tokio::select! { () = tokio::time::sleep(SWEEP) => {}, () = app.stop.cancelled() => return }
    }
}

async fn end_due(app: &Arc<App>) -> Result<usize, Failure> {
    let due = app.registry.view().ended(UnixTime::now(), SWEPT)?;
    if due.is_empty() {
        return Ok(0);
    }
    let count = due.len();
    let decide = move |tx: &mut Tx<'_>| {
        for serial in due {
            let Some(row) = tx.certificate(&serial)? else { continue };
            tx.push(Change::CertificateEnded { serial })?;
            suspend(tx, &row)?;
        }
        Ok(())
    };
    app.registry.commit(Actor::Clock, decide).await?;
    Ok(count)
}
