//! The intake record of a message: all that sending needs beside the CMS body.

use crate::headers::{Posting, copy_header};
use crate::intake::{Accepted, FrameFacts};
use serde::{Deserialize, Serialize};
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::{GroupId, ListAddress, MemberNumber};
use twinseal_proto::time::UnixTime;

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpooledPost {
    /// The list that it goes to.
    pub(crate) list: ListAddress,
    /// The group behind the list.
    pub(crate) group: GroupId,
    /// Who posted it, where that is a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<MemberNumber>,
    /// When it was accepted.
    pub(crate) accepted: UnixTime,
    /// Octets of its CMS body.
    pub(crate) size: u64,
    /// The header of all copies, with the empty line behind it.
    pub(crate) header: String,
    /// Where things lie in the body.
    pub(crate) frame: FrameFacts,
    /// DER RecipientInfo for the group's key.
    pub(crate) recipient_info: B64,
}

impl SpooledPost {
    /// The record of a message that was taken; its author is not known yet.
    pub(crate) fn new(accepted: Accepted, group: GroupId, size: u64, posting: &Posting<'_>) -> Self {
        let header = copy_header(&accepted.head, posting);
        Self {
            list: posting.list.clone(),
            group,
            author: None,
            accepted: posting.accepted,
            size,
            // `copy_header` gives ASCII.
            header: String::from_utf8_lossy(&header).into_owned(),
            frame: accepted.frame,
            recipient_info: accepted.recipient_info,
        }
    }

    /// What the queue keeps of it.
    pub(crate) fn summary(&self) -> Summary {
        Summary { list: self.list.clone(), group: self.group, accepted: self.accepted, size: self.size }
    }

    /// [`Self::summary`] of a record as it was written.
    pub(crate) fn read_summary(json: &[u8]) -> Option<Summary> {
        serde_json::from_slice::<Self>(json).ok().map(|post| post.summary())
    }
}

/// What the queue keeps of a message in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The list that it goes to.
    pub(crate) list: ListAddress,
    /// The group behind the list.
    pub(crate) group: GroupId,
    /// When it was accepted.
    pub(crate) accepted: UnixTime,
    /// Octets of its CMS body.
    pub(crate) size: u64,
}
