//! Whether another service of Twinseal is on this host (DESIGN 1): two together give no protection from each other.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;

/// What an operator of the service `own` (`certsrv`, `groupsrv`, `exploder`) is warned of. `peers` are the addresses of
/// the others as they are configured, such as `https://host:port`. Resolves names: blocks.
#[must_use]
pub fn warnings(own: &str, peers: &[&str]) -> Vec<String> {
    let local = peers.iter().filter(|peer| resolves_here(peer)).map(|peer| {
        format!("{peer} is this host: whoever holds it holds both services' secrets (evaluation = true silences this)")
    });
    let others = ["certsrv", "groupsrv", "exploder"].into_iter().filter(|name| *name != own);
    let beside = others.map(|name| format!("/run/twinseal-{name}")).filter(|dir| Path::new(dir).is_dir()).map(|dir| {
        format!("{dir} exists: another Twinseal service runs on this host (evaluation = true silences this)")
    });
    local.chain(beside).collect()
}

fn resolves_here(peer: &str) -> bool {
    let authority = peer.split_once("://").map_or(peer, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let resolved = authority.to_socket_addrs().or_else(|_| (authority, 443).to_socket_addrs());
    resolved.is_ok_and(|mut addresses| addresses.any(|address| is_local(address.ip())))
}

/// Only a local address can be bound.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_the_documentation_network_is_not() {
        let here = ["https://127.0.0.1:7401", "https://[::1]:1/x"];
        assert!(here.iter().all(|peer| resolves_here(peer)));
        assert!(warnings("exploder", &here).len() >= 2);
        assert!(!resolves_here("https://192.0.2.7:7401"));
        assert!(!resolves_here("https://no-such-name.invalid"));
    }
}
