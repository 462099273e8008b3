//! Signs ahead of the questions, in the background: answers about every certificate in force, slowly; what was revoked,
//! at once. Nothing hangs on it: a question that comes before its answer is signed is answered all the same.

use super::request::{Hash, HashForm};
use super::state::renew_responder;
use super::{answers, lists};
use crate::app::App;
use crate::cert::serial::Serial;
use crate::events;
use crate::failure::Failure;
use crate::rows::Published;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinseal_proto::time::UnixTime;

/// How often everything is gone through, for what was issued since and for what is half through its life.
const ROUND: Duration = Duration::from_secs(600);
/// Certificates that are signed for without a pause.
const CHUNK: usize = 20;
/// The pause: about 200 certificates a second, a few hundredths of a processor.
const PAUSE: Duration = Duration::from_millis(100);
/// What clients ask with (OpenSSL, NSS, Windows); other forms are signed when they are asked for.
const FORMS: [HashForm; 2] = [HashForm { hash: Hash::Sha1, null: true }, HashForm { hash: Hash::Sha256, null: true }];

/// What is left to do of a round, and what was seen of each CA.
#[derive(Default)]
struct Round {
    waiting: VecDeque<(Serial, Published)>,
    seen: [u64; Published::ALL.len()],
}

/// Publishes until the service stops.
pub(crate) async fn publish(app: Arc<App>) {
    let mut head = app.registry.head();
    let mut round = Round::default();
    let mut next = Instant::now();
    loop {
        let done = tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {
                next = Instant::now() + ROUND;
                round.begin(&app).await
            }
            changed = head.changed() => match changed {
                Ok(()) => round.revoked(&app).await,
                Err(_) => return,
            },
            () = tokio::time::sleep(PAUSE), if !round.waiting.is_empty() => round.sign_some(&app).await,
        };
        if let Err(failure) = done {
            failure.into_problem();
        }
    }
}

impl Round {
    /// Renews what is due and lists what is in force.
    async fn begin(&mut self, app: &Arc<App>) -> Result<(), Failure> {
        let now = UnixTime::now();
        for by in Published::ALL {
            app.revocation.of(by).answers.forget(now);
            renew_responder(app, by, now).await?;
            lists::present(app, by, now).await?;
        }
        let at = Arc::clone(app);
        let found = tokio::task::spawn_blocking(move || at.registry.view().live_certificates(now)).await??;
        self.waiting = found.into();
        Ok(())
    }

    /// Signs about the next few certificates, where the answer at hand will not do.
    async fn sign_some(&mut self, app: &Arc<App>) -> Result<(), Failure> {
        let some: Vec<_> = self.waiting.drain(..CHUNK.min(self.waiting.len())).collect();
        let at = Arc::clone(app);
        let sign = move || {
            let now = UnixTime::now();
            some.into_iter().try_for_each(|(serial, by)| {
                FORMS.iter().try_for_each(|form| answers::present(&at, by, serial, *form, now).map(drop))
            })
        };
        tokio::task::spawn_blocking(sign).await?
    }

    /// Something changed: where it was a revocation, the CRL and the answers that say otherwise are signed anew.
    async fn revoked(&mut self, app: &Arc<App>) -> Result<(), Failure> {
        for (by, seen) in Published::ALL.into_iter().zip(&mut self.seen) {
            let count = app.registry.view().revocations(by)?;
            if *seen == count {
                continue;
            }
            let now = UnixTime::now();
            lists::present(app, by, now).await?;
            let at = Arc::clone(app);
            tokio::task::spawn_blocking(move || correct(&at, by, now)).await??;
            *seen = count;
            events::revocation_published(by.name(), count);
        }
        Ok(())
    }
}

/// Signs anew the answers that say good about a certificate that is not.
fn correct(app: &App, by: Published, now: UnixTime) -> Result<(), Failure> {
    for row in app.registry.view().revoked(by)? {
        for form in app.revocation.of(by).answers.good(row.serial, &FORMS) {
            answers::present(app, by, row.serial, form, now)?;
        }
    }
    Ok(())
}
