//! What the consumers are told in a signed group: of a member only with an owner's entry, and every statement.

use crate::cert::serial::Serial;
use crate::rows::Member;
use crate::store::Tx;
use crate::views::{Views, inconsistent, recipient};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{ExploderChange, GroupsrvChange};
use twinseal_proto::ids::{GroupId, Handle, MailAddress};
use twinseal_proto::roster::{SignedStatement, Statement};
use twinseal_svc::store::StoreError;

/// Whether owners sign the group's roster.
pub(crate) fn is_signed(group: &GroupId, tx: &Tx<'_>) -> Result<bool, StoreError> {
    let row = tx.list_of(group)?.map(|list| tx.group(&list)).transpose()?.flatten();
    Ok(row.is_some_and(|row| row.signed))
}

/// The key with which the consumers were told of the member; `None` when they were not, or when the group is not signed.
pub(crate) fn told_key(group: &GroupId, handle: &Handle, tx: &Tx<'_>) -> Result<Option<Digest>, StoreError> {
    Ok(tx.entry(group, handle)?.map(|row| row.entry.key))
}

/// Whether groupsrv still makes copies for the key of this certificate, although the membership has another one by now.
pub(crate) fn told_serial(group: &GroupId, member: &Member, serial: &Serial, tx: &Tx<'_>) -> Result<bool, StoreError> {
    let Some(told) = told_key(group, &member.handle, tx)? else { return Ok(false) };
    let key = |serial: &Serial| Ok::<_, StoreError>(tx.certificate(serial)?.map(|row| row.key));
    let present = member.serial.as_ref().map(key).transpose()?.flatten();
    Ok(key(serial)? == Some(told) && present != Some(told))
}

/// A member of a signed group has another certificate. One for the same key is told with the entry in force; one for
/// another key waits for an owner.
pub(crate) fn key_changed(group: GroupId, member: &Member, serial: &Serial, tx: &Tx<'_>) -> Result<Views, StoreError> {
    let handle = member.handle;
    let Some(row) = tx.entry(&group, &handle)? else { return Ok((None, None)) };
    let recipient = recipient(serial, tx)?;
    if Digest::of(recipient.public_key.as_ref()) != row.entry.key {
        return Ok((None, None));
    }
    let signed = Some(row.statement);
    Ok((Some(GroupsrvChange::MemberKeyChanged { group, handle, recipient, signed }), None))
}

/// What a statement tells the two.
pub(crate) fn statement(
    group: GroupId,
    statement: &SignedStatement,
    address: Option<&MailAddress>,
    salt: Option<&B64>,
    before: &Tx<'_>,
) -> Result<Views, StoreError> {
    let bare = ExploderChange::Statement { group, statement: statement.clone() };
    let Ok(Statement::Entry(entry)) = statement.read() else {
        return Ok((Some(GroupsrvChange::Statement { group, statement: statement.clone() }), Some(bare)));
    };
    let address = address.ok_or_else(|| inconsistent("an entry without an address"))?;
    let member = before.member(&group, address)?.ok_or_else(|| inconsistent("an entry for nobody"))?;
    let serial = member.serial.ok_or_else(|| inconsistent("an entry for a member without a certificate"))?;
    let recipient = recipient(&serial, before)?;
    let (handle, signed) = (entry.handle, Some(statement.clone()));
    if before.entry(&group, &handle)?.is_some() {
        return Ok((Some(GroupsrvChange::MemberKeyChanged { group, handle, recipient, signed }), Some(bare)));
    }
    let joined = ExploderChange::MemberJoined {
        group,
        handle,
        number: member.number,
        address: member.address,
        salt: salt.cloned(),
        signed: signed.clone(),
    };
    Ok((Some(GroupsrvChange::MemberJoined { group, handle, recipient, signed }), Some(joined)))
}
