//! `twinseal join` and `twinseal leave`: calls to certsrv with the member's own certificate.

use crate::exit::Failure;
use crate::home::Home;
use crate::identity::Identity;
use crate::lists::{self, KnownList};
use twinseal_proto::api::groups::{Join, Leave, ListRequest, Membership};
use twinseal_proto::ids::ListAddress;

/// Asks to belong to `list`; when this returns the list's certificates are known too.
///
/// # Errors
/// [`Failure`]; joining again does no harm.
pub fn join(home: &Home, list: &ListAddress) -> Result<(Membership, KnownList), Failure> {
    let identity = Identity::load(home)?;
    let membership = lists::client(home, Some(&identity))?.call::<Join>(&ListRequest { list: list.clone() })?;
    Ok((membership, lists::fetch(home, list)?))
}

/// Leaves `list`. Its certificates stay: old mail names them, and a list may take mail from others than members.
///
/// # Errors
/// [`Failure`].
pub fn leave(home: &Home, list: &ListAddress) -> Result<Membership, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<Leave>(&ListRequest { list: list.clone() })?)
}
