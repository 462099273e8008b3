//! Why a call did not do as asked: a refusal for the caller, or something inside that only the log hears of.

use crate::cert::ca::CaError;
use crate::log::LogError;
use crate::notices::SignError;
use crate::revocation::StateError;
use openssl::error::ErrorStack;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_svc::commit::CommitError;
use twinseal_svc::keys::SigningError;
use twinseal_svc::store::StoreError;

/// The call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Refused; the caller is told why.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The index.
    #[error("index")]
    Store(#[from] StoreError),
    /// The feed log.
    #[error("feed log")]
    Log(#[from] LogError),
    /// The audit log.
    #[error("audit")]
    Audit(#[from] CommitError),
    /// A CA.
    #[error("CA")]
    Ca(#[from] CaError),
    /// OCSP responders and CRLs.
    #[error("revocation status")]
    Revocation(#[from] StateError),
    /// OpenSSL, apart from the CAs.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// A mail's signature.
    #[error("signature")]
    Sign(#[from] SignError),
    /// A file of the state directory.
    #[error("state directory")]
    File(#[from] std::io::Error),
    /// A task ended without its result.
    #[error("task")]
    Task(#[from] tokio::task::JoinError),
}

impl Failure {
    /// What the caller is told; the rest goes to the log.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Ca(CaError::Signing(SigningError::Token(error))) => {
                tracing::error!(%error, "the token with the CAs' keys did not sign");
                Problem::new(ProblemCode::Unavailable, "the token with the CA keys does not answer; try again later")
            }
            inside => {
                let text = chain(&inside);
                tracing::error!(error = text, "call failed");
                Problem::new(ProblemCode::Internal, "something failed inside; the log of certsrv has the rest")
            }
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error;
    while let Some(source) = at.source() {
        text.push_str(": ");
        text.push_str(&source.to_string());
        at = source;
    }
    text
}

/// A refusal.
pub(crate) fn refuse(code: ProblemCode, detail: impl Into<String>) -> Failure {
    Failure::Refused(Problem::new(code, detail))
}
