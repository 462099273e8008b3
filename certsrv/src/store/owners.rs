//! The tables of signed groups: their owners, the entries in force, and everything that owners said.

use super::Tx;
use crate::owners::{EntryRow, RosterRow};
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::roster::SignedStatement;
use twinseal_svc::store::{StoreError, Table};

/// Group → [`RosterRow`].
const ROSTERS: Table = Table(33);
/// Group ‖ handle → [`EntryRow`].
const ENTRIES: Table = Table(34);
/// Group ‖ number → statement.
const STATEMENTS: Table = Table(35);
/// Group ‖ handle → the entry that the newest head counts, where it is in force no more.
const COUNTED: Table = Table(36);

impl Tx<'_> {
    /// The owners of this signed group.
    pub(crate) fn roster(&self, group: &GroupId) -> Result<Option<RosterRow>, StoreError> {
        self.get(ROSTERS, group.octets())
    }

    pub(crate) fn put_roster(&mut self, group: &GroupId, row: &RosterRow) -> Result<(), StoreError> {
        self.put(ROSTERS, group.octets(), row)
    }

    /// The entry in force of a member of a signed group.
    pub(crate) fn entry(&self, group: &GroupId, handle: &Handle) -> Result<Option<EntryRow>, StoreError> {
        self.get(ENTRIES, &entry_key(group, handle))
    }

    pub(crate) fn put_entry(&mut self, group: &GroupId, handle: &Handle, row: &EntryRow) -> Result<(), StoreError> {
        self.put(ENTRIES, &entry_key(group, handle), row)
    }

    pub(crate) fn delete_entry(&mut self, group: &GroupId, handle: &Handle) {
        self.delete(ENTRIES, entry_key(group, handle));
    }

    /// Every entry in force of a group.
    pub(crate) fn entries(&self, group: &GroupId) -> Result<Vec<(Handle, EntryRow)>, StoreError> {
        let rows = self.scan_keyed::<EntryRow>(ENTRIES, group.octets())?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some((handle_of(&key)?, row))).collect())
    }

    pub(crate) fn put_statement(
        &mut self,
        group: &GroupId,
        number: u64,
        statement: &SignedStatement,
    ) -> Result<(), StoreError> {
        self.put(STATEMENTS, &[group.octets().as_slice(), &number.to_be_bytes()].concat(), statement)
    }

    /// At most `limit` statements of a group with numbers above `after`.
    pub(crate) fn statements(
        &self,
        group: &GroupId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SignedStatement>, StoreError> {
        let first = [group.octets().as_slice(), &after.saturating_add(1).to_be_bytes()].concat();
        let rows = self.scan_keyed::<SignedStatement>(STATEMENTS, group.octets())?.into_iter();
        Ok(rows.filter(|(key, _)| *key >= first).map(|(_, statement)| statement).take(limit).collect())
    }

    pub(crate) fn put_counted(
        &mut self,
        group: &GroupId,
        handle: &Handle,
        statement: &SignedStatement,
    ) -> Result<(), StoreError> {
        self.put(COUNTED, &entry_key(group, handle), statement)
    }

    /// The entries that the newest head of a group counts and that are in force no more.
    pub(crate) fn counted(&self, group: &GroupId) -> Result<Vec<(Handle, SignedStatement)>, StoreError> {
        let rows = self.scan_keyed::<SignedStatement>(COUNTED, group.octets())?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some((handle_of(&key)?, row))).collect())
    }

    pub(crate) fn delete_counted(&mut self, group: &GroupId) -> Result<(), StoreError> {
        for (handle, _) in self.counted(group)? {
            self.delete(COUNTED, entry_key(group, &handle));
        }
        Ok(())
    }

    /// Forgets all that owners said about a group.
    pub(crate) fn delete_roster(&mut self, group: &GroupId) -> Result<(), StoreError> {
        self.delete_counted(group)?;
        for (handle, _) in self.entries(group)? {
            self.delete_entry(group, &handle);
        }
        for (key, _) in self.scan_keyed::<SignedStatement>(STATEMENTS, group.octets())? {
            self.delete(STATEMENTS, key);
        }
        self.delete(ROSTERS, group.octets().to_vec());
        Ok(())
    }
}

fn entry_key(group: &GroupId, handle: &Handle) -> Vec<u8> {
    [group.octets().as_slice(), handle.octets()].concat()
}

fn handle_of(key: &[u8]) -> Option<Handle> {
    Some(Handle::from_random(key.get(16..)?.try_into().ok()?))
}
