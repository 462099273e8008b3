//! What is lost and what is not: the index, the log, key files.

use super::calls::sealed;
use super::support::{Member, World, ec};
use openssl::nid::Nid;
use std::path::{Path, PathBuf};
use twinseal_proto::api::expand::{Denied, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::feed::{GroupsrvChange, History};
use twinseal_proto::ids::GroupId;

fn key_files(state: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(state.join("keys")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.ends_with("cek-identity.json")).collect()
}

/// A group, two members who joined before the first message and one who joined after it.
async fn with_history(world: &World) -> (GroupId, [Member; 3], [Vec<u8>; 2]) {
    let group = world.group(1, History::SinceJoin).await;
    let members = [1, 2, 3].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    world.join(group, &members[0]).await;
    world.join(group, &members[1]).await;
    let key = world.key(group, KeyAlgorithm::P256).await;
    let (opened, anew) = (sealed(&key, 1), sealed(&key, 1));
    world.register(group, &opened).await.unwrap();
    world.expand(group, &opened, &[members[0].handle]).await.unwrap();
    world.join(group, &members[2]).await;
    world.register(group, &anew).await.unwrap();
    world.say(&GroupsrvChange::MemberLeft { group, handle: members[1].handle }).await;
    (group, members, [opened, anew])
}

async fn is_as_before(world: &World, group: GroupId, members: &[Member; 3], infos: &[Vec<u8>; 2]) {
    world.caught_up(5).await;
    let handles = members.each_ref().map(|member| member.handle);
    for info in infos {
        let answer = world.expand(group, info, &handles).await.unwrap();
        assert_eq!(members[0].open(&answer.wraps[0]), vec![1; 32]);
        assert_eq!(answer.wraps[1], Wrapped::Denied(Denied::NotAMember));
        assert_eq!(answer.wraps[2], Wrapped::Denied(Denied::JoinedLater));
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let world = World::new().await;
    let (group, members, infos) = with_history(&world).await;
    let world = world.restart(|_| {}).await.unwrap();
    assert_eq!(world.service.roster.sequence(), 5);
    is_as_before(&world, group, &members, &infos).await;
}

#[tokio::test]
async fn a_lost_index_comes_back_from_feed_and_log() {
    let world = World::new().await;
    let (group, members, infos) = with_history(&world).await;
    let world = world.restart(|state| std::fs::remove_dir_all(state.join("index")).unwrap()).await.unwrap();
    is_as_before(&world, group, &members, &infos).await;
}

#[tokio::test]
async fn a_key_file_with_one_changed_octet_is_refused() {
    let world = World::new().await;
    let group = world.group(1, History::All).await;
    world.key(group, KeyAlgorithm::P256).await;
    let (keys, config) = (world.config.state.join("keys"), world.config.clone());
    let credential = crate::keys::credential::Credential::load(&config).unwrap();
    let path = key_files(&config.state).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let loaded = crate::keys::file::load_all(&keys, &credential);
        assert!(loaded.is_err(), "octet {at}: {}", String::from_utf8_lossy(&changed));
    }
    let mut changed = whole.clone();
    let last = changed.len() - 10;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let error = world.restart(move |_| std::fs::write(&path, &changed).unwrap()).await.err().unwrap();
    assert!(error.contains("p256.json: changed since it was written"), "{error}");
}

#[tokio::test]
async fn a_missing_key_file_is_noticed() {
    let world = World::new().await;
    let group = world.group(1, History::All).await;
    world.key(group, KeyAlgorithm::P256).await;
    let error = world.restart(|state| key_files(state).iter().for_each(|f| std::fs::remove_file(f).unwrap())).await;
    let error = error.err().unwrap();
    assert!(error.contains("cek-identity.json") || error.contains("missing"), "{error}");
}

#[tokio::test]
async fn a_pair_that_was_begun_is_finished() {
    let world = World::new().await;
    let group = world.group(1, History::All).await;
    // As a daemon leaves it that dies after the pair was stored: no certificate in the file.
    let name =
        crate::keys::file::KeyName { group, epoch: twinseal_proto::ids::Epoch(1), algorithm: KeyAlgorithm::P256 };
    let credential = crate::keys::credential::Credential::load(&world.config).unwrap();
    let key = ec(Nid::X9_62_PRIME256V1);
    let stored = crate::keys::file::StoredKey { name, key, certified: None };
    stored.save(&world.config.state.join("keys"), &credential).unwrap();
    let world = world.restart(|_| {}).await.unwrap();
    assert!(world.service.ring().of(&group).is_empty());
    std::sync::Arc::clone(&world.service).finish_begun().await;
    assert_eq!(world.service.ring().of(&group).len(), 1);
    let world = world.restart(|_| {}).await.unwrap();
    assert_eq!(world.service.ring().of(&group).len(), 1);
    assert_eq!(key_files(&world.config.state).len(), 1);
}
