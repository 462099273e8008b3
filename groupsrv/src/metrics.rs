//! What `/metrics` counts. Names and numbers only: no group, no handle.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The counters of this daemon.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// What exploders may read too.
    pub(crate) registry: Registry,
    /// All of them, for the operators' own listener.
    pub(crate) for_operators: Registry,
    /// RecipientInfos made for members.
    pub(crate) wraps: IntCounter,
    /// Wrapped keys opened.
    pub(crate) unwraps: IntCounter,
    /// Wrapped keys registered for the first time.
    pub(crate) registrations: IntCounter,
    /// Calls refused and members denied, by reason.
    pub(crate) refusals: IntCounterVec,
    /// Seconds from the request to the answer of `expand`.
    pub(crate) expand_seconds: Histogram,
    /// Substitute keys given on the last finished day, of all groups. Not for exploders: they choose what is opened, and even
    /// one number a day tells them something.
    pub(crate) substituted: IntGauge,
}

impl Metrics {
    /// Fresh counters.
    ///
    /// # Errors
    /// The registry's, for names that clash: never, for these.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let wraps = IntCounter::new("groupsrv_wraps_total", "RecipientInfos made for members")?;
        let unwraps = IntCounter::new("groupsrv_unwraps_total", "Wrapped keys opened")?;
        let registrations = IntCounter::new("groupsrv_registrations_total", "Wrapped keys first seen")?;
        let refusals = Opts::new("groupsrv_refusals_total", "Calls refused and members denied");
        let refusals = IntCounterVec::new(refusals, &["reason"])?;
        let buckets = vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
        let latency = HistogramOpts::new("groupsrv_expand_seconds", "Time of an expand call").buckets(buckets);
        let expand_seconds = Histogram::with_opts(latency)?;
        let text = "Wrapped keys of the last finished day (UTC) that did not open and were answered with substitutes";
        let substituted = IntGauge::new("groupsrv_substituted_last_day", text)?;
        let for_operators = Registry::new();
        for registry in [&registry, &for_operators] {
            registry.register(Box::new(wraps.clone()))?;
            registry.register(Box::new(unwraps.clone()))?;
            registry.register(Box::new(registrations.clone()))?;
            registry.register(Box::new(refusals.clone()))?;
            registry.register(Box::new(expand_seconds.clone()))?;
        }
        for_operators.register(Box::new(substituted.clone()))?;
        Ok(Self { registry, for_operators, wraps, unwraps, registrations, refusals, expand_seconds, substituted })
    }

    /// Counts `number` refusals for `reason`.
    pub(crate) fn refused(&self, reason: &str, number: usize) {
        self.refusals.with_label_values(&[reason]).inc_by(number as u64);
    }
}
