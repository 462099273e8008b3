//! What a change does to the index. The same for a change that is being made and for one that is replayed.

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::owners;
use crate::rows::{Account, Certificate, Group, GroupKey, Holder, Member, Pin, TokenPurpose, TokenRow, TokenUse};
use crate::store::Tx;
use crate::views::inconsistent;
use twinseal_proto::api::admin::certsrv::{MemberRole, MemberState, RevocationReason};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, MailAddress, MemberNumber};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::StoreError;

/// Applies `change`.
pub(crate) fn apply(change: &Change, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    match change {
        Change::AccountAdded { address, password } => {
            let row = Account { address: address.clone(), password: password.clone(), current: None };
            tx.put_account(address, &row)
        }
        Change::TokenMade { digest, purpose, expires, made } => token_made(digest, purpose, *expires, *made, tx),
        Change::CertificateIssued { serial, holder, certificate, until, token } => {
            let key = issued(*serial, holder, certificate, *until, tx)?;
            match token {
                Some(token) => token_used(token, TokenUse { key, serial: *serial }, tx),
                None => Ok(()),
            }
        }
        Change::CertificateRevoked { serial, reason } => revoked(serial, *reason, tx),
        Change::CertificateEnded { serial } => {
            let row = certificate(serial, tx)?;
            tx.delete_end(row.until, serial);
            no_longer_current(&row, tx)
        }
        Change::GroupCreated { group, list, owner, join, mode, history, settings, signed } => {
            tx.put_list_of(group, list)?;
            let row = Group {
                group: *group,
                list: list.clone(),
                owner: owner.clone(),
                join: *join,
                mode: *mode,
                history: *history,
                settings: settings.clone(),
                signed: *signed,
                members: 0,
                owners: 0,
            };
            tx.put_group(list, &row)
        }
        Change::MemberAdded { group, address, handle, number, role, serial } => {
            let state = if serial.is_some() { MemberState::Active } else { MemberState::Pending };
            let row = Member {
                address: address.clone(),
                handle: *handle,
                number: *number,
                role: *role,
                state,
                serial: *serial,
            };
            tx.put_member(group, &row)?;
            count(group, *role, true, tx)?;
            used_number(*number, tx)
        }
        Change::MemberKeyed { group, address, serial } => with_member(group, address, tx, |row| {
            row.state = MemberState::Active;
            row.serial = Some(*serial);
        }),
        Change::MemberSuspended { group, address } => with_member(group, address, tx, |row| {
            if row.state == MemberState::Active {
                row.state = MemberState::Suspended;
            }
        }),
        Change::MemberLeft { group, address } => {
            let row = tx.member(group, address)?.ok_or_else(|| inconsistent("nobody to leave"))?;
            tx.delete_member(group, address);
            tx.delete_entry(group, &row.handle);
            count(group, row.role, false, tx)
        }
        Change::RosterPinned { group, owner } => owners::pinned(group, *owner, tx),
        Change::StatementTaken { group, statement, address, salt } => {
            owners::taken(group, statement, address.as_ref(), salt.as_ref(), tx)
        }
    }
}

fn token_made(
    digest: &Digest,
    purpose: &TokenPurpose,
    expires: UnixTime,
    made: UnixTime,
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    for (ended, expired) in tx.expired_tokens(made)? {
        tx.delete_token(ended, &expired);
    }
    tx.put_token_end(expires, digest)?;
    tx.put_token(digest, &TokenRow { purpose: purpose.clone(), expires, used: None })
}

fn token_used(digest: &Digest, used: TokenUse, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let Some(row) = tx.token(digest)? else { return Ok(()) };
    tx.put_token(digest, &TokenRow { used: Some(used), ..row })
}

/// Returns the digest of the certified key.
fn issued(serial: Serial, holder: &Holder, der: &B64, until: UnixTime, tx: &mut Tx<'_>) -> Result<Digest, StoreError> {
    let read = CertificateKey::read(der.as_ref()).map_err(|_| inconsistent("a certificate that cannot be read"))?;
    let key = Digest::of(read.spki);
    let row = Certificate { serial, holder: holder.clone(), certificate: der.clone(), key, until, revoked: None };
    tx.put_certificate(&serial, &row)?;
    match holder {
        Holder::Member { address } => {
            tx.put_end(until, &serial)?;
            let mut account = tx.account(address)?.ok_or_else(|| inconsistent("a certificate for no account"))?;
            account.current = Some(serial);
            tx.put_account(address, &account)?;
        }
        Holder::Group { group, epoch } => {
            tx.put_group_key(&key, &GroupKey { group: *group, epoch: *epoch, serial })?;
            tx.put_group_certificate(group, epoch.0, &serial)?;
        }
        Holder::Service { role } => joined(key, *role, serial, tx)?,
    }
    Ok(key)
}

/// There is one groupsrv: another one takes its place. Exploders may be several.
fn joined(key: Digest, role: ServiceRole, serial: Serial, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    if role == ServiceRole::Groupsrv {
        for (other, pin) in tx.pins()? {
            if pin.role == role {
                tx.delete_pin(&other);
            }
        }
    }
    tx.put_pin(&key, &Pin { role, serial })
}

fn revoked(serial: &Serial, reason: RevocationReason, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut row = certificate(serial, tx)?;
    row.revoked = Some(reason);
    tx.put_certificate(serial, &row)?;
    if reason == RevocationReason::KeyCompromise {
        tx.put_compromised(&row.key)?;
    }
    match &row.holder {
        Holder::Member { .. } => no_longer_current(&row, tx),
        Holder::Service { .. } => {
            if tx.pin(&row.key)?.is_some_and(|pin| pin.serial == *serial) {
                tx.delete_pin(&row.key);
            }
            Ok(())
        }
        Holder::Group { .. } => Ok(()),
    }
}

fn no_longer_current(row: &Certificate, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let Holder::Member { address } = &row.holder else { return Ok(()) };
    let Some(mut account) = tx.account(address)? else { return Ok(()) };
    if account.current == Some(row.serial) {
        account.current = None;
        tx.put_account(address, &account)?;
    }
    Ok(())
}

fn certificate(serial: &Serial, tx: &Tx<'_>) -> Result<Certificate, StoreError> {
    tx.certificate(serial)?.ok_or_else(|| inconsistent("a change names a certificate that is not there"))
}

fn with_member(
    group: &GroupId,
    address: &MailAddress,
    tx: &mut Tx<'_>,
    change: impl FnOnce(&mut Member),
) -> Result<(), StoreError> {
    let mut row =
        tx.member(group, address)?.ok_or_else(|| inconsistent("a change names a membership that is not there"))?;
    change(&mut row);
    tx.put_member(group, &row)
}

fn count(group: &GroupId, role: MemberRole, more: bool, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let list = tx.list_of(group)?.ok_or_else(|| inconsistent("a change names a group that is not there"))?;
    let mut row = tx.group(&list)?.ok_or_else(|| inconsistent("a group without its list"))?;
    let owner = u64::from(role == MemberRole::Owner);
    if more {
        (row.members, row.owners) = (row.members + 1, row.owners + owner);
    } else {
        (row.members, row.owners) = (row.members.saturating_sub(1), row.owners.saturating_sub(owner));
    }
    tx.put_group(&list, &row)
}

fn used_number(number: MemberNumber, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut applied = tx.applied()?;
    applied.next_number = applied.next_number.max(number.0.saturating_add(1));
    tx.put_applied(&applied)
}
