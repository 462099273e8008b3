//! What `/metrics` shows. No label names a list, a member or a host.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

/// The exploder's metrics.
pub(crate) struct Metrics {
    /// Messages that were answered with 250.
    pub(crate) accepted: IntCounter,
    /// Messages and recipients that were refused, by SMTP code.
    pub(crate) refused: IntCounterVec,
    /// Copies that the smarthost took.
    pub(crate) sent: IntCounter,
    /// Tries that are to be repeated.
    pub(crate) deferred: IntCounter,
    /// Copies that failed for good.
    pub(crate) failed: IntCounter,
    /// Copies that nobody gets, since the member left or may not open the message.
    pub(crate) dropped: IntCounter,
    /// Messages in the queue.
    pub(crate) queue: IntGauge,
    /// Age of the oldest of them in seconds.
    pub(crate) oldest: IntGauge,
    groupsrv: Histogram,
}

impl Metrics {
    /// Makes them, and puts them into `registry`.
    ///
    /// # Errors
    /// prometheus's, when a name is taken.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let copies = IntCounterVec::new(
            Opts::new("twinseal_exploder_copies_total", "Copies by what became of them"),
            &["outcome"],
        )?;
        let metrics = Self {
            accepted: IntCounter::new("twinseal_exploder_accepted_total", "Messages accepted")?,
            refused: IntCounterVec::new(
                Opts::new("twinseal_exploder_refused_total", "Refusals by SMTP code"),
                &["code"],
            )?,
            sent: copies.with_label_values(&["sent"]),
            deferred: copies.with_label_values(&["deferred"]),
            failed: copies.with_label_values(&["failed"]),
            dropped: copies.with_label_values(&["dropped"]),
            queue: IntGauge::new("twinseal_exploder_queue_messages", "Messages in the queue")?,
            oldest: IntGauge::new("twinseal_exploder_queue_oldest_seconds", "Age of the oldest message in the queue")?,
            groupsrv: Histogram::with_opts(HistogramOpts::new(
                "twinseal_exploder_groupsrv_seconds",
                "Time until groupsrv answered",
            ))?,
        };
        registry.register(Box::new(copies))?;
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.queue.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.groupsrv.clone()))?;
        Ok(metrics)
    }

    /// groupsrv took so long for an answer.
    pub(crate) fn groupsrv_answered(&self, after: Duration) {
        self.groupsrv.observe(after.as_secs_f64());
    }
}
