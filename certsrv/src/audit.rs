//! What the audit log tells: who did what, before it is in force. Names and digests, never a secret.

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::rows::{Holder, TokenPurpose};
use serde::Serialize;
use std::fmt;
use twinseal_proto::api::admin::certsrv::{MemberRole, RevocationReason};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress};
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
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator => f.write_str("administrator"),
            Self::Account(address) => write!(f, "account {address}"),
            Self::Service(ServiceRole::Groupsrv) => f.write_str("groupsrv"),
            Self::Service(ServiceRole::Exploder) => f.write_str("exploder"),
            Self::Clock => f.write_str("clock"),
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
    AccountAdded {
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
            Change::TokenMade { purpose, expires, .. } => Self::TokenMade { purpose, expires: *expires },
            Change::CertificateIssued { serial, holder, certificate, .. } => {
                Self::CertificateIssued { serial, holder, sha256: Digest::of(certificate.as_ref()) }
            }
            Change::CertificateRevoked { serial, reason } => Self::CertificateRevoked { serial, reason: *reason },
            Change::CertificateEnded { serial } => Self::CertificateEnded { serial },
            Change::GroupCreated { group, list, owner, .. } => Self::GroupCreated { group, list, owner },
            Change::MemberAdded { group, address, role, serial, .. } => {
                Self::MemberAdded { group, address, role: *role, serial: serial.as_ref() }
            }
            Change::MemberKeyed { group, address, serial } => Self::MemberKeyed { group, address, serial },
            Change::MemberSuspended { group, address } => Self::MemberSuspended { group, address },
            Change::MemberLeft { group, address } => Self::MemberLeft { group, address },
            Change::RosterPinned { group, owner } => Self::RosterPinned { group, owner },
            Change::StatementTaken { group, statement, .. } => Self::StatementTaken { group, statement },
        }
    }
}
