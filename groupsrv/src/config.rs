//! The configuration file.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use twinseal_svc::config::{self, ConfigError};
use twinseal_svc::keys::credential::Place;

/// Every key of the file; all have defaults but `certsrv`, which only `serve` needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The state directory.
    pub state: PathBuf,
    /// The administrators' socket.
    pub admin_socket: PathBuf,
    /// Where exploders call, `address:port`, unless a socket named `https` is handed over.
    pub listen: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are asked over plain HTTP, `address:port`; none by default.
    pub metrics_listen: Option<String>,
    /// certsrv's address, `https://host:port`.
    pub certsrv: Option<String>,
    /// File with the 32 octets under which the keys are sealed; else `$CREDENTIALS_DIRECTORY/key-credential`, else
    /// `credential` in the state directory.
    pub credential_file: Option<PathBuf>,
    /// This is an evaluation on one host, which protects nobody: no warning about it.
    pub evaluation: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: "/var/lib/twinseal-groupsrv".into(),
            admin_socket: "/run/twinseal-groupsrv/admin.sock".into(),
            listen: "[::]:7402".to_owned(),
            metrics_listen: None,
            certsrv: None,
            credential_file: None,
            evaluation: false,
        }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config::load(path)?;
        let invalid = |text: String| ConfigError::Invalid { path: path.to_owned(), text };
        for (key, address) in [("listen", Some(&config.listen)), ("metrics_listen", config.metrics_listen.as_ref())] {
            if address.is_some_and(|address| !is_socket_address(address)) {
                return Err(invalid(format!("{key}: address:port is wanted, such as \"[::]:7402\"")));
            }
        }
        if config.certsrv.as_ref().is_some_and(|url| !url.starts_with("https://") || url.len() <= "https://".len()) {
            return Err(invalid("certsrv: https://host:port is wanted".to_owned()));
        }
        Ok(config)
    }
}

impl<'a> From<&'a Config> for Place<'a> {
    fn from(config: &'a Config) -> Self {
        Self { configured: config.credential_file.as_deref(), state: &config.state }
    }
}

fn is_socket_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groupsrv.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_has_every_default_and_wrong_values_are_named() {
        assert_eq!(load("").unwrap(), Config::default());
        for (text, named) in [
            ("lisen = \"[::]:1\"", "lisen"),
            ("listen = \"somewhere\"", "listen"),
            ("metrics_listen = \"1:99999\"", "metrics_listen"),
            ("certsrv = \"http://x\"", "certsrv"),
            ("evaluation = \"yes\"", "evaluation"),
        ] {
            assert!(load(text).unwrap_err().contains(named), "{text}");
        }
    }
}
