//! A snapshot: what a view has come to at one sequence, for whoever cannot or need not go through all entries.
//!
//! Its body is lines of JSON, each `[sequence, change]`: taken in their order by an empty roster they give the roster that
//! the entries up to the snapshot's sequence give. One header is signed for both views, with the digests of both bodies.

use super::follow::{Cursor, FeedError, read};
use super::key::{Rotation, signed};
use super::{LEASE_SECONDS, View};
use crate::encoding::{B64, Digest};
use crate::ids::FeedId;
use crate::time::UnixTime;
use openssl::pkey::{PKey, PKeyRef, Public};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Put before the header text when a snapshot is signed.
pub const SNAPSHOT_CONTEXT: &[u8] = b"twinseal feed snapshot\0";
/// Octets of a page of a snapshot's body: a line longer than that has a page of its own.
pub const SNAPSHOT_PAGE: usize = 1 << 20;
/// Most octets of a body that a consumer takes.
pub const MAX_SNAPSHOT: usize = 1 << 29;

/// What the feed key signs for a snapshot: this, as JSON text, preceded by [`SNAPSHOT_CONTEXT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHeader {
    /// The feed.
    pub feed: FeedId,
    /// The generation of the entry at `sequence`.
    pub generation: u64,
    /// The last entry that is in it.
    pub sequence: u64,
    /// SHA-256 of that entry's header text.
    pub head: Digest,
    /// When it was made.
    pub issued: UnixTime,
    /// [`snapshot_digest`] of groupsrv's body.
    pub groupsrv: Digest,
    /// [`snapshot_digest`] of the exploder's body.
    pub exploder: Digest,
}

/// The digest by which a header names a body: SHA-256(salt ‖ pages). Salts have 16 random octets.
#[must_use]
pub fn snapshot_digest<T: AsRef<str>>(salt: &[u8], pages: &[T]) -> Digest {
    let pages = pages.iter().map(|page| page.as_ref().as_bytes());
    Digest::of_parts(&std::iter::once(salt).chain(pages).collect::<Vec<_>>())
}

/// A [`SnapshotHeader`] with its signature, and what is needed to verify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSnapshot {
    /// The [`SnapshotHeader`] exactly as it was signed.
    pub header: String,
    /// Ed25519 signature over [`SNAPSHOT_CONTEXT`] ‖ header, by the feed key of the entry after `sequence`.
    pub signature: B64,
    /// The salt of this consumer's body.
    pub salt: B64,
    /// Every replacement of the feed key up to `sequence`, in order.
    pub rotations: Vec<Rotation>,
}

impl SignedSnapshot {
    /// Checks the snapshot with its whole body for a consumer that stands at `cursor`: where it stands after taking it, and
    /// the changes in their order, each with its sequence. `key` is the feed key that the consumer was given.
    ///
    /// # Errors
    /// A [`FeedError`] that names what is wrong; among them that it is from before the consumer's place.
    pub fn open<C: DeserializeOwned>(
        &self,
        pages: &[String],
        view: View,
        cursor: &Cursor,
        key: &PKeyRef<Public>,
    ) -> Result<(Cursor, Vec<(u64, C)>), FeedError> {
        let after = cursor.sequence;
        let next = self.key(cursor, key)?;
        let replaced = next.as_ref().map(|der| PKey::public_key_from_der(der.as_ref())).transpose();
        let replaced = replaced.map_err(|_| FeedError::NextKey(after))?;
        if !signed(replaced.as_deref().unwrap_or(key), SNAPSHOT_CONTEXT, &self.header, self.signature.as_ref()) {
            return Err(FeedError::Signature(after));
        }
        let header: SnapshotHeader = read(&self.header, after, "header of a snapshot")?;
        if header.feed != cursor.feed {
            return Err(FeedError::OtherFeed(after));
        }
        if header.generation != cursor.up_to() {
            return Err(FeedError::Generation { after, expected: cursor.up_to(), found: header.generation });
        }
        if cursor.heartbeat.since(header.issued) > LEASE_SECONDS {
            return Err(FeedError::OldHeartbeat(header.issued));
        }
        if header.sequence < after || (header.sequence == after && cursor.is_behind()) {
            return Err(FeedError::Truncated { seen: after, told: header.sequence });
        }
        if header.sequence == after && header.head != cursor.head {
            return Err(FeedError::Fork(after));
        }
        let digest = match view {
            View::Groupsrv => header.groupsrv,
            View::Exploder => header.exploder,
        };
        if snapshot_digest(self.salt.as_ref(), pages) != digest {
            return Err(FeedError::Body(header.sequence));
        }
        let mut changes = Vec::new();
        for line in pages.iter().flat_map(|page| page.lines()) {
            let (sequence, change): (u64, C) = read(line, after, "line of a snapshot")?;
            if sequence > header.sequence {
                return Err(FeedError::Order { expected: header.sequence, found: sequence });
            }
            changes.push((sequence, change));
        }
        let (generation, sequence, head) = (header.generation, header.sequence, header.head);
        let place = Cursor { generation, sequence, head, key: next, ..cursor.clone() };
        Ok((place, changes))
    }

    /// The key that signed, by the chain of replacements from the consumer's own; `None`: the one that it was given.
    fn key(&self, cursor: &Cursor, key: &PKeyRef<Public>) -> Result<Option<B64>, FeedError> {
        let mut next = cursor.key.clone();
        let mut present = cursor.replaced()?;
        for rotation in &self.rotations {
            // Those from before the consumer's key are no concern of its.
            if let Some(der) = rotation.next(present.as_deref().unwrap_or(key))? {
                present =
                    Some(PKey::public_key_from_der(der.as_ref()).map_err(|_| FeedError::NextKey(cursor.sequence))?);
                next = Some(der);
            }
        }
        Ok(next)
    }
}
