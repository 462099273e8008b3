//! The member's home directory: where it is, its settings, and the one way in which a file is written.

use crate::exit::{Exit, Explain};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use twinseal_proto::ids::MailAddress;

/// The home directory. All paths of the tool come from here.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

/// `home.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The member.
    pub address: MailAddress,
    /// certsrv's URL: `https://HOST[:PORT]`.
    pub certsrv: String,
    /// Where mail is submitted; without it only `send --stdout` works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Submission>,
}

/// The submission server (RFC 6409).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// `HOST:PORT`.
    pub server: String,
    /// Whether TLS is needed.
    pub tls: SubmissionTls,
}

/// TLS towards the submission server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SubmissionTls {
    /// None: for a server on this host.
    None,
    /// STARTTLS (RFC 3207), or TLS from the first octet on port 465 (RFC 8314).
    Required,
}

/// The home directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// None of the variables that lead to it is set.
    #[error("there is no home directory: neither TWINSEAL_HOME nor HOME is set")]
    Nowhere,
    /// A file of it is missing.
    #[error("{0} is missing")]
    Missing(PathBuf),
    /// A file of it cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// home.toml is not what it should be.
    #[error("{path} cannot be understood")]
    Settings {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: Box<toml::de::Error>,
    },
}

impl Explain for HomeError {
    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } => Exit::InputOutput,
            _ => Exit::Setup,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Nowhere => Some("set TWINSEAL_HOME to a directory of your own".to_owned()),
            Self::Missing(_) => Some("twinseal enroll ADDRESS --certsrv URL --root FILE --token-file FILE".to_owned()),
            Self::Settings { .. } => Some("repair the file by hand, or enrol again".to_owned()),
            Self::File { .. } => None,
        }
    }
}

impl Home {
    /// A home at `dir`, which need not exist yet.
    #[must_use]
    pub const fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The home that the environment names.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`].
    pub fn find() -> Result<Self, HomeError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("TWINSEAL_HOME")
            .or_else(|| set("XDG_DATA_HOME").map(|dir| dir.join("twinseal")))
            .or_else(|| set("HOME").map(|dir| dir.join(".local/share/twinseal")))
            .map(Self::at)
            .ok_or(HomeError::Nowhere)
    }

    /// The private key, PKCS #8 PEM.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    /// The member's certificate and its issuers below the root.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    /// The trust anchors.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// Where the lists' certificates are.
    #[must_use]
    pub fn lists(&self) -> PathBuf {
        self.dir.join("lists")
    }

    /// Where an owner keeps what was signed.
    #[must_use]
    pub fn rosters(&self) -> PathBuf {
        self.dir.join("rosters")
    }

    /// Reads `home.toml`.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn settings(&self) -> Result<Settings, HomeError> {
        let path = self.dir.join("home.toml");
        let octets = read(&path)?;
        toml::from_str(&String::from_utf8_lossy(&octets))
            .map_err(|error| HomeError::Settings { path, error: Box::new(error) })
    }

    /// Makes the directory and writes `home.toml`.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn save_settings(&self, settings: &Settings) -> Result<(), HomeError> {
        make_dir(&self.dir)?;
        let path = self.dir.join("home.toml");
        let text = toml::to_string(settings).map_err(|error| failed(&path, io::Error::other(error)))?;
        write(&path, text.as_bytes(), 0o600)
    }
}

/// Reads a whole file of the home.
///
/// # Errors
/// [`HomeError::Missing`] or [`HomeError::File`].
pub fn read(path: &Path) -> Result<Vec<u8>, HomeError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HomeError::Missing(path.to_owned()),
        _ => failed(path, error),
    })
}

/// Makes a directory, with all above it, that only its owner may enter.
///
/// # Errors
/// [`HomeError::File`].
pub fn make_dir(path: &Path) -> Result<(), HomeError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(path, error))
}

/// Puts a file in its place whole or not at all: a new file beside it, synced, renamed, and the directory synced.
///
/// # Errors
/// [`HomeError::File`].
pub fn write(path: &Path, octets: &[u8], mode: u32) -> Result<(), HomeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let put = || -> io::Result<()> {
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(parent)?.sync_all()
    };
    put().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed(path, error)
    })
}

pub(crate) fn failed(path: &Path, error: io::Error) -> HomeError {
    HomeError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn settings_are_read_as_they_were_written_and_unknown_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b"));
        assert!(matches!(home.settings(), Err(HomeError::Missing(_))));
        let settings = Settings {
            address: "ann@members.test".parse().unwrap(),
            certsrv: "https://127.0.0.1:1".to_owned(),
            submission: Some(Submission { server: "127.0.0.1:25".to_owned(), tls: SubmissionTls::None }),
        };
        home.save_settings(&settings).unwrap();
        assert_eq!(home.settings().unwrap(), settings);
        let path = dir.path().join("a/b/home.toml");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "address = \"ann@members.test\"\ncertsrv = \"\"\npassword = \"x\"\n").unwrap();
        assert!(matches!(home.settings(), Err(HomeError::Settings { .. })));
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write(&dir.path().join("taken"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
