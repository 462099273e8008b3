//! Membership certificates (L7, L8): short-lived, for TLS to groupsrv, with the membership's handle or a pseudonym in
//! place of a name. Asked for by members with their own certificate; they end with the membership.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::{Class, Principal};
use crate::cert::csr;
use crate::cert::good_key::GoodKey;
use crate::cert::profile::{AltName, Profile};
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Issued, Order, issue};
use crate::key_change;
use crate::random;
use crate::rows::{Holder, Member};
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{MemberRole, MemberState};
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::History;
use twinseal_proto::ids::{GroupId, Handle, MailAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::store::StoreError;

/// Most certificates of one membership that are live at once: some are fetched in advance (L8).
const MOST: usize = 16;
/// Members of a group that share a place in the feed in their pseudonyms, so that it does not tell who is who.
const CROWD: usize = 8;

/// What a membership certificate says of the membership.
struct Said {
    handle: Handle,
    role: MemberRole,
    /// The place in the feed from which on messages may be opened.
    joined: u64,
}

/// Issues a membership certificate for the key in `request`.
pub(crate) async fn certify(
    app: &Arc<App>,
    principal: &Principal,
    group: GroupId,
    pseudonym: bool,
    request: &[u8],
) -> Result<Vec<u8>, Failure> {
    let asked = csr::read(request).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    no_names(&asked.names)?;
    certify_key(app, principal, group, pseudonym, asked.key).await
}

/// Refuses a request with names: an address has no place in the certificate.
pub(crate) fn no_names(names: &[AltName]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let detail = "a membership certificate has no names: send a request without a subjectAltName";
    Err(refuse(ProblemCode::BadRequest, detail))
}

/// Issues a membership certificate for a key whose possession was proven, or that was made here.
pub(crate) async fn certify_key(
    app: &Arc<App>,
    principal: &Principal,
    group: GroupId,
    pseudonym: bool,
    key: GoodKey,
) -> Result<Vec<u8>, Failure> {
    if principal.class < Class::Key {
        let detail = "a membership certificate is given to whoever presents a live certificate of the account";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    let address = principal.account.address.clone();
    let at = Arc::clone(app);
    let (whose, digest) = (address.clone(), Digest::of(&key.spki));
    // A pseudonym's place is looked for among all members.
    let said = tokio::task::spawn_blocking(move || {
        allowed(&at.registry.view(), &group, &whose, &digest, pseudonym, UnixTime::now())
    })
    .await??;
    hit("certsrv.membership.before-issue");
    let by = Actor::Account(address.clone());
    let order = order(app, &said, group, &address, key, pseudonym)?;
    let issued = issue(app, &by, Authority::Memberships, vec![order]).await?;
    let changes: Vec<Change> = issued.iter().map(|one: &Issued| one.change(None)).collect();
    let decide = move |tx: &mut Tx<'_>| {
        let now = allowed(tx, &group, &address, &digest, false, UnixTime::now())?;
        if now.handle != said.handle {
            // Left and joined again meanwhile: what was signed is another membership's.
            return Err(not_a_member(&group));
        }
        Ok(changes.into_iter().try_for_each(|change| tx.push(change))?)
    };
    app.registry.commit(by, decide).await?;
    hit("certsrv.membership.before-answer");
    Ok(issued.into_iter().next().map(|one| one.der).unwrap_or_default())
}

fn order(
    app: &App,
    said: &Said,
    group: GroupId,
    address: &MailAddress,
    key: GoodKey,
    pseudonym: bool,
) -> Result<Order, Failure> {
    let Said { handle, role, joined } = said;
    let (name, role) = if pseudonym {
        // The only owner would be known by the role.
        (Handle::from_random(random::octets()?).to_string(), MemberRole::Member)
    } else {
        (handle.to_string(), *role)
    };
    let role = match role {
        MemberRole::Owner => "owner",
        _ => "member",
    };
    let uri = format!("urn:twinseal:member:{group}:{role}:{joined}");
    let profile = Profile::membership(name, uri, key.kind, app.config.membership_hours);
    let holder = Holder::Membership { group, address: address.clone(), handle: *handle };
    Ok(Order { holder, profile, spki: key.spki, days: app.config.membership_hours.div_ceil(24) })
}

fn allowed(
    tx: &Tx<'_>,
    group: &GroupId,
    address: &MailAddress,
    key: &Digest,
    pseudonym: bool,
    now: UnixTime,
) -> Result<Said, Failure> {
    let member = tx.member(group, address)?.filter(|row| row.state == MemberState::Active);
    let Member { handle, role, joined: own, .. } = member.ok_or_else(|| not_a_member(group))?;
    if own == 0 {
        // Of a place that is none everything would follow.
        let detail =
            format!("no owner of {group} has signed for the membership yet; an owner does: twinseal owner sign");
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    if let Some(problem) = key_change::taken(tx, key)? {
        return Err(problem.into());
    }
    if tx.key_holder(key)?.is_some() {
        let detail =
            "this key is in a mail certificate, whose holder everybody knows; make one for the membership alone";
        return Err(refuse(ProblemCode::Conflict, detail));
    }
    let certificates = tx.membership_certificates(&handle)?;
    let live = certificates.iter().filter(|(_, until)| now < *until);
    if live.clone().count() >= MOST {
        let next = live.map(|(_, until)| until.since(now)).min().unwrap_or_default();
        let detail = format!("{MOST} certificates of this membership are live: use one of them");
        return Err(twinseal_proto::api::Problem::new(ProblemCode::RateLimited, detail).after(next.max(1)).into());
    }
    let joined = if pseudonym { place(tx, group, own)? } else { own };
    Ok(Said { handle, role, joined })
}

/// Said of a group that does not exist, too.
fn not_a_member(group: &GroupId) -> Failure {
    refuse(ProblemCode::NotAuthorised, format!("the account is no active member of {group}"))
}

/// The place in the feed that a pseudonym names: a crowd's, since one's own would be as good as the handle.
fn place(tx: &Tx<'_>, group: &GroupId, own: u64) -> Result<u64, Failure> {
    let list = tx.list_of(group)?.ok_or_else(|| not_a_member(group))?;
    if tx.group(&list)?.is_some_and(|group| group.history == History::All) {
        return Ok(0);
    }
    let places = tx.members(group)?.into_iter().map(|row| row.joined).filter(|joined| *joined > 0).collect();
    Ok(crowd(places, own))
}

/// The last place in the crowd that `own` is in: at least [`CROWD`] members where there are as many. It lies later than
/// one's own, so a pseudonym opens nothing that its member may not open.
fn crowd(mut places: Vec<u64>, own: u64) -> u64 {
    places.sort_unstable();
    let before = places.partition_point(|place| *place < own);
    let first = before / CROWD * CROWD;
    let rest = places.len().saturating_sub(first);
    let last = if rest < 2 * CROWD { places.last() } else { places.get(first + CROWD - 1) };
    last.copied().unwrap_or(own).max(own)
}

/// What follows from `change` for membership certificates: they end with the membership, and with its live certificate.
pub(crate) fn follows(change: &Change, before: &Tx<'_>) -> Result<Option<Change>, StoreError> {
    let (Change::MemberLeft { group, address } | Change::MemberSuspended { group, address }) = change else {
        return Ok(None);
    };
    let Some(Member { handle, .. }) = before.member(group, address)? else { return Ok(None) };
    let certificates = before.membership_certificates(&handle)?;
    Ok((!certificates.is_empty()).then_some(Change::MembershipsRevoked { handle, certificates }))
}

#[cfg(test)]
mod tests {
    use super::crowd;

    #[test]
    fn a_pseudonym_has_the_place_of_a_crowd() {
        assert_eq!(crowd(vec![7], 7), 7);
        assert_eq!(crowd((1..=7).collect(), 2), 7, "few members are one crowd");
        assert_eq!(crowd((1..=15).collect(), 2), 15, "the rest is never smaller than a crowd");
        let twenty: Vec<u64> = (1..=20).map(|n| n * 10).collect();
        for (own, wanted) in [(10, 80), (80, 80), (90, 200), (160, 200), (170, 200), (200, 200)] {
            assert_eq!(crowd(twenty.clone(), own), wanted, "{own}");
        }
        for own in &twenty {
            let same = twenty.iter().filter(|other| crowd(twenty.clone(), **other) == crowd(twenty.clone(), *own));
            assert!(same.count() >= 8);
        }
    }
}
