//! The feed: certsrv's signed, ordered log of who belongs (DESIGN 3.1), as its two consumers see it.
//!
//! Every entry of certsrv's log has one header, signed once, that names the digests of three bodies: certsrv's own,
//! groupsrv's and the exploder's. A consumer is sent the header, the signature and its own body; so both follow the
//! same chain, and neither can see (nor guess from its digest, each body is salted) what the other is told.

mod change;
mod follow;
mod key;
mod snapshot;

pub use change::{
    ContentPolicy, Delivery, DeliveryMode, DeliveryOptions, ExploderChange, GroupsrvChange, History, ListSettings,
    PostLevel, RecipientKey, RevokedMembership,
};
pub use follow::{Cursor, FeedError};
pub use key::{NEXT_KEY_CONTEXT, Rotation};
pub use snapshot::{MAX_SNAPSHOT, SNAPSHOT_CONTEXT, SNAPSHOT_PAGE, SignedSnapshot, SnapshotHeader, snapshot_digest};

use crate::encoding::{B64, Digest};
use crate::ids::FeedId;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// Seconds for which a heartbeat lets a consumer go on (DESIGN 3.1), on the consumer's own monotonic clock.
pub const LEASE_SECONDS: u64 = 300;

/// How far the sequence jumps with each generation: more than a log that was lost can have numbered. So no number is ever
/// given twice, and what was compared by sequence before a restore is compared rightly after it.
pub const GENERATION_STEP: u64 = 1 << 32;

/// Which body of an entry a reader is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Handles, recipient ids and public keys; no addresses.
    Groupsrv,
    /// Handles, addresses, delivery options and list settings; no keys that encrypt.
    Exploder,
}

/// What the feed key signs for an entry: this, as JSON text, preceded by [`ENTRY_CONTEXT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryHeader {
    /// The feed this entry belongs to.
    pub feed: FeedId,
    /// Raised by one when certsrv was restored from a backup; an administrator accepts it at each consumer.
    pub generation: u64,
    /// 1 for the first entry, then without gaps. The first entry of a later generation is [`GENERATION_STEP`] for each
    /// generation behind the entry that it follows.
    pub sequence: u64,
    /// SHA-256 of the header text of the entry before; zeros for the first.
    pub previous: Digest,
    /// When certsrv made the entry.
    pub issued: UnixTime,
    /// [`body_digest`] of certsrv's own body.
    pub certsrv: Digest,
    /// [`body_digest`] of groupsrv's body.
    pub groupsrv: Digest,
    /// [`body_digest`] of the exploder's body.
    pub exploder: Digest,
    /// DER SubjectPublicKeyInfo of the key that signs everything after this entry: the feed key is replaced here. The new
    /// key has signed for itself too ([`SignedEntry::next_signature`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<B64>,
}

impl EntryHeader {
    /// The digest of the body that `view` is sent.
    #[must_use]
    pub const fn body(&self, view: View) -> Digest {
        match view {
            View::Groupsrv => self.groupsrv,
            View::Exploder => self.exploder,
        }
    }
}

/// Put before the header text when an entry is signed (Ed25519, RFC 8032).
pub const ENTRY_CONTEXT: &[u8] = b"twinseal feed entry\0";
/// Put before the heartbeat text when a heartbeat is signed.
pub const HEARTBEAT_CONTEXT: &[u8] = b"twinseal feed heartbeat\0";

/// The digest by which a header names a body: SHA-256(salt ‖ body text). Salts have 16 random octets.
#[must_use]
pub fn body_digest(salt: &[u8], body: &str) -> Digest {
    Digest::of_parts(&[salt, body.as_bytes()])
}

/// One entry as a consumer is sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedEntry {
    /// The [`EntryHeader`] exactly as it was signed.
    pub header: String,
    /// Ed25519 signature over [`ENTRY_CONTEXT`] ‖ header: 64 octets.
    pub signature: B64,
    /// The salt of this consumer's body.
    pub salt: B64,
    /// JSON text of a [`GroupsrvChange`] or an [`ExploderChange`], or `null` when the entry tells this consumer nothing.
    pub body: String,
    /// Of an entry that replaces the feed key: the next key's signature over [`NEXT_KEY_CONTEXT`] ‖ header: 64 octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_signature: Option<B64>,
}

/// What a heartbeat says: this feed has come so far, and the lease is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The feed.
    pub feed: FeedId,
    /// Its generation.
    pub generation: u64,
    /// The last entry's sequence; 0 for an empty feed.
    pub sequence: u64,
    /// SHA-256 of the last entry's header text; zeros for an empty feed.
    pub head: Digest,
    /// When certsrv signed this; a consumer takes none that is older than one that it has seen.
    pub issued: UnixTime,
    /// Lease in seconds: [`LEASE_SECONDS`].
    pub lease: u64,
}

/// A [`Heartbeat`] with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHeartbeat {
    /// The [`Heartbeat`] exactly as it was signed.
    pub text: String,
    /// Ed25519 signature over [`HEARTBEAT_CONTEXT`] ‖ text: 64 octets.
    pub signature: B64,
}
