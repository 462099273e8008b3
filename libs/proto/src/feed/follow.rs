//! A consumer's place in the feed: it goes forward, entry by entry, or not at all.

use super::{
    ENTRY_CONTEXT, EntryHeader, HEARTBEAT_CONTEXT, Heartbeat, LEASE_SECONDS, SignedEntry, SignedHeartbeat, View,
    body_digest,
};
use crate::encoding::Digest;
use crate::ids::FeedId;
use crate::time::UnixTime;
use openssl::pkey::{PKeyRef, Public};
use openssl::sign::Verifier;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why an entry or a heartbeat is not taken. Each is an alarm: certsrv alone never causes one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The signature is not the feed key's.
    #[error("entry after {0}: the signature is not the feed key's")]
    Signature(u64),
    /// The text is not what this version reads.
    #[error("entry after {after}: unreadable ({what})")]
    Unreadable {
        /// The last sequence that was taken.
        after: u64,
        /// Which part, and how.
        what: String,
    },
    /// Another feed's.
    #[error("entry after {0}: belongs to another feed")]
    OtherFeed(u64),
    /// Another generation: an administrator has to accept it.
    #[error("entry after {after}: generation {found} where {expected} is followed; accept it by hand after a restore")]
    Generation {
        /// The last sequence that was taken.
        after: u64,
        /// The generation that is followed.
        expected: u64,
        /// The generation of the entry.
        found: u64,
    },
    /// A gap, a repetition or a reordering.
    #[error("entry {found} where {expected} was due")]
    Order {
        /// The sequence that was due.
        expected: u64,
        /// The sequence that came.
        found: u64,
    },
    /// The chain parted: certsrv told two stories.
    #[error("entry {0}: does not follow the entry before it (fork)")]
    Fork(u64),
    /// The body is not the one that was signed.
    #[error("entry {0}: the body is not the one that was signed")]
    Body(u64),
    /// A heartbeat that is older than the newest one by more than a lease.
    #[error("heartbeat of {0}: older than the newest one by more than a lease")]
    OldHeartbeat(UnixTime),
}

/// How far a consumer has followed. Durable, together with what the entries changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The feed that is followed.
    pub feed: FeedId,
    /// Its generation.
    pub generation: u64,
    /// The last sequence that was taken; 0 before the first.
    pub sequence: u64,
    /// SHA-256 of that entry's header text; zeros before the first.
    pub head: Digest,
    /// When the newest heartbeat that was taken was issued.
    pub heartbeat: UnixTime,
}

impl Cursor {
    /// The place before a feed's first entry.
    #[must_use]
    pub const fn start(feed: FeedId, generation: u64) -> Self {
        Self { feed, generation, sequence: 0, head: Digest([0; 32]), heartbeat: UnixTime(0) }
    }

    /// Checks the next entry and moves behind it. `None`: it tells this consumer nothing.
    ///
    /// # Errors
    /// A [`FeedError`] that names what is wrong; the cursor has not moved.
    pub fn accept<C: DeserializeOwned>(
        &mut self,
        entry: &SignedEntry,
        view: View,
        key: &PKeyRef<Public>,
    ) -> Result<Option<C>, FeedError> {
        let after = self.sequence;
        if !signed(key, ENTRY_CONTEXT, &entry.header, entry.signature.as_ref()) {
            return Err(FeedError::Signature(after));
        }
        let header: EntryHeader = read(&entry.header, after, "header")?;
        if header.feed != self.feed {
            return Err(FeedError::OtherFeed(after));
        }
        if header.generation != self.generation {
            return Err(FeedError::Generation { after, expected: self.generation, found: header.generation });
        }
        if header.sequence != after + 1 {
            return Err(FeedError::Order { expected: after + 1, found: header.sequence });
        }
        if header.previous != self.head {
            return Err(FeedError::Fork(header.sequence));
        }
        if body_digest(entry.salt.as_ref(), &entry.body) != header.body(view) {
            return Err(FeedError::Body(header.sequence));
        }
        let change = read(&entry.body, after, "body")?;
        self.sequence = header.sequence;
        self.head = Digest::of(entry.header.as_bytes());
        Ok(change)
    }

    /// Checks a heartbeat. `Some(lease in seconds)`: this consumer has all there is, and its lease is renewed from the
    /// moment at which it *asked*. `None`: there are entries to fetch first.
    ///
    /// One that is older than the newest by more than [`LEASE_SECONDS`] is refused: whoever repeats an old heartbeat
    /// does not renew the lease for ever. That much is allowed for, so that certsrv's clock may be set back by it.
    ///
    /// # Errors
    /// A [`FeedError`] that names what is wrong; nothing changed.
    pub fn heartbeat(&mut self, heartbeat: &SignedHeartbeat, key: &PKeyRef<Public>) -> Result<Option<u64>, FeedError> {
        let after = self.sequence;
        if !signed(key, HEARTBEAT_CONTEXT, &heartbeat.text, heartbeat.signature.as_ref()) {
            return Err(FeedError::Signature(after));
        }
        let beat: Heartbeat = read(&heartbeat.text, after, "heartbeat")?;
        if beat.feed != self.feed {
            return Err(FeedError::OtherFeed(after));
        }
        if beat.generation != self.generation {
            return Err(FeedError::Generation { after, expected: self.generation, found: beat.generation });
        }
        if self.heartbeat.since(beat.issued) > LEASE_SECONDS {
            return Err(FeedError::OldHeartbeat(beat.issued));
        }
        if beat.sequence < after {
            return Err(FeedError::Order { expected: after, found: beat.sequence });
        }
        if beat.sequence == after && beat.head != self.head {
            return Err(FeedError::Fork(after));
        }
        self.heartbeat = self.heartbeat.max(beat.issued);
        Ok((beat.sequence == after).then_some(beat.lease))
    }
}

fn signed(key: &PKeyRef<Public>, context: &[u8], text: &str, signature: &[u8]) -> bool {
    let message = [context, text.as_bytes()].concat();
    Verifier::new_without_digest(key).and_then(|mut v| v.verify_oneshot(signature, &message)).unwrap_or(false)
}

fn read<T: DeserializeOwned>(text: &str, after: u64, part: &str) -> Result<T, FeedError> {
    serde_json::from_str(text).map_err(|e| FeedError::Unreadable { after, what: format!("{part}: {e}") })
}

#[cfg(test)]
mod tests;
