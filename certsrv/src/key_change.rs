//! Step 3: may this key be certified for this account now? Log-in and key change are two things (DESIGN 3.1): any log-in
//! has a first key certified, and the same key again; another key in place of a live one needs the old key, a log-in that
//! counts as high where every group allows it, or an approval.
//!
//! The certificate of a replaced key stays good until it ends: what was signed with it verifies, and who holds the key still
//! reads. Copies are made for the new one from the same commit on, and the old one logs nobody in.

use crate::authn::Class;
use crate::failure::Failure;
use crate::requests;
use crate::rows::{Account, Certificate, Group, KeyUse, Wish};
use crate::store::Tx;
use crate::{decide, members};
use twinseal_proto::api::admin::certsrv::KeyChangePolicy;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{MailAddress, RequestId};
use twinseal_proto::time::UnixTime;

/// How a key may be certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The account has it certified already.
    Renewal,
    /// The account has no live key.
    First,
    /// In place of a live one; the request that allowed it is done.
    Replacement(Option<RequestId>),
    /// Not before somebody approves it.
    Approval,
}

/// What the decision is made from.
pub(crate) struct Facts<'a> {
    /// The live certificates of the account.
    pub(crate) live: &'a [Certificate],
    /// The key.
    pub(crate) key: Digest,
    /// What it is to be certified for.
    pub(crate) purpose: KeyUse,
    /// How much the log-in proves.
    pub(crate) class: Class,
    /// Every group of the account takes a log-in of class high for a key change.
    pub(crate) high: bool,
    /// The request for this change that was approved.
    pub(crate) approved: Option<RequestId>,
}

/// Decides.
pub(crate) fn decide(facts: &Facts<'_>) -> Result<Way, Problem> {
    if let Some(same) = facts.live.iter().find(|live| live.key == facts.key) {
        if same.purpose != facts.purpose {
            let detail = "this key is certified for another use; a key has one use (P4): make one for this";
            return Err(Problem::new(ProblemCode::Conflict, detail));
        }
        return Ok(Way::Renewal);
    }
    if facts.live.is_empty() {
        return Ok(Way::First);
    }
    Ok(match (facts.class, facts.approved) {
        (_, Some(request)) => Way::Replacement(Some(request)),
        (Class::Key, None) => Way::Replacement(None),
        (Class::High, None) if facts.high => Way::Replacement(None),
        _ => Way::Approval,
    })
}

/// How `key` may be certified for `account` as things stand.
pub(crate) fn way(
    tx: &Tx<'_>,
    account: &Account,
    key: Digest,
    purpose: KeyUse,
    class: Class,
    now: UnixTime,
) -> Result<Way, Failure> {
    let address = &account.address;
    if let Some(problem) = taken(tx, &key)? {
        return Err(problem.into());
    }
    let live = live(tx, account, now)?;
    if !live.iter().any(|live| live.key == key) && tx.key_holder(&key)?.is_some_and(|holder| holder != *address) {
        let detail = "this key is another account's; make a new one";
        return Err(Problem::new(ProblemCode::Conflict, detail).into());
    }
    let high = groups(tx, address)?.iter().all(|group| group.key_change == KeyChangePolicy::High);
    let wish = Wish::Key { address: address.clone(), key };
    let waiting = tx.requests_of(address)?.into_iter().find(|request| request.wish == wish && now < request.expires);
    let mut approved = None;
    if let Some(request) = waiting
        && requests::may_replace(tx, &request)?
    {
        approved = Some(request.id);
    }
    Ok(decide(&Facts { live: &live, key, purpose, class, high, approved })?)
}

/// The live certificates that the account uses.
pub(crate) fn live(tx: &Tx<'_>, account: &Account, now: UnixTime) -> Result<Vec<Certificate>, Failure> {
    let mut live = Vec::new();
    for serial in [account.current, account.signing].into_iter().flatten() {
        live.extend(tx.certificate(&serial)?.filter(|row| row.live(now)));
    }
    Ok(live)
}

/// Why this key is certified for no account and no membership, if so.
pub(crate) fn taken(tx: &Tx<'_>, key: &Digest) -> Result<Option<Problem>, Failure> {
    let detail = if tx.compromised(key)? {
        "this key was revoked as compromised and is not certified again; make a new one"
    } else if tx.group_key(key)?.is_some() {
        "this key is a list's; make a new one"
    } else if tx.pin(key)?.is_some() {
        "this key is a service's; make a new one"
    } else if tx.membership_has_key(key)? {
        "this key is in a membership certificate; make a new one"
    } else {
        return Ok(None);
    };
    Ok(Some(Problem::new(ProblemCode::Conflict, detail)))
}

/// The groups that the account belongs to.
pub(crate) fn groups(tx: &Tx<'_>, address: &MailAddress) -> Result<Vec<Group>, Failure> {
    let mut found = Vec::new();
    for group in tx.memberships(address)? {
        if let Some(list) = tx.list_of(&group)? {
            found.push(members::group(tx, &list)?);
        }
    }
    Ok(found)
}

/// The account, which has to be there and not locked.
pub(crate) fn account(tx: &Tx<'_>, address: &MailAddress) -> Result<Account, Failure> {
    let account = tx.account(address)?.ok_or_else(|| decide::no_account(address))?;
    if account.locked { Err(crate::authn::locked()) } else { Ok(account) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cert::serial::Serial;
    use crate::rows::Holder;
    use crate::tests::address;
    use twinseal_proto::encoding::B64;

    const OLD: Digest = Digest([1; 32]);
    const NEW: Digest = Digest([2; 32]);

    fn certificate(key: Digest, purpose: KeyUse) -> Certificate {
        Certificate {
            serial: Serial::from_random([1; 16]),
            holder: Holder::Member { address: address("ann") },
            certificate: B64::default(),
            key,
            until: UnixTime(1),
            revoked: None,
            purpose,
            foreign: None,
        }
    }

    #[test]
    fn what_replaces_a_live_key() {
        use Class::{High, Key, Mailbox, Password};
        let request = RequestId::from_random([7; 16]);
        let live = [certificate(OLD, KeyUse::Both)];
        let (none, one): (&[Certificate], &[Certificate]) = (&[], &live);
        let (yes, no) = (Some(request), None);
        let table = [
            (none, NEW, Mailbox, false, no, Way::First),
            (none, NEW, Password, false, no, Way::First),
            (one, OLD, Mailbox, false, no, Way::Renewal),
            (one, OLD, Key, false, no, Way::Renewal),
            (one, NEW, Mailbox, true, no, Way::Approval),
            (one, NEW, Password, true, no, Way::Approval),
            (one, NEW, Password, false, yes, Way::Replacement(yes)),
            (one, NEW, Mailbox, false, yes, Way::Replacement(yes)),
            (one, NEW, High, false, no, Way::Approval),
            (one, NEW, High, true, no, Way::Replacement(no)),
            (one, NEW, Key, false, no, Way::Replacement(no)),
        ];
        for (live, key, class, high, approved, wanted) in table {
            let facts = Facts { live, key, purpose: KeyUse::Both, class, high, approved };
            assert_eq!(decide(&facts), Ok(wanted), "{key} {class:?} {high} {approved:?}");
        }
    }

    #[test]
    fn a_key_has_one_use() {
        for (has, wants, allowed) in [
            (KeyUse::Sign, KeyUse::Sign, true),
            (KeyUse::Sign, KeyUse::Encrypt, false),
            (KeyUse::Encrypt, KeyUse::Both, false),
            (KeyUse::Both, KeyUse::Sign, false),
        ] {
            let live = [certificate(OLD, has)];
            let facts = Facts { live: &live, key: OLD, purpose: wants, class: Class::Key, high: true, approved: None };
            assert_eq!(decide(&facts).is_ok(), allowed, "{has:?} {wants:?}");
        }
    }
}
