//! Step 3: who may have what. Pure: no store, no clock, no key.
//!
//! [`admit`] decides about the call, [`decide`] about one member within an admitted call about a registered message. A [`Grant`] cannot be made
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
pub(crate) struct Admitted(());

impl Admitted {
    /// The call is about a message that was first seen at `first_seen`; `None`: its wrapped key is not registered.
    pub(crate) fn about(self, first_seen: Option<u64>) -> Result<Message, Stop> {
        first_seen.map(|first_seen| Message { first_seen }).ok_or(Stop::NotRegistered)
    }
}

/// The registered message of an admitted call.
#[derive(Debug)]
pub(crate) struct Message {
    first_seen: u64,
}

impl Message {
    /// It turned out to have been seen at `earlier` already, under another wrapping.
    pub(crate) fn seen_at(&mut self, earlier: u64) {
        self.first_seen = self.first_seen.min(earlier);
    }

    /// The place in the feed at which it was first seen.
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

/// Decides whether a call goes on. `lease`: what is left of it.
pub(crate) fn admit(caller: Caller, ask: Ask, lease: Option<Duration>) -> Result<Admitted, Stop> {
    match (caller, ask) {
        (Caller::Stranger, _) => Err(Stop::NotAuthorised),
        (Caller::Exploder(_), Ask::Expand) if lease.is_none() => Err(Stop::LeaseOver),
        (Caller::Exploder(_), Ask::Expand | Ask::Register) => Ok(Admitted(())),
    }
}

/// Decides about one member: active, with a live key, and joined no later than the message was first seen unless the
/// group's history is open to all.
pub(crate) fn decide(message: &Message, history: History, handle: Handle, member: Option<Standing>) -> Decision {
    let Some(member) = member else {
        return Decision::Denied(Denied::NotAMember);
    };
    if history == History::SinceJoin && member.joined > message.first_seen {
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
        for (caller, ask, lease, expected) in [
            (EXPLODER, Expand, LEASE, None),
            (EXPLODER, Expand, None, Some(Stop::LeaseOver)),
            (EXPLODER, Register, LEASE, None),
            (EXPLODER, Register, None, None),
            (Caller::Stranger, Expand, LEASE, Some(Stop::NotAuthorised)),
            (Caller::Stranger, Expand, None, Some(Stop::NotAuthorised)),
            (Caller::Stranger, Register, LEASE, Some(Stop::NotAuthorised)),
            (Caller::Stranger, Register, None, Some(Stop::NotAuthorised)),
        ] {
            assert_eq!(admit(caller, ask, lease).err(), expected, "{caller:?} {ask:?} {lease:?}");
        }
        let call = || admit(EXPLODER, Expand, LEASE).unwrap();
        assert_eq!(call().about(None).err(), Some(Stop::NotRegistered));
        assert_eq!(call().about(Some(7)).unwrap().first_seen(), 7);
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
            let message = admit(EXPLODER, Ask::Expand, LEASE).unwrap().about(Some(first_seen)).unwrap();
            let denied = match decide(&message, history, handle, member) {
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
        let mut message = admit(EXPLODER, Ask::Expand, LEASE).unwrap().about(Some(7)).unwrap();
        message.seen_at(9);
        assert_eq!(message.first_seen(), 7);
        message.seen_at(3);
        assert_eq!(message.first_seen(), 3);
    }
}
