//! A consumer's place in the feed: it goes forward, entry by entry, or not at all.

use super::key::{next_key, signed};
use super::{
    ENTRY_CONTEXT, EntryHeader, GENERATION_STEP, HEARTBEAT_CONTEXT, Heartbeat, LEASE_SECONDS, SignedEntry,
    SignedHeartbeat, View, body_digest,
};
use crate::encoding::{B64, Digest};
use crate::ids::FeedId;
use crate::time::UnixTime;
use openssl::pkey::{PKey, PKeyRef, Public};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why an entry, a heartbeat or a snapshot is not taken. Each is an alarm: a certsrv that works never causes one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The signature is not the feed key's.
    #[error("what follows entry {0}: the signature is not the feed key's")]
    Signature(u64),
    /// The next feed key has not signed for itself, or is none.
    #[error("entry {0}: the next feed key did not sign for itself")]
    NextKey(u64),
    /// The text is not what this version reads.
    #[error("what follows entry {after}: unreadable ({what})")]
    Unreadable {
        /// The last sequence that was taken.
        after: u64,
        /// Which part, and how.
        what: String,
    },
    /// Another feed's.
    #[error("what follows entry {0}: belongs to another feed")]
    OtherFeed(u64),
    /// Another generation: an administrator has to accept it.
    #[error("what follows entry {after}: generation {found} where {expected} is followed")]
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
    /// certsrv's end is before what was taken from it: entries are lost or withheld.
    #[error("the feed ends at entry {told}, and entry {seen} was taken from it")]
    Truncated {
        /// The last sequence that was taken.
        seen: u64,
        /// The last sequence there is, as it says.
        told: u64,
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

impl FeedError {
    /// What an administrator should look at.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Generation { .. } => {
                "if certsrv was restored from a backup, do what its restore command told: feed accept-generation"
            }
            Self::Truncated { .. } | Self::Fork(_) | Self::Order { .. } => {
                "was certsrv's state directory put back by hand? restore the backup with twinseal-certsrv restore, \
                 which begins a new generation"
            }
            Self::Signature(_) | Self::NextKey(_) | Self::OtherFeed(_) => {
                "this is not the certsrv that was joined, or it was restored to a feed key of before: compare the feed \
                 key with certsrv's administrator, then feed accept-generation with --key"
            }
            Self::OldHeartbeat(_) => {
                "somebody repeats an old heartbeat, or certsrv's clock was set back: look at its clock"
            }
            Self::Body(_) | Self::Unreadable { .. } => {
                "what certsrv sends was changed, or is of a later version: compare the versions"
            }
        }
    }
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
    /// DER SubjectPublicKeyInfo of the feed key from here on, when it was replaced since the key that the consumer was
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<B64>,
    /// The highest generation that an administrator accepted, when it is above the one followed.
    #[serde(skip)]
    pub accepted: u64,
}

impl Cursor {
    /// The place before a feed's first entry.
    #[must_use]
    pub const fn start(feed: FeedId, generation: u64) -> Self {
        let (head, heartbeat) = (Digest([0; 32]), UnixTime(0));
        Self { feed, generation, sequence: 0, head, heartbeat, key: None, accepted: 0 }
    }

    /// This place, from where the way may go on into a later generation, up to `generation`.
    #[must_use]
    pub const fn accepting(mut self, generation: u64) -> Self {
        self.accepted = generation;
        self
    }

    /// The highest generation that may be followed from here.
    #[must_use]
    pub const fn up_to(&self) -> u64 {
        if self.accepted > self.generation { self.accepted } else { self.generation }
    }

    /// Whether a later generation was accepted and not reached yet.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.accepted > self.generation
    }

    /// Checks the next entry and moves behind it. `None`: it tells this consumer nothing. `key` is the feed key that the
    /// consumer was given; [`Self::key`] stands before it.
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
        let replaced = self.replaced()?;
        let key = replaced.as_deref().unwrap_or(key);
        if !signed(key, ENTRY_CONTEXT, &entry.header, entry.signature.as_ref()) {
            return Err(FeedError::Signature(after));
        }
        let header: EntryHeader = read(&entry.header, after, "header")?;
        if header.feed != self.feed {
            return Err(FeedError::OtherFeed(after));
        }
        let expected = self.due(header.generation)?;
        if header.sequence != expected {
            return Err(FeedError::Order { expected, found: header.sequence });
        }
        if header.previous != self.head {
            return Err(FeedError::Fork(header.sequence));
        }
        if body_digest(entry.salt.as_ref(), &entry.body) != header.body(view) {
            return Err(FeedError::Body(header.sequence));
        }
        let next = next_key(&header, &entry.header, entry.next_signature.as_ref())?;
        let change = read(&entry.body, after, "body")?;
        self.generation = header.generation;
        self.sequence = header.sequence;
        self.head = Digest::of(entry.header.as_bytes());
        self.key = next.or_else(|| self.key.take());
        Ok(change)
    }

    /// The sequence of the next entry, if it is of `generation`.
    fn due(&self, generation: u64) -> Result<u64, FeedError> {
        let after = self.sequence;
        let refused = FeedError::Generation { after, expected: self.generation, found: generation };
        match generation.checked_sub(self.generation) {
            Some(0) => Ok(after.saturating_add(1)),
            Some(steps) if generation <= self.accepted => {
                Ok(after.saturating_add(steps.saturating_mul(GENERATION_STEP)))
            }
            _ => Err(refused),
        }
    }

    /// The feed key, when it was replaced since the one that the consumer was given.
    pub(super) fn replaced(&self) -> Result<Option<PKey<Public>>, FeedError> {
        let key = self.key.as_ref().map(|der| PKey::public_key_from_der(der.as_ref())).transpose();
        key.map_err(|_| FeedError::NextKey(self.sequence))
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
        let replaced = self.replaced()?;
        let key = replaced.as_deref().unwrap_or(key);
        if !signed(key, HEARTBEAT_CONTEXT, &heartbeat.text, heartbeat.signature.as_ref()) {
            return Err(FeedError::Signature(after));
        }
        let beat: Heartbeat = read(&heartbeat.text, after, "heartbeat")?;
        if beat.feed != self.feed {
            return Err(FeedError::OtherFeed(after));
        }
        self.due(beat.generation)?;
        if self.heartbeat.since(beat.issued) > LEASE_SECONDS {
            return Err(FeedError::OldHeartbeat(beat.issued));
        }
        if beat.sequence < after {
            return Err(FeedError::Truncated { seen: after, told: beat.sequence });
        }
        if beat.sequence == after && (beat.head != self.head || beat.generation != self.generation) {
            return Err(FeedError::Fork(after));
        }
        self.heartbeat = self.heartbeat.max(beat.issued);
        Ok((beat.sequence == after).then_some(beat.lease))
    }
}

pub(super) fn read<T: DeserializeOwned>(text: &str, after: u64, part: &str) -> Result<T, FeedError> {
    serde_json::from_str(text).map_err(|e| FeedError::Unreadable { after, what: format!("{part}: {e}") })
}

#[cfg(test)]
mod tests;
