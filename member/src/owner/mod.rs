//! `twinseal owner`: an owner signs who reads a list (DESIGN 3.4).
//!
//! What the owners of a list said so far is fetched from certsrv and checked, statement by statement, against what this
//! owner knows ([`book`]); then it is shown in plain words what is to be signed ([`plan`]), and only then it is signed and
//! handed in. certsrv cannot sign for an owner, and cannot make an owner's tool sign over what it does not show.

pub mod book;
pub mod plan;

use crate::exit::{Exit, Explain};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::roster::{RosterError, SignError};

/// Nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// certsrv shows something else than what was signed.
    #[error("certsrv shows another roster of {list} than its owners signed: {reason}")]
    Dishonest {
        /// The list.
        list: ListAddress,
        /// What.
        reason: String,
    },
    /// What this owner would sign is refused by the rules.
    #[error("this cannot be said")]
    Refused(#[from] RosterError),
    /// It cannot be signed.
    #[error("nothing is signed")]
    Sign(#[from] SignError),
    /// No such member.
    #[error("{0} is no member of the list")]
    NoMember(String),
    /// The member has no key that could be signed for.
    #[error("{0} has no live certificate")]
    NoKey(MailAddress),
    /// Not this owner's list.
    #[error("your key ({0}) is not that of an owner of the list")]
    NotAnOwner(Digest),
    /// Nobody is there who could agree.
    #[error("nobody agreed to it")]
    NotAgreed,
    /// The file with what is known of the list is damaged.
    #[error("{0} cannot be understood")]
    File(String),
    /// No random octets.
    #[error("OpenSSL")]
    Ssl(#[from] openssl::error::ErrorStack),
}

impl Explain for OwnerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Dishonest { .. } | Self::Refused(_) => Exit::Refused,
            Self::Sign(_) | Self::Ssl(_) => Exit::Internal,
            Self::NoMember(_) | Self::NoKey(_) | Self::File(_) => Exit::Data,
            Self::NotAnOwner(_) => Exit::NotAllowed,
            Self::NotAgreed => Exit::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Dishonest { .. } => {
                Some("sign nothing; tell the administrators of the group key server and of the exploder".to_owned())
            }
            Self::NoKey(_) => Some("the member enrols first: twinseal enroll".to_owned()),
            Self::NoMember(_) => Some("twinseal owner pending LIST".to_owned()),
            Self::NotAgreed => Some("answer y, or say --yes".to_owned()),
            Self::File(_) => Some("take it from a backup; or remove it, and compare what is shown then".to_owned()),
            Self::NotAnOwner(_) => Some("ask an owner: twinseal owner add-owner LIST ADDRESS".to_owned()),
            Self::Refused(_) | Self::Sign(_) | Self::Ssl(_) => None,
        }
    }
}
