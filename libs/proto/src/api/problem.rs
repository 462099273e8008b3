//! Refusals on the wire: one table from code to HTTP status and to what the caller may do about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a call was refused. The names are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    /// The body is not what the call takes; the detail names the field.
    BadRequest,
    /// No certificate, token or password that this service knows.
    NotAuthenticated,
    /// The caller is known and may not do this.
    NotAuthorised,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// It exists already, or the state does not allow it.
    Conflict,
    /// The body is longer than the call takes.
    TooLarge,
    /// Too many calls; later.
    RateLimited,
    /// The wrapped key was not registered before its use.
    NotRegistered,
    /// The one answer to every wrapped key that this service will not or cannot open.
    Refused,
    /// The service is starting, has a stale lease, or waits for a peer.
    Unavailable,
    /// Something failed inside; the log has the rest.
    Internal,
}

/// What a caller does with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Asking again gives the same answer.
    Never,
    /// Ask again later; nothing is lost.
    Later,
}

impl ProblemCode {
    /// The table: name on the wire, HTTP status, title, retry class.
    const fn row(self) -> (&'static str, u16, &'static str, RetryClass) {
        use RetryClass::{Later, Never};
        match self {
            Self::BadRequest => ("bad-request", 400, "The request cannot be read", Never),
            Self::NotAuthenticated => ("not-authenticated", 401, "Who are you?", Never),
            Self::NotAuthorised => ("not-authorised", 403, "Not allowed", Never),
            Self::NotFound => ("not-found", 404, "Not found", Never),
            Self::Conflict => ("conflict", 409, "The present state does not allow it", Never),
            Self::TooLarge => ("too-large", 413, "The request is too large", Never),
            Self::RateLimited => ("rate-limited", 429, "Too many requests", Later),
            Self::NotRegistered => ("not-registered", 409, "The wrapped key is not registered", Never),
            Self::Refused => ("refused", 422, "Refused", Never),
            Self::Unavailable => ("unavailable", 503, "Not available now", Later),
            Self::Internal => ("internal", 500, "Internal failure", Later),
        }
    }

    /// Its HTTP status (RFC 9110 section 15).
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// What a caller may do.
    #[must_use]
    pub const fn retry(self) -> RetryClass {
        self.row().3
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
    }
}

/// A refusal, as RFC 9457 writes it (`application/problem+json`). The detail is safe to show to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// The code; on the wire the member `type`.
    #[serde(rename = "type")]
    pub code: ProblemCode,
    /// A short text for people, the same for every problem of the code.
    pub title: String,
    /// The HTTP status again, for logs.
    pub status: u16,
    /// What is wrong in this case and, where it helps, what to do.
    pub detail: String,
    /// Seconds after which asking again makes sense, where that is known (RFC 9110 section 10.2.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of `code` that says `detail`.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (_, status, title, _) = code.row();
        Self { code, title: title.to_owned(), status, detail: detail.into(), retry_after: None }
    }

    /// The same, with the seconds after which asking again makes sense.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::new(ProblemCode::Unavailable, "no roster yet");
        let json = serde_json::to_string(&problem).unwrap();
        assert_eq!(json, r#"{"type":"unavailable","title":"Not available now","status":503,"detail":"no roster yet"}"#);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        assert_eq!(problem.code.to_string(), "unavailable");
    }
}
