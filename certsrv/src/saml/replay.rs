//! Assertions that were used, until they are refused for their age. In memory: after a restart no request is pending,
//! and an assertion answers one request only.

use super::judge::Verified;
use super::refused::Refused;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use twinseal_proto::time::UnixTime;

/// Most assertions that are remembered; when there are more, log-ins are refused and none is forgotten early.
const MOST: usize = 65_536;

/// The assertions that were used.
#[derive(Default)]
pub(super) struct Replay(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    used: BTreeMap<String, UnixTime>,
    ends: BTreeSet<(UnixTime, String)>,
}

impl Replay {
    /// Lets each assertion pass once.
    pub(super) fn once(&self, assertion: &Verified, now: UnixTime) -> Result<(), Refused> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while inside.ends.first().is_some_and(|(end, _)| *end < now) {
            if let Some((_, id)) = inside.ends.pop_first() {
                inside.used.remove(&id);
            }
        }
        if inside.used.contains_key(&assertion.assertion) {
            return Err(Refused::Replayed);
        }
        if inside.used.len() >= MOST {
            return Err(Refused::Busy);
        }
        inside.used.insert(assertion.assertion.clone(), assertion.until);
        inside.ends.insert((assertion.until, assertion.assertion.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinseal_proto::encoding::Digest;

    #[test]
    fn an_assertion_passes_once_until_it_is_too_old_to_pass_at_all() {
        let mail = crate::tests::address("ann");
        let one = Verified { assertion: "_a".into(), until: UnixTime(150), subject: Digest([0; 32]), mail };
        let replay = Replay::default();
        assert_eq!(replay.once(&one, UnixTime(100)), Ok(()));
        assert_eq!(replay.once(&one, UnixTime(101)), Err(Refused::Replayed));
        assert_eq!(replay.once(&one, UnixTime(150)), Err(Refused::Replayed));
        assert_eq!(replay.once(&one, UnixTime(151)), Ok(()), "forgotten: judged to be too old before");
    }
}
