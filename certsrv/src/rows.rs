//! The rows of the index: what certsrv knows now. All of it follows from the feed log.

mod notice;

pub(crate) use notice::{Notice, NoticeEnd, NoticeRow};

use crate::authn::password::PasswordHash;
use crate::cert::serial::Serial;
use serde::{Deserialize, Serialize};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, KeyChangePolicy, MemberRole, MemberState, RevocationReason};
use twinseal_proto::api::groups::RosterVisibility;
use twinseal_proto::api::members::MemberOptions;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{Epoch, GroupId, Handle, ListAddress, MailAddress, MemberNumber, RequestId};
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
    /// [`Self::VERSION`] of the program that made it; an earlier one's index is made anew from the log.
    #[serde(default)]
    pub(crate) version: u32,
}

impl Applied {
    /// Version of the rows. 2: memberships know the entry with which they began, revocations when they were. 3: groups know
    /// whether owners sign.
    pub(crate) const VERSION: u32 = 3;
}

impl Default for Applied {
    fn default() -> Self {
        Self { sequence: 0, head: Digest([0; 32]), next_number: 1, version: Self::VERSION }
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
    /// SHA-256 of the subject at the identity provider that logs in to it, from the first such log-in on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<Digest>,
    /// The certificate that it signs with, where that is another one (P4).
    #[serde(default)]
    pub(crate) signing: Option<Serial>,
    /// Nobody may log in to it.
    #[serde(default)]
    pub(crate) locked: bool,
}

/// What a member's certificate is for (P4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyUse {
    /// Signatures, and messages are encrypted to it.
    #[default]
    Both,
    /// Signatures.
    Sign,
    /// Messages are encrypted to it.
    Encrypt,
}

impl KeyUse {
    /// Whether copies can be made for it.
    pub(crate) const fn encrypts(self) -> bool {
        !matches!(self, Self::Sign)
    }
}

/// What is kept of a certificate that another CA issued (P2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foreign {
    /// DER of its issuers, the nearest first, with the root.
    pub(crate) issuers: Vec<B64>,
    /// Where its issuer publishes CRLs.
    pub(crate) crls: Vec<String>,
    /// Where its issuer answers OCSP requests.
    pub(crate) ocsp: Vec<String>,
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
    /// A membership's (L7).
    Membership {
        /// The group.
        group: GroupId,
        /// The account.
        address: MailAddress,
        /// The membership.
        handle: Handle,
    },
    /// certsrv's own, for the mails that it signs in a list's name.
    ListSigner {
        /// The group.
        group: GroupId,
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
    /// What it is for, where it is a member's.
    #[serde(default)]
    pub(crate) purpose: KeyUse,
    /// Another CA issued it: its serial number here is its name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) foreign: Option<Foreign>,
}

impl Certificate {
    /// Neither revoked nor run out.
    pub(crate) fn live(&self, now: UnixTime) -> bool {
        self.revoked.is_none() && now < self.until
    }
}

/// A CA whose certificates' status is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Published {
    /// Members' and lists' certificates.
    Members,
    /// The services'.
    Services,
}

impl Published {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Members, Self::Services];

    /// The CA's name: of its files, and in URLs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Services => "services",
        }
    }

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The one that publishes the status of this certificate; none for another CA's, and for memberships (RFC 9608).
    pub(crate) const fn of(certificate: &Certificate) -> Option<Self> {
        match certificate.holder {
            _ if certificate.foreign.is_some() => None,
            Holder::Member { .. } | Holder::Group { .. } | Holder::ListSigner { .. } => Some(Self::Members),
            Holder::Service { .. } => Some(Self::Services),
            Holder::Membership { .. } => None,
        }
    }

    /// Begins the keys of its rows.
    pub(crate) const fn octet(self) -> u8 {
        match self {
            Self::Members => 0,
            Self::Services => 1,
        }
    }
}

/// That a certificate was revoked, as its CA publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revocation {
    /// The certificate.
    pub(crate) serial: Serial,
    /// When.
    pub(crate) at: UnixTime,
    /// Why.
    pub(crate) reason: RevocationReason,
    /// The certificate's notAfter.
    pub(crate) until: UnixTime,
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
    /// What lets its members replace a live key.
    #[serde(default)]
    pub(crate) key_change: KeyChangePolicy,
    /// How copies carry the message key.
    pub(crate) mode: DeliveryMode,
    /// Which messages members may open.
    pub(crate) history: History,
    /// What the exploder acts on.
    pub(crate) settings: ListSettings,
    /// Who may see who belongs to it.
    #[serde(default)]
    pub(crate) roster: RosterVisibility,
    /// Owners are told who joins and leaves.
    #[serde(default = "on")]
    pub(crate) notices: bool,
    /// Its owners sign its roster.
    #[serde(default)]
    pub(crate) signed: bool,
    /// How many belong to it, pending ones included.
    pub(crate) members: u64,
    /// How many of them own it.
    pub(crate) owners: u64,
}

const fn on() -> bool {
    true
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
    /// What the member chose.
    #[serde(default)]
    pub(crate) options: MemberOptions,
    /// The entry that told the consumers of it; 0 while it is pending.
    #[serde(default)]
    pub(crate) joined: u64,
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
    /// Making an account, and enrolling a key for it.
    Register {
        /// The account.
        address: MailAddress,
    },
    /// Confirming a request.
    Confirm {
        /// The request.
        request: RequestId,
    },
}

/// A posting token: good for SMTP submission at the exploder, and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PostingRow {
    /// Of the token.
    pub(crate) digest: Digest,
    /// What tells it from the account's others.
    pub(crate) label: String,
    /// When it was made.
    pub(crate) made: UnixTime,
    /// Until when it is good.
    pub(crate) expires: UnixTime,
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

/// Something that was asked for and waits: for its mailbox to confirm it, for owners to approve it, or for both. Once
/// nothing is missing whoever asked (or the one who approved last) has it done, and the request ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Its name.
    pub(crate) id: RequestId,
    /// What was asked for.
    pub(crate) wish: Wish,
    /// When.
    pub(crate) made: UnixTime,
    /// When it is forgotten.
    pub(crate) expires: UnixTime,
    /// The mailbox has confirmed it, or need not.
    pub(crate) confirmed: bool,
    /// Groups whose owners approved it.
    pub(crate) approved: Vec<GroupId>,
    /// An administrator approved it: no owner need.
    pub(crate) by_administrator: bool,
}

/// What a [`Request`] asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Wish {
    /// An account wants to join.
    Join {
        /// The group.
        group: GroupId,
        /// The account.
        address: MailAddress,
    },
    /// An owner wants somebody to join, who has to accept; the address need not have an account yet.
    Invitation {
        /// The group.
        group: GroupId,
        /// Who is invited.
        address: MailAddress,
    },
    /// An account wants another key certified in place of its live one (DESIGN 3.1).
    Key {
        /// The account.
        address: MailAddress,
        /// SHA-256 of the new key's DER SubjectPublicKeyInfo.
        key: Digest,
    },
}

impl Wish {
    /// Whom it is about.
    pub(crate) const fn address(&self) -> &MailAddress {
        match self {
            Self::Join { address, .. } | Self::Invitation { address, .. } | Self::Key { address, .. } => address,
        }
    }

    /// The group that it is about, where it is about one.
    pub(crate) const fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Join { group, .. } | Self::Invitation { group, .. } => Some(group),
            Self::Key { .. } => None,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestEnd {
    /// What it asked for was done.
    Done,
    /// An owner or an administrator said no, or the account withdrew it.
    Rejected,
    /// Nobody saw to it in time.
    Expired,
}
