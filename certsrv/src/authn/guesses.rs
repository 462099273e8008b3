//! How often may be guessed: wrong passwords are counted for each account from each part of the net, for each part of the
//! net, and for each account. Pure. Accounts that do not exist are counted like those that do, so that the count tells
//! nothing of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;

/// Seconds in which a limit is filled up again.
const WINDOW: u64 = 900;
/// Wrong passwords for one account from one place.
const OF_BOTH: u64 = 10;
/// Wrong passwords from one place.
const OF_PLACE: u64 = 50;
/// Wrong passwords for one account from everywhere (NIST SP 800-63B section 3.2.2 allows 100 in a row).
const OF_ACCOUNT: u64 = 100;
/// Most counts that are kept.
const MOST: usize = 100_000;

/// What is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Both(Digest, Place),
    Place(Place),
    Account(Digest),
}

impl Whose {
    const fn limit(&self) -> u64 {
        match self {
            Self::Both(..) => OF_BOTH,
            Self::Place(_) => OF_PLACE,
            Self::Account(_) => OF_ACCOUNT,
        }
    }
}

/// A part of the net: an IPv4 address, or the 64 bits of an IPv6 address that one host has for itself.
pub(crate) type Place = Option<IpAddr>;

/// The part of the net that `peer` is in; `None` is the place of those whose address is not known.
pub(crate) fn place(peer: Option<IpAddr>) -> Place {
    peer.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    })
}

/// The counts. A token bucket each, kept as the time at which it will be full again, in 1/limit of a window.
#[derive(Default)]
pub(crate) struct Guesses {
    full_at: HashMap<Whose, u64>,
    /// Accounts, and places from which their password came: what others guess elsewhere does not keep them out.
    known: HashMap<(Digest, Place), UnixTime>,
}

/// Log-ins that are counted, by the folded address and the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogInFrom {
    account: Digest,
    place: Place,
}

impl LogInFrom {
    /// A log-in as `account` from `peer`.
    pub(crate) fn new(account: &str, peer: Option<IpAddr>) -> Self {
        Self { account: Digest::of(account.to_lowercase().as_bytes()), place: place(peer) }
    }

    const fn counts(&self) -> [Whose; 3] {
        [Whose::Both(self.account, self.place), Whose::Place(self.place), Whose::Account(self.account)]
    }
}

impl Guesses {
    /// Whether a password may be tried now; else the seconds until then.
    pub(crate) fn may_try(&self, who: &LogInFrom, now: UnixTime) -> Result<(), u64> {
        let wait = who.counts().iter().filter(|whose| self.matters(who, whose)).map(|w| self.wait(w, now)).max();
        wait.filter(|wait| *wait > 0).map_or(Ok(()), Err)
    }

    /// Counts a try, if it may be made; taken back by [`Self::right`].
    pub(crate) fn begin(&mut self, who: &LogInFrom, now: UnixTime) -> Result<(), u64> {
        self.may_try(who, now)?;
        self.make_room(now);
        for whose in who.counts() {
            let limit = whose.limit();
            let present = now.0 * limit;
            let full_at = self.full_at.entry(whose).or_insert(present);
            *full_at = (*full_at).max(present) + WINDOW;
        }
        Ok(())
    }

    /// The password was right: it counts no more, and the account is known at the place.
    pub(crate) fn right(&mut self, who: &LogInFrom, now: UnixTime) {
        for whose in who.counts() {
            if let Some(full_at) = self.full_at.get_mut(&whose) {
                *full_at = full_at.saturating_sub(WINDOW);
            }
        }
        self.full_at.remove(&Whose::Both(who.account, who.place));
        if self.known.len() >= MOST {
            let mut times: Vec<UnixTime> = self.known.values().copied().collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            self.known.retain(|_, at| *at > middle);
        }
        self.known.insert((who.account, who.place), now);
    }

    /// What strangers guess does not count against whom we know.
    fn matters(&self, who: &LogInFrom, whose: &Whose) -> bool {
        !matches!(whose, Whose::Account(_)) || !self.known.contains_key(&(who.account, who.place))
    }

    /// Seconds until one more is allowed.
    fn wait(&self, whose: &Whose, now: UnixTime) -> u64 {
        let limit = whose.limit();
        let Some(full_at) = self.full_at.get(whose) else { return 0 };
        // Empty when it takes a window to fill: one more fits a share of the window earlier.
        (full_at + WINDOW).saturating_sub(now.0 * limit + WINDOW * limit).div_ceil(limit)
    }

    /// Forgets what is full again; if that is not enough, what soon will be.
    fn make_room(&mut self, now: UnixTime) {
        if self.full_at.len() + 3 <= MOST {
            return;
        }
        let left = |whose: &Whose, full_at: u64| full_at.saturating_sub(now.0 * whose.limit()) / whose.limit();
        let mut waits: Vec<u64> = self.full_at.iter().map(|(whose, at)| left(whose, *at)).collect();
        waits.sort_unstable();
        let eighth = waits.get(waits.len() / 8).copied().unwrap_or_default();
        self.full_at.retain(|whose, at| left(whose, *at) > eighth);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn who(account: &str, peer: &str) -> LogInFrom {
        LogInFrom::new(account, Some(peer.parse().unwrap()))
    }

    fn guess(guesses: &mut Guesses, who: &LogInFrom, now: UnixTime) -> bool {
        guesses.begin(who, now).is_ok()
    }

    #[test]
    fn ten_wrong_ones_and_then_one_in_ninety_seconds() {
        let mut guesses = Guesses::default();
        let ann = who("ann@members.test", "192.0.2.1");
        assert_eq!((0..20).filter(|_| guess(&mut guesses, &ann, NOW)).count(), 10);
        let wait = guesses.may_try(&ann, NOW).unwrap_err();
        assert_eq!(wait, 90);
        assert!(!guess(&mut guesses, &ann, NOW.plus(89)));
        assert!(guess(&mut guesses, &ann, NOW.plus(90)));
        assert!(!guess(&mut guesses, &ann, NOW.plus(91)));
        // Spelling is no way round; elsewhere, and for others, nothing is counted.
        assert!(!guess(&mut guesses, &who("ANN@members.test", "192.0.2.1"), NOW.plus(91)));
        assert!(guess(&mut guesses, &who("ann@members.test", "192.0.2.2"), NOW));
        assert!(guess(&mut guesses, &who("bob@members.test", "192.0.2.1"), NOW));
        assert_eq!((0..20).filter(|_| guess(&mut guesses, &ann, NOW.plus(10_000))).count(), 10, "full again");
    }

    #[test]
    fn a_place_and_an_account_have_limits_of_their_own() {
        let mut guesses = Guesses::default();
        let many = (0..100).filter(|n| guess(&mut guesses, &who(&format!("m{n}@members.test"), "2001:db8::1"), NOW));
        assert_eq!(many.count(), 50);
        assert!(!guess(&mut guesses, &who("x@members.test", "2001:db8::2"), NOW), "one host has 64 bits");
        assert!(guess(&mut guesses, &who("x@members.test", "2001:db8:0:1::2"), NOW));
        let ann = |n: u32| who("ann@members.test", &format!("198.51.100.{}", n % 250));
        guesses.begin(&ann(249), NOW).unwrap();
        guesses.right(&ann(249), NOW);
        assert_eq!((0..240).filter(|n| guess(&mut guesses, &ann(*n), NOW)).count(), 100);
        assert!(guess(&mut guesses, &ann(249), NOW), "where the password came from, it may come again");
    }

    #[test]
    fn right_answers_cost_nothing() {
        let mut guesses = Guesses::default();
        let ann = who("ann@members.test", "192.0.2.1");
        for _ in 0..1000 {
            guesses.begin(&ann, NOW).unwrap();
            guesses.right(&ann, NOW);
        }
        assert_eq!((0..20).filter(|_| guess(&mut guesses, &ann, NOW)).count(), 10);
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_kept() {
        let mut guesses = Guesses::default();
        let worst = who("ann@members.test", "192.0.2.1");
        while guess(&mut guesses, &worst, NOW) {}
        for n in 0..(MOST as u32) {
            let peer = IpAddr::from(n.to_be_bytes());
            let _ = guesses.begin(&LogInFrom::new(&format!("m{n}"), Some(peer)), NOW);
        }
        assert!(guesses.full_at.len() <= MOST);
        assert!(!guess(&mut guesses, &worst, NOW));
    }
}
