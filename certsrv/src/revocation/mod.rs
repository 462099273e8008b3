//! Revocation status and publication (RFC 5280 section 5, RFC 6960, RFC 9919): what everybody may ask about the
//! certificates that were issued here, over plain HTTP.
//!
//! 1. A question is read ([`request`]) and the certificate that it names looked up, with how it stands now
//!    (`answers.rs`).
//! 2. The answer is one that was signed before and still says so, or it is signed on the spot (`response.rs`) by the
//!    responder key of that CA (`responder.rs`): a revocation shows in the next answer.
//! 3. The same for the CRL of each CA (`lists.rs`), which is recorded in the audit log before the CA's key is used.
//! 4. `publisher.rs` signs ahead of the questions, so that few wait for a signature, and renews the responder keys.
//! 5. `http.rs` has the routes; `places.rs` says where everything is, in URLs and in certificates.

mod answers;
mod http;
mod lists;
pub(crate) mod places;
mod publisher;
pub mod request;
mod responder;
mod response;
mod state;

pub(crate) use http::routes;
pub(crate) use lists::sign_root;
pub(crate) use publisher::publish;
pub(crate) use state::{RevocationState, StateError};
