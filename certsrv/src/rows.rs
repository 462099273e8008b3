//! The rows of the index: what certsrv knows now. All of it follows from the feed log.

use crate::authn::password::PasswordHash;
use crate::cert::serial::Serial;
use serde::{Deserialize, Serialize};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole, MemberState, RevocationReason};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{Epoch, GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::time::UnixTime;

/// How far the index has followed the log, and what is counted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Last sequence in it.
    pub(crate) sequence: u64,
    /// Digest of that entry's header.
    pub(crate) head: Digest,
    /// The next membership's number.
    pub(crate) next_number: u32,
}

impl Default for Applied {
    fn default() -> Self {
        Self { sequence: 0, head: Digest([0; 32]), next_number: 1 }
    }
}

/// An account.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Its address, as it was registered.
    pub(crate) address: MailAddress,
    /// Its password's hash, where it has one.
    pub(crate) password: Option<PasswordHash>,
    /// The certificate that copies are made for: the newest, unless it was revoked or ran out.
    pub(crate) current: Option<Serial>,
}

/// Whose a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub(crate) enum Holder {
    /// An account's.
    Member {
        /// The account.
        address: MailAddress,
    },
    /// A list's.
    Group {
        /// The group.
        group: GroupId,
        /// The key's epoch.
        epoch: Epoch,
    },
    /// A service's.
    Service {
        /// What it is.
        role: ServiceRole,
    },
}

/// A certificate that was issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// Its serial number.
    pub(crate) serial: Serial,
    /// Whose it is.
    pub(crate) holder: Holder,
    /// DER.
    pub(crate) certificate: B64,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub(crate) key: Digest,
    /// notAfter.
    pub(crate) until: UnixTime,
    /// Why it was revoked, if it was.
    pub(crate) revoked: Option<RevocationReason>,
}

impl Certificate {
    /// Neither revoked nor run out.
    pub(crate) fn live(&self, now: UnixTime) -> bool {
        self.revoked.is_none() && now < self.until
    }
}

/// A group with its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The group.
    pub(crate) group: GroupId,
    /// Its list.
    pub(crate) list: ListAddress,
    /// Who owned it first.
    pub(crate) owner: MailAddress,
    /// Who may join.
    pub(crate) join: JoinPolicy,
    /// How copies carry the message key.
    pub(crate) mode: DeliveryMode,
    /// Which messages members may open.
    pub(crate) history: History,
    /// What the exploder acts on.
    pub(crate) settings: ListSettings,
    /// Its owners sign its roster.
    #[serde(default)]
    pub(crate) signed: bool,
    /// How many belong to it, pending ones included.
    pub(crate) members: u64,
    /// How many of them own it.
    pub(crate) owners: u64,
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The account.
    pub(crate) address: MailAddress,
    /// The membership's name at groupsrv and exploder.
    pub(crate) handle: Handle,
    /// The membership's number in VERP tokens.
    pub(crate) number: MemberNumber,
    /// What it may do.
    pub(crate) role: MemberRole,
    /// How it stands.
    pub(crate) state: MemberState,
    /// The certificate that copies are or were made for.
    pub(crate) serial: Option<Serial>,
}

/// A one-time token. It is kept until it expires, also when it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    /// What it is good for.
    pub(crate) purpose: TokenPurpose,
    /// Until when.
    pub(crate) expires: UnixTime,
    /// What it was used for, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<TokenUse>,
}

/// What a one-time token was used for: given again to whoever asks with the same key, whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenUse {
    /// SHA-256 of the certified key's DER SubjectPublicKeyInfo.
    pub(crate) key: Digest,
    /// The certificate.
    pub(crate) serial: Serial,
}

/// What a one-time token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub(crate) enum TokenPurpose {
    /// Enrolling a key for an account.
    Enrol {
        /// The account.
        address: MailAddress,
    },
    /// Joining as a service.
    Service {
        /// What the service becomes.
        role: ServiceRole,
    },
}

/// A service that may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// What it is.
    pub(crate) role: ServiceRole,
    /// Its certificate.
    pub(crate) serial: Serial,
}

/// A group's public key: never used by two groups or epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupKey {
    /// The group.
    pub(crate) group: GroupId,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Its newest certificate.
    pub(crate) serial: Serial,
}
