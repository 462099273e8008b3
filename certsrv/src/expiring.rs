//! Things that are kept in memory for a while: at most so many, each for the same time, the oldest dropped first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;

/// A bounded store of `T` by the digest of the secret that finds it.
pub(crate) struct Expiring<T> {
    life: u64,
    most: usize,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    found: HashMap<Digest, (UnixTime, T)>,
    order: VecDeque<(UnixTime, Digest)>,
}

impl<T> Expiring<T> {
    /// A store for at most `most` things for `life` seconds each.
    pub(crate) fn new(life: u64, most: usize) -> Self {
        Self { life, most, inside: Mutex::new(Inside { found: HashMap::new(), order: VecDeque::new() }) }
    }

    /// Keeps `thing`; gives when it is forgotten.
    pub(crate) fn put(&self, now: UnixTime, key: Digest, thing: T) -> UnixTime {
        let expires = now.plus(self.life);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        // What was taken is still in the order: it counts, so that the order is bounded too.
        while inside.order.front().is_some_and(|(end, _)| *end <= now || inside.order.len() >= self.most) {
            let Some((end, oldest)) = inside.order.pop_front() else { break };
            if inside.found.get(&oldest).is_some_and(|(own, _)| *own == end) {
                inside.found.remove(&oldest);
            }
        }
        inside.order.push_back((expires, key));
        inside.found.insert(key, (expires, thing));
        expires
    }

    /// Takes what is kept under `key`, unless it expired.
    pub(crate) fn take(&self, now: UnixTime, key: &Digest) -> Option<T> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.found.remove(key).filter(|(end, _)| now < *end).map(|(_, thing)| thing)
    }
}

impl<T: Clone> Expiring<T> {
    /// A copy of what is kept under `key`, unless it expired.
    pub(crate) fn get(&self, now: UnixTime, key: &Digest) -> Option<T> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.found.get(key).filter(|(end, _)| now < *end).map(|(_, thing)| thing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn things_are_kept_for_their_time_and_the_oldest_makes_room() {
        let store = Expiring::new(10, 2);
        assert_eq!(store.put(UnixTime(100), key(1), 'a'), UnixTime(110));
        assert_eq!((store.get(UnixTime(109), &key(1)), store.get(UnixTime(110), &key(1))), (Some('a'), None));
        assert_eq!(store.take(UnixTime(110), &key(1)), None, "expired things are not given");
        store.put(UnixTime(200), key(2), 'b');
        store.put(UnixTime(201), key(3), 'c');
        store.put(UnixTime(202), key(4), 'd');
        assert_eq!([2, 3, 4].map(|n| store.get(UnixTime(203), &key(n))), [None, Some('c'), Some('d')]);
        assert_eq!(store.take(UnixTime(203), &key(3)), Some('c'));
        assert_eq!(store.take(UnixTime(203), &key(3)), None, "taken once");
        store.put(UnixTime(300), key(5), 'e');
        assert_eq!(store.inside.lock().map(|inside| (inside.found.len(), inside.order.len())).ok(), Some((1, 1)));
    }
}
