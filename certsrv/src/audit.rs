//! What the audit log tells: who did what, before it is in force. Names and digests, never a secret.

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::rows::{Holder, Notice, NoticeEnd, Request, RequestEnd, TokenPurpose};
use serde::Serialize;
use std::fmt;
use twinseal_proto::api::admin::certsrv::{MemberRole, RevocationReason};
use twinseal_proto::api::groups::{JoinPolicy, KeyChangePolicy, RosterVisibility};
use twinseal_proto::api::members::MemberOptions;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{BanPattern, GroupId, Handle, ListAddress, MailAddress, NoticeId, RequestId};
use twinseal_proto::roster::SignedStatement;
use twinseal_proto::time::UnixTime;

/// Who caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// An administrator on the admin socket.
    Administrator,
    /// An account, by certificate, password or token.
    Account(MailAddress),
    /// A service, by its pinned key, or the one that is joining.
    Service(ServiceRole),
    /// certsrv itself, because time passed.
    Clock,
    /// Somebody of whom nothing is known: anybody may ask for a mail to an address.
    Anybody,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator => f.write_str("administrator"),
            Self::Account(address) => write!(f, "account {address}"),
            Self::Service(ServiceRole::Groupsrv) => f.write_str("groupsrv"),
            Self::Service(ServiceRole::Exploder) => f.write_str("exploder"),
            Self::Clock => f.write_str("clock"),
            Self::Anybody => f.write_str("anybody"),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A line of the audit log.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    at: UnixTime,
    by: &'a Actor,
    #[serde(flatten)]
    event: Event<'a>,
}

impl<'a> Record<'a> {
    /// A certificate that is about to be signed.
    pub(crate) const fn intent(
        at: UnixTime,
        by: &'a Actor,
        holder: Option<&'a Holder>,
        serial: &'a Serial,
        tbs: B64,
    ) -> Self {
        Self { at, by, event: Event::SigningCertificate { serial, holder, tbs } }
    }

    /// A certificate that is about to be given again.
    pub(crate) const fn again(at: UnixTime, by: &'a Actor, serial: &'a Serial) -> Self {
        Self { at, by, event: Event::CertificateGivenAgain { serial } }
    }

    /// A log-in through the identity provider that is about to give a code.
    pub(crate) const fn login(at: UnixTime, by: &'a Actor, subject: &'a Digest) -> Self {
        Self { at, by, event: Event::LoggedIn { subject } }
    }

    /// A key pair that is about to be made for somebody.
    pub(crate) const fn making_key(at: UnixTime, by: &'a Actor) -> Self {
        Self { at, by, event: Event::MakingKey }
    }

    /// A backup that is about to be taken: whoever has it has the CAs' private keys.
    pub(crate) const fn backup(at: UnixTime, by: &'a Actor, sequence: u64) -> Self {
        Self { at, by, event: Event::BackedUp { sequence } }
    }

    /// A certificate revocation list that is about to be signed.
    pub(crate) const fn crl(at: UnixTime, by: &'a Actor, ca: &'a str, number: u64, revoked: usize) -> Self {
        Self { at, by, event: Event::SigningCrl { ca, number, revoked } }
    }

    /// A change that is about to be made.
    pub(crate) fn change(at: UnixTime, by: &'a Actor, change: &'a Change) -> Self {
        Self { at, by, event: Event::of(change) }
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    /// Recorded before the key is used; without a later `certificate-issued` the certificate was given to nobody.
    SigningCertificate {
        serial: &'a Serial,
        holder: Option<&'a Holder>,
        tbs: B64,
    },
    /// Recorded before the key is used.
    SigningCrl {
        ca: &'a str,
        number: u64,
        revoked: usize,
    },
    CertificateIssued {
        serial: &'a Serial,
        holder: &'a Holder,
        sha256: Digest,
    },
    /// An answer that was lost; nothing new was issued.
    CertificateGivenAgain {
        serial: &'a Serial,
    },
    CertificateRevoked {
        serial: &'a Serial,
        reason: RevocationReason,
    },
    CertificateEnded {
        serial: &'a Serial,
    },
    /// A key pair is about to be made for whoever asks, who is sent it.
    MakingKey,
    /// A certificate of another CA; `sha256` names it for everybody.
    CertificateImported {
        serial: &'a Serial,
        address: &'a MailAddress,
        sha256: Digest,
    },
    MembershipsRevoked {
        handle: &'a Handle,
        serials: Vec<Serial>,
    },
    AccountAdded {
        address: &'a MailAddress,
    },
    /// The subject's digest stands for its name at the identity provider.
    AccountBound {
        address: &'a MailAddress,
        subject: &'a Digest,
    },
    AccountUnbound {
        address: &'a MailAddress,
    },
    /// Recorded before the code is given.
    LoggedIn {
        subject: &'a Digest,
    },
    PasswordSet {
        address: &'a MailAddress,
        password: bool,
    },
    AccountLocked {
        address: &'a MailAddress,
    },
    AccountUnlocked {
        address: &'a MailAddress,
    },
    AccountRemoved {
        address: &'a MailAddress,
    },
    TokenMade {
        purpose: &'a TokenPurpose,
        expires: UnixTime,
    },
    GroupCreated {
        group: &'a GroupId,
        list: &'a ListAddress,
        owner: &'a MailAddress,
    },
    GroupSet {
        group: &'a GroupId,
        join: JoinPolicy,
        key_change: KeyChangePolicy,
        mode: DeliveryMode,
        history: History,
        settings: &'a ListSettings,
        roster: RosterVisibility,
        notices: bool,
    },
    GroupDeleted {
        group: &'a GroupId,
    },
    BanSet {
        group: &'a GroupId,
        pattern: &'a BanPattern,
        banned: bool,
    },
    MemberSet {
        group: &'a GroupId,
        address: &'a MailAddress,
        role: MemberRole,
        options: &'a MemberOptions,
    },
    MemberAdded {
        group: &'a GroupId,
        address: &'a MailAddress,
        role: MemberRole,
        serial: Option<&'a Serial>,
    },
    MemberKeyed {
        group: &'a GroupId,
        address: &'a MailAddress,
        serial: &'a Serial,
    },
    MemberSuspended {
        group: &'a GroupId,
        address: &'a MailAddress,
    },
    MemberLeft {
        group: &'a GroupId,
        address: &'a MailAddress,
    },
    RequestMade {
        request: &'a Request,
    },
    RequestConfirmed {
        request: &'a RequestId,
    },
    RequestApproved {
        request: &'a RequestId,
        group: Option<&'a GroupId>,
    },
    RequestEnded {
        request: &'a RequestId,
        end: RequestEnd,
    },
    NoticeQueued {
        id: &'a NoticeId,
        #[serde(flatten)]
        notice: &'a Notice,
    },
    NoticeDone {
        id: &'a NoticeId,
        end: NoticeEnd,
    },
    PostingTokenMade {
        digest: &'a Digest,
        address: &'a MailAddress,
        expires: UnixTime,
    },
    PostingTokenEnded {
        digest: &'a Digest,
        address: &'a MailAddress,
    },
    FeedKeyRotated {
        sha256: Digest,
    },
    GenerationBegan {
        generation: u64,
    },
    BackedUp {
        sequence: u64,
    },
    RosterPinned {
        group: &'a GroupId,
        owner: &'a Digest,
    },
    StatementTaken {
        group: &'a GroupId,
        statement: &'a SignedStatement,
    },
}

impl<'a> Event<'a> {
    fn of(change: &'a Change) -> Self {
        match change {
            Change::AccountAdded { address, .. } => Self::AccountAdded { address },
            Change::AccountBound { address, subject } => Self::AccountBound { address, subject },
            Change::AccountUnbound { address } => Self::AccountUnbound { address },
            Change::PasswordSet { address, password } => Self::PasswordSet { address, password: password.is_some() },
            Change::AccountLocked { address } => Self::AccountLocked { address },
            Change::AccountUnlocked { address } => Self::AccountUnlocked { address },
            Change::AccountRemoved { address } => Self::AccountRemoved { address },
            Change::CertificateImported { serial, address, certificate, .. } => {
                Self::CertificateImported { serial, address, sha256: Digest::of(certificate.as_ref()) }
            }
            Change::MembershipsRevoked { handle, certificates } => {
                let serials = certificates.iter().map(|(serial, _)| *serial).collect();
                Self::MembershipsRevoked { handle, serials }
            }
            Change::TokenMade { purpose, expires, .. } => Self::TokenMade { purpose, expires: *expires },
            Change::CertificateIssued { serial, holder, certificate, .. } => {
                Self::CertificateIssued { serial, holder, sha256: Digest::of(certificate.as_ref()) }
            }
            Change::CertificateRevoked { serial, reason, .. } => Self::CertificateRevoked { serial, reason: *reason },
            Change::CertificateEnded { serial } => Self::CertificateEnded { serial },
            Change::GroupCreated { group, list, owner, .. } => Self::GroupCreated { group, list, owner },
            Change::GroupSet { group, join, key_change, mode, history, settings, roster, notices } => Self::GroupSet {
                group,
                join: *join,
                key_change: *key_change,
                mode: *mode,
                history: *history,
                settings,
                roster: *roster,
                notices: *notices,
            },
            Change::GroupDeleted { group } => Self::GroupDeleted { group },
            Change::BanSet { group, pattern, banned } => Self::BanSet { group, pattern, banned: *banned },
            Change::MemberSet { group, address, role, options } => {
                Self::MemberSet { group, address, role: *role, options }
            }
            Change::MemberAdded { group, address, role, serial, .. } => {
                Self::MemberAdded { group, address, role: *role, serial: serial.as_ref() }
            }
            Change::MemberKeyed { group, address, serial } => Self::MemberKeyed { group, address, serial },
            Change::MemberSuspended { group, address } => Self::MemberSuspended { group, address },
            Change::MemberLeft { group, address } => Self::MemberLeft { group, address },
            Change::RequestMade { request } => Self::RequestMade { request },
            Change::RequestConfirmed { request, .. } => Self::RequestConfirmed { request },
            Change::RequestApproved { request, group } => Self::RequestApproved { request, group: group.as_ref() },
            Change::RequestEnded { request, end } => Self::RequestEnded { request, end: *end },
            Change::NoticeQueued { id, notice, .. } => Self::NoticeQueued { id, notice },
            Change::NoticeDone { id, end } => Self::NoticeDone { id, end: *end },
            Change::PostingTokenMade { digest, address, expires, .. } => {
                Self::PostingTokenMade { digest, address, expires: *expires }
            }
            Change::PostingTokenEnded { digest, address } => Self::PostingTokenEnded { digest, address },
            Change::FeedKeyRotated { key } => Self::FeedKeyRotated { sha256: Digest::of(key.as_ref()) },
            Change::GenerationBegan { generation } => Self::GenerationBegan { generation: *generation },
            Change::RosterPinned { group, owner } => Self::RosterPinned { group, owner },
            Change::StatementTaken { group, statement, .. } => Self::StatementTaken { group, statement },
        }
    }
}
