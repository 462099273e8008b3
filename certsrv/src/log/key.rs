//! The feed key: who signs, and who signed. `feed.json` names the feed, its generations and every key that it had;
//! `feed.key` is the present one.
//!
//! It is replaced in four steps, of which each can be the last before a crash: the next key is written to `feed.next.key`;
//! the entry that names it is appended, signed by both; `feed.json` gets it; `feed.next.key` becomes `feed.key`. The log
//! decides: [`FeedKey::settle`] finishes at start what the log says was begun. A next key that the log does not name was
//! never used, and the next rotation writes over it.

use super::{Head, LogError};
use openssl::error::ErrorStack;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private, Public};
use openssl::sign::{Signer, Verifier};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{
    GENERATION_STEP, HEARTBEAT_CONTEXT, Heartbeat, LEASE_SECONDS, SNAPSHOT_CONTEXT, SignedHeartbeat, SnapshotHeader,
};
use twinseal_proto::ids::FeedId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;

/// The file that names the feed; written last by `init` and by `restore`.
pub(crate) const FEED_FILE: &str = "feed.json";
/// The present key, PKCS#8 PEM.
pub(crate) const KEY_FILE: &str = "feed.key";
/// The key that the feed is being moved to.
pub(crate) const NEXT_KEY_FILE: &str = "feed.next.key";

/// `feed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedFile {
    /// The feed.
    pub(crate) feed: FeedId,
    /// The present generation.
    pub(crate) generation: u64,
    /// Where each generation after the first began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) begun: Vec<Begun>,
    /// Every key that signed, in order; empty while there was only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<SignedFrom>,
}

/// The beginning of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begun {
    /// The generation.
    pub(crate) generation: u64,
    /// The last entry before it.
    pub(crate) after: u64,
    /// Its first entry.
    pub(crate) first: u64,
}

/// A key that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedFrom {
    /// The first entry that it may have signed.
    pub(crate) first: u64,
    /// DER SubjectPublicKeyInfo.
    pub(crate) key: B64,
}

impl FeedFile {
    /// A feed that begins.
    pub(crate) const fn new(feed: FeedId) -> Self {
        Self { feed, generation: 1, begun: Vec::new(), keys: Vec::new() }
    }

    /// Reads it out of the feed's directory.
    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FEED_FILE))?).map_err(io::Error::from)
    }

    /// Replaces it.
    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        durable::replace(&dir.join(FEED_FILE), &serde_json::to_vec(self).map_err(io::Error::from)?)
    }

    /// Begins `generation` behind entry `after`.
    pub(crate) fn begin(&mut self, generation: u64, after: u64) {
        let steps = generation.saturating_sub(self.generation);
        let first = after.saturating_add(steps.saturating_mul(GENERATION_STEP));
        self.begun.push(Begun { generation, after, first });
        self.generation = generation;
    }
}

/// The feed's identity and the key that signs it (Ed25519). No two signatures are dated in another order than they
/// were made in, even when the clock is set back: consumers refuse what is older than what they saw.
pub(crate) struct FeedKey {
    feed: FeedId,
    generation: u64,
    begun: Vec<Begun>,
    keys: RwLock<Keys>,
    /// Date of the newest signature, in seconds; after a start that of the log's last entry.
    newest: AtomicU64,
}

struct Keys {
    private: PKey<Private>,
    /// Empty: `private` signed all.
    signed: Vec<(SignedFrom, PKey<Public>)>,
}

impl FeedKey {
    /// The only key that a feed had.
    #[cfg(test)]
    pub(crate) fn new(feed: FeedId, generation: u64, private: PKey<Private>) -> Self {
        let keys = RwLock::new(Keys { private, signed: Vec::new() });
        Self { feed, generation, begun: Vec::new(), keys, newest: AtomicU64::new(0) }
    }

    /// The key of the feed that `file` names; `private` is its present key, or the one before it when a rotation was broken
    /// off.
    pub(crate) fn of(file: &FeedFile, private: PKey<Private>) -> Result<Self, ErrorStack> {
        let signed = file.keys.iter().map(|from| Ok((from.clone(), PKey::public_key_from_der(from.key.as_ref())?)));
        let keys = Keys { private, signed: signed.collect::<Result<_, ErrorStack>>()? };
        let (feed, generation, begun) = (file.feed, file.generation, file.begun.clone());
        Ok(Self { feed, generation, begun, keys: RwLock::new(keys), newest: AtomicU64::new(0) })
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The date for what is signed at `now`: never before the newest.
    pub(super) fn date(&self, now: UnixTime) -> UnixTime {
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

    /// Its present generation.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation of an entry.
    pub(crate) fn generation_of(&self, sequence: u64) -> u64 {
        self.begun.iter().rev().find(|begun| begun.first <= sequence).map_or(1, |begun| begun.generation)
    }

    /// The sequence of the entry after this one.
    pub(crate) fn after(&self, sequence: u64) -> u64 {
        let jump = self.begun.iter().rev().find(|begun| begun.after == sequence);
        jump.map_or(sequence.saturating_add(1), |begun| begun.first)
    }

    /// DER SubjectPublicKeyInfo of the present key, which consumers trust.
    pub(crate) fn public_der(&self) -> Result<Vec<u8>, ErrorStack> {
        self.keys().private.public_key_to_der()
    }

    /// The entries that named another key, in order.
    pub(crate) fn rotations(&self) -> Vec<u64> {
        self.keys().signed.iter().skip(1).map(|(from, _)| from.first.saturating_sub(1)).collect()
    }

    /// A heartbeat for this head, for a consumer that has come to `place`; none when it does not know the present key yet.
    pub(crate) fn heartbeat(
        &self,
        place: u64,
        head: Head,
        now: UnixTime,
    ) -> Result<Option<SignedHeartbeat>, super::LogError> {
        let keys = self.keys();
        if keys.signed.last().is_some_and(|(from, _)| place.saturating_add(1) < from.first) {
            return Ok(None);
        }
        let beat = Heartbeat {
            feed: self.feed,
            generation: self.generation,
            sequence: head.sequence,
            head: head.digest,
            issued: self.date(now),
            lease: LEASE_SECONDS,
        };
        let text = serde_json::to_string(&beat)?;
        Ok(Some(SignedHeartbeat { signature: sign(&keys.private, HEARTBEAT_CONTEXT, &text)?, text }))
    }

    /// Signs a snapshot; its date is put in here.
    pub(crate) fn snapshot(&self, header: SnapshotHeader) -> Result<(String, B64), super::LogError> {
        let header = SnapshotHeader { issued: self.date(header.issued), ..header };
        let text = serde_json::to_string(&header)?;
        let signature = sign(&self.keys().private, SNAPSHOT_CONTEXT, &text)?;
        Ok((text, signature))
    }

    pub(super) fn sign(&self, context: &[u8], text: &str) -> Result<B64, ErrorStack> {
        sign(&self.keys().private, context, text)
    }

    /// Whether what belongs to entry `sequence` was signed by the key of that entry.
    pub(super) fn verify(&self, sequence: u64, context: &[u8], text: &str, signature: &[u8]) -> bool {
        let keys = self.keys();
        match keys.signed.iter().rev().find(|(from, _)| from.first <= sequence) {
            Some((_, key)) => verify(key, context, text, signature),
            None => keys.signed.is_empty() && verify(&keys.private, context, text, signature),
        }
    }

    /// Entry `sequence` named `next` as the key of what comes after it.
    pub(super) fn named(&self, sequence: u64, next: &B64) -> Result<(), ErrorStack> {
        let first = sequence.saturating_add(1);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.signed.iter().any(|(from, _)| from.first == first) {
            return Ok(());
        }
        if keys.signed.is_empty() {
            let der = keys.private.public_key_to_der()?;
            let old = PKey::public_key_from_der(&der)?;
            keys.signed.push((SignedFrom { first: 1, key: B64(der) }, old));
        }
        let key = PKey::public_key_from_der(next.as_ref())?;
        keys.signed.push((SignedFrom { first, key: next.clone() }, key));
        Ok(())
    }

    /// Whether the key that the log named last is in `dir`: as the present one, or as the next one of a rotation that
    /// [`Self::settle`] has to finish. Changes nothing.
    pub(crate) fn at_hand(&self, dir: &Path) -> Result<(), LogError> {
        let keys = self.keys();
        // Else the present key signed all, and every signature was verified with it.
        let Some((last, _)) = keys.signed.last() else { return Ok(()) };
        let path = dir.join(KEY_FILE);
        let pem = durable::read_secret(&path).map_err(LogError::file(&path))?;
        if PKey::private_key_from_pem(&pem)?.public_key_to_der()? == last.key.as_ref() {
            return Ok(());
        }
        read_next(dir, &last.key).map(drop)
    }

    /// Makes the key that the log named last the present one, if it is not; the last two steps of a rotation.
    pub(super) fn settle(&self, dir: &Path) -> Result<(), LogError> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let Some((last, _)) = keys.signed.last() else { return Ok(()) };
        if last.key.as_ref() == keys.private.public_key_to_der()? {
            return Ok(());
        }
        let next = read_next(dir, &last.key)?;
        let file = FeedFile {
            feed: self.feed,
            generation: self.generation,
            begun: self.begun.clone(),
            keys: keys.signed.iter().map(|(from, _)| from.clone()).collect(),
        };
        let failed = |name: &str| {
            let path = dir.join(name);
            move |source| LogError::File { path, source }
        };
        file.save(dir).map_err(failed(FEED_FILE))?;
        std::fs::rename(dir.join(NEXT_KEY_FILE), dir.join(KEY_FILE)).map_err(failed(KEY_FILE))?;
        durable::sync_dir(dir).map_err(failed(KEY_FILE))?;
        keys.private = next;
        Ok(())
    }
}

/// The first step of a rotation: makes the next key; its DER SubjectPublicKeyInfo. Nobody else may be at it.
pub(crate) fn make_next(dir: &Path) -> Result<B64, LogError> {
    let key = PKey::generate_ed25519()?;
    let pem = zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8()?);
    let path = dir.join(NEXT_KEY_FILE);
    durable::replace(&path, &pem).map_err(|source| LogError::File { path, source })?;
    Ok(B64(key.public_key_to_der()?))
}

/// Reads the next key, which has to be this one.
pub(super) fn read_next(dir: &Path, public: &B64) -> Result<PKey<Private>, LogError> {
    let path = dir.join(NEXT_KEY_FILE);
    let pem = match durable::read_secret(&path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Err(LogError::Key),
        other => other.map_err(|source| LogError::File { path, source })?,
    };
    let key = PKey::private_key_from_pem(&pem)?;
    if key.public_key_to_der()? != public.as_ref() {
        return Err(LogError::Key);
    }
    Ok(key)
}

/// A signature over the context and the text.
pub(super) fn sign(key: &PKeyRef<Private>, context: &[u8], text: &str) -> Result<B64, ErrorStack> {
    Signer::new_without_digest(key)?.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).map(B64)
}

/// Whether `key` signed the text in this context.
pub(super) fn verify<T: HasPublic>(key: &PKeyRef<T>, context: &[u8], text: &str, signature: &[u8]) -> bool {
    let message = [context, text.as_bytes()].concat();
    Verifier::new_without_digest(key).and_then(|mut v| v.verify_oneshot(signature, &message)).unwrap_or(false)
}
