#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
//! The whole exploder in this process: mail in over SMTP, copies out to an SMTP server, a signed feed, and a groupsrv
//! that answers as each test wants.

/// Members at whom the code fails inside: on a connection, and in a message's turn when a try failed.
pub(crate) const DELIVERY_STUMBLES: u32 = 4_000_001;
pub(crate) const STEP_STUMBLES: u32 = 4_000_002;

pub(crate) fn stumble(number: MemberNumber, at: u32) {
    assert_ne!(number.0, at, "as the test wants");
}

mod peers;
mod trial;

use crate::deliver::tests::server::Script;
use crate::queue::Queue;
use crate::spool::record::State;
use std::time::{Duration, Instant};
use trial::Trial;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::expand::Denied;
use twinseal_proto::feed::{Delivery, DeliveryOptions};
use twinseal_proto::ids::{MemberNumber, PostId};
use twinseal_svc::commit::Committer;

#[tokio::test]
async fn a_message_goes_to_every_member_once() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=3).await;
    let reply = trial.post("m1@members.test", 2_000).await;
    assert!(reply.starts_with("250 2.0.0 accepted as "), "{reply}");
    trial.until_empty().await;
    let mut copies = trial.sink.taken();
    copies.sort_by(|a, b| a.envelope.1.cmp(&b.envelope.1));
    let to: Vec<&str> = copies.iter().map(|c| c.envelope.1.as_str()).collect();
    assert_eq!(to, ["m1@members.test", "m2@members.test", "m3@members.test"]);
    for (copy, number) in copies.iter().zip(1..) {
        let (local, domain) = copy.envelope.0.split_once('@').unwrap();
        let claim =
            trial.engine().verp.verify(local.strip_prefix("b+").unwrap(), twinseal_proto::time::UnixTime::now(), 1);
        assert_eq!((domain, claim.unwrap().member), ("lists.test", MemberNumber(number)));
        trial.assert_copy(&copy.data, number);
    }
    assert_eq!(trial.groupsrv.registrations(), 1);
}

#[tokio::test]
async fn a_large_message_goes_out_from_its_file() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=3).await;
    assert!(trial.post("m1@members.test", 900_000).await.starts_with("250"));
    trial.until_empty().await;
    let copies = trial.sink.taken();
    assert_eq!(copies.len(), 3);
    for copy in copies {
        let number = copy.envelope.1.strip_prefix('m').unwrap().split('@').next().unwrap().parse().unwrap();
        trial.assert_copy(&copy.data, number);
    }
    let bodies = trial.dir.path().join("spool/bodies");
    assert_eq!(std::fs::read_dir(bodies).unwrap().count(), 0);
}

#[tokio::test]
async fn refusals_fall_in_the_session() {
    let trial = Trial::start(Script::default()).await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("451 4.3.2"), "no roster yet");
    trial.members(1..=2).await;
    assert!(trial.post("stranger@x.test", 100).await.starts_with("550 5.7.2"));
    assert!(trial.post_to("nobody@lists.test", "m1@members.test", 100).await.starts_with("550 5.1.1"));
    for address in ["Postmaster", "postMASTER@lists.test"] {
        assert!(trial.post_to(address, "m1@members.test", 100).await.starts_with("550 5.2.1"), "{address}");
    }
    assert!(trial.post_to("postmaster@elsewhere.test", "m1@members.test", 100).await.starts_with("550 5.7.1"));
    assert!(trial.post_to("nobody@elsewhere.test", "m1@members.test", 100).await.starts_with("550 5.7.1"));
    assert_eq!(trial.engine().queue().len(), 0);
}

#[tokio::test]
async fn while_groupsrv_is_away_mail_waits_and_nothing_is_a_try() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.problem(Some(ProblemCode::Unavailable));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"), "intake goes on");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listed = trial.engine().queue().list(|_| 0);
    assert_eq!(listed[0].waiting.as_deref(), Some(crate::engine::GROUPSRV_AWAY));
    assert_eq!(trial.groupsrv.asked(), 1, "one question, then a pause");
    trial.groupsrv.problem(None);
    trial.engine().groupsrv_seen();
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 2);
}

#[tokio::test]
async fn what_groupsrv_refuses_is_held_and_tried_again() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.problem(Some(ProblemCode::Refused));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = trial.engine().queue().list(|_| 0)[0].waiting.clone().unwrap();
    assert!(waiting.starts_with("groupsrv: "), "{waiting}");
    trial.groupsrv.problem(None);
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 2);
}

#[tokio::test]
async fn denied_members_are_dropped_parked_or_asked_again() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=4).await;
    trial.groupsrv.deny(1, Some(Denied::JoinedLater));
    trial.groupsrv.deny(2, Some(Denied::NotAMember));
    trial.groupsrv.deny(3, Some(Denied::NoLiveKey));
    assert!(trial.post("m4@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 1)).await;
    let id = trial.engine().queue().list(|_| 0)[0].id;
    let state = |number| trial.engine().queue().get_mut(id).unwrap().copy_mut(MemberNumber(number)).unwrap().state;
    assert_eq!([1, 2, 3, 4].map(state), [State::Dropped, State::Due, State::Parked, State::Sent]);
    // groupsrv catches up with one, and the other gets a certificate, of which the feed says something to groupsrv.
    trial.groupsrv.deny(2, None);
    trial.groupsrv.deny(3, None);
    trial.feed.tick();
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 3);
}

#[tokio::test]
async fn whom_groupsrv_does_not_know_it_is_asked_for_once_more_whatever_happened_before() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=1).await;
    trial.join(8, "rcpt-450@x.test").await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    let id = trial.engine().queue().list(|_| 0)[0].id;
    let attempts = |queue: &Queue| {
        let copies = queue.get(id).and_then(|post| post.copies.as_deref()).unwrap_or_default();
        copies.iter().find(|copy| copy.number.0 == 8).map_or(0, |copy| copy.attempts)
    };
    trial.until(|queue| attempts(queue) >= 1).await;
    trial.groupsrv.deny(8, Some(Denied::NotAMember));
    let before = trial.groupsrv.expansions();
    trial.until_empty().await;
    assert_eq!(trial.groupsrv.expansions() - before, 2);
}

#[tokio::test]
async fn a_silent_groupsrv_delays_neither_intake_nor_the_feed_nor_the_end() {
    let mut trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.silent(true);
    let began = Instant::now();
    for _ in 0..20 {
        assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    }
    trial.join(3, "m3@members.test").await;
    trial.groupsrv.silent(false);
    trial.restart().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    trial.until_empty().await;
    // Calls that were never answered are not answered later.
    assert_eq!((trial.sink.taken().len(), trial.groupsrv.registrations()), (60, 20));
}

#[tokio::test]
async fn who_leaves_before_a_retry_gets_nothing() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.deny(2, Some(Denied::NoLiveKey));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 1)).await;
    trial.groupsrv.deny(2, None);
    trial.leave(2).await;
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 1);
}

#[tokio::test]
async fn members_are_sent_what_they_chose_at_the_time_of_sending() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=4).await;
    trial.choose(1, DeliveryOptions { own_posts: false, ..DeliveryOptions::default() }).await;
    trial.choose(3, DeliveryOptions { delivery: Delivery::Off, ..DeliveryOptions::default() }).await;
    trial.groupsrv.deny(2, Some(Denied::NoLiveKey));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 1)).await;
    trial.groupsrv.deny(2, None);
    trial.choose(2, DeliveryOptions { delivery: Delivery::Off, ..DeliveryOptions::default() }).await;
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 1, "the fourth member alone");
    assert!(trial.post("m3@members.test", 100).await.starts_with("250"), "who wants no copies may post");
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 3);
}

#[tokio::test]
async fn the_smarthosts_refusals_are_retried_or_final() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=1).await;
    trial.join(7, "rcpt-550@x.test").await;
    trial.join(8, "rcpt-450@x.test").await;
    trial.join(9, "dot-drop@x.test").await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| (post.sent, post.failed) == (1, 1))).await;
    let id = trial.engine().queue().list(|_| 0)[0].id;
    let retried = |queue: &Queue| {
        let copies = queue.get(id).and_then(|post| post.copies.as_deref()).unwrap_or_default();
        copies.iter().filter(|copy| copy.attempts >= 2).map(|copy| copy.number.0).collect::<Vec<_>>() == [8, 9]
    };
    trial.until(retried).await;
    assert_eq!((trial.sink.taken().len(), trial.engine().queue().list(|_| 0)[0].pending), (1, 2));
}

#[tokio::test]
async fn while_the_smarthost_is_away_no_key_is_wrapped() {
    let trial = Trial::start(Script { greeting: "421 4.3.2 not now", ..Script::default() }).await;
    trial.members(1..=5).await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0)[0].waiting.as_deref() == Some(crate::engine::SMARTHOST_AWAY)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(trial.groupsrv.expansions(), 1, "the first was asked for before it was known");
    assert!(trial.engine().queue().list(|_| 0)[0].pending == 5);
}

#[tokio::test]
async fn after_a_restart_only_the_rest_is_sent() {
    let mut trial = Trial::start(Script::default()).await;
    trial.members(1..=6).await;
    for number in [2, 4, 6] {
        trial.groupsrv.deny(number, Some(Denied::NoLiveKey));
    }
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 3)).await;
    let before: PostId = trial.engine().queue().list(|_| 0)[0].id;
    for number in [2, 4, 6] {
        trial.groupsrv.deny(number, None);
    }
    trial.restart().await;
    assert_eq!(trial.engine().queue().list(|_| 0).first().map(|post| post.id), Some(before));
    trial.until_empty().await;
    let mut to: Vec<String> = trial.sink.taken().iter().map(|c| c.envelope.1.clone()).collect();
    to.sort();
    assert_eq!(to, [1, 2, 3, 4, 5, 6].map(|n| format!("m{n}@members.test")));
}

#[tokio::test]
async fn a_long_list_is_expanded_in_batches_over_kept_connections() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=1200).await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until_empty().await;
    let mut to: Vec<String> = trial.sink.taken().iter().map(|c| c.envelope.1.clone()).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 1200);
    assert!(trial.sink.connections() <= 3, "connections are kept");
}

#[tokio::test]
async fn a_worker_that_fails_inside_is_replaced_and_its_copy_tried_again() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=5).await;
    trial.join(DELIVERY_STUMBLES, "stumbles@x.test").await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    // There are two workers: the third failure needs a new one.
    let id = trial.engine().queue().list(|_| 0)[0].id;
    let failed = |queue: &Queue| {
        let copies = queue.get(id).and_then(|post| post.copies.as_deref()).unwrap_or_default();
        copies.iter().any(|copy| copy.number.0 == DELIVERY_STUMBLES && copy.attempts >= 3)
    };
    trial.until(failed).await;
    assert_eq!(trial.sink.taken().len(), 5);
    trial.leave(DELIVERY_STUMBLES).await;
    trial.until_empty().await;
}

#[tokio::test]
async fn a_turn_that_fails_inside_is_held_and_stops_no_other_message() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.join(STEP_STUMBLES, "rcpt-450@x.test").await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0)[0].waiting.as_deref() == Some("failed inside")).await;
    trial.leave(STEP_STUMBLES).await;
    assert!(trial.post("m2@members.test", 100).await.starts_with("250"));
    trial.until_empty().await;
    assert!(trial.sink.taken().len() >= 4);
}

#[tokio::test]
async fn what_is_no_recipient_info_is_not_sent() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=3).await;
    trial.groupsrv.spoil(2, true);
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 2)).await;
    trial.groupsrv.spoil(2, false);
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 3);
    for copy in trial.sink.taken() {
        let number = copy.envelope.1.strip_prefix('m').unwrap().split('@').next().unwrap().parse().unwrap();
        trial.assert_copy(&copy.data, number);
    }
}

fn full_disk() -> Committer {
    Committer::open(std::path::Path::new("/dev/full"), 0).unwrap()
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_written_down_to_whom() {
    let mut trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.problem(Some(ProblemCode::Unavailable));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    let log = trial.engine().spool.swap_log(full_disk());
    trial.groupsrv.problem(None);
    trial.engine().groupsrv_seen();
    let waits = |queue: &Queue| queue.list(|_| 0)[0].waiting.as_deref() == Some(super::NO_RECIPIENTS);
    trial.until(waits).await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("452 4.3.1"));
    assert_eq!((trial.groupsrv.expansions(), trial.sink.taken().len()), (0, 0));
    // It is tried again by itself, and after a restart, and goes to everybody once.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    trial.until(waits).await;
    drop(log);
    trial.restart().await;
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 2);
}

#[tokio::test]
async fn on_a_full_disk_a_message_ends_when_there_is_room_again() {
    let trial = Trial::start(Script::default()).await;
    trial.members(1..=2).await;
    trial.groupsrv.deny(2, Some(Denied::NoLiveKey));
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until(|queue| queue.list(|_| 0).first().is_some_and(|post| post.sent == 1)).await;
    let log = trial.engine().spool.swap_log(full_disk());
    trial.groupsrv.deny(2, None);
    trial.until(|queue| queue.list(|_| 0)[0].waiting.as_deref() == Some(super::NO_END)).await;
    assert_eq!(trial.sink.taken().len(), 2);
    trial.engine().spool.swap_log(log);
    trial.until_empty().await;
    assert_eq!(trial.sink.taken().len(), 2);
}

#[tokio::test]
async fn a_smarthost_with_few_connections_is_not_away() {
    let trial = Trial::start(Script { limit: 1, ..Script::default() }).await;
    trial.members(1..=30).await;
    assert!(trial.post("m1@members.test", 100).await.starts_with("250"));
    trial.until_empty().await;
    assert_eq!((trial.sink.taken().len(), trial.groupsrv.expansions()), (30, 1));
    assert!(trial.engine().smarthost_gate().1);
}
