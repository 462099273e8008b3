//! Step 1: who calls.

use twinseal_proto::encoding::Digest;
use twinseal_svc::http;
use twinseal_svc::pins::{Peer, Pins};

/// A caller, as far as this service cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An exploder, with the digest of its public key.
    Exploder(Digest),
    /// Nobody that may ask for anything here.
    Stranger,
}

/// Tells who is at the other end. TLS checked the chain and the pin when the connection was made; pins change, so they
/// are looked at for each call.
pub(crate) fn authenticate(caller: &http::Caller, pins: &Pins) -> Caller {
    match caller {
        http::Caller::Certificate { pin, .. } if pins.peer(pin) == Some(Peer::Exploder) => Caller::Exploder(*pin),
        _ => Caller::Stranger,
    }
}

impl Caller {
    /// The digest that the audit log names; zeros for strangers.
    pub(crate) const fn digest(self) -> Digest {
        match self {
            Self::Exploder(pin) => pin,
            Self::Stranger => Digest([0; 32]),
        }
    }
}
