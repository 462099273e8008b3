//! certsrv: the next entries of the feed, or a heartbeat. Long poll; the caller's certificate decides its view.

use super::Endpoint;
use crate::feed::{SignedEntry, SignedHeartbeat};
use serde::{Deserialize, Serialize};

/// `POST /v1/feed`, by groupsrv or an exploder.
pub struct Feed;

impl Endpoint for Feed {
    const PATH: &'static str = "/v1/feed";
    const MAX_BODY: usize = 4096;
    type Request = FeedRequest;
    type Response = FeedPage;
}

/// Where the caller is.
///
/// ```
/// let json = r#"{"after":17,"wait":20}"#;
/// let request: twinseal_proto::api::feed::FeedRequest = serde_json::from_str(json)?;
/// assert_eq!(request.after, 17);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedRequest {
    /// The last sequence that the caller has; 0 for none.
    pub after: u64,
    /// Seconds to wait for a new entry when there is none; at most 20.
    pub wait: u64,
}

/// What there is after the caller's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedPage {
    /// At most 1,000 entries, in order.
    pub entries: Vec<SignedEntry>,
    /// Signed when the answer was made.
    pub heartbeat: SignedHeartbeat,
}
