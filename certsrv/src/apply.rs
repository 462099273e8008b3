//! What a change does to the index. The same for a change that is being made and for one that is replayed.

mod enrolment;

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::owners;
use crate::rows::{
    Account, Certificate, Foreign, Group, GroupKey, Holder, KeyUse, Member, NoticeRow, Pin, PostingRow, Published,
    Request, Revocation, TokenPurpose, TokenRow, TokenUse,
};
use crate::store::Tx;
use crate::views::inconsistent;
use twinseal_proto::api::admin::certsrv::{KeyChangePolicy, MemberRole, MemberState, RevocationReason};
use twinseal_proto::api::groups::RosterVisibility;
use twinseal_proto::api::members::MemberOptions;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, MailAddress, MemberNumber, RequestId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::StoreError;

/// Applies `change`.
pub(crate) fn apply(change: &Change, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    match change {
        Change::AccountAdded { address, password } => {
            let (address, password) = (address.clone(), password.clone());
            let row = Account { address, password, current: None, signing: None, locked: false, bound: None };
            tx.put_account(&row.address, &row)
        }
        Change::AccountBound { address, subject } => bound(address, Some(*subject), tx),
        Change::AccountUnbound { address } => bound(address, None, tx),
        Change::TokenMade { digest, purpose, expires, made } => token_made(digest, purpose, *expires, *made, tx),
        Change::CertificateIssued { serial, holder, certificate, until, token, purpose } => {
            let (holder, certificate) = (holder.clone(), certificate.clone());
            issued((*serial, holder, certificate, *until), (*purpose, None), *token, tx)
        }
        Change::CertificateImported { serial, address, certificate, until, token, purpose, foreign } => {
            let holder = Holder::Member { address: address.clone() };
            let what = (*serial, holder, certificate.clone(), *until);
            issued(what, (*purpose, Some(foreign.clone())), *token, tx)
        }
        Change::CertificateRevoked { serial, reason, at } => revoked(serial, *reason, *at, tx),
        Change::CertificateEnded { serial } => enrolment::ended(serial, tx),
        Change::PasswordSet { address, password } => {
            enrolment::with_account(address, tx, |account| account.password.clone_from(password))
        }
        Change::AccountLocked { address } => enrolment::with_account(address, tx, |account| account.locked = true),
        Change::AccountUnlocked { address } => enrolment::with_account(address, tx, |account| account.locked = false),
        Change::AccountRemoved { address } => {
            tx.forget_tokens(address)?;
            tx.delete_account(address);
            Ok(())
        }
        Change::MembershipsRevoked { handle, certificates } => enrolment::memberships_revoked(handle, certificates, tx),
        Change::GroupCreated { group, list, owner, join, mode, history, settings, signed } => {
            tx.put_list_of(group, list)?;
            let row = Group {
                group: *group,
                list: list.clone(),
                owner: owner.clone(),
                join: *join,
                key_change: KeyChangePolicy::default(),
                mode: *mode,
                history: *history,
                settings: settings.clone(),
                roster: RosterVisibility::default(),
                notices: true,
                signed: *signed,
                members: 0,
                owners: 0,
            };
            tx.put_group(list, &row)
        }
        Change::GroupSet { group, join, key_change, mode, history, settings, roster, notices } => {
            with_group(group, tx, |row| {
                (row.join, row.key_change, row.mode, row.history) = (*join, *key_change, *mode, *history);
                (row.settings, row.roster, row.notices) = (settings.clone(), *roster, *notices);
            })
        }
        Change::GroupDeleted { group } => group_deleted(group, tx),
        Change::BanSet { group, pattern, banned: true } => tx.put_ban(group, pattern),
        Change::BanSet { group, pattern, banned: false } => {
            tx.delete_ban(group, pattern);
            Ok(())
        }
        Change::MemberSet { group, address, role, options } => {
            let before = tx.member(group, address)?.map(|row| row.role);
            with_member(group, address, tx, |row| (row.role, row.options) = (*role, options.clone()))?;
            if before == Some(*role) { Ok(()) } else { count_role(group, *role, tx) }
        }
        Change::MemberAdded { group, address, handle, number, role, serial } => {
            let state = if serial.is_some() { MemberState::Active } else { MemberState::Pending };
            // In a signed group the consumers are told by a statement.
            let told = serial.is_some() && !owners::is_signed(group, tx)?;
            let row = Member {
                address: address.clone(),
                handle: *handle,
                number: *number,
                role: *role,
                state,
                serial: *serial,
                options: MemberOptions::default(),
                joined: if told { tx.at() } else { 0 },
            };
            tx.put_member(group, &row)?;
            count(group, *role, true, tx)?;
            used_number(*number, tx)
        }
        Change::MemberKeyed { group, address, serial } => {
            let (at, signed) = (tx.at(), owners::is_signed(group, tx)?);
            owners::keyed(group, address, serial, tx)?;
            with_member(group, address, tx, |row| {
                if row.state == MemberState::Pending && !signed {
                    row.joined = at;
                }
                row.state = MemberState::Active;
                row.serial = Some(*serial);
            })
        }
        Change::MemberSuspended { group, address } => {
            owners::suspended(group, address, tx)?;
            with_member(group, address, tx, |row| {
                if row.state == MemberState::Active {
                    row.state = MemberState::Suspended;
                }
            })
        }
        Change::MemberLeft { group, address } => {
            let row = tx.member(group, address)?.ok_or_else(|| inconsistent("nobody to leave"))?;
            tx.delete_member(group, address);
            owners::ended(group, &row.handle, tx)?;
            count(group, row.role, false, tx)
        }
        Change::RequestMade { request } => tx.put_request(request),
        Change::RequestConfirmed { request, token } => {
            if let Some(token) = token
                && let Some(row) = tx.token(token)?
            {
                tx.delete_token(row.expires, token);
            }
            with_request(request, tx, |row| row.confirmed = true)
        }
        Change::RequestApproved { request, group } => with_request(request, tx, |row| match group {
            Some(group) if !row.approved.contains(group) => row.approved.push(*group),
            Some(_) => {}
            None => row.by_administrator = true,
        }),
        Change::RequestEnded { request, .. } => {
            if let Some(row) = tx.request(request)? {
                tx.delete_request(&row);
            }
            Ok(())
        }
        Change::NoticeQueued { id, notice, made } => {
            tx.put_notice(&NoticeRow { id: *id, notice: notice.clone(), made: *made })
        }
        Change::NoticeDone { id, .. } => {
            tx.delete_notice(id);
            Ok(())
        }
        Change::PostingTokenMade { digest, address, label, made, expires } => {
            let row = PostingRow { digest: *digest, label: label.clone(), made: *made, expires: *expires };
            tx.put_posting_token(address, &row)
        }
        Change::PostingTokenEnded { digest, address } => {
            tx.delete_posting_token(address, digest);
            Ok(())
        }
        Change::FeedKeyRotated { .. } => Ok(()),
        Change::GenerationBegan { .. } => generation_began(tx),
        Change::RosterPinned { group, owner } => owners::pinned(group, *owner, tx),
        Change::StatementTaken { group, statement, address, salt } => {
            owners::taken(group, statement, address.as_ref(), salt.as_ref(), tx)
        }
    }
}

fn bound(address: &MailAddress, subject: Option<Digest>, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut row = tx.account(address)?.ok_or_else(|| inconsistent("a change names an account that is not there"))?;
    row.bound = subject;
    tx.put_account(address, &row)
}

fn with_request(id: &RequestId, tx: &mut Tx<'_>, change: impl FnOnce(&mut Request)) -> Result<(), StoreError> {
    let mut row = tx.request(id)?.ok_or_else(|| inconsistent("a change names a request that is not there"))?;
    change(&mut row);
    tx.put_request(&row)
}

/// Membership numbers that a log which was lost may have given, at most.
const LOST_NUMBERS: u32 = 1 << 20;

/// A token that was used after the backup would be good again, and a number that was given then would be given twice.
fn generation_began(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    for (ends, token) in tx.expired_tokens(UnixTime(u64::MAX))? {
        tx.delete_token(ends, &token);
    }
    let mut applied = tx.applied()?;
    applied.next_number = applied.next_number.saturating_add(LOST_NUMBERS);
    tx.put_applied(&applied)
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

fn issued(
    (serial, holder, certificate, until): (Serial, Holder, B64, UnixTime),
    (purpose, foreign): (KeyUse, Option<Foreign>),
    token: Option<Digest>,
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    let read = CertificateKey::read(certificate.as_ref());
    let key = Digest::of(read.map_err(|_| inconsistent("a certificate that cannot be read"))?.spki);
    let row = Certificate { serial, holder, certificate, key, until, revoked: None, purpose, foreign };
    tx.put_certificate(&serial, &row)?;
    match &row.holder {
        Holder::Member { address } => enrolment::certified(address, &row, tx)?,
        Holder::Membership { handle, .. } => {
            tx.put_end(until, &serial)?;
            tx.put_membership_certificate(handle, serial, until, &key)?;
        }
        Holder::Group { group, epoch } => {
            tx.put_group_key(&key, &GroupKey { group: *group, epoch: *epoch, serial })?;
            tx.put_group_certificate(group, epoch.0, &serial)?;
        }
        Holder::Service { role } => joined(key, *role, serial, tx)?,
        Holder::ListSigner { group } => tx.put_list_signer(group, &serial)?,
    }
    token.map_or(Ok(()), |token| token_used(&token, TokenUse { key, serial }, tx))
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

fn revoked(serial: &Serial, reason: RevocationReason, at: UnixTime, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut row = certificate(serial, tx)?;
    row.revoked = Some(reason);
    tx.put_certificate(serial, &row)?;
    if let Some(by) = Published::of(&row) {
        // Another reason does not move the date.
        let at = tx.revocation(by, serial)?.map_or(at, |before| before.at);
        tx.put_revocation(by, &Revocation { serial: *serial, at, reason, until: row.until })?;
    }
    if reason == RevocationReason::KeyCompromise {
        tx.put_compromised(&row.key)?;
    }
    match &row.holder {
        Holder::Member { address } => enrolment::revoked(&row, address, reason, tx),
        Holder::Service { .. } => {
            if tx.pin(&row.key)?.is_some_and(|pin| pin.serial == *serial) {
                tx.delete_pin(&row.key);
            }
            Ok(())
        }
        Holder::Membership { handle, .. } => {
            tx.delete_membership_certificate(handle, serial);
            Ok(())
        }
        Holder::Group { .. } | Holder::ListSigner { .. } => Ok(()),
    }
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

fn with_group(group: &GroupId, tx: &mut Tx<'_>, change: impl FnOnce(&mut Group)) -> Result<(), StoreError> {
    let list = tx.list_of(group)?.ok_or_else(|| inconsistent("a change names a group that is not there"))?;
    let mut row = tx.group(&list)?.ok_or_else(|| inconsistent("a group without its list"))?;
    change(&mut row);
    tx.put_group(&list, &row)
}

fn group_deleted(group: &GroupId, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let list = tx.list_of(group)?.ok_or_else(|| inconsistent("a change names a group that is not there"))?;
    for member in tx.members(group)? {
        tx.delete_member(group, &member.address);
    }
    for pattern in tx.bans(group)? {
        tx.delete_ban(group, &pattern);
    }
    owners::group_deleted(group, tx)?;
    tx.delete_group(group, &list);
    Ok(())
}

fn count(group: &GroupId, role: MemberRole, more: bool, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let owner = u64::from(role == MemberRole::Owner);
    with_group(group, tx, |row| {
        if more {
            (row.members, row.owners) = (row.members + 1, row.owners + owner);
        } else {
            (row.members, row.owners) = (row.members.saturating_sub(1), row.owners.saturating_sub(owner));
        }
    })
}

/// A member became an owner, or an owner a member.
fn count_role(group: &GroupId, role: MemberRole, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    with_group(group, tx, |row| match role {
        MemberRole::Owner => row.owners += 1,
        MemberRole::Member => row.owners = row.owners.saturating_sub(1),
    })
}

fn used_number(number: MemberNumber, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut applied = tx.applied()?;
    applied.next_number = applied.next_number.max(number.0.saturating_add(1));
    tx.put_applied(&applied)
}
