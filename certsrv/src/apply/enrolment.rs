//! What changes of accounts and of memberships' certificates do to the index.

use crate::apply::certificate;
use crate::cert::serial::Serial;
use crate::rows::{Account, Certificate, Holder};
use crate::store::Tx;
use crate::views::inconsistent;
use twinseal_proto::api::admin::certsrv::RevocationReason;
use twinseal_proto::ids::{Handle, MailAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::StoreError;

/// Changes an account, which has to be there.
pub(super) fn with_account(
    address: &MailAddress,
    tx: &mut Tx<'_>,
    change: impl FnOnce(&mut Account),
) -> Result<(), StoreError> {
    let mut row = tx.account(address)?.ok_or_else(|| inconsistent("a change names an account that is not there"))?;
    change(&mut row);
    tx.put_account(address, &row)
}

/// The account has another certificate: the one that copies are made for, or the one that it signs with.
pub(super) fn certified(address: &MailAddress, row: &Certificate, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.put_end(row.until, &row.serial)?;
    tx.put_certificate_of(address, row)?;
    with_account(address, tx, |account| {
        if row.purpose.encrypts() {
            account.current = Some(row.serial);
        } else {
            account.signing = Some(row.serial);
        }
    })
}

/// A certificate is good no more: the account is without it.
pub(super) fn no_longer_current(row: &Certificate, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let Holder::Member { address } = &row.holder else { return Ok(()) };
    let Some(mut account) = tx.account(address)? else { return Ok(()) };
    for place in [&mut account.current, &mut account.signing] {
        if *place == Some(row.serial) {
            *place = None;
        }
    }
    tx.put_account(address, &account)
}

/// A certificate's time is over.
pub(super) fn ended(serial: &Serial, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let row = certificate(serial, tx)?;
    tx.delete_end(row.until, serial);
    tx.delete_warned(serial);
    tx.delete_foreign(serial);
    if let Holder::Membership { handle, .. } = &row.holder {
        // Short-lived and without status (RFC 9608): nobody asks for it again.
        tx.delete_membership_certificate(handle, serial);
        tx.delete_certificate(serial);
    }
    no_longer_current(&row, tx)
}

/// A member's certificate was revoked.
pub(super) fn revoked(
    row: &Certificate,
    address: &MailAddress,
    reason: RevocationReason,
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    if reason == RevocationReason::KeyCompromise {
        // Whoever has the key may have read the mail with the token too.
        tx.forget_tokens(address)?;
    }
    tx.delete_foreign(&row.serial);
    no_longer_current(row, tx)
}

/// A membership's certificates let nobody in any more.
pub(super) fn memberships_revoked(
    handle: &Handle,
    certificates: &[(Serial, UnixTime)],
    tx: &mut Tx<'_>,
) -> Result<(), StoreError> {
    for (serial, _) in certificates {
        let mut row = certificate(serial, tx)?;
        row.revoked = Some(RevocationReason::PrivilegeWithdrawn);
        tx.put_certificate(serial, &row)?;
        tx.delete_membership_certificate(handle, serial);
    }
    Ok(())
}
