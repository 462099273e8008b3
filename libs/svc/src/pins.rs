//! Pins: the public keys at the other ends of this service's connections (DESIGN 3). `pins.toml` in the state directory
//! is written by `join` and by the local administrator, by nobody else.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use twinseal_proto::encoding::Digest;

/// SHA-256 digests of the DER SubjectPublicKeyInfos of the peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pins {
    /// certsrv's key.
    pub certsrv: Option<Digest>,
    /// groupsrv's key.
    pub groupsrv: Option<Digest>,
    /// The exploders' keys.
    pub exploders: BTreeSet<Digest>,
}

/// The name of a peer in `pins.toml` and on command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// The certificate server.
    Certsrv,
    /// The group key server.
    Groupsrv,
    /// An exploder.
    Exploder,
}

impl Pins {
    /// Reads `pins.toml` in `state`; none is no pins.
    ///
    /// # Errors
    /// The file's I/O error, or `InvalidData` with the line.
    pub fn load(state: &Path) -> std::io::Result<Self> {
        match std::fs::read_to_string(state.join("pins.toml")) {
            Ok(text) => toml::from_str(&text)
                .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("pins.toml: {e}"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Replaces `pins.toml` in `state`.
    ///
    /// # Errors
    /// The I/O error of writing it.
    pub fn save(&self, state: &Path) -> std::io::Result<()> {
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        crate::durable::replace(&state.join("pins.toml"), text.as_bytes())
    }

    /// Adds a pin; for certsrv and groupsrv it replaces the one there is.
    pub fn set(&mut self, peer: Peer, pin: Digest) {
        match peer {
            Peer::Certsrv => self.certsrv = Some(pin),
            Peer::Groupsrv => self.groupsrv = Some(pin),
            Peer::Exploder => {
                self.exploders.insert(pin);
            }
        }
    }

    /// Which peer has the key `pin`.
    #[must_use]
    pub fn peer(&self, pin: &Digest) -> Option<Peer> {
        if self.certsrv.as_ref() == Some(pin) {
            Some(Peer::Certsrv)
        } else if self.groupsrv.as_ref() == Some(pin) {
            Some(Peer::Groupsrv)
        } else {
            self.exploders.contains(pin).then_some(Peer::Exploder)
        }
    }
}
