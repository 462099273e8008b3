//! An entry as it is written, and everything that the feed key signs.

use super::Head;
use crate::change::{Body, BodyRef};
use crate::store::Told;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sign::{Signer, Verifier};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    ENTRY_CONTEXT, EntryHeader, HEARTBEAT_CONTEXT, Heartbeat, LEASE_SECONDS, SignedEntry, SignedHeartbeat, View,
    body_digest,
};
use twinseal_proto::ids::FeedId;
use twinseal_proto::time::UnixTime;

/// The feed's identity and the key that signs it (Ed25519). No two signatures are dated in another order than they
/// were made in, even when the clock is set back: consumers refuse what is older than what they saw.
pub(crate) struct FeedKey {
    feed: FeedId,
    generation: u64,
    key: PKey<Private>,
    /// Date of the newest signature, in seconds; after a start that of the log's last entry.
    newest: AtomicU64,
}

/// A line of the log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// The [`EntryHeader`] exactly as it was signed.
    pub(crate) header: String,
    /// Ed25519 signature.
    signature: B64,
    /// Certsrv's own body.
    certsrv: Salted,
    /// What groupsrv is told.
    groupsrv: Salted,
    /// What the exploder is told.
    exploder: Salted,
}

/// A body with the salt that keeps its digest from being guessed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Salted {
    salt: B64,
    body: String,
}

impl Salted {
    fn new<T: Serialize>(body: &T) -> Result<Self, super::LogError> {
        let mut salt = vec![0; 16];
        openssl::rand::rand_bytes(&mut salt)?;
        Ok(Self { salt: B64(salt), body: serde_json::to_string(body)? })
    }

    fn digest(&self) -> Digest {
        body_digest(self.salt.as_ref(), &self.body)
    }
}

impl FeedKey {
    pub(crate) const fn new(feed: FeedId, generation: u64, key: PKey<Private>) -> Self {
        Self { feed, generation, key, newest: AtomicU64::new(0) }
    }

    /// The date for what is signed at `now`: never before the newest.
    fn date(&self, now: UnixTime) -> UnixTime {
        UnixTime(self.newest.fetch_max(now.0, Ordering::AcqRel)).max(now)
    }

    /// The newest date that was signed, or read in a verified entry; 1970 for none.
    pub(crate) fn newest(&self) -> UnixTime {
        UnixTime(self.newest.load(Ordering::Acquire))
    }

    /// The feed.
    pub(crate) const fn feed(&self) -> FeedId {
        self.feed
    }

    /// Its generation.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// DER SubjectPublicKeyInfo, which consumers pin.
    pub(crate) fn public_der(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.public_key_to_der()
    }

    /// A heartbeat for this head.
    pub(crate) fn heartbeat(&self, head: Head, now: UnixTime) -> Result<SignedHeartbeat, super::LogError> {
        let beat = Heartbeat {
            feed: self.feed,
            generation: self.generation,
            sequence: head.sequence,
            head: head.digest,
            issued: self.date(now),
            lease: LEASE_SECONDS,
        };
        let text = serde_json::to_string(&beat)?;
        Ok(SignedHeartbeat { signature: self.sign(HEARTBEAT_CONTEXT, &text)?, text })
    }

    fn sign(&self, context: &[u8], text: &str) -> Result<B64, ErrorStack> {
        Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).map(B64)
    }

    fn verify(&self, context: &[u8], text: &str, signature: &[u8]) -> bool {
        let message = [context, text.as_bytes()].concat();
        Verifier::new_without_digest(&self.key).and_then(|mut v| v.verify_oneshot(signature, &message)).unwrap_or(false)
    }
}

/// An entry whose bodies are written out; what it follows is not known yet.
pub(crate) struct Draft {
    certsrv: Salted,
    groupsrv: Salted,
    exploder: Salted,
}

/// An entry that lacks the signature.
pub(crate) struct Unsigned {
    header: String,
    draft: Draft,
}

impl Draft {
    /// Writes out the bodies. `more`: another entry of the same commit follows.
    pub(crate) fn new(told: &Told, more: bool) -> Result<Self, super::LogError> {
        Ok(Self {
            certsrv: Salted::new(&BodyRef { change: &told.change, more })?,
            groupsrv: Salted::new(&told.groupsrv)?,
            exploder: Salted::new(&told.exploder)?,
        })
    }

    /// Puts the entry behind `head`, which moves.
    pub(crate) fn follow(self, head: &mut Head, key: &FeedKey, now: UnixTime) -> Result<Unsigned, super::LogError> {
        let header = EntryHeader {
            feed: key.feed,
            generation: key.generation,
            sequence: head.sequence + 1,
            previous: head.digest,
            issued: key.date(now),
            certsrv: self.certsrv.digest(),
            groupsrv: self.groupsrv.digest(),
            exploder: self.exploder.digest(),
        };
        let header = serde_json::to_string(&header)?;
        *head = Head { sequence: head.sequence + 1, digest: Digest::of(header.as_bytes()) };
        Ok(Unsigned { header, draft: self })
    }
}

impl Unsigned {
    /// Signs; the line with its end, as it is appended.
    pub(crate) fn sign(self, key: &FeedKey) -> Result<Vec<u8>, super::LogError> {
        let signature = key.sign(ENTRY_CONTEXT, &self.header)?;
        let Draft { certsrv, groupsrv, exploder } = self.draft;
        let mut octets = serde_json::to_vec(&Line { header: self.header, signature, certsrv, groupsrv, exploder })?;
        octets.push(b'\n');
        Ok(octets)
    }
}

impl Line {
    /// Reads the header, whose date the key's next signature will not be before.
    pub(crate) fn header(&self, key: &FeedKey) -> Result<EntryHeader, String> {
        let header: EntryHeader = serde_json::from_str(&self.header).map_err(|e| format!("header: {e}"))?;
        key.date(header.issued);
        Ok(header)
    }

    /// Checks the line against the entry before it: signature, feed, order, chain and the digest of every body.
    pub(crate) fn verify(&self, key: &FeedKey, before: Head) -> Result<(Head, Body), String> {
        if !key.verify(ENTRY_CONTEXT, &self.header, self.signature.as_ref()) {
            return Err("the signature is not the feed key's".into());
        }
        let header = self.header(key)?;
        let rules = [
            (header.feed == key.feed, "another feed's entry"),
            (header.generation <= key.generation, "an entry of a later generation"),
            (header.sequence == before.sequence + 1, "an entry is missing or out of order"),
            (header.previous == before.digest, "the entry does not follow the one before it"),
            (header.certsrv == self.certsrv.digest(), "certsrv's body is not the one that was signed"),
            (header.groupsrv == self.groupsrv.digest(), "groupsrv's body is not the one that was signed"),
            (header.exploder == self.exploder.digest(), "the exploder's body is not the one that was signed"),
        ];
        if let Some((_, what)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*what).into());
        }
        let body = serde_json::from_str(&self.certsrv.body).map_err(|e| format!("certsrv's body: {e}"))?;
        Ok((Head { sequence: header.sequence, digest: Digest::of(self.header.as_bytes()) }, body))
    }

    /// What a consumer with this view is sent.
    pub(crate) fn view(self, view: View) -> SignedEntry {
        let Salted { salt, body } = match view {
            View::Groupsrv => self.groupsrv,
            View::Exploder => self.exploder,
        };
        SignedEntry { header: self.header, signature: self.signature, salt, body }
    }
}
