//! Every parser of octets from outside, fed with mutated vectors for a bounded time.
//!
//! `TWINSEAL_FUZZ_SECONDS` (2 by default) is for each target; `TWINSEAL_FUZZ_SEED` starts another sequence of mutations. A target
//! panics when it finds something; the input is printed in hexadecimal and becomes a vector.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Xorshift: enough to pick places and octets, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

/// One mutation: octets changed, cut, repeated, inserted, or joined with another seed.
fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut octets = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(octets.len());
        match random.below(8) {
            0 if !octets.is_empty() => octets[at] ^= 1 << random.below(8),
            1 if !octets.is_empty() => {
                octets[at] = [0, 1, 0x7f, 0x80, 0x81, 0x84, 0xff, b'\r', b'\n', b'.'][random.below(10)]
            }
            2 => octets.truncate(at),
            3 => octets.insert(at, u8::try_from(random.below(256)).unwrap()),
            4 if !octets.is_empty() => drop(octets.remove(at)),
            5 => {
                let end = (at + random.below(64)).min(octets.len());
                let piece = octets[at.min(end)..end].to_vec();
                octets.splice(at..at, piece);
            }
            6 => octets.splice(at.., other[random.below(other.len())..].iter().copied()).for_each(drop),
            _ => octets.extend_from_slice(&other[..random.below(other.len())]),
        }
        octets.truncate(1 << 16);
    }
    octets
}

fn run(name: &str, seeds: &[Vec<u8>], target: fn(&[u8])) {
    let number = |variable, default| std::env::var(variable).ok().and_then(|t| t.parse().ok()).unwrap_or(default);
    let until = Instant::now() + Duration::from_secs(number("TWINSEAL_FUZZ_SECONDS", 2));
    let mut random = Random(number("TWINSEAL_FUZZ_SEED", 0x9e37_79b9_7f4a_7c15).max(1));
    let mut runs = 0_u64;
    for seed in seeds {
        target(seed);
    }
    while Instant::now() < until {
        let (seed, other) = (&seeds[random.below(seeds.len())], &seeds[random.below(seeds.len())]);
        let input = mutate(seed, other, &mut random);
        let started = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let hex: String = input.iter().map(|b| format!("{b:02x}")).collect();
            panic!("{name}: found {hex}");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{name}: more than 2 s for {} octets", input.len());
        runs += 1;
    }
    println!("{name}: {runs} inputs, nothing found");
}

#[test]
fn cms_frame() {
    run("CMS frame", &seeds::messages(), targets::frame);
}

#[test]
fn recipient_info() {
    run("RecipientInfo", &seeds::recipient_infos(), targets::recipient_info);
}

#[test]
fn smtp_session() {
    run("SMTP session", &seeds::sessions(), targets::session);
}

#[test]
fn intake() {
    run("intake", &seeds::mails(), targets::intake);
}

#[test]
fn ocsp_request() {
    run("OCSP request", &seeds::ocsp_requests(), targets::ocsp_request);
}

#[test]
fn calls() {
    run("calls", &seeds::calls(), targets::calls);
}
