//! What waits: requests to join, invitations, other keys. Made by those who ask, confirmed by a mailbox, approved or
//! rejected by owners and administrators.

use crate::change::Change;
use crate::failure::Failure;
use crate::random;
use crate::rows::{Request, Wish};
use crate::store::Tx;
use twinseal_proto::ids::RequestId;
use twinseal_proto::time::UnixTime;

/// Seconds after which a request is forgotten (three days).
pub(crate) const LIFE: u64 = 3 * 86_400;

/// Most other keys that may wait for one account: a password alone makes no more.
pub(crate) const MOST_KEYS: usize = 4;

/// Whether another key may take the place of a live one (DESIGN 3.1): an administrator approved it, or an owner of every
/// group that the account belongs to now. Without a group there is no owner.
pub(crate) fn may_replace(tx: &Tx<'_>, request: &Request) -> Result<bool, Failure> {
    let groups = tx.memberships(request.wish.address())?;
    let by_owners = !groups.is_empty() && groups.iter().all(|group| request.approved.contains(group));
    Ok(request.confirmed && (request.by_administrator || by_owners))
}

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
