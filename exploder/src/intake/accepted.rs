//! What is known of a message that is taken: everything that expansion and delivery need, beside the spooled CMS.

use super::Head;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::cms::assemble::CopyShape;
use twinseal_proto::cms::frame::{ContentAlgorithm, ContentKind, Frame};
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::Epoch;

/// A message that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Its header.
    pub head: Head,
    /// Where things lie in the spooled CMS.
    pub frame: FrameFacts,
    /// DER RecipientInfo for the group's key: the one thing of it that groupsrv is shown.
    pub recipient_info: B64,
    /// The epoch of that key.
    pub epoch: Epoch,
    /// The sort of that key.
    pub key: KeyAlgorithm,
}

/// What copies need of a [`Frame`], in a form that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameFacts {
    /// AuthEnvelopedData, not EnvelopedData.
    pub authenticated: bool,
    /// The first octet of the tail, from the beginning of the CMS.
    pub tail_start: u64,
    /// The octet after the tail.
    pub tail_end: u64,
    /// There are unprotected attributes, which the version of copies depends on.
    pub unprotected_attributes: bool,
    /// The content encryption.
    pub content_algorithm: ContentAlgorithm,
}

impl FrameFacts {
    /// The octets that every copy carries as they were received.
    #[must_use]
    pub const fn tail(&self) -> Range<u64> {
        self.tail_start..self.tail_end
    }

    /// The shape of the copies.
    #[must_use]
    pub fn shape(&self) -> CopyShape {
        let kind = if self.authenticated { ContentKind::AuthEnvelopedData } else { ContentKind::EnvelopedData };
        CopyShape::of(&Frame {
            kind,
            ri_end: self.tail_start,
            end: self.tail_end,
            has_unprotected_attrs: self.unprotected_attributes,
            content_algorithm: self.content_algorithm.clone(),
            // None of these shapes a copy.
            cms_version: 0,
            ri_start: 0,
            eci_end: self.tail_end,
            total: self.tail_end,
            attributes_follow: false,
            content_octets: 0,
            recipient_infos: Vec::new(),
        })
    }
}

impl From<&Frame> for FrameFacts {
    fn from(frame: &Frame) -> Self {
        Self {
            authenticated: frame.kind == ContentKind::AuthEnvelopedData,
            tail_start: frame.ri_end,
            tail_end: frame.end,
            unprotected_attributes: frame.has_unprotected_attrs,
            content_algorithm: frame.content_algorithm.clone(),
        }
    }
}
