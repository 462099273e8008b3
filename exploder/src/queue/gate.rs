//! A peer that is away (DESIGN 3.1): what needs it waits, nothing is counted as a try, and it is asked again after
//! 1 s, then 2 s, up to 60 s, or as soon as it shows itself. Pure: time is an argument.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a peer may be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Option<Closed>);

#[derive(Debug, Clone)]
struct Closed {
    since: Instant,
    wait: Duration,
    until: Instant,
}

impl Gate {
    /// Whether the peer was there when it was last asked.
    pub(crate) const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it may be asked now.
    pub(crate) fn may_try(&self, now: Instant) -> bool {
        self.0.as_ref().is_none_or(|closed| closed.until <= now)
    }

    /// When it may be asked again; `None`: now.
    pub(crate) fn opens(&self) -> Option<Instant> {
        self.0.as_ref().map(|closed| closed.until)
    }

    /// It answered. `true`: it was away before.
    pub(crate) fn answered(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// It showed itself some other way: ask it now. What is known of it does not change until it answers.
    pub(crate) fn knocked(&mut self, now: Instant) {
        if let Some(closed) = &mut self.0 {
            closed.until = now;
            closed.wait = FIRST;
        }
    }

    /// It did not answer. `true`: it was there before. Failures of questions asked together count once.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            None => {
                self.0 = Some(Closed { since: now, wait: FIRST, until: now + FIRST });
                true
            }
            Some(closed) => {
                if closed.until <= now {
                    closed.wait = (closed.wait * 2).min(LONGEST);
                    closed.until = now + closed.wait;
                }
                false
            }
        }
    }

    /// How long it has been away.
    pub(crate) fn away(&self, now: Instant) -> Option<Duration> {
        self.0.as_ref().map(|closed| now.saturating_duration_since(closed.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_end_with_an_answer() {
        let start = Instant::now();
        let mut gate = Gate::default();
        assert!(gate.failed(start));
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let opens = gate.opens().unwrap_or(now);
            waits.push((opens - now).as_secs());
            assert!(!gate.may_try(now) && gate.may_try(opens));
            now = opens;
            assert!(!gate.failed(now));
            assert!(!gate.failed(now), "a second failure of the same moment changes nothing");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        gate.knocked(now);
        assert!(gate.may_try(now) && !gate.is_open());
        assert_eq!(gate.away(now).map(|d| d.as_secs()), Some(183));
        assert!(gate.answered() && gate.is_open() && !gate.answered());
    }
}
