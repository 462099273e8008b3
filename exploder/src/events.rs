//! Everything that the exploder tells its operators, in one list. Ids are fields; no address, subject, key or token is
//! ever among them (spec M5, N12).

use crate::groupkeys::FollowError;
use std::fmt::Display;
use std::time::Duration;
use tracing::{debug, error, info, warn};
use twinseal_proto::ids::{GroupId, MemberNumber, PostId};

/// A message is ours now.
pub(crate) fn accepted(post: PostId, group: &GroupId, size: u64) {
    info!(%post, %group, size, "accepted");
}

/// A message was refused in the session.
pub(crate) fn refused(code: u16, enhanced: &str) {
    info!(code, enhanced, "refused");
}

/// A message was refused because it could not be stored.
pub(crate) fn not_stored(error: &dyn Display, disk_full: bool) {
    error!(%error, disk_full, "message not stored");
}

/// groupsrv knows the message's wrapped key.
pub(crate) fn registered(post: PostId, repeated: bool) {
    info!(%post, repeated, "registered");
}

/// The message goes to so many members.
pub(crate) fn recipients(post: PostId, count: usize) {
    info!(%post, count, "recipients");
}

/// A copy will be tried again.
pub(crate) fn deferred(post: PostId, member: MemberNumber, attempts: u8, reason: &dyn Display) {
    info!(%post, member = member.0, attempts, %reason, "copy deferred");
}

/// A copy failed for good.
pub(crate) fn failed(post: PostId, member: MemberNumber, reason: &dyn Display) {
    warn!(%post, member = member.0, %reason, "copy failed");
}

/// A member has left, or may not open the message.
pub(crate) fn dropped(post: PostId, member: MemberNumber, reason: &'static str) {
    debug!(%post, member = member.0, reason, "copy dropped");
}

/// A member has no live key.
pub(crate) fn parked(post: PostId, member: MemberNumber) {
    info!(%post, member = member.0, "copy parked: no live key");
}

/// Nothing is left to do for a message.
pub(crate) fn done(post: PostId, sent: u32, failed: u32) {
    info!(%post, sent, failed, "done");
}

/// A message waits for its next try: groupsrv refused it, it cannot be read, or a step of it failed inside.
pub(crate) fn held(post: PostId, reason: &str) {
    warn!(%post, reason, "held");
}

/// A message was held until the end of its lifetime: whoever has no copy gets none.
pub(crate) fn given_up(post: PostId, reason: &str) {
    error!(%post, reason, "given up");
}

/// A connection's worker failed inside; another takes its place.
pub(crate) fn worker_failed() {
    error!("delivery failed inside: the panic is above");
}

/// The smarthost takes no further connection, while it serves others of ours.
pub(crate) fn crowded(reason: &dyn Display) {
    warn!(%reason, "no further connection to the smarthost");
}

/// SIGHUP came.
pub(crate) fn nothing_reloaded() {
    warn!("SIGHUP: configuration and pins are read at the start only; restart to change them");
}

/// What a message needs is away.
pub(crate) fn waiting(post: PostId, reason: &str) {
    debug!(%post, reason, "waiting");
}

/// A peer did not answer.
pub(crate) fn peer_away(peer: &'static str, reason: &dyn Display) {
    warn!(peer, %reason, "peer away");
}

/// A peer answers again.
pub(crate) fn peer_back(peer: &'static str, away: Duration) {
    info!(peer, seconds = away.as_secs(), "peer back");
}

/// groupsrv's page of certificates was not taken.
pub(crate) fn group_keys_not_followed(error: &FollowError) {
    warn!(%error, "group keys not followed");
}

/// groupsrv published a certificate that cannot be read.
pub(crate) fn group_certificate_unreadable(group: &GroupId, error: &dyn Display) {
    error!(%group, %error, "group certificate unreadable");
}

/// The spool did not take a record: what it says is right in memory, or is tried again.
pub(crate) fn not_written(post: PostId, error: &dyn Display) {
    error!(%post, %error, "spool record not written");
}

/// A message cannot be read back.
pub(crate) fn unreadable(post: PostId, error: &dyn Display) {
    error!(%post, %error, "message cannot be read from the spool");
}

/// The torn end of the last segment, which a crash left, was cut off.
pub(crate) fn segment_cut(segment: u32, at: u64, octets: u64) {
    warn!(segment, at, octets, "torn record cut off");
}

/// Octets of a segment are damaged and were skipped.
pub(crate) fn segment_damaged(segment: u32, from: u64, to: u64) {
    error!(segment, from, to, "SPOOL DAMAGED: octets skipped");
}

/// A whole record says nothing that this version understands.
pub(crate) fn record_unreadable(segment: u32, at: u64) {
    error!(segment, at, "SPOOL DAMAGED: record skipped");
}

/// The body file of a message is missing or has another length.
pub(crate) fn body_missing(post: PostId) {
    error!(%post, "SPOOL DAMAGED: body missing, message lost");
}

/// A segment was deleted.
pub(crate) fn segment_deleted(segment: u32) {
    debug!(segment, "segment deleted");
}

/// A segment in which nothing lives any more could not be deleted.
pub(crate) fn segment_not_deleted(error: &dyn Display) {
    error!(%error, "segment not deleted");
}

/// Messages that a restart found.
pub(crate) fn recovered(posts: usize) {
    info!(posts, "spool read");
}

/// An administrator accepted a generation of certsrv's feed.
pub(crate) fn generation_accepted(generation: u64) {
    warn!(generation, "generation of the feed accepted");
}

/// Something an operator should change.
pub(crate) fn warning(text: &str) {
    warn!("{text}");
}
