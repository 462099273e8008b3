//! A snapshot of another generation takes the place of the roster, and of nothing else.

use super::calls::sealed;
use super::support::{Member, World, ec, wait};
use openssl::nid::Nid;
use twinseal_proto::api::expand::{Denied, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::feed::{Cursor, DeliveryMode, GENERATION_STEP, GroupsrvChange, History};
use twinseal_proto::time::UnixTime;
use twinseal_svc::follow::Roster as _;

#[tokio::test]
async fn a_snapshot_replaces_members_and_keeps_what_was_first_seen() {
    let world = World::new().await;
    let (group, gone) = (world.group(1, History::SinceJoin).await, world.group(2, History::SinceJoin).await);
    let [ann, bob, cyd] = [1, 2, 3].map(|n| Member::new(&world.authority, n, ec(Nid::X9_62_PRIME256V1)));
    let joined = world.join(group, &ann).await;
    world.join(group, &bob).await;
    world.join(gone, &ann).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    world.key(gone, KeyAlgorithm::P256).await;
    let info = sealed(&key, 1);
    let seen = world.register(group, &info).await.unwrap().first_seen;

    // The backup had ann, and had not heard of bob and the second group; cyd joined after it was restored.
    let began = seen + GENERATION_STEP;
    let place = Cursor { generation: 2, sequence: began + 1, ..world.service.roster.cursor() };
    let member = |member: &Member| {
        let (handle, recipient) = (member.handle, member.recipient());
        GroupsrvChange::MemberJoined { group, handle, recipient, signed: None }
    };
    let (mode, history) = (DeliveryMode::Expand, History::SinceJoin);
    let created = GroupsrvChange::GroupCreated { group, mode, history, signed: false };
    let snapshot = vec![(began, created), (joined, member(&ann)), (began + 1, member(&cyd))];
    let roster = std::sync::Arc::clone(&world.service.roster);
    let at = place.clone();
    tokio::task::spawn_blocking(move || roster.replace(snapshot, &at)).await.unwrap().unwrap();

    let answer = world.expand(group, &info, &[ann.handle, bob.handle, cyd.handle]).await.unwrap();
    assert_eq!(ann.open(&answer.wraps[0]), vec![1; 32]);
    assert_eq!(answer.wraps[1], Wrapped::Denied(Denied::NotAMember));
    assert_eq!(answer.wraps[2], Wrapped::Denied(Denied::JoinedLater), "the message was there before");
    assert!(world.register(group, &info).await.unwrap().repeated);
    let info = sealed(&key, 2);
    assert_eq!(world.register(group, &info).await.unwrap().first_seen, began + 1);
    let answer = world.expand(group, &info, &[cyd.handle]).await.unwrap();
    assert_eq!(cyd.open(&answer.wraps[0]), vec![2; 32]);
    assert!(world.service.roster.is_deleted(&gone), "its keys are not published");

    let world = world.restart(|_| {}).await.unwrap();
    let kept = world.service.roster.cursor();
    assert_eq!((kept.generation, kept.sequence, kept.head), (2, place.sequence, place.head));
    let selected = world.service.roster.select(&group, &[ann.handle, bob.handle, cyd.handle], UnixTime::now()).unwrap();
    let there: Vec<bool> = selected.members.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, true]);
    assert!(world.service.roster.is_deleted(&gone));
    // certsrv goes on with the old generation: an alarm, and no lease.
    wait(|| world.service.feed.warning().is_some()).await;
    assert!(world.service.feed.warning().unwrap().contains("generation 1 where 2 is followed"));
    assert!(!world.service.lease.live() && !world.service.is_ready());
    assert_eq!(world.service.roster.cursor(), kept);
}
