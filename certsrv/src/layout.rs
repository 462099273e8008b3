//! Where everything is in the state directory.

use std::path::{Path, PathBuf};

/// The paths below a state directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    state: PathBuf,
}

impl Layout {
    pub(crate) fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// The state directory itself.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// `NAME.key` and `NAME.pem` of the root and the sub-CAs.
    pub(crate) fn ca(&self) -> PathBuf {
        self.state.join("ca")
    }

    /// The own TLS identity.
    pub(crate) fn tls(&self) -> PathBuf {
        self.state.join("tls")
    }

    /// The feed: its identity, its key and the log.
    pub(crate) fn feed(&self) -> PathBuf {
        self.state.join("feed")
    }

    /// certsrv's own mail: the key that its tokens are derived from.
    pub(crate) fn mail(&self) -> PathBuf {
        self.state.join("mail")
    }

    /// The keys that sign mails in lists' names, one a group.
    pub(crate) fn signing(&self) -> PathBuf {
        self.state.join("signing")
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// The OCSP responders' keys and certificates.
    pub(crate) fn ocsp(&self) -> PathBuf {
        self.state.join("ocsp")
    }

    /// The newest CRL of each CA that is online.
    pub(crate) fn crl(&self) -> PathBuf {
        self.state.join("crl")
    }

    /// The root's CRL.
    pub(crate) fn root_crl(&self) -> PathBuf {
        self.ca().join("root.crl")
    }

    /// The index, which can be rebuilt.
    pub(crate) fn index(&self) -> PathBuf {
        self.state.join("index")
    }
}
