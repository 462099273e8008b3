//! When a copy is tried again (RFC 5321 section 4.5.4.1): pure, with time and chance as arguments.

use twinseal_proto::time::UnixTime;

/// The times of the schedule, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Until the second try.
    pub(crate) first: u64,
    /// Longest between two tries.
    pub(crate) max: u64,
    /// From acceptance until a copy that keeps failing is given up.
    pub(crate) lifetime: u64,
}

/// What follows a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another, not before this time.
    At(UnixTime),
    /// None.
    GiveUp,
}

impl Schedule {
    /// After `attempts` failed tries, the last of them `now`. The waits double from `first` to `max`, up to an eighth
    /// shorter by `chance` so that copies deferred together do not come back together. The last try is at the end of the
    /// lifetime.
    pub(crate) fn next(&self, accepted: UnixTime, now: UnixTime, attempts: u8, chance: u8) -> Next {
        let end = accepted.plus(self.lifetime);
        if now >= end {
            return Next::GiveUp;
        }
        let doublings = u32::from(attempts.saturating_sub(1)).min(32);
        let wait = self.first.saturating_mul(1 << doublings).min(self.max);
        let early = wait / 8 * u64::from(chance) / 255;
        Next::At(now.plus((wait - early).max(1)).min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEFAULT: Schedule = Schedule { first: 300, max: 14_400, lifetime: 432_000 };
    const START: UnixTime = UnixTime(1_000_000);

    fn table(schedule: Schedule, chance: u8) -> Vec<u64> {
        let mut now = START;
        let mut times = Vec::new();
        for attempts in 1..=u8::MAX {
            match schedule.next(START, now, attempts, chance) {
                Next::At(at) => times.push(at.since(START)),
                Next::GiveUp => break,
            }
            now = START.plus(times.last().copied().unwrap_or_default());
        }
        times
    }

    #[test]
    fn the_default_schedule() {
        let times = table(DEFAULT, 0);
        assert_eq!(times.get(..9), Some(&[300, 900, 2100, 4500, 9300, 18_900, 33_300, 47_700, 62_100][..]));
        assert_eq!((times.len(), times.last()), (35, Some(&432_000)));
        assert_eq!(table(DEFAULT, 255).get(..4), Some(&[263, 788, 1838, 3938][..]));
    }

    #[test]
    fn the_labs_schedule() {
        let lab = Schedule { first: 1, max: 4, lifetime: 60 };
        assert_eq!(table(lab, 200).get(..5), Some(&[1, 3, 7, 11, 15][..]));
    }

    proptest! {
        #[test]
        fn never_backward_never_beyond_the_lifetime(
            first in 1..1000_u64, max in 1000..20_000_u64, lifetime in 60..1_000_000_u64,
            late in 0..2_000_000_u64, attempts in 0..=255_u8, chance: u8,
        ) {
            let now = START.plus(late);
            match (Schedule { first, max, lifetime }).next(START, now, attempts, chance) {
                Next::At(at) => prop_assert!(at > now && at <= START.plus(lifetime) && at.since(now) <= max),
                Next::GiveUp => prop_assert!(late >= lifetime),
            }
        }
    }
}
