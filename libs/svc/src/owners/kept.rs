//! The statements that are kept: of a group without a pin for the time when it has one, of the others for another pin.

use super::Turn;
use crate::store::StoreError;
use std::collections::BTreeMap;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::roster::{SignedStatement, Statement};

impl Turn<'_> {
    /// The feed told that a member is out: always believed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn left(&mut self, group: &GroupId, handle: &Handle) -> Result<(), StoreError> {
        if let Some(pinned) = self.roster(group) {
            let entry = pinned.roster.live.get(handle).map(|entry| statement_key(group, entry.sequence, &entry.digest));
            pinned.roster.left(handle);
            self.handles.insert((*group, *handle));
            if let Some(key) = entry {
                self.statements.insert(key, None);
            }
            return Ok(());
        }
        // When the owner is pinned later, the member must not be in again.
        for statement in self.statements(group)? {
            if let Ok(Statement::Entry(entry)) = statement.read()
                && entry.handle == *handle
            {
                self.statements.insert(statement_key(group, entry.sequence, &statement.digest()), None);
            }
        }
        Ok(())
    }

    /// The statements of the group that are kept, as it is in this turn.
    pub(super) fn statements(&self, group: &GroupId) -> Result<Vec<SignedStatement>, StoreError> {
        let tables = self.book.tables;
        let mut kept: BTreeMap<Vec<u8>, SignedStatement> =
            self.book.store.scan(tables.statements, group.octets()).collect::<Result<_, _>>()?;
        for (key, change) in self.statements.iter().filter(|(key, _)| key.starts_with(group.octets())) {
            match change {
                Some(statement) => kept.insert(key.clone(), statement.clone()),
                None => kept.remove(key),
            };
        }
        Ok(kept.into_values().collect())
    }

    /// Keeps a statement, for the case that the owner is pinned (anew) later.
    pub(super) fn keep(&mut self, group: GroupId, signed: &SignedStatement) {
        let Ok(statement) = signed.read() else { return };
        let key = statement_key(&group, statement.sequence(), &signed.digest());
        self.statements.insert(key, Some(signed.clone()));
    }
}

/// Group ‖ number ‖ digest.
fn statement_key(group: &GroupId, sequence: u64, digest: &Digest) -> Vec<u8> {
    [group.octets().as_slice(), &sequence.to_be_bytes(), &digest.0].concat()
}
