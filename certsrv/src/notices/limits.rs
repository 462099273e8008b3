//! How often mail is sent, and how often it may be asked for (spec L4, E9). Pure: time is an argument.

use crate::rows::Notice;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use twinseal_proto::time::UnixTime;

/// A mail that anybody can ask for is sent once in so many seconds to one mailbox.
const ASKED_PAUSE: u64 = 86_400;
/// Most mails in a day that anybody could ask for, to one mailbox.
const ASKED_A_DAY: u32 = 10;
/// Who joins and leaves again and again is told so once in so many seconds.
const MEMBERSHIP_PAUSE: u64 = 3600;
/// Seconds of the windows below.
const HOUR: u64 = 3600;
/// Questions from one source in an hour.
const A_SOURCE: u32 = 20;
/// Mails with a token to one domain in an hour.
const A_DOMAIN: u32 = 100;
/// Mails with a token in an hour, in all.
const IN_ALL: u32 = 200;
/// Most sources, and most domains, that are remembered. With more at once, those that came first are forgotten.
const MOST: usize = 10_000;

/// May this notice be queued now? `last`: when one of its kind, about the same, was; `today`: how many mails that anybody
/// could ask for were queued for its mailbox in the present day.
pub(crate) fn may_queue(notice: &Notice, last: Option<UnixTime>, today: u32, now: UnixTime) -> bool {
    let (pause, asked) = match notice {
        Notice::LogIn { .. } | Notice::Confirm { .. } => (ASKED_PAUSE, true),
        Notice::Welcome { .. } | Notice::Goodbye { .. } | Notice::Rejected { .. } => (MEMBERSHIP_PAUSE, false),
        // One for each request, certificate and step; what owners get is gathered when it is sent.
        Notice::Waiting { .. } | Notice::Expiry { .. } | Notice::KeyChanged { .. } | Notice::Membership { .. } => {
            (0, false)
        }
    };
    let rested = last.is_none_or(|last| now.since(last) >= pause);
    rested && !(asked && today >= ASKED_A_DAY)
}

/// What was asked for within the hour. Forgotten with the process: what must outlast it is in the log.
#[derive(Default)]
pub(crate) struct Limits {
    sources: Windows<IpAddr>,
    domains: Windows<String>,
    all: Windows<()>,
}

impl Limits {
    /// May this source ask? It has asked then.
    pub(crate) fn source(&mut self, source: IpAddr, now: UnixTime) -> bool {
        self.sources.take(network(source), A_SOURCE, now)
    }

    /// May one more mail with a token go to this domain? It is counted then.
    ///
    /// # Errors
    /// Which limit says no.
    pub(crate) fn mail(&mut self, domain: &str, now: UnixTime) -> Result<(), &'static str> {
        if !self.all.room(&(), IN_ALL, now) {
            return Err("all");
        }
        if !self.domains.take(domain.to_owned(), A_DOMAIN, now) {
            return Err("domain");
        }
        self.all.take((), IN_ALL, now);
        Ok(())
    }
}

/// One host: an IPv4 address, or the /64 that an IPv6 host picks its addresses from.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts by the hour that began with the first of each.
struct Windows<K>(HashMap<K, (UnixTime, u32)>);

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Windows<K> {
    fn room(&self, key: &K, limit: u32, now: UnixTime) -> bool {
        self.0.get(key).is_none_or(|(since, count)| is_over(*since, now) || *count < limit)
    }

    /// Counts one, if there is room for it.
    fn take(&mut self, key: K, limit: u32, now: UnixTime) -> bool {
        if !self.0.contains_key(&key) && self.0.len() >= MOST {
            self.make_room(now);
        }
        let (since, count) = self.0.entry(key).or_insert((now, 0));
        if is_over(*since, now) {
            (*since, *count) = (now, 0);
        }
        let room = *count < limit;
        *count += u32::from(room);
        room
    }

    /// Forgets what is over, or else at least the tenth that came first: rarely, since it looks at all.
    fn make_room(&mut self, now: UnixTime) {
        self.0.retain(|_, (since, _)| !is_over(*since, now));
        if self.0.len() < MOST {
            return;
        }
        let mut times: Vec<UnixTime> = self.0.values().map(|(since, _)| *since).collect();
        let (_, cut, _) = times.select_nth_unstable(MOST / 10);
        let cut = *cut;
        self.0.retain(|_, (since, _)| *since > cut);
    }
}

/// Whether the hour that began at `since` is over. A clock that was set back ends it too.
const fn is_over(since: UnixTime, now: UnixTime) -> bool {
    now.since(since) >= HOUR || now.0 < since.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::address;
    use twinseal_proto::ids::{GroupId, RequestId};

    const T: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn how_often_one_mailbox_is_written_to() {
        let login = Notice::LogIn { to: address("ann") };
        let confirm = Notice::Confirm { to: address("ann"), request: RequestId::from_random([1; 16]) };
        let welcome = Notice::Welcome { to: address("ann"), group: GroupId::from_random([1; 16]) };
        let waiting = Notice::Waiting {
            to: address("ann"),
            request: RequestId::from_random([1; 16]),
            group: GroupId::from_random([1; 16]),
        };
        let table = [
            (&login, None, 0, true),
            (&login, Some(86_399), 1, false),
            (&login, Some(86_400), 0, true),
            (&login, None, 10, false),
            (&confirm, Some(10), 1, false),
            (&confirm, None, 9, true),
            (&welcome, Some(3599), 0, false),
            (&welcome, Some(3600), 99, true),
            (&waiting, Some(0), 99, true),
        ];
        for (notice, ago, today, wanted) in table {
            let last = ago.map(|ago| UnixTime(T.0 - ago));
            assert_eq!(may_queue(notice, last, today, T), wanted, "{notice:?} {ago:?} {today}");
        }
    }

    #[test]
    fn sources_domains_and_all_have_their_hour() {
        let mut limits = Limits::default();
        let source = "192.0.2.1".parse().unwrap();
        assert_eq!((0..100).filter(|_| limits.source(source, T)).count(), 20);
        assert!(limits.source("192.0.2.2".parse().unwrap(), T));
        // One host has a whole /64.
        let v6 = |n: u32| format!("2001:db8::{n:x}").parse().unwrap();
        assert_eq!((0..100).filter(|n| limits.source(v6(*n), T)).count(), 20);
        assert!(!limits.source(source, T.plus(3599)) && limits.source(source, T.plus(3600)));
        let sent = (0..1000).filter(|n| limits.mail(&format!("d{}.test", n % 4), T).is_ok()).count();
        assert_eq!(sent, 200);
        assert_eq!(limits.mail("d1.test", T), Err("all"));
        assert!(limits.mail("d1.test", T.plus(3600)).is_ok());
        let mut limits = Limits::default();
        assert_eq!((0..1000).filter(|_| limits.mail("members.test", T).is_ok()).count(), 100);
        assert_eq!(limits.mail("members.test", T), Err("domain"));
        assert!(limits.mail("other.test", T).is_ok(), "one domain does not use up what there is for all");
    }

    #[test]
    fn memory_stays_bounded() {
        let mut limits = Limits::default();
        for n in 0..30_000_u32 {
            assert!(limits.source(IpAddr::V4(n.into()), T.plus(u64::from(n) / 100)));
        }
        assert!(limits.sources.0.len() <= MOST);
    }
}
