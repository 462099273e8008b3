//! The daily totals of `substituted.rs` in the running service: where they are counted, told and kept.
//!
//! They are kept in the index every hour, at midnight and at the end; a kill loses what was counted since. The log does not
//! have them, so a lost index loses them too.

use crate::service::Service;
use crate::substituted::{Row, Substituted, until_tomorrow};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use twinseal_proto::api::admin::groupsrv::Substituted as Told;
use twinseal_proto::ids::GroupId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::StoreError;

/// Longest time in seconds after which the counts are kept.
const KEEP: u64 = 3600;

impl Service {
    fn substituted(&self) -> MutexGuard<'_, Substituted> {
        self.substituted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an opened key of `group`: 1 for a substitute, else 0.
    pub(crate) fn count_substituted(&self, group: GroupId, substituted: u8, now: UnixTime) {
        self.pass_day(now);
        self.substituted().add(group, substituted);
    }

    /// Tells the total of the present day if it is over at `now`: once, in the log, and from then on as a metric.
    pub(crate) fn pass_day(&self, now: UnixTime) {
        let (over, told) = {
            let mut substituted = self.substituted();
            (substituted.pass(now), substituted.told_of_all())
        };
        let Some(Told { day, number }) = told else { return };
        self.metrics.substituted.set(i64::try_from(number).unwrap_or(i64::MAX));
        if over && number > 0 {
            tracing::warn!(%day, number, "wrapped keys did not open and were answered with substitutes");
        } else if over {
            tracing::info!(%day, number, "no wrapped key was answered with a substitute");
        }
    }

    /// A group's total of the last finished day.
    pub(crate) fn told_substituted(&self, group: &GroupId) -> Option<Told> {
        self.substituted().told(group)
    }

    /// What an operator should know of the last finished day; `None` when there is nothing to tell.
    pub(crate) fn substituted_warning(&self) -> Option<String> {
        let told = self.substituted().told_of_all().filter(|told| told.number > 0)?;
        Some(format!("{told}: key list tells of which groups"))
    }

    /// Keeps the counts. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn keep_substituted(&self) -> Result<(), StoreError> {
        let rows: Vec<Row> = self.substituted().rows();
        self.index.keep_substituted(&rows)
    }
}

/// Ends the days, keeps the counts from time to time, and forgets revocations that time made good.
pub(crate) async fn watch(service: Arc<Service>) {
    loop {
        let pause = Duration::from_secs(until_tomorrow(UnixTime::now()).min(KEEP));
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = service.stop.cancelled() => return }
        service.pass_day(UnixTime::now());
        keep(&service).await;
        if let Ok(Err(error)) = service.blocking(|service| service.index.forget_revoked(UnixTime::now())).await {
            tracing::error!(%error, "revoked membership certificates that ended were not forgotten");
        }
    }
}

/// Keeps the counts; what goes wrong is for the log.
pub(crate) async fn keep(service: &Arc<Service>) {
    // Problems of both sorts are told where they come up; the counts go on in memory.
    if let Ok(Err(error)) = service.blocking(Service::keep_substituted).await {
        tracing::error!(%error, "the daily totals were not kept");
    }
}
