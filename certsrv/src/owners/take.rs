//! What a statement does to the index. The same for one that is made and for one that is replayed.

use super::{EntryRow, RosterRow};
use crate::store::Tx;
use crate::views::inconsistent;
use twinseal_proto::api::admin::certsrv::MemberState;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, MailAddress};
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
            if let Some(mut member) = tx.member(group, &address)? {
                // Its certificate was looked at when the entry was handed in.
                member.state = MemberState::Active;
                tx.put_member(group, &member)?;
            }
            let salt = salt.cloned().unwrap_or_default();
            tx.put_entry(group, &handle, &EntryRow { entry, address, salt, statement: statement.clone() })
        }
        Accepted::Removal(handle) => {
            tx.delete_entry(group, &handle);
            Ok(())
        }
        Accepted::Owners | Accepted::Head | Accepted::Known(_) => Ok(()),
    }
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
