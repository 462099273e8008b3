//! What a statement does to the index. The same for one that is made and for one that is replayed.

use super::{EntryRow, RosterRow};
use crate::cert::serial::Serial;
use crate::store::Tx;
use crate::views::inconsistent;
use twinseal_proto::api::admin::certsrv::MemberState;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, Handle, MailAddress};
use twinseal_proto::roster::{Accepted, Entry, OwnerState, RosterError, SignedStatement, Statement, live_digest};
use twinseal_svc::store::StoreError;

/// The first owner of a group is known.
pub(crate) fn pinned(group: &GroupId, owner: Digest, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.put_roster(group, &RosterRow { first: owner, state: OwnerState::pin(*group, owner) })
}

/// A statement was taken; `address` and `salt` come with entries.
pub(crate) fn taken(
    group: &GroupId,
    statement: &SignedStatement,
    address: Option<&MailAddress>,
    salt: Option<&B64>,
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    let mut row = tx.roster(group)?.ok_or_else(|| inconsistent("a statement for a group without owners"))?;
    let accepted = accept(&mut row.state, statement, tx)?.map_err(|_| inconsistent("a statement that is refused"))?;
    tx.put_roster(group, &row)?;
    tx.put_statement(group, row.state.high, statement)?;
    match accepted {
        Accepted::Entry(handle, entry) => {
            let address = address.ok_or_else(|| inconsistent("an entry without an address"))?.clone();
            let mut member = tx.member(group, &address)?.ok_or_else(|| inconsistent("an entry for nobody"))?;
            let serial = member.serial.ok_or_else(|| inconsistent("an entry for a member without a certificate"))?;
            // Its certificate was looked at when the entry was handed in.
            member.state = MemberState::Active;
            if tx.entry(group, &handle)?.is_none() {
                member.joined = tx.at();
            }
            tx.put_member(group, &member)?;
            ended(group, &handle, tx)?;
            let salt = salt.cloned().unwrap_or_default();
            let statement = statement.clone();
            tx.put_entry(group, &handle, &EntryRow { entry, address, salt, statement, serial, suspended: false })
        }
        Accepted::Removal(handle) => ended(group, &handle, tx),
        Accepted::Head => tx.delete_counted(group),
        Accepted::Owners | Accepted::Known(_) => Ok(()),
    }
}

/// An entry is in force no more, or not as it was. One that the newest head counts is kept as long as that head is the
/// newest: whoever is told all of it anew can check the head only with it.
pub(crate) fn ended(group: &GroupId, handle: &Handle, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let Some(row) = tx.entry(group, handle)? else { return Ok(()) };
    let head = tx.roster(group)?.and_then(|roster| roster.state.head);
    if head.is_some_and(|head| row.entry.sequence < head.sequence) {
        tx.put_counted(group, handle, &row.statement)?;
    }
    tx.delete_entry(group, handle);
    Ok(())
}

/// A member has another certificate: groupsrv is told of it if it is for the key that an owner signed.
pub(crate) fn keyed(
    group: &GroupId,
    address: &MailAddress,
    serial: &Serial,
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    let key = tx.certificate(serial)?.map(|row| row.key);
    with_entry(group, address, tx, |row| {
        if key == Some(row.entry.key) {
            (row.serial, row.suspended) = (*serial, false);
        }
    })
}

/// Groupsrv is told that a member is suspended.
pub(crate) fn suspended(group: &GroupId, address: &MailAddress, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    with_entry(group, address, tx, |row| row.suspended = true)
}

/// A group is no more.
pub(crate) fn group_deleted(group: &GroupId, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.delete_roster(group)
}

fn with_entry(
    group: &GroupId,
    address: &MailAddress,
    tx: &mut Tx<'_>,
    change: impl FnOnce(&mut EntryRow),
) -> Result<(), StoreError> {
    let Some(member) = tx.member(group, address)? else { return Ok(()) };
    let Some(mut row) = tx.entry(group, &member.handle)? else { return Ok(()) };
    change(&mut row);
    tx.put_entry(group, &member.handle, &row)
}

/// Whether the statement is taken upon what there is, and what it does then.
pub(super) fn accept(
    state: &mut OwnerState,
    statement: &SignedStatement,
    tx: &Tx<'_>,
) -> Result<Result<Accepted, RosterError>, StoreError> {
    let group = state.group;
    let (mut known, mut live) = (None, Vec::new());
    match statement.read() {
        Ok(Statement::Entry(Entry { handle, .. })) => {
            known = tx.entry(&group, &handle)?.map(|row| row.entry.digest);
        }
        Ok(Statement::Head(_)) => {
            live = tx.entries(&group)?.into_iter().map(|(handle, row)| (handle, row.entry.digest)).collect();
        }
        Ok(Statement::Removal(_) | Statement::Owners(_)) => {}
        Err(error) => return Ok(Err(error)),
    }
    let digest = |state: &OwnerState| {
        live_digest(&state.group, &state.chain, live.iter().map(|(handle, digest)| (handle, digest)))
    };
    Ok(state.accept(statement, |_| known, digest))
}
