//! Every call between the parts of Twinseal. A call is an [`Endpoint`]: the server's router and the client read the same
//! definition, so they cannot disagree. Bodies are JSON (RFC 8259), at most [`Endpoint::MAX_BODY`] octets; refusals are
//! [`Problem`]s (RFC 9457).

pub mod admin;
pub mod enrol;
pub mod expand;
pub mod feed;
pub mod group_certificate;
pub mod groups;
pub mod keys;
pub mod login;
pub mod members;
pub mod owners;
mod problem;
pub mod requests;
pub mod services;
pub mod tickets;
pub mod tokens;

pub use problem::{Problem, ProblemCode, RetryClass};

use serde::{Serialize, de::DeserializeOwned};

/// One call. All are POST: each carries a body, and none is cached on the way.
pub trait Endpoint {
    /// Absolute path on the service that answers.
    const PATH: &'static str;
    /// Longest request body that is read, in octets.
    const MAX_BODY: usize;
    /// What the caller sends.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What comes back when the call is not refused.
    type Response: Serialize + DeserializeOwned + Send + 'static;
}
