//! Asks the issuers of imported certificates whether these are revoked: every day, and as often as every hour where their
//! answers are good for less. One that is revoked is treated as our own would be. Silence is only told in the log: an
//! issuer whose server is away must not silence its members.

use super::fetch::Fetcher;
use super::status::ask;
use crate::app::App;
use crate::audit::Actor;
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::events;
use crate::failure::Failure;
use crate::members;
use crate::rows::{Certificate, Holder};
use crate::store::Tx;
use openssl::x509::X509;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::admin::certsrv::RevocationReason;
use twinseal_proto::time::UnixTime;

/// Longest and shortest time between two questions, in seconds.
const DAY: u64 = 86_400;
/// See [`DAY`].
const HOUR: u64 = 3600;
/// How often it is looked for certificates that are due.
const TURN: Duration = Duration::from_secs(60);

/// Watches until the service stops.
pub(crate) async fn run(app: Arc<App>) {
    // Only here: a start asks about all of them again.
    let mut due: HashMap<Serial, UnixTime> = HashMap::new();
    loop {
        tokio::select! {
            done = turn(&app, &mut due, UnixTime::now()) => if let Err(failure) = done { failure.into_problem(); },
            () = app.stop.cancelled() => return,
        }
        tokio::select! { () = tokio::time::sleep(TURN) => {}, () = app.stop.cancelled() => return }
    }
}

/// Asks about those that are due at `now`.
pub(crate) async fn turn(app: &Arc<App>, due: &mut HashMap<Serial, UnixTime>, now: UnixTime) -> Result<(), Failure> {
    let known = app.registry.view().foreign()?;
    due.retain(|serial, _| known.contains(serial));
    let mut fetcher = Fetcher::new(app.config.evaluation);
    for serial in known {
        if due.get(&serial).is_some_and(|at| now < *at) {
            continue;
        }
        due.insert(serial, now.plus(ask_one(app, serial, &mut fetcher, now).await?));
    }
    Ok(())
}

/// Asks about one; gives the seconds until the next time.
async fn ask_one(app: &Arc<App>, serial: Serial, fetcher: &mut Fetcher, now: UnixTime) -> Result<u64, Failure> {
    let row = app.registry.view().certificate(&serial)?;
    let Some(Certificate { certificate, foreign: Some(foreign), revoked: None, .. }) = row else { return Ok(DAY) };
    let chain: Vec<X509> = std::iter::once(&certificate)
        .chain(&foreign.issuers)
        .map(|der| X509::from_der(der.as_ref()))
        .collect::<Result<_, _>>()?;
    let answer = ask(&chain, &foreign.ocsp, fetcher, now).await;
    for silent in &answer.silent {
        events::issuer_silent(silent, &serial);
    }
    if let Some(whose) = answer.revoked {
        events::revoked_elsewhere(&whose, &serial);
        let lost = answer.lost;
        let reason = if lost { RevocationReason::KeyCompromise } else { RevocationReason::Unspecified };
        app.registry.commit(Actor::Clock, move |tx| revoke(tx, serial, reason)).await?;
    }
    let wait = answer.next.map_or(DAY, |next| next.since(now).clamp(HOUR, DAY));
    Ok(if answer.silent.is_empty() { wait } else { HOUR })
}

/// A compromised key is not certified here either.
fn revoke(tx: &mut Tx<'_>, serial: Serial, reason: RevocationReason) -> Result<(), Failure> {
    let Some(row) = tx.certificate(&serial)?.filter(|row| row.revoked.is_none()) else { return Ok(()) };
    tx.push(Change::CertificateRevoked { serial, reason, at: UnixTime::now() })?;
    if let Holder::Member { address } = &row.holder {
        members::suspend_memberships(tx, address, serial)?;
    }
    Ok(())
}
