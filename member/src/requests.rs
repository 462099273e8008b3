//! `twinseal requests`, `approve` and `reject`: what waits for the owner of a list.

use crate::exit::Failure;
use crate::home::Home;
use crate::identity::Identity;
use crate::lists;
use twinseal_proto::api::requests::{
    ApproveRequest, Approved, ListRequests, ListRequestsRequest, RejectRequest, Request, RequestRequest,
};
use twinseal_proto::ids::{ListAddress, RequestId};

/// What waits for the member's word as an owner.
///
/// # Errors
/// [`Failure`].
pub fn waiting(home: &Home, list: Option<ListAddress>) -> Result<Vec<Request>, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<ListRequests>(&ListRequestsRequest { list })?)
}

/// Says yes.
///
/// # Errors
/// [`Failure`].
pub fn approve(home: &Home, request: RequestId) -> Result<Approved, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<ApproveRequest>(&RequestRequest { request })?)
}

/// Says no, or withdraws an own request.
///
/// # Errors
/// [`Failure`].
pub fn reject(home: &Home, request: RequestId) -> Result<(), Failure> {
    let identity = Identity::load(home)?;
    lists::client(home, Some(&identity))?.call::<RejectRequest>(&RequestRequest { request })?;
    Ok(())
}
