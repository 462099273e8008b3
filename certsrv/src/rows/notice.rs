//! The rows of certsrv's own mail.

use crate::cert::serial::Serial;
use serde::{Deserialize, Serialize};
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress, NoticeId, RequestId};
use twinseal_proto::time::UnixTime;

/// A mail of certsrv's own that is on its way to its smarthost: facts only, its text is made when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoticeRow {
    /// Its name.
    pub(crate) id: NoticeId,
    /// What it says, and to whom.
    pub(crate) notice: Notice,
    /// When it was caused.
    pub(crate) made: UnixTime,
}

/// What certsrv writes to people about (spec: life-cycle mail).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Notice {
    /// A one-time token for logging in, asked for by whoever says to own the mailbox.
    LogIn {
        /// The mailbox.
        to: MailAddress,
    },
    /// A request to join or an invitation, with a token that confirms it.
    Confirm {
        /// The mailbox.
        to: MailAddress,
        /// The request.
        request: RequestId,
    },
    /// A request waits for an owner.
    Waiting {
        /// The owner.
        to: MailAddress,
        /// The request.
        request: RequestId,
        /// The group whose owner is asked.
        group: GroupId,
    },
    /// A request was rejected.
    Rejected {
        /// Who asked.
        to: MailAddress,
        /// The list, where the request was about one.
        list: Option<ListAddress>,
    },
    /// A membership began.
    Welcome {
        /// The member.
        to: MailAddress,
        /// The group.
        group: GroupId,
    },
    /// A membership ended.
    Goodbye {
        /// Who was the member.
        to: MailAddress,
        /// The list.
        list: ListAddress,
    },
    /// Somebody joined or left: told to the owners.
    Membership {
        /// The owner.
        to: MailAddress,
        /// The list.
        list: ListAddress,
        /// Who joined or left.
        address: MailAddress,
        /// Joined.
        joined: bool,
    },
    /// A certificate is about to run out.
    Expiry {
        /// The member.
        to: MailAddress,
        /// The certificate.
        serial: Serial,
        /// Days that are left: 30, 7 or 1.
        days: u32,
    },
    /// An account has another key: told to the member and to the owners of its groups.
    KeyChanged {
        /// Who is told.
        to: MailAddress,
        /// Whose key it is.
        address: MailAddress,
        /// The new certificate.
        serial: Serial,
    },
}

impl Notice {
    /// Its sort, as people read it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::LogIn { .. } => "log-in",
            Self::Confirm { .. } => "confirm",
            Self::Waiting { .. } => "waiting",
            Self::Rejected { .. } => "rejected",
            Self::Welcome { .. } => "welcome",
            Self::Goodbye { .. } => "goodbye",
            Self::Membership { .. } => "membership",
            Self::Expiry { .. } => "expiry",
            Self::KeyChanged { .. } => "key-changed",
        }
    }

    /// Where it goes.
    pub(crate) const fn to(&self) -> &MailAddress {
        match self {
            Self::LogIn { to }
            | Self::Confirm { to, .. }
            | Self::Waiting { to, .. }
            | Self::Rejected { to, .. }
            | Self::Welcome { to, .. }
            | Self::Goodbye { to, .. }
            | Self::Membership { to, .. }
            | Self::Expiry { to, .. }
            | Self::KeyChanged { to, .. } => to,
        }
    }
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NoticeEnd {
    /// The smarthost has it.
    Sent,
    /// The smarthost refused it for good.
    Refused,
    /// It could not be sent in time, or what it tells is no longer so.
    Dropped,
}
