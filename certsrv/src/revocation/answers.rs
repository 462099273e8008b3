//! From a question to its answer: what the index says now decides; a signature that was made before is used again only
//! while it says the same.

use super::request::{self, CertId, HashForm};
use super::responder::Responder;
use super::response::{self, Refused, Single, Status};
use crate::app::App;
use crate::cert::serial::Serial;
use crate::failure::Failure;
use crate::rows::{Certificate, Published, Revocation};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use twinseal_proto::time::UnixTime;

/// Seconds between thisUpdate and nextUpdate. An answer is signed anew at half of it.
const VALIDITY: u64 = 24 * 3600;

/// What is answered.
pub(super) enum Answer {
    /// A signed answer.
    Signed {
        /// DER OCSPResponse.
        der: Vec<u8>,
        /// thisUpdate.
        this_update: UnixTime,
        /// nextUpdate.
        next_update: UnixTime,
    },
    /// None.
    Refused(Refused),
}

/// An answer that was signed, without the responder's certificate, which all have in common.
pub(super) struct SignedAnswer {
    status: Status,
    this_update: UnixTime,
    next_update: UnixTime,
    /// ResponseData, algorithm, signature.
    octets: Box<[u8]>,
    responder: Arc<Responder>,
}

impl SignedAnswer {
    /// May it be given now to say this?
    fn says(&self, status: Status, now: UnixTime) -> bool {
        self.status == status && young(self.this_update, self.next_update, now)
    }
}

/// In the first half of its life. One from the future was signed before the clock was set back.
const fn young(this_update: UnixTime, next_update: UnixTime, now: UnixTime) -> bool {
    this_update.0 <= now.0 && now.since(this_update) < next_update.since(this_update) / 2
}

/// Answers by certificate and form of the question: at most a few for each certificate that is in force or revoked.
#[derive(Default)]
pub(super) struct Answers(Mutex<HashMap<(Serial, HashForm), Arc<SignedAnswer>>>);

impl Answers {
    fn get(&self, serial: Serial, form: HashForm) -> Option<Arc<SignedAnswer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(serial, form)).cloned()
    }

    fn put(&self, serial: Serial, form: HashForm, answer: &Arc<SignedAnswer>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((serial, form), Arc::clone(answer));
    }

    /// Forgets what may not be given any more.
    pub(super) fn forget(&self, now: UnixTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, answer| now < answer.next_update);
    }

    /// The forms of the answers at hand that say that this certificate is good.
    pub(super) fn good(&self, serial: Serial, forms: &[HashForm]) -> Vec<HashForm> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |form: &&HashForm| answers.get(&(serial, **form)).is_some_and(|a| a.status == Status::Good);
        forms.iter().filter(good).copied().collect()
    }
}

/// Answers the DER OCSPRequest `octets` about certificates of the CA `by`.
pub(super) fn answer(app: &App, by: Published, octets: &[u8], now: UnixTime) -> Answer {
    let asked = match request::read(octets) {
        Ok(asked) => asked,
        Err(error) => {
            tracing::debug!(%error, "OCSP request refused");
            return Answer::Refused(Refused::Malformed);
        }
    };
    match of(app, by, &asked, now) {
        Ok(Some(signed)) => Answer::Signed {
            der: response::successful(&signed.octets, &signed.responder.der),
            this_update: signed.this_update,
            next_update: signed.next_update,
        },
        Ok(None) => Answer::Refused(Refused::Unauthorized),
        Err(failure) => {
            failure.into_problem();
            Answer::Refused(Refused::Internal)
        }
    }
}

fn of(app: &App, by: Published, asked: &CertId<'_>, now: UnixTime) -> Result<Option<Arc<SignedAnswer>>, Failure> {
    let Some(form) = asked.form else { return Ok(None) };
    if !app.revocation.of(by).is_named(form.hash, asked.issuer_name, asked.issuer_key) {
        return Ok(None);
    }
    let Ok(serial) = Serial::from_octets(asked.serial) else { return Ok(None) };
    present(app, by, serial, form, now)
}

/// The answer about a certificate as it stands, signed now if need be; `None` when there is nothing to say.
pub(super) fn present(
    app: &App,
    by: Published,
    serial: Serial,
    form: HashForm,
    now: UnixTime,
) -> Result<Option<Arc<SignedAnswer>>, Failure> {
    let view = app.registry.view();
    let Some(row) = view.certificate(&serial)?.filter(|row| Published::of(row) == Some(by)) else { return Ok(None) };
    let Some(status) = status(&row, view.revocation(by, &serial)?, now) else { return Ok(None) };
    let state = app.revocation.of(by);
    if let Some(signed) = state.answers.get(serial, form).filter(|signed| signed.says(status, now)) {
        return Ok(Some(signed));
    }
    let responder = state.responder();
    let next_update = next_update(&row, status, now).min(responder.until);
    let single = Single { form, issuer: &state.issuer, serial: &serial, status, this_update: now, next_update };
    let octets = responder.sign(&response::response_data(&single, &responder.key_hash))?.into();
    let signed = Arc::new(SignedAnswer { status, this_update: now, next_update, octets, responder });
    state.answers.put(serial, form, &signed);
    Ok(Some(signed))
}

/// How a certificate stands; `None` when it ended, which is not for OCSP to say. One that was revoked stays so.
fn status(row: &Certificate, revocation: Option<Revocation>, now: UnixTime) -> Option<Status> {
    match row.revoked {
        Some(reason) => {
            let at = revocation.map(|revocation| revocation.at).unwrap_or_default();
            Some(Status::Revoked { at, reason })
        }
        None => (now < row.until).then_some(Status::Good),
    }
}

/// An answer does not outlive a good certificate.
fn next_update(row: &Certificate, status: Status, now: UnixTime) -> UnixTime {
    let whole = now.plus(VALIDITY);
    if status == Status::Good { whole.min(row.until) } else { whole }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rows::Holder;
    use twinseal_proto::api::admin::certsrv::RevocationReason;
    use twinseal_proto::encoding::{B64, Digest};

    const REASON: RevocationReason = RevocationReason::Superseded;

    fn row(until: u64, revoked: Option<RevocationReason>) -> Certificate {
        let holder = Holder::Member { address: crate::tests::address("ann") };
        let serial = Serial::from_random([1; 16]);
        let (certificate, key) = (B64(Vec::new()), Digest([0; 32]));
        let (until, purpose) = (UnixTime(until), crate::rows::KeyUse::Both);
        Certificate { serial, holder, certificate, key, purpose, until, revoked, foreign: None }
    }

    #[test]
    fn who_ended_is_not_good_and_who_was_revoked_stays_so() {
        let at = UnixTime(5);
        let revocation = Revocation { serial: Serial::from_random([1; 16]), at, reason: REASON, until: UnixTime(100) };
        let (good, revoked) = (row(100, None), row(100, Some(REASON)));
        assert_eq!(status(&good, None, UnixTime(99)), Some(Status::Good));
        assert_eq!(status(&good, None, UnixTime(100)), None);
        for now in [50, 100, 1000] {
            let wanted = Some(Status::Revoked { at, reason: REASON });
            assert_eq!(status(&revoked, Some(revocation), UnixTime(now)), wanted);
        }
        assert!(matches!(status(&revoked, None, UnixTime(50)), Some(Status::Revoked { .. })), "never good");
    }

    #[test]
    fn an_answer_is_given_in_the_first_half_of_its_life() {
        for (now, wanted) in [(99, false), (100, true), (149, true), (150, false), (201, false)] {
            assert_eq!(young(UnixTime(100), UnixTime(200), UnixTime(now)), wanted, "{now}");
        }
    }

    #[test]
    fn an_answer_does_not_outlive_a_good_certificate() {
        let revoked = Status::Revoked { at: UnixTime(1), reason: REASON };
        assert_eq!(next_update(&row(100, None), Status::Good, UnixTime(50)), UnixTime(100));
        assert_eq!(next_update(&row(1_000_000, None), Status::Good, UnixTime(50)), UnixTime(50 + VALIDITY));
        assert_eq!(next_update(&row(100, Some(REASON)), revoked, UnixTime(50)), UnixTime(50 + VALIDITY));
    }
}
