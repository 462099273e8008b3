//! Every event that operators see: one function a line of the log, with its counter.

use crate::authn::Class;
use crate::cert::serial::Serial;
use crate::rows::{Holder, NoticeEnd};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use twinseal_proto::api::Problem;
use twinseal_proto::ids::{ListAddress, NoticeId};

/// The counters of this service.
pub(crate) struct Metrics {
    /// For `/metrics`.
    pub(crate) registry: Registry,
    issued: IntCounterVec,
    refused: IntCounter,
    hashed: IntCounter,
    notices: IntCounterVec,
    pub(crate) notices_waiting: IntGauge,
    pub(crate) sequence: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let opts = Opts::new("certsrv_certificates_issued_total", "Certificates that were issued");
        let issued = IntCounterVec::new(opts, &["of"])?;
        let refused = IntCounter::new("certsrv_enrolments_refused_total", "Enrolments that were refused")?;
        let hashed = IntCounter::new("certsrv_passwords_hashed_total", "Passwords that were compared with a hash")?;
        let sequence = IntGauge::new("certsrv_feed_sequence", "Last sequence of the feed")?;
        let opts = Opts::new("certsrv_notices_total", "Mails of certsrv's own that need no more attention");
        let notices = IntCounterVec::new(opts, &["end"])?;
        let notices_waiting = IntGauge::new("certsrv_notices_waiting", "Mails of certsrv's own that wait")?;
        registry.register(Box::new(notices.clone()))?;
        registry.register(Box::new(notices_waiting.clone()))?;
        registry.register(Box::new(issued.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(hashed.clone()))?;
        registry.register(Box::new(sequence.clone()))?;
        Ok(Self { registry, issued, refused, hashed, notices, notices_waiting, sequence })
    }

    /// A certificate was signed.
    pub(crate) fn issued(&self, serial: &Serial, holder: &Holder) {
        let of = match holder {
            Holder::Member { .. } => "member",
            Holder::Membership { .. } => "membership",
            Holder::Group { .. } => "group",
            Holder::Service { .. } => "service",
            Holder::ListSigner { .. } => "list-signer",
        };
        self.issued.with_label_values(&[of]).inc();
        tracing::debug!(%serial, of, "certificate issued");
    }

    /// A password is about to be compared with a hash: the same work whatever the account.
    pub(crate) fn password_hashed(&self) {
        self.hashed.inc();
    }

    /// How often that was.
    #[cfg(test)]
    pub(crate) fn passwords_hashed(&self) -> u64 {
        self.hashed.get()
    }

    /// A mail of certsrv's own needs no more attention.
    pub(crate) fn notice_done(&self, id: &NoticeId, end: NoticeEnd) {
        let word = match end {
            NoticeEnd::Sent => "sent",
            NoticeEnd::Refused => "refused",
            NoticeEnd::Dropped => "dropped",
        };
        self.notices.with_label_values(&[word]).inc();
        match end {
            NoticeEnd::Refused => tracing::warn!(%id, "the smarthost refused a mail for good"),
            _ => tracing::debug!(%id, end = word, "mail done"),
        }
    }

    /// An enrolment was refused.
    pub(crate) fn enrolment_refused(&self, problem: &Problem) {
        self.refused.inc();
        tracing::info!(code = %problem.code, "enrolment refused");
    }
}

/// A session stood for an account.
pub(crate) fn session_used(class: Class) {
    tracing::debug!(?class, "session used");
}

/// The service holds these sockets now.
pub(crate) fn listening(https: &str, http: &str) {
    tracing::info!(https, http, "listening");
}

/// Another service holds the same host.
pub(crate) fn warning(text: &str) {
    tracing::warn!("{text}");
}

/// The issuer of a certificate that was brought gives no answer about it.
pub(crate) fn issuer_silent(whose: &str, name: &Serial) {
    tracing::warn!(whose, %name, "no answer from the issuer that can be believed: is it revoked?");
}

/// A certificate that was brought is revoked by its issuer.
pub(crate) fn revoked_elsewhere(whose: &str, name: &Serial) {
    tracing::warn!(whose, %name, "revoked by its issuer");
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

/// The only owner of a list has no live certificate any more: nobody can act as its owner.
pub(crate) fn owner_without_key(list: &ListAddress) {
    tracing::warn!(%list, "the only owner has no live certificate: have the key renewed, or add another owner");
}

/// Requests ended because time passed.
pub(crate) fn requests_swept(count: usize) {
    tracing::info!(count, "requests ended or were done as time passed");
}

/// The smarthost cannot be reached, or takes no mail; the next try is in `pause` seconds.
pub(crate) fn smarthost_away(error: &dyn std::error::Error, pause: u64) {
    tracing::warn!(error = %error, pause, "certsrv's own mail waits for the smarthost");
}

/// More mails were asked for than are sent in an hour: those over it are not sent, and whoever asked is not told.
pub(crate) fn mail_brake(what: &'static str) {
    tracing::warn!(limit = what, "too many mails asked for: some are not sent");
}

/// Another key signs the feed.
pub(crate) fn feed_key_rotated(sequence: u64) {
    tracing::info!(sequence, "feed key replaced");
}

/// A snapshot was made for a consumer.
pub(crate) fn snapshot_made(sequence: u64, octets: usize) {
    tracing::info!(sequence, octets, "snapshot of the feed made");
}
