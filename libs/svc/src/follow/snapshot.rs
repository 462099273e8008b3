//! Fetching a snapshot, page by page; it is verified as a whole before anything is replaced by it.

use super::{FollowError, Follower, Roster};
use openssl::pkey::{PKey, Public};
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::feed::{FeedSnapshot, SnapshotPage, SnapshotRequest};
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{Cursor, FeedError, MAX_SNAPSHOT};

/// Longest wait for a page: certsrv makes the snapshot for the first.
const PATIENCE: Duration = Duration::from_secs(120);

impl<R: Roster> Follower<R> {
    /// Takes a snapshot in place of the roster at `cursor`.
    pub(super) async fn begin_anew(&mut self, cursor: Cursor, key: PKey<Public>) -> Result<(), FollowError> {
        let after = cursor.sequence;
        let unlike = |what: &str| FeedError::Unreadable { after, what: format!("snapshot: {what}") };
        let first = self.page(after, None, 0).await?;
        let digest = Digest::of(first.snapshot.header.as_bytes());
        let mut left = MAX_SNAPSHOT.checked_sub(first.text.len()).ok_or_else(|| unlike("too large"))?;
        let mut pages = vec![first.text];
        for number in 1..first.pages {
            let SnapshotPage { snapshot, text, .. } = self.page(after, Some(digest), number).await?;
            if snapshot != first.snapshot {
                return Err(unlike("its pages do not belong together").into());
            }
            // An empty page would let the number of pages grow without end.
            left = left.checked_sub(text.len().max(1)).ok_or_else(|| unlike("too large"))?;
            pages.push(text);
        }
        let (roster, snapshot) = (Arc::clone(&self.roster), first.snapshot);
        let place = tokio::task::spawn_blocking(move || {
            let (place, changes) = snapshot.open::<R::Change>(&pages, R::VIEW, &cursor, &key)?;
            drop(pages);
            let count = changes.len();
            roster.replace(changes, &place)?;
            tracing::warn!(
                generation = place.generation,
                sequence = place.sequence,
                count,
                "roster replaced by a snapshot"
            );
            Ok::<_, FollowError>(place)
        })
        .await??;
        self.followed.reached(&place, true);
        Ok(())
    }

    async fn page(&self, after: u64, snapshot: Option<Digest>, page: u64) -> Result<SnapshotPage, FollowError> {
        let request = SnapshotRequest { after, snapshot, page };
        Ok(self.client.call::<FeedSnapshot>(&request, PATIENCE).await?)
    }
}
