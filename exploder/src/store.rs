//! The index of the exploder: which tables it has and what their keys are. All of it can be fetched again.

use twinseal_proto::ids::{Epoch, GroupId, Handle};
use twinseal_svc::owners::Tables;
use twinseal_svc::store::Table;

/// Single records: the place in the feed.
pub(crate) const META: Table = Table(1);
/// Lists by group.
pub(crate) const LISTS: Table = Table(2);
/// Members by group and handle.
pub(crate) const MEMBERS: Table = Table(3);
/// The groups' certificates by group, epoch and place.
pub(crate) const KEYS: Table = Table(4);
/// Posting tokens by digest.
pub(crate) const POSTING_TOKENS: Table = Table(40);

/// What owners signed.
pub(crate) const LIST_OWNERS: Tables =
    Tables { pins: Table(41), entries: Table(42), statements: Table(43), alarms: Table(44) };

/// The place in the feed, in [`META`].
pub(crate) const CURSOR: &[u8] = b"cursor";

/// The key of a member's record.
pub(crate) fn member_key(group: &GroupId, handle: &Handle) -> Vec<u8> {
    [group.octets().as_slice(), handle.octets()].concat()
}

/// The key of a certificate's record.
pub(crate) fn epoch_key(group: &GroupId, epoch: Epoch, place: u8) -> Vec<u8> {
    [group.octets().as_slice(), &epoch.0.to_be_bytes(), &[place]].concat()
}
