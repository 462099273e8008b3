//! First-seen: which copy of a message counts, and who came too late for it.

use super::calls::{sealed, with_encrypted_key};
use super::support::{Member, World, ec, wait};
use openssl::nid::Nid;
use std::sync::atomic::Ordering;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::expand::{Denied, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::cms::recipient::{Hash, KeyTransportAlgorithm, Oaep, Originator, RecipientId, RecipientInfo};
use twinseal_proto::feed::History;
use twinseal_proto::ids::GroupId;

const LATER: Wrapped = Wrapped::Denied(Denied::JoinedLater);

#[tokio::test]
async fn whoever_joins_later_gets_nothing_of_before_unless_history_is_open() {
    let world = World::new().await;
    let (closed, open) = (world.group(1, History::SinceJoin).await, world.group(2, History::All).await);
    let (early, late) = (
        Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1)),
        Member::new(&world.authority, 2, ec(Nid::X9_62_PRIME256V1)),
    );
    for (group, denied) in [(closed, true), (open, false)] {
        world.join(group, &early).await;
        let key = world.key(group, KeyAlgorithm::P256).await;
        let info = sealed(&key, 1);
        let seen = world.register(group, &info).await.unwrap();
        assert!(world.join(group, &late).await > seen.first_seen);
        let answer = world.expand(group, &info, &[early.handle, late.handle]).await.unwrap();
        assert_eq!(early.open(&answer.wraps[0]), vec![1; 32]);
        assert_eq!(answer.wraps[1] == LATER, denied);
        // The next message is for both.
        let info = sealed(&key, 2);
        world.register(group, &info).await.unwrap();
        let answer = world.expand(group, &info, &[late.handle]).await.unwrap();
        assert_eq!(late.open(&answer.wraps[0]), vec![2; 32]);
    }
}

#[tokio::test]
async fn an_old_message_in_another_dress_is_still_old() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let (early, late) = (
        Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1)),
        Member::new(&world.authority, 2, ec(Nid::X9_62_PRIME256V1)),
    );
    world.join(group, &early).await;
    let rsa_key = world.key(group, KeyAlgorithm::Rsa3072).await;
    let ec_key = world.key(group, KeyAlgorithm::P256).await;
    let (rsa_info, ec_info) = (sealed(&rsa_key, 1), sealed(&ec_key, 2));
    let first = world.register(group, &rsa_info).await.unwrap().first_seen;
    world.register(group, &ec_info).await.unwrap();
    world.join(group, &late).await;

    // Another recipient id or algorithm, a compressed or negated point, other keying material: a known look-up value each time.
    let ski = RecipientId::SubjectKeyId(rsa_key.subject_key_id().unwrap().as_slice().to_vec().into());
    let by_ski = changed(&rsa_info, |info| {
        let RecipientInfo::KeyTransport(info) = info else { unreachable!() };
        info.rid = ski;
    });
    let as_oaep = changed(&rsa_info, |info| {
        let RecipientInfo::KeyTransport(info) = info else { unreachable!() };
        info.algorithm = KeyTransportAlgorithm::RsaOaep(Oaep::with(Hash::Sha256));
    });
    let compressed = with_point(&ec_info, |point| {
        point[0] = 2 + (point[64] & 1);
        point.truncate(33);
    });
    let negated = with_point(&compressed, |point| point[0] ^= 1);
    let other_material = changed(&ec_info, |info| {
        let RecipientInfo::KeyAgreement(info) = info else { unreachable!() };
        info.ukm = Some(vec![1, 2, 3]);
    });
    let other_wrap = with_encrypted_key(&ec_info, |key| key[0] ^= 1);
    for info in [&rsa_info, &by_ski, &as_oaep, &ec_info, &compressed, &negated, &other_material, &other_wrap] {
        let again = world.register(group, info).await.unwrap();
        assert!(again.repeated);
        assert_eq!(again.first_seen, first);
        let answer = world.expand(group, info, &[late.handle]).await.unwrap();
        assert_eq!(answer.wraps, [LATER]);
    }
}

fn changed(info: &[u8], change: impl FnOnce(&mut RecipientInfo)) -> Vec<u8> {
    let mut info = RecipientInfo::decode(info).unwrap();
    change(&mut info);
    info.encode()
}

fn with_point(info: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(info, |info| {
        let RecipientInfo::KeyAgreement(info) = info else { unreachable!() };
        let Originator::Point { point, .. } = &mut info.originator else { unreachable!() };
        change(point);
    })
}

#[tokio::test]
async fn a_key_that_was_opened_before_is_known_under_another_wrapping() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let (early, late) = (
        Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1)),
        Member::new(&world.authority, 2, ec(Nid::X9_62_PRIME256V1)),
    );
    world.join(group, &early).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    let info = sealed(&key, 1);
    world.register(group, &info).await.unwrap();
    world.expand(group, &info, &[early.handle]).await.unwrap();
    world.join(group, &late).await;
    // A member who read it wraps its key anew, and has it posted as if it were a message of today.
    let anew = sealed(&key, 1);
    assert!(!world.register(group, &anew).await.unwrap().repeated);
    let answer = world.expand(group, &anew, &[late.handle, early.handle]).await.unwrap();
    assert_eq!(answer.wraps[0], LATER);
    assert_eq!(early.open(&answer.wraps[1]), vec![1; 32]);
}

#[tokio::test]
async fn a_stale_lease_stops_expansion_and_not_registration() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let member = Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1));
    world.join(group, &member).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    world.authority.lease.store(0, Ordering::Relaxed);
    wait(|| !world.service.lease.live()).await;
    let info = sealed(&key, 1);
    world.register(group, &info).await.unwrap();
    let refused = world.expand(group, &info, &[member.handle]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Unavailable);
    // Whatever else is wrong with it: an index that is being rebuilt must not make exploders give up.
    let refused = world.expand(GroupId::from_random([9; 16]), &info, &[member.handle]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Unavailable);
    world.authority.lease.store(300, Ordering::Relaxed);
    wait(|| world.service.lease.live()).await;
    world.expand(group, &info, &[member.handle]).await.unwrap();
}
