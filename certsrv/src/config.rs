//! The configuration file: raw keys with their defaults, checked once into what the service uses.

mod mail;

use crate::cert::profile::{AltName, service_name};
use crate::revocation::places;
use crate::saml::settings::SamlConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub use mail::{Mail, SmarthostTls};

/// Kind of the CAs' own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CaKeyType {
    /// ECDSA on P-256.
    P256,
    /// RSA with 3072 bits.
    Rsa3072,
}

/// What holds the CAs' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaKeyHolder {
    /// Files in the state directory, sealed under the credential.
    File,
    /// A token, through its PKCS #11 module.
    Pkcs11,
}

/// The table `[ca_keys]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaKeysConfig {
    /// What holds them.
    pub kind: CaKeyHolder,
    /// The PKCS #11 module: the vendor's shared object.
    pub module: Option<PathBuf>,
    /// The token's label.
    pub token: Option<String>,
    /// File with the token's PIN in its first line; else `$CREDENTIALS_DIRECTORY/ca-pin`.
    pub pin_file: Option<PathBuf>,
    /// First part of the keys' labels: the members' CA has `LABEL-members`.
    pub label: String,
}

impl Default for CaKeysConfig {
    fn default() -> Self {
        Self { kind: CaKeyHolder::File, module: None, token: None, pin_file: None, label: "twinseal".into() }
    }
}

impl CaKeysConfig {
    fn sound(&self) -> bool {
        let named = self.module.as_ref().is_some_and(|path| path.is_absolute()) && self.token.is_some();
        let none = self.module.is_none() && self.token.is_none() && self.pin_file.is_none();
        match self.kind {
            CaKeyHolder::File => none,
            CaKeyHolder::Pkcs11 => named && (1..=24).contains(&self.label.len()),
        }
    }
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
    /// What holds the CAs' keys.
    pub ca_keys: CaKeysConfig,
    /// File with the 32 octets under which the CAs' keys are sealed; else `$CREDENTIALS_DIRECTORY/key-credential`, else
    /// `credential` in the state directory.
    pub credential_file: Option<PathBuf>,
    /// Kind of the CAs' keys; read by `init` only.
    pub ca_key_type: CaKeyType,
    /// Life of the sub-CAs' certificates in days; read by `init` and `ca renew-sub` only.
    pub ca_days: u32,
    /// Life of the root's certificate in days, never less than the sub-CAs'; read by `init` only.
    pub root_days: u32,
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
    /// Life of membership certificates in hours.
    pub membership_hours: u32,
    /// Makes key pairs for members who ask for that (RFC 7030 section 4.4): the key is in certsrv's memory for a moment.
    pub server_keygen: bool,
    /// PEM file of the root CAs whose S/MIME certificates members may bring; without it, none.
    pub import_roots: Option<PathBuf>,
    /// Memory that hashing a new password takes, in KiB.
    pub password_memory_kib: u32,
    /// Log-in through a SAML identity provider; absent, there is none.
    pub saml: Option<SamlConfig>,
    /// How certsrv sends its own mail; without it, nothing that needs a mail can be done.
    pub mail: Option<Mail>,
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
            ca_keys: CaKeysConfig::default(),
            credential_file: None,
            ca_key_type: CaKeyType::P256,
            ca_days: 3650,
            // Twice as long: a sub-CA is renewed once at least.
            root_days: 7300,
            member_days: 365,
            group_days: 365,
            service_days: 365,
            enrol_token_hours: 72,
            service_token_hours: 24,
            membership_hours: 72,
            server_keygen: false,
            import_roots: None,
            // With two passes and one lane: the first choice of OWASP's password storage guide for Argon2id.
            password_memory_kib: 19_456,
            saml: None,
            mail: None,
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

impl BadValue {
    pub(crate) const fn new(key: &'static str, wanted: &'static str) -> Self {
        Self { key, wanted }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// What is wrong, with file and key.
    pub fn load(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let config: Self = twinseal_svc::config::load(path)?;
        let saml = config.saml.as_ref().map_or(Ok(()), SamlConfig::check);
        config.check().and(saml).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), BadValue> {
        if !(24..=168).contains(&self.membership_hours) {
            return Err(BadValue { key: "membership_hours", wanted: "24 to 168 are wanted" });
        }
        let rules: [(bool, &'static str, &'static str); 9] = [
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
            (
                self.ca_keys.sound(),
                "ca_keys",
                "kind = \"file\" alone, or kind = \"pkcs11\" with module (an absolute path) and token are wanted",
            ),
            (
                [self.ca_days, self.root_days].iter().all(|d| (30..=10_950).contains(d)),
                "ca_days, root_days",
                "30 to 10950 are wanted",
            ),
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
        rules.iter().find(|(holds, _, _)| !holds).map_or(Ok(()), |(_, key, wanted)| Err(BadValue { key, wanted }))?;
        self.mail.as_ref().map_or(Ok(()), Mail::check)
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
            ("[ca_keys]\nkind = \"pkcs11\"", "ca_keys"),
            ("[ca_keys]\nmodule = \"/x.so\"", "ca_keys"),
            ("[ca_keys]\nkind = \"pkcs11\"\nmodule = \"x.so\"\ntoken = \"t\"", "ca_keys"),
            ("[ca_keys]\npin = \"1234\"", "pin"),
            ("public_url = \"https://pki.test\"", "public_url"),
        ];
        for (text, named) in table {
            std::fs::write(&path, text).unwrap();
            let error = Config::load(&path).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
