//! How many connections there may be: in all, and from one source.

use crate::smtp::backend::Client;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections. A source is an IPv4 address or an IPv6 /64.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    max_per_source: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<u64, usize>,
}

/// A counted connection; dropped, it is counted no longer.
#[derive(Debug)]
pub struct Permit {
    connections: Arc<Connections>,
    source: Option<u64>,
}

impl Connections {
    /// At most `max` at a time, and `max_per_source` from each source. This host is no source.
    #[must_use]
    pub fn new(max: usize, max_per_source: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_source, open: Mutex::default() })
    }

    /// Counts a connection, unless there are too many.
    #[must_use]
    pub fn admit(self: &Arc<Self>, client: &Client) -> Option<Permit> {
        let source = if client.is_local() { None } else { client.address.map(source_of) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.max {
            return None;
        }
        if let Some(source) = source {
            let count = open.by_source.entry(source).or_insert(0);
            if *count >= self.max_per_source {
                return None;
            }
            *count += 1;
        }
        open.all += 1;
        Some(Permit { connections: Arc::clone(self), source })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(count) = open.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&source);
            }
        }
    }
}

/// The network part of the address: all of IPv4, which no global unicast /64 can equal, or the upper half of IPv6.
fn source_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sources_and_the_whole_are_limited() {
        let connections = Connections::new(5, 2);
        let from = |text: &str| connections.admit(&Client { address: Some(text.parse().unwrap()) });
        let first = from("192.0.2.1").unwrap();
        let _second = from("::ffff:192.0.2.1").unwrap();
        assert!(from("192.0.2.1").is_none());
        let _net = (from("2001:db8::1").unwrap(), from("2001:db8::2:1").unwrap());
        assert!(from("2001:db8::3").is_none());
        let local = connections.admit(&Client { address: None }).unwrap();
        assert!(from("127.0.0.1").is_none(), "the whole is full");
        drop((first, local));
        let _again = (from("192.0.2.1").unwrap(), from("127.0.0.1").unwrap());
        assert_eq!(connections.open(), 5);
    }
}
