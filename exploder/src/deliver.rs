//! Step 8: copies go to the smarthost over kept connections, one recipient a transaction (DESIGN 3.3).
//!
//! * [`connect`]: a connection with TLS and AUTH. [`wire`]: the socket, shared by lettre and ourselves.
//! * [`session`]: one transaction on it, in as few writes as the smarthost allows.
//! * [`lanes`]: whose copy is next. [`worker`]: takes it and sends it.

pub(crate) mod connect;
pub(crate) mod lanes;
pub(crate) mod session;
pub(crate) mod wire;
pub(crate) mod worker;

use lettre::transport::smtp::Error;
use std::error::Error as _;
use std::fmt;

/// What became of a copy. None of the reasons holds the smarthost's text: it may name the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The smarthost took it.
    Sent,
    /// To be tried again.
    Defer(Reason),
    /// Failed for good.
    Fail(Reason),
}

/// Why a copy did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The smarthost's reply.
    Reply(u16, Option<Enhanced>),
    /// The connection broke, or the smarthost was silent for too long; it may have the copy or not.
    Lost,
    /// The address needs SMTPUTF8, which the smarthost does not offer (RFC 6531 section 3.2).
    NoSmtpUtf8,
    /// It failed until the end of its lifetime.
    Expired,
    /// Its text could not be made: the disk is full, or the body cannot be read.
    NoText,
    /// What groupsrv answered for the member is no RecipientInfo for one reader.
    Unusable,
    /// groupsrv does not know the member yet.
    NotKnownYet,
    /// The member had no live key until the end of the copy's lifetime.
    NoLiveKey,
}

/// An enhanced status code (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enhanced(u16, u16, u16);

impl Enhanced {
    fn at_start_of(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace().next()?.splitn(3, '.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(code, None) => write!(f, "{code}"),
            Self::Reply(code, Some(Enhanced(class, subject, detail))) => write!(f, "{code} {class}.{subject}.{detail}"),
            Self::Lost => f.write_str("connection lost"),
            Self::NoSmtpUtf8 => f.write_str("5.6.7 the smarthost does not offer SMTPUTF8"),
            Self::Expired => f.write_str("given up at the end of its lifetime"),
            Self::NoText => f.write_str("the text cannot be made"),
            Self::Unusable => f.write_str("groupsrv's answer is no RecipientInfo"),
            Self::NotKnownYet => f.write_str("groupsrv does not know the member"),
            Self::NoLiveKey => f.write_str("no live key"),
        }
    }
}

/// Classifies a reply that is not positive, or its absence (RFC 5321 section 4.2.1).
pub(crate) fn classify(error: &Error) -> Outcome {
    let Some(code) = error.status().map(u16::from) else {
        return Outcome::Defer(Reason::Lost);
    };
    let enhanced = error.source().and_then(|text| Enhanced::at_start_of(&text.to_string()));
    let reason = Reason::Reply(code, enhanced);
    match code {
        // These say something about us, not about the member: TLS or AUTH is wanted (RFC 3207, RFC 4954), or a command
        // came out of order. They end when the configuration is right.
        503 | 530 | 534 | 535 | 538 => Outcome::Defer(reason),
        500.. => Outcome::Fail(reason),
        _ => Outcome::Defer(reason),
    }
}

/// Whether the smarthost said that it closes the connection (RFC 5321 section 3.8).
pub(crate) fn is_closing(error: &Error) -> bool {
    error.status().is_none_or(|code| u16::from(code) == 421)
}

#[cfg(test)]
pub(crate) mod tests;
