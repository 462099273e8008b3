//! Every event that operators see: one function a line of the log, with its counter.

use crate::cert::serial::Serial;
use crate::rows::Holder;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use twinseal_proto::api::Problem;

/// The counters of this service.
pub(crate) struct Metrics {
    /// For `/metrics`.
    pub(crate) registry: Registry,
    issued: IntCounterVec,
    refused: IntCounter,
    pub(crate) sequence: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let opts = Opts::new("certsrv_certificates_issued_total", "Certificates that were issued");
        let issued = IntCounterVec::new(opts, &["of"])?;
        let refused = IntCounter::new("certsrv_enrolments_refused_total", "Enrolments that were refused")?;
        let sequence = IntGauge::new("certsrv_feed_sequence", "Last sequence of the feed")?;
        registry.register(Box::new(issued.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(sequence.clone()))?;
        Ok(Self { registry, issued, refused, sequence })
    }

    /// A certificate was signed.
    pub(crate) fn issued(&self, serial: &Serial, holder: &Holder) {
        let of = match holder {
            Holder::Member { .. } => "member",
            Holder::Group { .. } => "group",
            Holder::Service { .. } => "service",
        };
        self.issued.with_label_values(&[of]).inc();
        tracing::debug!(%serial, of, "certificate issued");
    }

    /// An enrolment was refused.
    pub(crate) fn enrolment_refused(&self, problem: &Problem) {
        self.refused.inc();
        tracing::info!(code = %problem.code, "enrolment refused");
    }
}

/// The service holds these sockets now.
pub(crate) fn listening(https: &str, http: &str) {
    tracing::info!(https, http, "listening");
}

/// Another service holds the same host.
pub(crate) fn warning(text: &str) {
    tracing::warn!("{text}");
}

/// A service joined.
pub(crate) fn service_joined(role: &str, pin: &str) {
    tracing::info!(role, pin, "service joined");
}

/// A revocation is in the CRL and in the answers.
pub(crate) fn revocation_published(ca: &str, revocations: u64) {
    tracing::info!(ca, revocations, "revocation published");
}

/// Members' certificates ran out.
pub(crate) fn certificates_ended(count: usize) {
    tracing::info!(count, "members' certificates ran out");
}
