//! How many wrapped keys were answered with a substitute (PKCS #1 v1.5, implicit rejection), by group and day. Pure.
//!
//! Told one message at a time this would be the padding oracle that implicit rejection takes away (RFC 3218). So only the
//! totals of finished days leave this file, and what is counted is added without looking at it: a 0 as well as a 1.

use std::collections::HashMap;
use twinseal_proto::api::admin::groupsrv::Substituted as Told;
use twinseal_proto::ids::GroupId;
use twinseal_proto::time::UnixTime;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The counts of the present day and of the last finished one. Days are those of UTC.
pub(crate) struct Substituted {
    present: Day,
    finished: Option<Day>,
}

/// What was counted in one day.
struct Day {
    /// Days since 1970-01-01.
    number: u64,
    groups: HashMap<GroupId, u64>,
}

/// A count as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Days since 1970-01-01.
    pub(crate) day: u64,
    /// The group.
    pub(crate) group: GroupId,
    /// How many wrapped keys.
    pub(crate) number: u64,
}

impl Substituted {
    /// Goes on with what was kept: the newest day in it may still be going on, the one before is finished.
    pub(crate) fn new(kept: &[Row], now: UnixTime) -> Self {
        let mut days: Vec<u64> = kept.iter().map(|row| row.day).collect();
        days.sort_unstable();
        days.dedup();
        let of = |number| Day {
            number,
            groups: kept.iter().filter(|row| row.day == number).map(|row| (row.group, row.number)).collect(),
        };
        let present = of(days.pop().unwrap_or(now.0 / DAY));
        Self { present, finished: days.pop().map(of) }
    }

    /// Ends the present day if it is over at `now`, and says whether it was. A clock that is set back a little does not
    /// begin a day anew; one that was far ahead does not stop the days.
    pub(crate) fn pass(&mut self, now: UnixTime) -> bool {
        let number = now.0 / DAY;
        let over = number > self.present.number || number + 1 < self.present.number;
        if over {
            let next = Day { number, groups: HashMap::new() };
            self.finished = Some(std::mem::replace(&mut self.present, next));
        }
        over
    }

    /// Counts an opened key of `group` on the present day: `substituted` is 1 if a substitute was given, else 0. Both do the
    /// same work.
    pub(crate) fn add(&mut self, group: GroupId, substituted: u8) {
        let number = self.present.groups.entry(group).or_default();
        *number = number.wrapping_add(u64::from(substituted));
    }

    /// A group's total of the last finished day; `None` before there was one.
    pub(crate) fn told(&self, group: &GroupId) -> Option<Told> {
        self.finished.as_ref().map(|day| day.told(day.groups.get(group).copied().unwrap_or(0)))
    }

    /// The total of all groups of the last finished day; `None` before there was one.
    pub(crate) fn told_of_all(&self) -> Option<Told> {
        self.finished.as_ref().map(|day| day.told(day.groups.values().sum()))
    }

    /// All that is to be kept.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = |day: &Day| {
            let row = |(group, number): (&GroupId, &u64)| Row { day: day.number, group: *group, number: *number };
            day.groups.iter().map(row).collect::<Vec<_>>()
        };
        self.finished.iter().chain([&self.present]).flat_map(rows).collect()
    }
}

impl Day {
    const fn told(&self, number: u64) -> Told {
        Told { day: UnixTime(self.number * DAY), number }
    }
}

/// Seconds from `now` to the beginning of the next day.
pub(crate) const fn until_tomorrow(now: UnixTime) -> u64 {
    DAY - now.0 % DAY
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: GroupId = GroupId::from_random([1; 16]);
    const B: GroupId = GroupId::from_random([2; 16]);
    const NOON: UnixTime = UnixTime(1000 * DAY + DAY / 2);

    fn of_day(number: u64) -> UnixTime {
        UnixTime(number * DAY)
    }

    #[test]
    fn a_day_is_told_when_it_is_over_and_not_before() {
        let mut counts = Substituted::new(&[], NOON);
        for (group, substituted) in [(A, 1), (A, 0), (B, 0), (A, 1)] {
            counts.add(group, substituted);
            assert!(!counts.pass(NOON.plus(DAY / 2 - 1)));
            assert_eq!((counts.told(&A), counts.told_of_all()), (None, None));
        }
        assert!(counts.pass(of_day(1001)));
        let told = |number| Some(Told { day: of_day(1000), number });
        let all = |counts: &Substituted| [counts.told(&A), counts.told(&B), counts.told_of_all()];
        assert_eq!(all(&counts), [told(2), told(0), told(2)]);
        // What comes after changes nothing of it.
        counts.add(B, 1);
        assert!(!counts.pass(of_day(1001).plus(DAY - 1)));
        assert_eq!(all(&counts), [told(2), told(0), told(2)]);
        assert!(counts.pass(of_day(1002)));
        let told = |number| Some(Told { day: of_day(1001), number });
        assert_eq!(all(&counts), [told(0), told(1), told(1)]);
    }

    #[test]
    fn a_clock_that_goes_back_neither_ends_a_day_nor_stops_the_days() {
        let mut counts = Substituted::new(&[], of_day(1001));
        counts.add(A, 1);
        assert!(!counts.pass(of_day(1000)));
        assert_eq!(counts.told(&A), None);
        assert!(counts.pass(of_day(500)));
        assert_eq!(counts.told(&A).unwrap().number, 1);
        assert!(counts.pass(of_day(501)));
    }

    #[test]
    fn what_was_kept_goes_on() {
        let mut counts = Substituted::new(&[], NOON);
        counts.add(A, 1);
        counts.pass(of_day(1001));
        counts.add(A, 0);
        counts.add(B, 1);
        let kept = counts.rows();
        assert_eq!(kept.len(), 3);
        let mut again = Substituted::new(&kept, of_day(1001).plus(60));
        assert!(!again.pass(of_day(1001).plus(60)));
        assert_eq!(again.told(&A), Some(Told { day: of_day(1000), number: 1 }));
        again.add(B, 1);
        assert!(again.pass(of_day(1002)));
        assert_eq!(again.told(&B), Some(Told { day: of_day(1001), number: 2 }));
        // Down over midnight: the day ends at the start.
        let mut later = Substituted::new(&kept, of_day(1005));
        assert!(later.pass(of_day(1005)));
        assert_eq!(later.told(&B), Some(Told { day: of_day(1001), number: 1 }));
    }

    #[test]
    fn the_next_day_comes_at_midnight() {
        assert_eq!(until_tomorrow(NOON), DAY / 2);
        assert_eq!(until_tomorrow(of_day(7)), DAY);
        assert_eq!(until_tomorrow(UnixTime(7 * DAY - 1)), 1);
    }
}
