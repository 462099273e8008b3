//! Step 3: who may have what. Pure: no store, no clock, no key.
//!
//! [`admit`] decides about the call, [`decide`] about one member within an admitted call. A [`Grant`] cannot be made
//! elsewhere, cannot be copied, and is spent by the opening or the wrap that it allows.

use crate::authn::Caller;
use std::time::Duration;
use twinseal_proto::api::expand::Denied;
use twinseal_proto::feed::History;
use twinseal_proto::ids::Handle;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To register a wrapped key. It opens nothing, so it goes on while the lease is over: intake never stops.
    Register,
    /// To wrap a registered key for members.
    Expand,
}

/// Why a whole call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Only exploders may ask for this.
    NotAuthorised,
    /// The roster may be out of date: nothing is opened by it (DESIGN 3.1).
    LeaseOver,
    /// The wrapped key was not registered.
    NotRegistered,
}

/// An admitted call: proof that [`admit`] said yes.
#[derive(Debug)]
pub(crate) struct Admitted {
    first_seen: u64,
}

impl Admitted {
    /// The message turned out to have been seen at `earlier` already, under another wrapping.
    pub(crate) fn seen_at(&mut self, earlier: u64) {
        self.first_seen = self.first_seen.min(earlier);
    }

    /// The place in the feed at which the message was first seen.
    pub(crate) const fn first_seen(&self) -> u64 {
        self.first_seen
    }
}

/// What the roster holds of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The place in the feed at which the member joined.
    pub(crate) joined: u64,
    /// There is a live key.
    pub(crate) has_key: bool,
}

/// Permission to open one wrapped key for one member, or to wrap the opened key for that member: once.
#[derive(Debug)]
pub(crate) struct Grant {
    handle: Handle,
}

impl Grant {
    /// The member.
    pub(crate) const fn handle(&self) -> Handle {
        self.handle
    }

    /// Uses it up.
    pub(crate) fn spend(self) -> Handle {
        self.handle
    }
}

/// An answer about one member.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Yes.
    Grant(Grant),
    /// No.
    Denied(Denied),
}

/// Decides whether a call goes on. `lease`: what is left of it. `first_seen`: the registration's, where there is one.
pub(crate) fn admit(
    caller: Caller,
    ask: Ask,
    lease: Option<Duration>,
    first_seen: Option<u64>,
) -> Result<Admitted, Stop> {
    if caller == Caller::Stranger {
        return Err(Stop::NotAuthorised);
    }
    match ask {
        Ask::Register => Ok(Admitted { first_seen: first_seen.unwrap_or(u64::MAX) }),
        Ask::Expand if lease.is_none() => Err(Stop::LeaseOver),
        Ask::Expand => first_seen.map(|first_seen| Admitted { first_seen }).ok_or(Stop::NotRegistered),
    }
}

/// Decides about one member: active, with a live key, and joined no later than the message was first seen unless the
/// group's history is open to all.
pub(crate) fn decide(call: &Admitted, history: History, handle: Handle, member: Option<Standing>) -> Decision {
    let Some(member) = member else {
        return Decision::Denied(Denied::NotAMember);
    };
    if history == History::SinceJoin && member.joined > call.first_seen {
        return Decision::Denied(Denied::JoinedLater);
    }
    if !member.has_key {
        return Decision::Denied(Denied::NoLiveKey);
    }
    Decision::Grant(Grant { handle })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use twinseal_proto::encoding::Digest;

    const EXPLODER: Caller = Caller::Exploder(Digest([1; 32]));
    const LEASE: Option<Duration> = Some(Duration::from_secs(1));

    #[test]
    fn calls() {
        use Ask::{Expand, Register};
        for (caller, ask, lease, first_seen, expected) in [
            (EXPLODER, Expand, LEASE, Some(7), Ok(7)),
            (EXPLODER, Expand, LEASE, None, Err(Stop::NotRegistered)),
            (EXPLODER, Expand, None, Some(7), Err(Stop::LeaseOver)),
            (EXPLODER, Expand, None, None, Err(Stop::LeaseOver)),
            (EXPLODER, Register, LEASE, None, Ok(u64::MAX)),
            (EXPLODER, Register, None, None, Ok(u64::MAX)),
            (EXPLODER, Register, None, Some(7), Ok(7)),
            (Caller::Stranger, Expand, LEASE, Some(7), Err(Stop::NotAuthorised)),
            (Caller::Stranger, Expand, None, None, Err(Stop::NotAuthorised)),
            (Caller::Stranger, Register, LEASE, Some(7), Err(Stop::NotAuthorised)),
        ] {
            let admitted = admit(caller, ask, lease, first_seen).map(|a| a.first_seen());
            assert_eq!(admitted, expected, "{caller:?} {ask:?} {lease:?} {first_seen:?}");
        }
    }

    #[test]
    fn members() {
        use History::{All, SinceJoin};
        let handle = Handle::from_random([9; 16]);
        let member = |joined, has_key| Some(Standing { joined, has_key });
        for (history, member, first_seen, expected) in [
            (SinceJoin, member(5, true), 5, None),
            (SinceJoin, member(5, true), 6, None),
            (SinceJoin, member(5, true), 4, Some(Denied::JoinedLater)),
            (SinceJoin, member(5, false), 4, Some(Denied::JoinedLater)),
            (SinceJoin, member(5, false), 5, Some(Denied::NoLiveKey)),
            (SinceJoin, None, 5, Some(Denied::NotAMember)),
            (All, member(5, true), 4, None),
            (All, member(5, true), 5, None),
            (All, member(5, false), 4, Some(Denied::NoLiveKey)),
            (All, None, 4, Some(Denied::NotAMember)),
        ] {
            let call = admit(EXPLODER, Ask::Expand, LEASE, Some(first_seen)).unwrap();
            let denied = match decide(&call, history, handle, member) {
                Decision::Grant(grant) => {
                    assert_eq!(grant.handle(), handle);
                    None
                }
                Decision::Denied(reason) => Some(reason),
            };
            assert_eq!(denied, expected, "{history:?} {member:?} {first_seen}");
        }
    }

    #[test]
    fn first_seen_only_moves_back() {
        let mut call = admit(EXPLODER, Ask::Expand, LEASE, Some(7)).unwrap();
        call.seen_at(9);
        assert_eq!(call.first_seen(), 7);
        call.seen_at(3);
        assert_eq!(call.first_seen(), 3);
    }
}
