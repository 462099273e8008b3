//! What an owner signs.

use super::state::RosterError;
use super::{SALT_OCTETS, SKEW_SECONDS};
use crate::encoding::{B64, Digest};
use crate::ids::{GroupId, Handle, MailAddress};
use crate::time::UnixTime;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPrivate, Id, PKey, PKeyRef, Public};
use openssl::sign::{Signer, Verifier};
use serde::{Deserialize, Serialize};

/// Put before a statement's text when it is signed.
pub const SIGNED_CONTEXT: &[u8] = b"twinseal roster statement\0";
/// Longest text of a statement in octets.
pub const MAX_TEXT: usize = 4096;
/// Longest public key and longest signature in octets: those of RSA with 8192 bits fit.
const MAX_KEY: usize = 1200;
const MAX_SIGNATURE: usize = 1024;
/// Sizes of RSA keys that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// What a member may do in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads and posts.
    Member,
    /// Owns the group too. It may sign only when an [`OwnersChange`] says so.
    Owner,
}

/// How the member that an entry names stands. Whoever does not, has no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryStatus {
    /// Copies are made for the member.
    Active,
}

/// An owner puts a reader in, or says again what holds for one: the last entry of a handle counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The group.
    pub group: GroupId,
    /// The membership.
    pub handle: Handle,
    /// Above that of every statement of the group before.
    pub sequence: u64,
    /// What the member may do.
    pub role: Role,
    /// SHA-256 of the DER SubjectPublicKeyInfo of the key that copies are wrapped to.
    pub key: Digest,
    /// [`address_digest`] of the address that copies go to.
    pub address: Digest,
    /// How the member stands.
    pub status: EntryStatus,
    /// From when on it holds.
    pub not_before: UnixTime,
    /// From when on it does not hold any more.
    pub not_after: UnixTime,
}

/// An owner takes a reader out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// The group.
    pub group: GroupId,
    /// The membership.
    pub handle: Handle,
    /// As in [`Entry::sequence`].
    pub sequence: u64,
}

/// An owner changes who the owners are. Owners are digests of their public keys, as in [`Entry::key`], so a certificate
/// that is renewed for the same key changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnersChange {
    /// The group.
    pub group: GroupId,
    /// As in [`Entry::sequence`].
    pub sequence: u64,
    /// SHA-256 of the text of the change of owners before; zeros for the first.
    pub previous: Digest,
    /// Who is an owner from now on.
    pub add: Vec<Digest>,
    /// Who is none any more. Somebody stays.
    pub remove: Vec<Digest>,
}

/// An owner vouches for the whole roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The group.
    pub group: GroupId,
    /// As in [`Entry::sequence`].
    pub sequence: u64,
    /// [`super::live_digest`] of the roster.
    pub digest: Digest,
    /// When it was signed; it is good for [`super::HEAD_SECONDS`].
    pub issued: UnixTime,
}

/// A statement of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Statement {
    /// Somebody is a reader.
    Entry(Entry),
    /// Somebody is none any more.
    Removal(Removal),
    /// Who the owners are.
    Owners(OwnersChange),
    /// The whole roster.
    Head(Head),
}

impl Statement {
    /// The group that it is about.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Entry(Entry { group, .. })
            | Self::Removal(Removal { group, .. })
            | Self::Owners(OwnersChange { group, .. })
            | Self::Head(Head { group, .. }) => *group,
        }
    }

    /// Its place among the statements of the group.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Entry(Entry { sequence, .. })
            | Self::Removal(Removal { sequence, .. })
            | Self::Owners(OwnersChange { sequence, .. })
            | Self::Head(Head { sequence, .. }) => *sequence,
        }
    }

    /// Whether its times fit the clock of whoever takes it in first. Consumers do not ask: to them a statement may come
    /// late, and what it serves depends on the time anyway.
    ///
    /// # Errors
    /// [`RosterError::Time`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), RosterError> {
        let latest = now.plus(SKEW_SECONDS);
        let right = match self {
            Self::Entry(entry) => entry.not_before <= latest && now < entry.not_after,
            Self::Head(head) => head.issued <= latest && now.since(head.issued) <= SKEW_SECONDS,
            Self::Removal(_) | Self::Owners(_) => true,
        };
        if right { Ok(()) } else { Err(RosterError::Time) }
    }

    /// Signs it. `key` is RSA or EC.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign<T: HasPrivate>(&self, key: &PKeyRef<T>) -> Result<SignedStatement, SignError> {
        let text = serde_json::to_string(self)?;
        let mut signer = Signer::new(MessageDigest::sha256(), key)?;
        let signature = signer.sign_oneshot_to_vec(&[SIGNED_CONTEXT, text.as_bytes()].concat())?;
        Ok(SignedStatement { text, signature: B64(signature), key: B64(key.public_key_to_der()?) })
    }
}

/// A statement could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It could not be written out.
    #[error("the statement cannot be written out")]
    Text(#[from] serde_json::Error),
    /// OpenSSL failed.
    #[error("the statement cannot be signed")]
    Key(#[from] ErrorStack),
}

/// A [`Statement`] with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// JSON text of the [`Statement`], exactly as it was signed.
    pub text: String,
    /// Over [`SIGNED_CONTEXT`] ‖ text: RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2) or ECDSA, with SHA-256.
    pub signature: B64,
    /// DER SubjectPublicKeyInfo of the owner's key: RSA of at least 2048 bits, P-256 or P-384.
    pub key: B64,
}

impl SignedStatement {
    /// SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The name of the owner: SHA-256 of the key.
    #[must_use]
    pub fn signer(&self) -> Digest {
        Digest::of(self.key.as_ref())
    }

    /// What it says, without looking at the signature.
    ///
    /// # Errors
    /// [`RosterError::TooLong`], [`RosterError::Malformed`].
    pub fn read(&self) -> Result<Statement, RosterError> {
        if self.text.len() > MAX_TEXT || self.key.0.len() > MAX_KEY || self.signature.0.len() > MAX_SIGNATURE {
            return Err(RosterError::TooLong);
        }
        serde_json::from_str(&self.text).map_err(|error| RosterError::Malformed(error.to_string()))
    }

    /// Checks the signature against the key that came with it; whose key it is, the caller knows.
    ///
    /// # Errors
    /// [`RosterError::Key`], [`RosterError::Signature`].
    pub fn verify(&self) -> Result<(), RosterError> {
        if self.key.0.len() > MAX_KEY || self.signature.0.len() > MAX_SIGNATURE {
            return Err(RosterError::TooLong);
        }
        let key = PKey::public_key_from_der(self.key.as_ref()).map_err(|_| RosterError::Key)?;
        if !takes(&key) {
            return Err(RosterError::Key);
        }
        let message = [SIGNED_CONTEXT, self.text.as_bytes()].concat();
        let verified = Verifier::new(MessageDigest::sha256(), &key)
            .and_then(|mut verifier| verifier.verify_oneshot(self.signature.as_ref(), &message));
        // OpenSSL answers some malformed signatures with an error: the same to us.
        if verified.unwrap_or(false) { Ok(()) } else { Err(RosterError::Signature) }
    }
}

fn takes(key: &PKey<Public>) -> bool {
    match key.id() {
        Id::RSA => RSA_BITS.contains(&key.bits()),
        Id::EC => {
            let curve = key.ec_key().ok().and_then(|key| key.group().curve_name());
            matches!(curve, Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1))
        }
        _ => false,
    }
}

/// How an entry names an address: SHA-256(salt ‖ address in lower case), with [`SALT_OCTETS`] random octets of salt.
#[must_use]
pub fn address_digest(salt: &[u8], address: &MailAddress) -> Digest {
    Digest::of_parts(&[salt, address.folded().as_bytes()])
}

/// What a consumer was told of a member, to be compared with what the owner signed.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    /// groupsrv: DER SubjectPublicKeyInfo of the key to wrap to.
    Key(&'a [u8]),
    /// The exploder: the address that copies go to, and the salt of its digest.
    Address {
        /// The salt.
        salt: &'a [u8],
        /// The address.
        address: &'a MailAddress,
    },
}

impl Binding<'_> {
    /// Whether an entry with this key and this address says the same.
    ///
    /// # Errors
    /// [`RosterError::OtherKey`], [`RosterError::OtherAddress`].
    pub fn check(&self, key: &Digest, digest: &Digest) -> Result<(), RosterError> {
        match self {
            Self::Key(spki) if Digest::of(spki) == *key => Ok(()),
            Self::Key(_) => Err(RosterError::OtherKey),
            // The length is fixed, so that no octet of the address can be taken for one of the salt.
            Self::Address { salt, address }
                if salt.len() == SALT_OCTETS && address_digest(salt, address) == *digest =>
            {
                Ok(())
            }
            Self::Address { .. } => Err(RosterError::OtherAddress),
        }
    }
}
