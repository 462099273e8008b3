//! Owner-signed rosters (DESIGN 3.4): what a group's owners sign about its readers, and the state machine by which
//! groupsrv, the exploder, certsrv and the owner's own tool follow it.
//!
//! certsrv tells groupsrv and the exploder who belongs. In a signed group they believe it only as far as an owner said the
//! same: each membership comes with an [`Entry`] that binds its handle to a key and to an address, each removal can be
//! signed, and a [`Head`] names the whole roster at one moment. The owners themselves do not come from certsrv: the first
//! one's key is pinned by the consumers' administrators, and each later change is signed by an owner and chained.
//!
//! * [`Statement`] and [`SignedStatement`]: what is signed, and its signature.
//! * [`OwnerRoster`]: what follows from the statements. It depends on nothing but them and their order, so that everybody
//!   who was told the same has the same; the time only decides what is [served](OwnerRoster::serves).

mod state;
mod statement;
#[cfg(test)]
mod tests;

pub use state::{
    Accepted, LiveEntry, LiveHead, MAX_OWNERS, OwnerRoster, OwnerState, Resynced, RosterError, Unserved, live_digest,
};
pub use statement::{
    Binding, Entry, EntryStatus, Head, MAX_TEXT, OwnersChange, Removal, Role, SIGNED_CONTEXT, SignError,
    SignedStatement, Statement, address_digest,
};

/// Seconds for which a head is good (DESIGN 3.4): 30 days. So long can certsrv hold back a removal at most.
pub const HEAD_SECONDS: u64 = 30 * 86_400;
/// Seconds by which an owner's clock may be ahead.
pub const SKEW_SECONDS: u64 = 300;
/// Octets of the salt before an address: it keeps groupsrv from guessing the address.
pub const SALT_OCTETS: usize = 16;
