//! The feed's administration: certsrv replaces the feed key and tells what a backup has to hold; its consumers accept a
//! generation, take a snapshot, acknowledge an alarm.

use crate::api::Endpoint;
use crate::encoding::{B64, Digest};
use crate::ids::FeedId;
use serde::{Deserialize, Serialize};

/// certsrv: replaces the feed key. In force when the answer comes; consumers follow by the feed itself.
pub struct RotateFeedKey;

impl Endpoint for RotateFeedKey {
    const PATH: &'static str = "/v1/admin/feed/rotate-key";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = RotatedFeedKey;
}

/// The key that signs the feed from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotatedFeedKey {
    /// The last entry that the old key signed.
    pub sequence: u64,
    /// DER SubjectPublicKeyInfo of the new key.
    pub key: B64,
}

/// certsrv: what a backup has to hold, at one moment between two commits. The caller copies the files.
pub struct ListBackup;

impl Endpoint for ListBackup {
    const PATH: &'static str = "/v1/admin/backup/list";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = BackupList;
}

/// The files of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupList {
    /// certsrv's version.
    pub version: String,
    /// The feed.
    pub feed: FeedId,
    /// Its generation.
    pub generation: u64,
    /// The last entry.
    pub sequence: u64,
    /// SHA-256 of that entry's header text.
    pub head: Digest,
    /// DER SubjectPublicKeyInfo of the feed key.
    pub key: B64,
    /// The files, by their paths below the state directory.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Its path below the state directory.
    pub path: String,
    /// How many of its octets belong to the backup.
    pub length: u64,
    /// SHA-256 of them; none of a file that only grows, which is not read for the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A consumer: follows certsrv into a later generation, as its local administrator decides.
pub struct AcceptGeneration;

impl Endpoint for AcceptGeneration {
    const PATH: &'static str = "/v1/admin/feed/accept-generation";
    const MAX_BODY: usize = 4096;
    type Request = AcceptGenerationRequest;
    type Response = FollowedFeed;
}

/// Which generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptGenerationRequest {
    /// The generation, as certsrv's `restore` told it.
    pub generation: u64,
    /// DER SubjectPublicKeyInfo of the feed key, when certsrv was restored to another one than is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<B64>,
}

/// A consumer: takes a snapshot in place of its roster, for instance after it was restored from a backup itself.
pub struct ResyncFeed;

impl Endpoint for ResyncFeed {
    const PATH: &'static str = "/v1/admin/feed/resync";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = FollowedFeed;
}

/// A consumer: the alarm that is shown was seen, and is shown no longer unless it stands.
pub struct AcknowledgeAlarm;

impl Endpoint for AcknowledgeAlarm {
    const PATH: &'static str = "/v1/admin/feed/acknowledge";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = FollowedFeed;
}

/// How a consumer follows the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedFeed {
    /// The feed.
    pub feed: FeedId,
    /// The generation that is accepted.
    pub generation: u64,
    /// A snapshot is to be taken before anything else.
    pub resync: bool,
    /// The alarm that is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
}
