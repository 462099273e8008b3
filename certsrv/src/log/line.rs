//! An entry as it is written.

use super::Head;
use super::key::{FeedKey, sign, verify};
use crate::change::{Body, BodyRef};
use crate::store::Told;
use openssl::pkey::{PKey, Private};
use serde::{Deserialize, Serialize};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{ENTRY_CONTEXT, EntryHeader, NEXT_KEY_CONTEXT, SignedEntry, View, body_digest};
use twinseal_proto::time::UnixTime;

/// A line of the log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// The [`EntryHeader`] exactly as it was signed.
    pub(crate) header: String,
    /// Ed25519 signature.
    signature: B64,
    /// The next feed key's, of an entry that names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_signature: Option<B64>,
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

    /// Puts the entry behind `head`, which moves. `next_key`: the key that signs what comes after it, if it is another.
    pub(crate) fn follow(
        self,
        head: &mut Head,
        key: &FeedKey,
        next_key: Option<B64>,
        now: UnixTime,
    ) -> Result<Unsigned, super::LogError> {
        let sequence = key.after(head.sequence);
        let header = EntryHeader {
            feed: key.feed(),
            generation: key.generation_of(sequence),
            sequence,
            previous: head.digest,
            issued: key.date(now),
            certsrv: self.certsrv.digest(),
            groupsrv: self.groupsrv.digest(),
            exploder: self.exploder.digest(),
            next_key,
        };
        let header = serde_json::to_string(&header)?;
        *head = Head { sequence, digest: Digest::of(header.as_bytes()) };
        Ok(Unsigned { header, draft: self })
    }
}

impl Unsigned {
    /// Signs, with `next` too if the entry names that key; the line with its end, as it is appended.
    pub(crate) fn sign(self, key: &FeedKey, next: Option<&PKey<Private>>) -> Result<Vec<u8>, super::LogError> {
        let Self { header, draft: Draft { certsrv, groupsrv, exploder } } = self;
        let signature = key.sign(ENTRY_CONTEXT, &header)?;
        let next_signature = next.map(|next| sign(next, NEXT_KEY_CONTEXT, &header)).transpose()?;
        let line = Line { header, signature, next_signature, certsrv, groupsrv, exploder };
        let mut octets = serde_json::to_vec(&line)?;
        octets.push(b'\n');
        Ok(octets)
    }
}

impl Line {
    /// Reads the header, whose date the key's next signature will not be before. The key learns the next one, if the entry
    /// names it.
    pub(crate) fn header(&self, key: &FeedKey) -> Result<EntryHeader, String> {
        let header: EntryHeader = serde_json::from_str(&self.header).map_err(|e| format!("header: {e}"))?;
        key.date(header.issued);
        if let Some(next) = &header.next_key {
            key.named(header.sequence, next).map_err(|_| "the next feed key cannot be read".to_owned())?;
        }
        Ok(header)
    }

    /// Checks the line against the entry before it: signatures, feed, order, chain and the digest of every body.
    pub(crate) fn verify(&self, key: &FeedKey, before: Head) -> Result<(Head, Body), String> {
        let sequence = key.after(before.sequence);
        if !key.verify(sequence, ENTRY_CONTEXT, &self.header, self.signature.as_ref()) {
            return Err("the signature is not the feed key's".into());
        }
        if !self.next_signed() {
            return Err("the next feed key did not sign for itself".into());
        }
        let header = self.header(key)?;
        let rules = [
            (header.feed == key.feed(), "another feed's entry"),
            (header.sequence == sequence, "an entry is missing or out of order"),
            (header.generation == key.generation_of(sequence), "an entry of another generation"),
            (header.previous == before.digest, "the entry does not follow the one before it"),
            (header.certsrv == self.certsrv.digest(), "certsrv's body is not the one that was signed"),
            (header.groupsrv == self.groupsrv.digest(), "groupsrv's body is not the one that was signed"),
            (header.exploder == self.exploder.digest(), "the exploder's body is not the one that was signed"),
        ];
        if let Some((_, what)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*what).into());
        }
        let body = serde_json::from_str(&self.certsrv.body).map_err(|e| format!("certsrv's body: {e}"))?;
        Ok((Head { sequence, digest: Digest::of(self.header.as_bytes()) }, body))
    }

    /// Whether the next key signed, if one is named; and none did, if none is.
    fn next_signed(&self) -> bool {
        let Ok(header) = serde_json::from_str::<EntryHeader>(&self.header) else { return true };
        match (&header.next_key, &self.next_signature) {
            (None, None) => true,
            (Some(key), Some(signature)) => PKey::public_key_from_der(key.as_ref())
                .is_ok_and(|key| verify(&key, NEXT_KEY_CONTEXT, &self.header, signature.as_ref())),
            _ => false,
        }
    }

    /// What a consumer with this view is sent.
    pub(crate) fn view(self, view: View) -> SignedEntry {
        let Salted { salt, body } = match view {
            View::Groupsrv => self.groupsrv,
            View::Exploder => self.exploder,
        };
        SignedEntry { header: self.header, signature: self.signature, salt, body, next_signature: self.next_signature }
    }
}
