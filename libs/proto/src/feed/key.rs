//! The feed key and its replacement: the old key signs the entry that names the next one, and the next one signs for
//! itself, so that nobody is moved to a key that its owner does not hold.

use super::follow::{FeedError, read};
use super::{ENTRY_CONTEXT, EntryHeader};
use crate::encoding::B64;
use openssl::pkey::{Id, PKey, PKeyRef, Public};
use openssl::sign::Verifier;
use serde::{Deserialize, Serialize};

/// Put before the header text when the next feed key signs for itself: not the context of entries, so that what it signs
/// here is no entry of its own.
pub const NEXT_KEY_CONTEXT: &[u8] = b"twinseal feed next key\0";

/// The replacement of a feed key, without the bodies of its entry: for whoever does not go through the entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The [`EntryHeader`] exactly as it was signed.
    pub header: String,
    /// The old key's signature over [`ENTRY_CONTEXT`] ‖ header.
    pub signature: B64,
    /// The next key's signature over [`NEXT_KEY_CONTEXT`] ‖ header.
    pub next_signature: B64,
}

impl Rotation {
    /// The next key, if `key` signed this.
    ///
    /// # Errors
    /// [`FeedError::NextKey`] or [`FeedError::Unreadable`] when `key` did, and the rest does not fit.
    pub(super) fn next(&self, key: &PKeyRef<Public>) -> Result<Option<B64>, FeedError> {
        if !signed(key, ENTRY_CONTEXT, &self.header, self.signature.as_ref()) {
            return Ok(None);
        }
        let header: EntryHeader = read(&self.header, 0, "header of a rotation")?;
        next_key(&header, &self.header, Some(&self.next_signature))
    }
}

/// The key that signs what comes after the entry with this header, if it names one; that key has to have signed too.
pub(super) fn next_key(
    header: &EntryHeader,
    text: &str,
    next_signature: Option<&B64>,
) -> Result<Option<B64>, FeedError> {
    let refused = || FeedError::NextKey(header.sequence);
    match (&header.next_key, next_signature) {
        (None, None) => Ok(None),
        (Some(der), Some(signature)) => {
            let key = PKey::public_key_from_der(der.as_ref()).map_err(|_| refused())?;
            // Only Ed25519: of another kind the signature would mean something else.
            let fine = key.id() == Id::ED25519 && signed(&key, NEXT_KEY_CONTEXT, text, signature.as_ref());
            fine.then(|| Some(der.clone())).ok_or_else(refused)
        }
        _ => Err(refused()),
    }
}

/// Whether `key` signed `text` in this context.
pub(super) fn signed(key: &PKeyRef<Public>, context: &[u8], text: &str, signature: &[u8]) -> bool {
    let message = [context, text.as_bytes()].concat();
    Verifier::new_without_digest(key).and_then(|mut v| v.verify_oneshot(signature, &message)).unwrap_or(false)
}
