//! What waits: requests to join, invitations, other keys. Made by those who ask, confirmed by a mailbox, approved or
//! rejected by owners and administrators.

use crate::app::App;
use crate::change::Change;
use crate::failure::Failure;
use crate::rows::{Request, RequestEnd, Wish};
use crate::store::Tx;
use crate::{members, random};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::RequestId;
use twinseal_proto::time::UnixTime;

/// Seconds after which a request is forgotten (three days).
pub(crate) const LIFE: u64 = 3 * 86_400;

/// The request with this wish that waits already, or a new one. `confirmed`: no mailbox has to confirm it.
pub(crate) fn make(tx: &mut Tx<'_>, now: UnixTime, wish: Wish, confirmed: bool) -> Result<Request, Failure> {
    let waiting = tx.requests_of(wish.address())?;
    if let Some(known) = waiting.into_iter().find(|request| request.wish == wish && now < request.expires) {
        return Ok(known);
    }
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

/// The mailbox confirms a request, with `token`, which is used up. What then lacks nothing is done at once; the rest waits
/// for an owner.
pub(crate) fn confirm(
    _: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    id: &RequestId,
    token: Option<Digest>,
) -> Result<(), Failure> {
    tx.push(Change::RequestConfirmed { request: *id, token })?;
    let Some(request) = tx.request(id)?.filter(|request| now < request.expires) else { return Ok(()) };
    let Wish::Join { group, address } = &request.wish else { return Ok(()) };
    let Some(row) = tx.list_of(group)?.map(|list| tx.group(&list)).transpose()?.flatten() else { return Ok(()) };
    let Some(account) = tx.account(address)? else { return Ok(()) };
    if row.join == JoinPolicy::Open || request.by_administrator || request.approved.contains(group) {
        if tx.member(group, address)?.is_none() {
            members::put_in(tx, &row, &account, MemberRole::Member)?;
        }
        tx.push(Change::RequestEnded { request: *id, end: RequestEnd::Done })?;
    }
    Ok(())
}
