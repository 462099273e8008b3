//! Reading the audit log back into an index that was lost: registrations, known keys, key pairs.

use crate::record::{Event, Record};
use crate::store::{Index, Registration};
use std::path::Path;
use twinseal_svc::audit::{self, AuditError};
use twinseal_svc::failpoint;
use twinseal_svc::store::StoreError;

/// Rebuilding failed; the next start begins again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    /// The log does not verify.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The index cannot be written.
    #[error("index")]
    Store(#[from] StoreError),
    /// A pin cannot be set again.
    #[error("pin")]
    Pin(#[from] twinseal_svc::owners::PinError),
    /// A record that verifies but is of a version that this program does not know.
    #[error("an audit record of another version: {0}")]
    Record(#[from] serde_json::Error),
}

/// Reads the log in `dir` into `index`, unless that was done. It is safe to begin anew after a crash: a record that is read
/// twice changes nothing.
///
/// # Errors
/// [`RebuildError`].
pub(crate) fn rebuild(dir: &Path, index: &Index) -> Result<(), RebuildError> {
    if index.is_rebuilt()? {
        return Ok(());
    }
    let mut outcome = Ok(());
    let verified = audit::each(dir, |json| {
        if outcome.is_ok() {
            outcome = read(json, index);
        }
    })?;
    outcome?;
    if verified.records > 0 {
        tracing::warn!(records = verified.records, "index rebuilt from the audit log");
    }
    failpoint::hit("groupsrv.rebuild.before-commit");
    Ok(index.set_rebuilt()?)
}

fn read(json: &str, index: &Index) -> Result<(), RebuildError> {
    let Record { time, event } = serde_json::from_str(json)?;
    match event {
        Event::Registered { epoch, message, content_algorithm, first_seen, .. } => {
            index.register(&message, &Registration { first_seen, time, epoch, content_algorithm })?;
        }
        Event::Expanded { message, identity: Some(identity), first_seen, .. } => {
            index.opened(&identity, message, first_seen)?;
        }
        Event::KeyCreated { key, .. } => index.key_created(&key)?,
        Event::Expanded { identity: None, .. }
        | Event::Refused { .. }
        | Event::ExploderPinned { .. }
        | Event::GenerationAccepted { .. }
        | Event::RosterResync
        | Event::AlarmsAcknowledged { .. } => {}
        Event::OwnerPinned { group, owner } => index.pinned(group, owner)?,
    }
    Ok(())
}
