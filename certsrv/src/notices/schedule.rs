//! When a mail is tried again, and when it is given up. Pure.

use twinseal_proto::time::UnixTime;

/// Longest pause between two tries, in seconds.
const LONGEST: u64 = 3600;
/// Longest pause between two looks for what a mail lacks to be composed, in seconds.
const LONGEST_LOOK: u64 = 30;
/// Seconds after which a mail that could not be sent is given up: what it tells is old by then.
pub(crate) const LIFE: u64 = 3 * 86_400;

/// The pause after `tries` failed tries: one second, then twice as long each time, an hour at most.
pub(crate) const fn pause(tries: u32) -> u64 {
    let doubled = tries.saturating_sub(1);
    if doubled >= 12 { LONGEST } else { 1 << doubled }
}

/// The pause before it is looked again whether a mail can be composed.
pub(crate) const fn look(tries: u32) -> u64 {
    let pause = pause(tries);
    if pause < LONGEST_LOOK { pause } else { LONGEST_LOOK }
}

/// Whether a mail that was caused at `made` is given up.
pub(crate) const fn given_up(made: UnixTime, now: UnixTime) -> bool {
    now.since(made) >= LIFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_an_hour() {
        let pauses: Vec<u64> = (0..16).map(pause).collect();
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]);
        assert_eq!([look(1), look(5), look(6), look(60)], [1, 16, 30, 30]);
        let made = UnixTime(1_800_000_000);
        assert!(!given_up(made, made.plus(LIFE - 1)) && given_up(made, made.plus(LIFE)));
    }
}
