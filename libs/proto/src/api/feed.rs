//! certsrv: the next entries of the feed, or a heartbeat, by long poll; and the state of a view in one piece. The caller's
//! certificate decides its view.

use super::Endpoint;
use crate::encoding::Digest;
use crate::feed::{SignedEntry, SignedHeartbeat, SignedSnapshot};
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
    /// Signed when the answer was made. None when the feed key was replaced after the last of these entries: the caller
    /// could not verify it before it has the entry that names the next key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<SignedHeartbeat>,
}

/// `POST /v1/feed/snapshot`, by groupsrv or an exploder: what its view has come to, page by page.
pub struct FeedSnapshot;

impl Endpoint for FeedSnapshot {
    const PATH: &'static str = "/v1/feed/snapshot";
    const MAX_BODY: usize = 4096;
    type Request = SnapshotRequest;
    type Response = SnapshotPage;
}

/// Which page of which snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// The last sequence that the caller has: it takes no snapshot of an earlier state.
    pub after: u64,
    /// SHA-256 of the header text of the snapshot that was begun; none begins one. A snapshot is kept for some minutes:
    /// after `conflict` the caller begins again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// The page, from 0.
    pub page: u64,
}

/// A page of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotPage {
    /// What was signed: the same on each page.
    pub snapshot: SignedSnapshot,
    /// How many pages there are, at least 1.
    pub pages: u64,
    /// This page's part of the body.
    pub text: String,
}
