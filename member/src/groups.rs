//! `twinseal join`, `leave`, `lists` and `set`: calls to certsrv with the member's own certificate.

use crate::exit::Failure;
use crate::home::Home;
use crate::identity::Identity;
use crate::lists::{self, KnownList};
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::groups::{Join, Leave, ListRequest, Membership, Mine, MyGroups, WaitsFor};
use twinseal_proto::api::members::{MemberSettings, SetMember, SetMemberRequest};
use twinseal_proto::ids::ListAddress;

/// Asks to belong to `list`, or accepts an invitation to it; when this returns the list's certificates are known too.
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

/// The lists that the member belongs to, asked to join or is invited to.
///
/// # Errors
/// [`Failure`].
pub fn mine(home: &Home) -> Result<Vec<Mine>, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<MyGroups>(&Nothing {})?)
}

/// Chooses what `list` sends.
///
/// # Errors
/// [`Failure`].
pub fn set(home: &Home, list: &ListAddress, set: MemberSettings) -> Result<(), Failure> {
    let identity = Identity::load(home)?;
    let request = SetMemberRequest { list: list.clone(), address: None, set };
    lists::client(home, Some(&identity))?.call::<SetMember>(&request)?;
    Ok(())
}

/// What happens next to whoever asked to join.
#[must_use]
pub const fn next(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Mailbox => "confirm it: a mail with the way to do so is on its way to you",
        WaitsFor::Owner => {
            "an owner of the list has to approve it; you will be told by mail, or run the same again later"
        }
        WaitsFor::Account => "an account has to be made for you: ask whoever runs the lists",
        WaitsFor::Nothing => "run the same again: nothing is missing any more",
    }
}
