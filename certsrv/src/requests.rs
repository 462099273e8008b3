//! What waits: requests to join, invitations, other keys. Made by those who ask, confirmed by a mailbox, approved or
//! rejected by owners and administrators (`requests/answer.rs`), forgotten after a while (`requests/expire.rs`).

pub(crate) mod answer;
pub(crate) mod expire;

use crate::app::App;
use crate::authority::{Who, change_as};
use crate::change::Change;
use crate::decide::{self, By, Decision, Missing, Need};
use crate::failure::{Failure, refuse};
use crate::rows::{Account, Group, Notice, Request, RequestEnd, Wish};
use crate::store::Tx;
use crate::{bans, members, notices, random};
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{Changed, MembersRequest};
use twinseal_proto::api::groups::WaitsFor;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, MailAddress, RequestId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use twinseal_svc::store::StoreError;

/// Seconds after which a request is forgotten (three days).
pub(crate) const LIFE: u64 = 3 * 86_400;
/// Most addresses that are invited in one call.
const INVITED_AT_ONCE: usize = 100;
/// Most invitations of one group that wait: each is a mail to somebody who did not ask for it.
const INVITED: usize = 1000;

/// Most other keys that may wait for one account: a password alone makes no more.
pub(crate) const MOST_KEYS: usize = 4;

/// The request with this wish that waits already, or a new one. `confirmed`: no mailbox has to confirm it.
pub(crate) fn make(tx: &mut Tx<'_>, now: UnixTime, wish: Wish, confirmed: bool) -> Result<Request, Failure> {
    let waiting = waiting_for(tx, now, wish.address())?;
    if let Some(known) = waiting.iter().find(|request| request.wish == wish) {
        return Ok(known.clone());
    }
    room(tx, now, &wish, &waiting)?;
    let request = Request {
        id: RequestId::from_random(random::octets()?),
        wish,
        made: now,
        expires: now.plus(LIFE),
        confirmed,
        approved: Vec::new(),
        by_administrator: false,
    };
    tx.push(Change::RequestMade { request: request.clone() })?;
    Ok(request)
}

fn waiting_for(tx: &Tx<'_>, now: UnixTime, address: &MailAddress) -> Result<Vec<Request>, StoreError> {
    Ok(tx.requests_of(address)?.into_iter().filter(|request| now < request.expires).collect())
}

fn room(tx: &Tx<'_>, now: UnixTime, wish: &Wish, of_address: &[Request]) -> Result<(), Failure> {
    let others = match wish.group() {
        Some(group) => tx.requests_in(group)?.into_iter().filter(|request| now < request.expires).collect(),
        None => Vec::new(),
    };
    let invitation = |request: &&Request| matches!(request.wish, Wish::Invitation { .. });
    let invitations = others.iter().filter(invitation).count();
    if !matches!(wish, Wish::Invitation { .. }) {
        // What others wish for an account does not take its own place.
        let own = of_address.iter().filter(|request| !invitation(request)).count();
        return Ok(decide::room(own, others.len() - invitations)?);
    }
    if invitations >= INVITED {
        let detail = format!("{INVITED} invitations to this list wait already: invite more when some are answered");
        return Err(refuse(ProblemCode::RateLimited, detail));
    }
    Ok(())
}

/// An account asks to join a group; those who have to act are told once. Returns what it waits for.
pub(crate) fn ask(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    account: &Account,
    missing: Missing,
) -> Result<WaitsFor, Failure> {
    let wish = Wish::Join { group: group.group, address: account.address.clone() };
    let known = waiting_for(tx, now, &account.address)?.into_iter().find(|request| request.wish == wish);
    if let Some(known) = known {
        return Ok(waits_for(tx, &known)?);
    }
    let request = make(tx, now, wish, missing != Missing::Mailbox)?;
    match missing {
        Missing::Mailbox => {
            let notice = Notice::Confirm { to: account.address.clone(), request: request.id };
            if !notices::queue(app, tx, now, notice)? {
                let detail =
                    format!("{} wants mailboxes confirmed, and no mail can be sent here: ask an owner", group.list);
                return Err(refuse(ProblemCode::Unavailable, detail));
            }
        }
        Missing::Owner => {
            for to in tx.owners(&group.group)? {
                notices::queue(app, tx, now, Notice::Waiting { to, request: request.id, group: group.group })?;
            }
        }
    }
    Ok(waits_for(tx, &request)?)
}

/// `Invite`.
pub(crate) async fn invite(app: Arc<App>, caller: Caller, request: MembersRequest) -> Result<Changed, Problem> {
    let decide = move |app: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        if request.addresses.len() > INVITED_AT_ONCE {
            return Err(refuse(ProblemCode::BadRequest, format!("at most {INVITED_AT_ONCE} addresses in one call")));
        }
        let now = UnixTime::now();
        request.addresses.iter().try_for_each(|address| invite_one(app, tx, now, &group, address, who.by()))
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// Whether the address has an account makes no difference here: an owner does not learn it.
fn invite_one(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    group: &Group,
    address: &MailAddress,
    by: By,
) -> Result<(), Failure> {
    let banned = bans::banned(tx, &group.group, address)?;
    match decide::join(group, tx.member(&group.group, address)?.as_ref(), by, banned) {
        Decision::Refuse(problem) => return Err(problem.into()),
        Decision::Nothing => return Ok(()),
        Decision::Do | Decision::Ask(_) => {}
    }
    decide::certifiable(address)?;
    if decide::mailbox_of(address).map(|list| tx.group(&list)).transpose()?.flatten().is_some() {
        return Err(refuse(ProblemCode::Conflict, format!("{address} is a list's own address")));
    }
    if invitation(tx, now, &group.group, address)?.is_some() {
        return Ok(());
    }
    let made = make(tx, now, Wish::Invitation { group: group.group, address: address.clone() }, false)?;
    notices::queue(app, tx, now, Notice::Confirm { to: address.clone(), request: made.id })?;
    Ok(())
}

/// The invitation to this group that waits for the address.
pub(crate) fn invitation(
    tx: &Tx<'_>,
    now: UnixTime,
    group: &GroupId,
    address: &MailAddress,
) -> Result<Option<RequestId>, StoreError> {
    let invitation = |request: &&Request| matches!(&request.wish, Wish::Invitation { group: to, .. } if to == group);
    Ok(waiting_for(tx, now, address)?.iter().find(invitation).map(|request| request.id))
}

/// The request with this name, as long as it waits.
pub(crate) fn waiting(tx: &Tx<'_>, now: UnixTime, id: &RequestId) -> Result<Request, Failure> {
    let found = tx.request(id)?.filter(|request| now < request.expires);
    found.ok_or_else(|| no_request(id))
}

/// No such request, or none that concerns the caller.
pub(crate) fn no_request(id: &RequestId) -> Failure {
    refuse(ProblemCode::NotFound, format!("there is no request {id}, or it has ended"))
}

/// The mailbox confirmed a request with this token, or the invited account accepted with its own key. Returns what it waits for still; `None`: it is done or has ended.
pub(crate) fn confirm(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    id: &RequestId,
    token: Option<Digest>,
) -> Result<Option<WaitsFor>, Failure> {
    waiting(tx, now, id)?;
    tx.push(Change::RequestConfirmed { request: *id, token })?;
    complete(app, tx, now, id)
}

/// Does what a request to join or an invitation asks for, once nothing is missing: in the same commit as what was missing
/// last. Another key is certified when its holder asks again. Returns what it waits for still.
pub(crate) fn complete(app: &App, tx: &mut Tx<'_>, now: UnixTime, id: &RequestId) -> Result<Option<WaitsFor>, Failure> {
    let Some(request) = tx.request(id)? else { return Ok(None) };
    let Some(group) = group_of(tx, &request)? else { return Ok(Some(waits_for(tx, &request)?)) };
    let address = request.wish.address();
    let ends = if tx.member(&group.group, address)?.is_some() {
        Some(RequestEnd::Done)
    } else if bans::banned(tx, &group.group, address)? {
        Some(RequestEnd::Rejected)
    } else {
        None
    };
    if let Some(end) = ends {
        tx.push(Change::RequestEnded { request: *id, end })?;
        return Ok(None);
    }
    match (waits_for(tx, &request)?, tx.account(address)?) {
        (WaitsFor::Nothing, Some(account)) => {
            let by = if matches!(request.wish, Wish::Invitation { .. }) { By::Invited } else { By::Member };
            members::admit(app, tx, now, &group, &account, by).map(|()| None)
        }
        (still, _) => Ok(Some(still)),
    }
}

/// What a request waits for.
pub(crate) fn waits_for(tx: &Tx<'_>, request: &Request) -> Result<WaitsFor, StoreError> {
    let missing = match group_of(tx, request)? {
        Some(group) => decide::missing(group.join, request),
        None if may_replace(tx, request)? => None,
        None => Some(Missing::Owner),
    };
    Ok(match missing {
        Some(Missing::Mailbox) => WaitsFor::Mailbox,
        Some(Missing::Owner) => WaitsFor::Owner,
        None if tx.account(request.wish.address())?.is_none() => WaitsFor::Account,
        None => WaitsFor::Nothing,
    })
}

/// Whether a request for another key has every word that it needs: an administrator's, or an owner's of each group that
/// the account belongs to now (of at least one).
pub(crate) fn may_replace(tx: &Tx<'_>, request: &Request) -> Result<bool, StoreError> {
    let groups = tx.memberships(request.wish.address())?;
    let all = !groups.is_empty() && groups.iter().all(|group| request.approved.contains(group));
    Ok(request.confirmed && (request.by_administrator || all))
}

/// The group that a request is about, where it is about one.
fn group_of(tx: &Tx<'_>, request: &Request) -> Result<Option<Group>, StoreError> {
    let list = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten();
    Ok(list.map(|list| tx.group(&list)).transpose()?.flatten())
}

/// Ends what waits for this address in this group.
pub(crate) fn end_those_of(
    tx: &mut Tx<'_>,
    group: &GroupId,
    address: &MailAddress,
    end: RequestEnd,
) -> Result<(), Failure> {
    for request in tx.requests_of(address)? {
        if request.wish.group() == Some(group) {
            tx.push(Change::RequestEnded { request: request.id, end })?;
        }
    }
    Ok(())
}
