//! Configuration: one TOML file a daemon, unknown keys refused, all defaults in the service's own `Default`.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML, or has a key or a value that is not known; the source names line and key.
    #[error("{path}: {text}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, key and what is wanted.
        text: String,
    },
}

/// Reads and checks `path`.
///
/// # Errors
/// [`ConfigError`] that names the file, the line and the key.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|e| ConfigError::Invalid { path: path.to_owned(), text: e.to_string() })
}
