//! The configuration file: raw keys with their defaults, checked once into what the service uses.

use crate::cert::profile::{AltName, service_name};
use crate::revocation::places;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Kind of the CAs' own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CaKeyType {
    /// ECDSA on P-256.
    P256,
    /// RSA with 3072 bits.
    Rsa3072,
}

/// Every key of the configuration file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// State directory.
    pub state: PathBuf,
    /// Path of the admin socket, unless one named `admin` is handed over.
    pub admin_socket: PathBuf,
    /// Address of the HTTPS listener, unless a socket named `https` is handed over.
    pub listen: String,
    /// Address of the plain HTTP listener for what everybody may read (OCSP, CRLs, certificates), unless a socket named
    /// `http` is handed over.
    pub publish_listen: String,
    /// Where others reach that listener: `http://HOST` or `http://HOST:PORT`, and no more. It goes into certificates, so
    /// set it before `init`; empty, certificates do not say where their status is found.
    pub public_url: String,
    /// DNS names and IP addresses of the own TLS certificate.
    pub names: Vec<String>,
    /// The services share a host on purpose: no warning.
    pub evaluation: bool,
    /// First words of the CAs' common names.
    pub ca_name: String,
    /// Kind of the CAs' keys; read by `init` only.
    pub ca_key_type: CaKeyType,
    /// Life of the CAs' certificates in days; read by `init` only.
    pub ca_days: u32,
    /// Life of members' certificates in days.
    pub member_days: u32,
    /// Life of lists' certificates in days.
    pub group_days: u32,
    /// Life of the services' TLS certificates in days.
    pub service_days: u32,
    /// Life of one-time tokens for enrolment in hours.
    pub enrol_token_hours: u32,
    /// Life of one-time tokens for services in hours.
    pub service_token_hours: u32,
    /// Memory that hashing a new password takes, in KiB.
    pub password_memory_kib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: "/var/lib/twinseal-certsrv".into(),
            admin_socket: "/run/twinseal-certsrv/admin.sock".into(),
            listen: "0.0.0.0:8443".into(),
            publish_listen: "0.0.0.0:8080".into(),
            public_url: String::new(),
            names: Vec::new(),
            evaluation: false,
            ca_name: "Twinseal".into(),
            ca_key_type: CaKeyType::P256,
            ca_days: 3650,
            member_days: 365,
            group_days: 365,
            service_days: 365,
            enrol_token_hours: 72,
            service_token_hours: 24,
            // With two passes and one lane: the first choice of OWASP's password storage guide for Argon2id.
            password_memory_kib: 19_456,
        }
    }
}

/// A key has a value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {wanted}")]
pub struct BadValue {
    key: &'static str,
    wanted: &'static str,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// What is wrong, with file and key.
    pub fn load(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let config: Self = twinseal_svc::config::load(path)?;
        config.check().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), BadValue> {
        let rules: [(bool, &'static str, &'static str); 8] = [
            (self.names().is_some(), "names", "a DNS name or an IP address is wanted in each place"),
            (
                self.public_url.is_empty() || places::is_base(&self.public_url),
                "public_url",
                "http://HOST or http://HOST:PORT is wanted, without a path",
            ),
            (self.state.is_absolute(), "state", "an absolute path is wanted"),
            (
                (1..=40).contains(&self.ca_name.len()) && !self.ca_name.chars().any(char::is_control),
                "ca_name",
                "1 to 40 characters are wanted",
            ),
            ((30..=10_950).contains(&self.ca_days), "ca_days", "30 to 10950 are wanted"),
            (
                [self.member_days, self.group_days, self.service_days].iter().all(|d| (1..=825).contains(d)),
                "member_days, group_days, service_days",
                "1 to 825 are wanted",
            ),
            (
                [self.enrol_token_hours, self.service_token_hours].iter().all(|h| (1..=720).contains(h)),
                "enrol_token_hours, service_token_hours",
                "1 to 720 are wanted",
            ),
            ((64..=1_048_576).contains(&self.password_memory_kib), "password_memory_kib", "64 to 1048576 are wanted"),
        ];
        rules.iter().find(|(holds, _, _)| !holds).map_or(Ok(()), |(_, key, wanted)| Err(BadValue { key, wanted }))
    }

    /// The names of the own TLS certificate; `None` when one is no name.
    pub(crate) fn names(&self) -> Option<Vec<AltName>> {
        self.names.iter().map(|name| service_name(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_empty_file_is_the_defaults_and_bad_values_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certsrv.toml");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Config::load(&path).unwrap().member_days, 365);
        let table = [
            ("nmaes = []", "nmaes"),
            ("names = [\"not a name\"]", "names"),
            ("member_days = 826", "member_days"),
            ("ca_key_type = \"rsa1024\"", "rsa1024"),
            ("state = \"here\"", "state"),
            ("public_url = \"https://pki.test\"", "public_url"),
        ];
        for (text, named) in table {
            std::fs::write(&path, text).unwrap();
            let error = Config::load(&path).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
