//! The CRLs: one for each CA, whole, signed anew at once when somebody is added and daily in any case.

use super::state::{StateError, ca};
use crate::app::App;
use crate::audit::{Actor, Record};
use crate::cert::ca::Ca;
use crate::cert::crl::List;
use crate::failure::Failure;
use crate::layout::Layout;
use crate::rows::{Published, Revocation};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;
use twinseal_proto::encoding::B64;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;

/// Seconds after which a list is signed anew although nothing changed.
const DAILY: u64 = 24 * 3600;
/// Seconds between thisUpdate and nextUpdate.
const VALIDITY: u64 = 7 * 24 * 3600;

/// A CRL with what the next one has to know about it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedList {
    /// cRLNumber.
    number: u64,
    /// How many revocations there were when it was signed.
    revocations: u64,
    /// thisUpdate.
    pub(super) this_update: UnixTime,
    /// nextUpdate.
    pub(super) next_update: UnixTime,
    /// DER CertificateList.
    pub(super) der: B64,
}

impl SignedList {
    /// Reads the one that was kept at `path`. One that is damaged is as good as none: the next is made from the index.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StateError> {
        match std::fs::read(path) {
            Ok(json) => Ok(serde_json::from_slice(&json).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::File { path: path.to_owned(), source }),
        }
    }

    /// May it be given now, when there were so many revocations?
    fn fresh(&self, revocations: u64, now: UnixTime) -> bool {
        self.revocations == revocations
            && self.this_update <= now
            && now.since(self.this_update) < DAILY
            && now < self.next_update
    }
}

/// A number above that of every list before: also when many are signed in a second, or when the last one was lost.
fn number(previous: Option<&SignedList>, now: UnixTime) -> u64 {
    previous.map_or(0, |list| list.number.saturating_add(1)).max(now.0 << 16)
}

/// Who is on the next list. A certificate that ended leaves after it was on one list that was signed when it had ended
/// (RFC 5280 section 3.3), so it stays while the list before this one is older than its end.
fn on_list(mut rows: Vec<Revocation>, previous: Option<&SignedList>) -> Vec<Revocation> {
    if let Some(previous) = previous {
        rows.retain(|row| row.until >= previous.this_update);
    }
    rows
}

/// The list as it has to be now, signed if need be.
pub(super) async fn present(app: &Arc<App>, by: Published, now: UnixTime) -> Result<Arc<SignedList>, Failure> {
    let state = app.revocation.of(by);
    let mut newest = state.list.lock().await;
    let revocations = app.registry.view().revocations(by)?;
    if let Some(list) = newest.as_ref().filter(|list| list.fresh(revocations, now)) {
        return Ok(Arc::clone(list));
    }
    let at = Arc::clone(app);
    // Read after the count: whoever comes in between is on this list, and the next one is made all the same.
    let rows = tokio::task::spawn_blocking(move || at.registry.view().revoked(by)).await??;
    let (number, revoked) = (number(newest.as_deref(), now), on_list(rows, newest.as_deref()));
    let record = Record::crl(now, &Actor::Clock, by.name(), number, revoked.len());
    app.registry.audit().record(&record).await?;
    let next_update = now.plus(VALIDITY).min(ca(app, by).until());
    let at = Arc::clone(app);
    let signed = tokio::task::spawn_blocking(move || -> Result<SignedList, Failure> {
        let der = sign(ca(&at, by), List { number, this_update: now, next_update, revoked: &revoked })?;
        let list = SignedList { number, revocations, this_update: now, next_update, der: B64(der) };
        let path = at.revocation.of(by).list_file();
        let json = serde_json::to_vec(&list).map_err(io::Error::from);
        let kept = json.and_then(|json| durable::replace(path, &json));
        kept.map_err(|source| StateError::File { path: path.clone(), source })?;
        Ok(list)
    });
    let signed = Arc::new(signed.await??);
    *newest = Some(Arc::clone(&signed));
    Ok(signed)
}

fn sign(ca: &Ca, list: List<'_>) -> Result<Vec<u8>, StateError> {
    Ok(ca.sign_list(ca.prepare_list(list)?)?)
}

/// The root's list: of nobody, for as long as the root lasts, since its key is offline from then on.
pub(crate) async fn sign_root(layout: &Layout, root: &Ca, audit: &Audit, now: UnixTime) -> Result<(), StateError> {
    let list = List { number: number(None, now), this_update: now, next_update: root.until(), revoked: &[] };
    audit.record(&Record::crl(now, &Actor::Administrator, super::places::ROOT, list.number, 0)).await?;
    let path = layout.root_crl();
    durable::replace(&path, &sign(root, list)?).map_err(|source| StateError::File { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cert::serial::Serial;
    use twinseal_proto::api::admin::certsrv::RevocationReason;

    fn list(number: u64, this: u64) -> SignedList {
        let (this_update, next_update) = (UnixTime(this), UnixTime(this + VALIDITY));
        SignedList { number, revocations: 3, this_update, next_update, der: B64(Vec::new()) }
    }

    #[test]
    fn a_list_is_given_for_a_day_unless_somebody_was_revoked() {
        let list = list(1, 1000);
        let table = [(3, 1000, true), (3, 1000 + DAILY - 1, true), (3, 1000 + DAILY, false), (4, 1000, false)];
        for (revocations, now, wanted) in table {
            assert_eq!(list.fresh(revocations, UnixTime(now)), wanted, "{revocations} {now}");
        }
        assert!(!list.fresh(3, UnixTime(999)), "from the future: the clock was set back");
        let short = SignedList { next_update: UnixTime(1010), ..list };
        assert!(!short.fresh(3, UnixTime(1010)));
    }

    #[test]
    fn numbers_only_grow() {
        let first = number(None, UnixTime(50));
        let second = number(Some(&list(first, 50)), UnixTime(50));
        assert_eq!(second, first + 1);
        let back = number(Some(&list(second, 50)), UnixTime(40));
        assert_eq!(back, second + 1, "the clock was set back");
        assert!(number(Some(&list(back, 50)), UnixTime(51)) > back);
        assert!(number(None, UnixTime(51)) > back, "the last one was lost");
    }

    #[test]
    fn who_ended_is_on_one_more_list() {
        let serial = Serial::from_random([1; 16]);
        let row = Revocation { serial, at: UnixTime(1), reason: RevocationReason::Superseded, until: UnixTime(1000) };
        let stays = |previous: Option<u64>| !on_list(vec![row], previous.map(|at| list(1, at)).as_ref()).is_empty();
        assert!(stays(None));
        assert!(stays(Some(999)), "the list before was signed while it was in force");
        assert!(stays(Some(1000)));
        assert!(!stays(Some(1001)), "it was on a list after its end");
    }
}
