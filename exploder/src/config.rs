//! The exploder's configuration: one TOML file, unknown keys refused, every default below.

use serde::Deserialize;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use twinseal_svc::colocation;
use twinseal_svc::config::ConfigError;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// State directory.
    pub state: PathBuf,
    /// Where the admin socket is made when the service manager hands none over.
    pub admin_socket: PathBuf,
    /// Our own name: in the banner, in EHLO and in Received fields. Required.
    pub hostname: String,
    /// `host:port` of the SMTP listener when none is handed over.
    pub smtp_listen: Option<String>,
    /// `host:port` of the HTTPS listener (health and metrics) when none is handed over.
    pub http_listen: Option<String>,
    /// certsrv, `https://host:port`. Required.
    pub certsrv: String,
    /// groupsrv, `https://host:port`. Required.
    pub groupsrv: String,
    /// Where all mail goes, `host:port`. Required.
    pub smarthost: String,
    /// TLS to the smarthost.
    pub tls: SmarthostTls,
    /// PEM file with the CAs for the smarthost; the system's when unset.
    pub smarthost_ca: Option<PathBuf>,
    /// User name for AUTH at the smarthost; needs TLS.
    pub smarthost_user: Option<String>,
    /// File (mode 0600) with the password for AUTH.
    pub smarthost_password_file: Option<PathBuf>,
    /// Connections kept to the smarthost: 1 to 64.
    pub connections: usize,
    /// Seconds until a copy is tried a second time (RFC 5321 section 4.5.4.1).
    pub retry_first_seconds: u64,
    /// Longest time between two tries in seconds.
    pub retry_max_seconds: u64,
    /// Seconds after which a copy that keeps failing is given up.
    pub lifetime_seconds: u64,
    /// SMTP sessions served at once.
    pub sessions: usize,
    /// Largest message in octets that any list gets; told in EHLO. A list's own limit may be smaller.
    pub max_size: u64,
    /// All three services on one host, to try them out: no warning about it.
    pub evaluation: bool,
}

/// How the connection to the smarthost is protected (RFC 8314, RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmarthostTls {
    /// TLS with a verified name: from the start on port 465, else by STARTTLS.
    Required,
    /// No TLS: for a smarthost on this host.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/twinseal-exploder"),
            admin_socket: PathBuf::from("/run/twinseal-exploder/admin.sock"),
            hostname: String::new(),
            smtp_listen: None,
            http_listen: None,
            certsrv: String::new(),
            groupsrv: String::new(),
            smarthost: String::new(),
            tls: SmarthostTls::Required,
            smarthost_ca: None,
            smarthost_user: None,
            smarthost_password_file: None,
            connections: 4,
            retry_first_seconds: 300,
            retry_max_seconds: 4 * 3600,
            lifetime_seconds: 5 * 86_400,
            sessions: 200,
            max_size: 64 * 1024 * 1024,
            evaluation: false,
        }
    }
}

/// A configuration file that cannot be used; the text names the key.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not readable, not TOML, or with keys that are not known.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A value that cannot be.
    #[error("{path}: {key}: {what}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wanted.
        what: String,
    },
}

impl Config {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let config: Self = twinseal_svc::config::load(path)?;
        match config.fault() {
            None => Ok(config),
            Some((key, what)) => Err(LoadError::Value { path: path.to_owned(), key, what }),
        }
    }

    /// The first value that cannot be.
    fn fault(&self) -> Option<(&'static str, String)> {
        let fault = |key, what: &str| Some((key, what.to_owned()));
        if !is_domain(&self.hostname) {
            return fault("hostname", "wanted: the full name of this host, such as lists.example");
        }
        for (key, url) in [("certsrv", &self.certsrv), ("groupsrv", &self.groupsrv)] {
            if url.strip_prefix("https://").and_then(split_host_port).is_none() {
                return fault(key, "wanted: https://host:port");
            }
        }
        let Some((host, _)) = split_host_port(&self.smarthost) else {
            return fault("smarthost", "wanted: host:port");
        };
        if self.tls == SmarthostTls::None && !self.evaluation && !is_loopback(host) {
            return fault(
                "tls",
                "\"none\" sends mail in the clear: only to a smarthost on this host, or with evaluation = true",
            );
        }
        if self.smarthost_user.is_some() != self.smarthost_password_file.is_some() {
            return fault("smarthost_user", "user and password file go together");
        }
        if self.smarthost_user.is_some() && self.tls == SmarthostTls::None {
            return fault("smarthost_user", "a password is only sent over TLS: set tls = \"required\"");
        }
        if !(1..=64).contains(&self.connections) {
            return fault("connections", "wanted: 1 to 64");
        }
        if self.retry_first_seconds == 0 || self.retry_max_seconds < self.retry_first_seconds {
            return fault("retry_first_seconds", "wanted: at least 1, and not more than retry_max_seconds");
        }
        if !(60..=14 * 86_400).contains(&self.lifetime_seconds) {
            return fault("lifetime_seconds", "wanted: 60 to 1209600 (14 days)");
        }
        if self.max_size < 64 * 1024 {
            return fault("max_size", "wanted: at least 65536 octets (RFC 5321 section 4.5.3.1.7)");
        }
        if self.sessions == 0 {
            return fault("sessions", "wanted: at least 1");
        }
        None
    }

    /// What an operator should change; nothing in an evaluation. Resolves names: blocks.
    pub(crate) fn warnings(&self) -> Vec<String> {
        if self.evaluation { Vec::new() } else { colocation::warnings("exploder", &[&self.certsrv, &self.groupsrv]) }
    }

    /// Host and port of the smarthost.
    pub(crate) fn smarthost_parts(&self) -> (&str, u16) {
        split_host_port(&self.smarthost).unwrap_or(("", 25))
    }
}

/// `host:port`; the host may stand in brackets (IPv6).
pub(crate) fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.trim_end_matches('/').rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let plain = |h: &str| h.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
    (!host.is_empty() && plain(host)).then_some((host, port.parse().ok().filter(|p| *p != 0)?))
}

fn is_domain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => {
            host == "localhost" && (host, 25).to_socket_addrs().is_ok_and(|mut all| all.all(|a| a.ip().is_loopback()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "hostname = \"lists.test\"\ncertsrv = \"https://127.0.0.1:1\"\ngroupsrv = \"https://g.test:2\"\n\
                        smarthost = \"127.0.0.1:25\"\ntls = \"none\"\n";

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exploder.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_small_file_is_enough() {
        let config = load(GOOD).unwrap();
        assert_eq!((config.smarthost_parts(), config.connections), (("127.0.0.1", 25), 4));
    }

    #[test]
    fn services_on_one_host_are_warned_of_unless_it_is_a_trial() {
        let mut config = load(GOOD).unwrap();
        assert!(!config.warnings().is_empty());
        config.evaluation = true;
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (line, key) in [
            ("colour = 1", "colour"),
            ("connections = 0", "connections"),
            ("max_size = 10", "max_size"),
            ("hostname = \"a b\"", "hostname"),
            ("smarthost = \"mail.example\"", "smarthost"),
            ("smarthost = \"192.0.2.1:25\"", "tls"),
            ("smarthost_user = \"me\"", "smarthost_user"),
            ("groupsrv = \"http://g:1\"", "groupsrv"),
            ("retry_first_seconds = 0", "retry_first_seconds"),
            ("lifetime_seconds = 1", "lifetime_seconds"),
        ] {
            let name = line.split(' ').next().unwrap_or_default();
            let kept = GOOD.lines().filter(|l| !l.starts_with(&format!("{name} "))).collect::<Vec<_>>().join("\n");
            let error = load(&format!("{kept}\n{line}\n")).unwrap_err();
            assert!(error.contains(key), "{line}: {error}");
        }
    }
}
