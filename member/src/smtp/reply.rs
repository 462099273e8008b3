//! What a submission server says, and what its refusals mean for the member.

use crate::exit::{Exit, Explain};
use crate::tls::ConnectError;
use std::fmt;
use std::io;

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its three digits.
    pub code: u16,
    /// Its lines, without the digits.
    pub lines: Vec<String>,
}

/// The message was not taken. It is taken by all or by none: the first refusal ends the transaction.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the server does not answer.
    #[error("the connection to {server} broke")]
    Broken {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The server refuses.
    #[error("{server} refuses {what}: {reply}")]
    Refused {
        /// `HOST:PORT`.
        server: String,
        /// The command that it refuses.
        what: String,
        /// Its words.
        reply: Reply,
    },
    /// The server lacks an extension that is needed.
    #[error("{server} does not offer {extension}")]
    Lacks {
        /// `HOST:PORT`.
        server: String,
        /// STARTTLS or SMTPUTF8.
        extension: &'static str,
    },
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" / "))
    }
}

impl Reply {
    /// Whether it speaks of a right that is missing: authentication (RFC 4954), or a policy (RFC 3463 section 3.8).
    fn forbids(&self) -> bool {
        matches!(self.code, 530 | 534 | 535 | 538) || self.lines.first().is_some_and(|line| line.starts_with("5.7."))
    }
}

impl Explain for SmtpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Connect(ConnectError::Name(_)) => Exit::Setup,
            Self::Connect(_) | Self::Broken { .. } => Exit::TemporaryFailure,
            Self::Refused { reply, .. } if reply.code < 500 => Exit::TemporaryFailure,
            Self::Refused { reply, .. } if reply.forbids() => Exit::NotAllowed,
            Self::Refused { .. } | Self::Lacks { .. } => Exit::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Connect(ConnectError::Name(_)) => "correct [submission] in home.toml".to_owned(),
            Self::Refused { reply, .. } if reply.lines.first().is_some_and(|line| line.starts_with("5.7.5")) => {
                "twinseal send --refresh: the list may have taken a new key".to_owned()
            }
            Self::Connect(_) | Self::Broken { .. } => "the same again in some minutes".to_owned(),
            Self::Refused { reply, .. } if reply.code < 500 => "the same again in some minutes".to_owned(),
            Self::Refused { .. } => "correct what the server names, or ask the list's owner".to_owned(),
            Self::Lacks { extension: "STARTTLS", .. } => {
                "tls = \"none\" in home.toml, if the server is on this host".to_owned()
            }
            Self::Lacks { .. } => "write header fields and addresses in ASCII".to_owned(),
        })
    }
}
