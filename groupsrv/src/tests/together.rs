//! Calls at the same time, and a roster that changes under a call.

use super::calls::{sealed, with_encrypted_key};
use super::support::{Member, World, ec, wait};
use crate::keys::credential::Credential;
use crate::keys::file::load_all;
use crate::keys::{GroupKey, KeyHolder, KeyRing};
use crate::record::{Event, Record};
use openssl::nid::Nid;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::expand::{Denied, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::cms::unwrap::{KeyError, KeyKind, PrivateKeyOps, SoftwareKey};
use twinseal_proto::feed::{GroupsrvChange, History};
use twinseal_svc::audit;
use zeroize::Zeroizing;

/// A key that answers when it is told to.
struct Waiting {
    key: SoftwareKey,
    asked: Arc<AtomicUsize>,
    answer: Mutex<mpsc::Receiver<()>>,
}

impl PrivateKeyOps for Waiting {
    fn kind(&self) -> KeyKind<'_> {
        self.key.kind()
    }

    fn rsa_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.key.rsa_raw(input)
    }

    fn ecdh(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().unwrap().recv().unwrap();
        self.key.ecdh(point)
    }
}

#[tokio::test]
async fn whoever_leaves_while_the_key_is_opened_gets_nothing() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let [stays, leaves] = [1, 2].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    world.join(group, &stays).await;
    world.join(group, &leaves).await;
    let certificate = world.key(group, KeyAlgorithm::P256).await;
    let credential = Credential::load(&world.config).unwrap();
    let stored = load_all(&world.config.state.join("keys"), &credential).unwrap().pop().unwrap();
    let key = SoftwareKey::new(&stored.key).unwrap();
    let rejection = key.rejection_secret().unwrap();
    let (asked, (go, answer)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
    let ops = Box::new(Waiting { key, asked: Arc::clone(&asked), answer: Mutex::new(answer) });
    let name = stored.name;
    let der = certificate.to_der().unwrap();
    let key = GroupKey::new(group, name.epoch, name.algorithm, der, KeyHolder { ops, rejection }).unwrap();
    *world.service.ring.write().unwrap() = Arc::new(KeyRing::default().with(key));

    let info = sealed(&certificate, 1);
    world.register(group, &info).await.unwrap();
    let handles = [leaves.handle, stays.handle];
    let (answer, ()) = tokio::join!(world.expand(group, &info, &handles), async {
        wait(|| asked.load(Ordering::Relaxed) == 1).await;
        world.say(&GroupsrvChange::MemberLeft { group, handle: leaves.handle }).await;
        go.send(()).unwrap();
    });
    let answer = answer.unwrap();
    assert_eq!(answer.wraps[0], Wrapped::Denied(Denied::NotAMember));
    assert_eq!(stays.open(&answer.wraps[1]), vec![1; 32]);

    // The group itself goes, and nobody gets anything.
    let handles = [stays.handle];
    let (answer, ()) = tokio::join!(world.expand(group, &info, &handles), async {
        wait(|| asked.load(Ordering::Relaxed) == 2).await;
        world.say(&GroupsrvChange::GroupDeleted { group }).await;
        go.send(()).unwrap();
    });
    assert_eq!(answer.unwrap_err().code, ProblemCode::NotFound);
}

#[tokio::test]
async fn calls_about_one_key_at_the_same_time_agree() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let members = [1, 2].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    for member in &members {
        world.join(group, member).await;
    }
    let key = world.key(group, KeyAlgorithm::P256).await;
    let info = sealed(&key, 7);
    let (a, b, c) =
        tokio::join!(world.register(group, &info), world.register(group, &info), world.register(group, &info));
    let registered = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(registered.iter().filter(|answer| !answer.repeated).count(), 1);
    assert!(registered.iter().all(|answer| answer.first_seen == registered[0].first_seen));
    let [one, two] = members.each_ref().map(|member| [member.handle]);
    let (a, b) = tokio::join!(world.expand(group, &info, &one), world.expand(group, &info, &two));
    assert_eq!(members[0].open(&a.unwrap().wraps[0]), vec![7; 32]);
    assert_eq!(members[1].open(&b.unwrap().wraps[0]), vec![7; 32]);
    assert_eq!(audit::verify(&world.config.state.join("audit")).unwrap().records, 1 + 3 + 2);
}

#[tokio::test]
async fn the_log_names_the_message_that_did_not_open() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let member = Member::new(&world.authority, 1, ec(Nid::X9_62_PRIME256V1));
    world.join(group, &member).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    let info = with_encrypted_key(&sealed(&key, 1), |key| key[5] ^= 1);
    world.register(group, &info).await.unwrap();
    world.expand(group, &info, &[member.handle]).await.unwrap_err();
    let mut events = Vec::new();
    audit::each(&world.config.state.join("audit"), |json| {
        events.push(serde_json::from_str::<Record>(json).unwrap().event);
    })
    .unwrap();
    let [.., Event::Registered { message, .. }, Event::Refused { message: Some(refused), .. }] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(message[0], *refused);
}
