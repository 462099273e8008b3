//! Whether another service of Twinseal is on this host (DESIGN 1): two together give no protection from each other.

use crate::config::{Config, split_host_port};
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::path::Path;

/// What an operator is warned of; nothing in an evaluation.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    if config.evaluation {
        return Vec::new();
    }
    let peers = [("certsrv", &config.certsrv), ("groupsrv", &config.groupsrv)];
    let together =
        peers.iter().filter(|(name, url)| is_here(url) || Path::new(&format!("/run/twinseal-{name}")).exists());
    together
        .map(|(name, _)| {
            format!("{name} is on this host too: who takes the host has both; set evaluation = true if this is a trial")
        })
        .collect()
}

/// Whether the host in the URL has an address of this host: one to which a socket can be bound.
fn is_here(url: &str) -> bool {
    let Some(peer) = url.strip_prefix("https://").and_then(split_host_port) else { return false };
    let addresses = peer.to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| UdpSocket::bind((address.ip(), 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_the_documentation_net_is_not() {
        assert!(is_here("https://127.0.0.1:7401"));
        assert!(!is_here("https://192.0.2.1:7401"));
        let mut config = Config { certsrv: "https://127.0.0.1:7401".into(), ..Config::default() };
        assert_eq!(warnings(&config).len(), 1);
        config.evaluation = true;
        assert!(warnings(&config).is_empty());
    }
}
