//! Warnings before a member's certificate ends: 30, 7 and 1 days before, each once (spec K13).

use super::queue;
use crate::app::App;
use crate::audit::Actor;
use crate::failure::Failure;
use crate::rows::{Holder, Notice};
use crate::store::Tx;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::time::UnixTime;

/// Days before the end at which a member is warned.
const STEPS: [u32; 3] = [1, 7, 30];
/// How often it is looked for certificates that soon end.
const SWEEP: Duration = Duration::from_secs(600);
/// Most warnings in one commit.
const MOST: usize = 1000;
const DAY: u64 = 86_400;

/// Warns until the service stops.
pub(crate) async fn sweep(app: Arc<App>) {
    if app.config.mail.is_none() {
        return;
    }
    loop {
        if let Err(failure) = warn(&app, UnixTime::now()).await {
            failure.into_problem();
        }
        tokio::select! { () = tokio::time::sleep(SWEEP) => {}, () = app.stop.cancelled() => return }
    }
}

/// The step that a certificate is in which ends at `until`: the days before its end.
fn step(until: UnixTime, now: UnixTime) -> Option<u32> {
    let left = until.since(now);
    STEPS.into_iter().find(|days| 0 < left && left <= u64::from(*days) * DAY)
}

/// Queues the warnings that are due.
pub(crate) async fn warn(app: &Arc<App>, now: UnixTime) -> Result<(), Failure> {
    let at = Arc::clone(app);
    let due = tokio::task::spawn_blocking(move || due(&at.registry.view(), now)).await??;
    for part in due.chunks(MOST) {
        let (part, at) = (part.to_vec(), Arc::clone(app));
        let decide = move |tx: &mut Tx<'_>| {
            for notice in part {
                queue(&at, tx, now, notice)?;
            }
            Ok(())
        };
        app.registry.commit(Actor::Clock, decide).await?;
    }
    Ok(())
}

/// Members' present certificates that came into a step of which they were not warned. One that was replaced is nobody's
/// concern.
fn due(view: &Tx<'_>, now: UnixTime) -> Result<Vec<Notice>, Failure> {
    let mut found = Vec::new();
    for serial in view.ending(now, now.plus(u64::from(STEPS[2]) * DAY))? {
        let Some(row) = view.certificate(&serial)?.filter(|row| row.live(now)) else { continue };
        let (Holder::Member { address }, Some(days)) = (&row.holder, step(row.until, now)) else { continue };
        let warned = view.warned(&serial)?.is_some_and(|before| before <= days);
        if !warned && view.account(address)?.and_then(|account| account.current) == Some(serial) {
            found.push(Notice::Expiry { to: address.clone(), serial, days });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_the_nearest_one() {
        let until = UnixTime(1_800_000_000);
        let table = [
            (0, None),
            (1, Some(1)),
            (DAY, Some(1)),
            (DAY + 1, Some(7)),
            (7 * DAY, Some(7)),
            (7 * DAY + 1, Some(30)),
            (30 * DAY, Some(30)),
            (30 * DAY + 1, None),
        ];
        for (left, wanted) in table {
            assert_eq!(step(until, UnixTime(until.0 - left)), wanted, "{left}");
        }
    }
}
