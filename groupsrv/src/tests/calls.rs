//! Registration and expansion.

use super::support::{Member, World, cek, ec, rsa};
use openssl::nid::Nid;
use openssl::x509::X509;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::expand::{Denied, Expand, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::cms::recipient::{RecipientId, RecipientInfo};
use twinseal_proto::cms::wrap::{MemberKey, RsaScheme};
use twinseal_proto::feed::{GroupsrvChange, History};
use twinseal_proto::ids::Handle;
use twinseal_svc::audit;

/// A RecipientInfo for a group's certificate, as a sender makes it.
pub(super) fn sealed(certificate: &X509, octet: u8) -> Vec<u8> {
    MemberKey::from_certificate(&certificate.to_der().unwrap()).unwrap().wrap(&cek(octet)).unwrap()
}

/// The same with OAEP and the subject key identifier.
pub(super) fn sealed_oaep(certificate: &X509, octet: u8) -> Vec<u8> {
    let rid = RecipientId::SubjectKeyId(certificate.subject_key_id().unwrap().as_slice().to_vec().into());
    let spki = certificate.public_key().unwrap().public_key_to_der().unwrap();
    let scheme = RsaScheme::Oaep(twinseal_proto::cms::recipient::Hash::Sha256);
    MemberKey::new(rid, &spki, scheme).unwrap().wrap(&cek(octet)).unwrap()
}

#[tokio::test]
async fn every_kind_of_member_opens_what_every_kind_of_group_key_gave() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let members = [rsa(2048), rsa(3072), ec(Nid::X9_62_PRIME256V1), ec(Nid::SECP384R1)];
    let members: Vec<Member> =
        members.into_iter().zip(1..).map(|(key, number)| Member::new(&world.authority, number, key)).collect();
    for member in &members {
        world.join(group, member).await;
    }
    let rsa_key = world.key(group, KeyAlgorithm::Rsa3072).await;
    let ec_key = world.key(group, KeyAlgorithm::P256).await;
    let handles: Vec<Handle> = members.iter().map(|member| member.handle).collect();
    for (octet, info) in [(1, sealed(&rsa_key, 1)), (2, sealed_oaep(&rsa_key, 2)), (3, sealed(&ec_key, 3))] {
        assert!(!world.register(group, &info).await.unwrap().repeated);
        let answer = world.expand(group, &info, &handles).await.unwrap();
        for (member, wrap) in members.iter().zip(&answer.wraps) {
            assert_eq!(member.open(wrap), vec![octet; 32]);
        }
    }
    let found = audit::verify(&world.config.state.join("audit")).unwrap();
    assert_eq!(found.records, 2 + 3 + 3);
    let metrics = &world.service.metrics;
    assert_eq!((metrics.unwraps.get(), metrics.wraps.get(), metrics.registrations.get()), (3, 12, 3));
}

#[tokio::test]
async fn what_can_be_seen_is_refused_by_name() {
    let world = World::new().await;
    let (group, other) = (world.group(1, History::All).await, world.group(2, History::All).await);
    let member = Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1));
    world.join(group, &member).await;
    let key = world.key(group, KeyAlgorithm::Rsa3072).await;
    let others = world.key(other, KeyAlgorithm::P256).await;
    let good = sealed(&key, 1);
    let handles = [member.handle];

    let refused = world.expand(group, &good, &handles).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotRegistered);
    for (info, named) in [
        (sealed(&others, 1), "no live or retained key of this group"),
        (good[..good.len() - 1].to_vec(), "recipient_info"),
        (vec![0x30; 5000], "5000 octets"),
        (with_encrypted_key(&good, |key| key.fill(0xff)), "modulus"),
        (with_encrypted_key(&good, |key| key.truncate(256)), "length"),
    ] {
        for refused in
            [world.register(group, &info).await.unwrap_err(), world.expand(group, &info, &handles).await.unwrap_err()]
        {
            assert_eq!(refused.code, ProblemCode::BadRequest);
            assert!(refused.detail.contains(named), "{} / {named}", refused.detail);
        }
    }
    world.register(group, &good).await.unwrap();
    for wrong in [vec![], vec![member.handle; 2], vec![member.handle; Expand::MAX_HANDLES + 1]] {
        let refused = world.expand(group, &good, &wrong).await.unwrap_err();
        assert!(refused.detail.starts_with("handles"), "{}", refused.detail);
    }
    world.say(&GroupsrvChange::GroupDeleted { group }).await;
    assert_eq!(world.expand(group, &good, &handles).await.unwrap_err().code, ProblemCode::NotFound);
    assert_eq!(world.register(group, &good).await.unwrap_err().code, ProblemCode::NotFound);
}

/// The same RecipientInfo with a changed encryptedKey.
pub(super) fn with_encrypted_key(info: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut info = RecipientInfo::decode(info).unwrap();
    match &mut info {
        RecipientInfo::KeyTransport(info) => change(&mut info.encrypted_key),
        RecipientInfo::KeyAgreement(info) => change(&mut info.recipients[0].encrypted_key),
        _ => unreachable!(),
    }
    info.encode()
}

#[tokio::test]
async fn a_broken_v1_5_block_gives_wraps_and_a_broken_key_wrap_the_uniform_refusal() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let member = Member::new(&world.authority, 1, rsa(2048));
    world.join(group, &member).await;
    let key = world.key(group, KeyAlgorithm::Rsa3072).await;
    let garbage = with_encrypted_key(&sealed(&key, 1), |key| key[5] ^= 1);
    world.register(group, &garbage).await.unwrap();
    let first = world.expand(group, &garbage, &[member.handle]).await.unwrap();
    let second = world.expand(group, &garbage, &[member.handle]).await.unwrap();
    assert_eq!(member.open(&first.wraps[0]), member.open(&second.wraps[0]));
    assert_ne!(member.open(&first.wraps[0]), vec![1; 32]);

    let key = world.key(group, KeyAlgorithm::P256).await;
    let garbage = with_encrypted_key(&sealed(&key, 1), |key| key[5] ^= 1);
    world.register(group, &garbage).await.unwrap();
    let refused = world.expand(group, &garbage, &[member.handle]).await.unwrap_err();
    assert_eq!((refused.code, refused.detail.as_str()), (ProblemCode::Refused, "the wrapped key does not open"));
}

#[tokio::test]
async fn members_are_denied_one_by_one() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let [here, left, suspended] =
        [1, 2, 3].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    for member in [&here, &left, &suspended] {
        world.join(group, member).await;
    }
    let key = world.key(group, KeyAlgorithm::P256).await;
    let info = sealed(&key, 9);
    world.register(group, &info).await.unwrap();
    world.say(&GroupsrvChange::MemberLeft { group, handle: left.handle }).await;
    world.say(&GroupsrvChange::MemberSuspended { group, handle: suspended.handle }).await;
    let stranger = Handle::from_random([0xee; 16]);
    let asked = [left.handle, here.handle, suspended.handle, stranger];
    let answer = world.expand(group, &info, &asked).await.unwrap();
    assert_eq!(answer.wraps[0], Wrapped::Denied(Denied::NotAMember));
    assert_eq!(here.open(&answer.wraps[1]), vec![9; 32]);
    assert_eq!(answer.wraps[2], Wrapped::Denied(Denied::NoLiveKey));
    assert_eq!(answer.wraps[3], Wrapped::Denied(Denied::NotAMember));
    // Nobody to open it for: it stays closed.
    let unwraps = world.service.metrics.unwraps.get();
    world.expand(group, &info, &[left.handle]).await.unwrap();
    assert_eq!(world.service.metrics.unwraps.get(), unwraps);
    // A new key brings the member back, with the old time of joining.
    let (handle, recipient) = (suspended.handle, suspended.recipient());
    world.say(&GroupsrvChange::MemberKeyChanged { group, handle, recipient, signed: None }).await;
    let answer = world.expand(group, &info, &[handle]).await.unwrap();
    assert_eq!(suspended.open(&answer.wraps[0]), vec![9; 32]);
}

#[tokio::test]
async fn many_answers_keep_the_order_of_the_question() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let members = [1, 2].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    let mut handles = Vec::new();
    let mut last = 0;
    for number in 0..70 {
        let (handle, recipient) = (Handle::from_random([number; 16]), members[usize::from(number % 2)].recipient());
        handles.push(handle);
        if number % 7 != 3 {
            last = world.authority.say(&GroupsrvChange::MemberJoined { group, handle, recipient, signed: None });
        }
    }
    world.caught_up(last).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    let info = sealed(&key, 6);
    world.register(group, &info).await.unwrap();
    let answer = world.expand(group, &info, &handles).await.unwrap();
    assert_eq!(answer.wraps.len(), 70);
    for (number, wrap) in answer.wraps.iter().enumerate() {
        if number % 7 == 3 {
            assert_eq!(*wrap, Wrapped::Denied(Denied::NotAMember));
        } else {
            assert_eq!(members[number % 2].open(wrap), vec![6; 32]);
        }
    }
}

#[tokio::test]
async fn an_old_epoch_is_retained_and_still_opens() {
    let world = World::new().await;
    let group = world.group(1, History::All).await;
    let member = Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1));
    world.join(group, &member).await;
    let old = world.key(group, KeyAlgorithm::P256).await;
    let info = sealed(&old, 4);
    world.register(group, &info).await.unwrap();
    world.key(group, KeyAlgorithm::P256).await;
    let answer = world.expand(group, &info, &[member.handle]).await.unwrap();
    assert_eq!(member.open(&answer.wraps[0]), vec![4; 32]);
}
