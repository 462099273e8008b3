use super::harness::{Joined, Running, call, key_and_csr};
use crate::tests::{address, ec_key, rsa_key};
use std::time::{Duration, Instant};
use twinseal_proto::api::admin::certsrv::{
    AddMembers, JoinPolicy, MemberState, MembersRequest, RemoveMembers, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::feed::{Feed, FeedPage, FeedRequest};
use twinseal_proto::api::groups::{Join, Leave, ListRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{Cursor, ExploderChange, GroupsrvChange, View};

const LIST: &str = "team@lists.test";

async fn page(service: &Joined, after: u64, wait: u64) -> FeedPage {
    call::<Feed>(&service.client, &FeedRequest { after, wait }).await.unwrap()
}

/// Follows the whole feed, verifying it; the changes of one view.
async fn follow<C: serde::de::DeserializeOwned>(service: &Joined, view: View) -> Vec<C> {
    let (mut cursor, key) = (Cursor::start(service.trust.feed, service.trust.generation), service.feed_key());
    let mut changes = Vec::new();
    loop {
        let page = page(service, cursor.sequence, 0).await;
        for entry in &page.entries {
            changes.extend(cursor.accept::<C>(entry, view, &key).unwrap());
        }
        if page.heartbeat.is_some_and(|beat| cursor.heartbeat(&beat, &key).unwrap() == Some(300)) {
            return changes;
        }
    }
}

fn kinds<C: serde::Serialize>(changes: &[C]) -> Vec<String> {
    changes.iter().map(|c| serde_json::to_value(c).unwrap()["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_view_is_whole_and_tells_nothing_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (groupsrv, exploder) = (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
    let (ann_key, bob_key) = (ec_key(), rsa_key(2048));
    certsrv.account("owner", None).await;
    let ann = certsrv.account("ann", Some(&ann_key)).await.unwrap();
    let bob = certsrv.account("bob", Some(&bob_key)).await.unwrap();
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    certsrv.put_in(LIST, &["ann", "bob"]).await;
    let left = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("bob")] };
    certsrv.admin::<RemoveMembers>(&left).await.unwrap();

    let told: Vec<GroupsrvChange> = follow(&groupsrv, View::Groupsrv).await;
    assert_eq!(kinds(&told), ["group-created", "member-joined", "member-joined", "member-left"]);
    let GroupsrvChange::MemberJoined { recipient, handle, .. } = &told[1] else { panic!("{told:?}") };
    assert_eq!(recipient.public_key, B64(ann_key.public_key_to_der().unwrap()));
    assert_eq!(recipient.issuer, B64(ann.issuer_name().to_der().unwrap()));
    let listed = certsrv.members(LIST).await;
    assert_eq!(listed.iter().find(|m| m.address == address("ann")).unwrap().handle, *handle);

    let told: Vec<ExploderChange> = follow(&exploder, View::Exploder).await;
    assert_eq!(kinds(&told), ["group-created", "member-joined", "member-joined", "member-left"]);
    let ExploderChange::MemberJoined { address: first, .. } = &told[1] else { panic!("{told:?}") };
    assert_eq!(*first, address("ann"));

    let text = |page: FeedPage| serde_json::to_string(&page).unwrap();
    let seen_by_groupsrv = text(page(&groupsrv, 0, 0).await);
    for secret in ["@", "members.test", "lists.test", "password"] {
        assert!(!seen_by_groupsrv.contains(secret), "groupsrv is told {secret}");
    }
    let seen_by_exploder = text(page(&exploder, 0, 0).await);
    let key = B64(bob_key.public_key_to_der().unwrap());
    let certificate = B64(bob.to_der().unwrap());
    for secret in [serde_json::to_string(&key).unwrap(), serde_json::to_string(&certificate).unwrap()] {
        assert!(!seen_by_exploder.contains(secret.trim_matches('"')), "the exploder is told a key");
    }
    for word in ["public_key", "recipient", "password"] {
        assert!(!seen_by_exploder.contains(word), "the exploder is told {word}");
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_follows_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (groupsrv, exploder) = (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
    certsrv.account("owner", Some(&ec_key())).await;
    certsrv.account("ann", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    certsrv.put_in(LIST, &["ann"]).await;
    let state = |members: &[twinseal_proto::api::admin::certsrv::Member]| {
        members.iter().find(|m| m.address == address("ann")).map(|m| m.state)
    };
    assert_eq!(state(&certsrv.members(LIST).await), Some(MemberState::Pending));
    assert_eq!(follow::<ExploderChange>(&exploder, View::Exploder).await.len(), 2, "the group and its owner");

    let token = certsrv.enrol_token("ann").await;
    let (_, csr) = key_and_csr("ann");
    let first = certsrv.enrol(&format!("Bearer {token}"), &csr).await.unwrap();
    assert_eq!(state(&certsrv.members(LIST).await), Some(MemberState::Active));
    let again = certsrv.enrol(&super::harness::basic("ann"), &csr).await.unwrap();
    assert_ne!(first.to_der().unwrap(), again.to_der().unwrap());
    let serial =
        certsrv.members(LIST).await.iter().find_map(|m| (m.address == address("ann")).then(|| m.serial.clone()));
    let serial = serial.flatten().unwrap();
    let revoke = RevokeRequest { serial: serial.to_lowercase(), reason: RevocationReason::CessationOfOperation };
    let once = certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(certsrv.admin::<Revoke>(&revoke).await.unwrap(), once, "a second time changes nothing");
    assert_eq!(state(&certsrv.members(LIST).await), Some(MemberState::Suspended));
    let (_, other) = key_and_csr("ann");
    certsrv.enrol(&super::harness::basic("ann"), &other).await.unwrap();

    let told: Vec<GroupsrvChange> = follow(&groupsrv, View::Groupsrv).await;
    let wanted = [
        "group-created",
        "member-joined",
        "member-joined",
        "member-key-changed",
        "member-suspended",
        "member-key-changed",
    ];
    assert_eq!(kinds(&told), wanted);
    let told: Vec<ExploderChange> = follow(&exploder, View::Exploder).await;
    assert_eq!(kinds(&told), ["group-created", "member-joined", "member-joined"]);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_join_and_leave_by_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner_key, ann_key) = (ec_key(), ec_key());
    let owner = certsrv.account("owner", Some(&owner_key)).await.unwrap();
    let ann = certsrv.account("ann", Some(&ann_key)).await.unwrap();
    certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    certsrv.group("closed@lists.test", "owner", JoinPolicy::Closed).await;
    let client = certsrv.client(Some((&ann_key, &ann)));
    let open = ListRequest { list: LIST.parse().unwrap() };
    let closed = ListRequest { list: "closed@lists.test".parse().unwrap() };
    let none = ListRequest { list: "none@lists.test".parse().unwrap() };
    let code =
        |result: Result<_, Problem>| result.map(|_: twinseal_proto::api::groups::Membership| ()).unwrap_err().code;
    for _ in 0..2 {
        assert!(call::<Join>(&client, &open).await.unwrap().member);
    }
    assert_eq!(certsrv.members(LIST).await.len(), 2);
    assert_eq!(code(call::<Join>(&client, &closed).await), ProblemCode::NotAuthorised);
    assert_eq!(code(call::<Join>(&client, &none).await), ProblemCode::NotFound);
    for _ in 0..2 {
        assert!(!call::<Leave>(&client, &open).await.unwrap().member);
    }
    assert_eq!(certsrv.members(LIST).await.len(), 1);
    let owners = certsrv.client(Some((&owner_key, &owner)));
    assert_eq!(code(call::<Leave>(&owners, &open).await), ProblemCode::Conflict);
    assert_eq!(code(call::<Join>(&certsrv.client(None), &open).await), ProblemCode::NotAuthenticated);
    let serial = ann.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let reason = RevocationReason::PrivilegeWithdrawn;
    certsrv.admin::<Revoke>(&RevokeRequest { serial, reason }).await.unwrap();
    assert_eq!(code(call::<Join>(&client, &open).await), ProblemCode::NotAuthenticated, "same connection, revoked now");
    let service = certsrv.join(ServiceRole::Exploder).await;
    assert_eq!(code(call::<Join>(&service.client, &open).await), ProblemCode::NotAuthenticated);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_consumer_hears_of_a_change_at_once_and_others_hear_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    let head = page(&groupsrv, 0, 0).await.entries.len() as u64;
    let (waited, ()) = tokio::join!(
        async {
            let start = Instant::now();
            assert_eq!(page(&groupsrv, head, 10).await.entries.len(), 1);
            start.elapsed()
        },
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            certsrv.account("ann", None).await;
        }
    );
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let key = ec_key();
    let bob = certsrv.account("bob", Some(&key)).await.unwrap();
    for stranger in [certsrv.client(None), certsrv.client(Some((&key, &bob)))] {
        let refused = call::<Feed>(&stranger, &FeedRequest { after: 0, wait: 0 }).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    }
    // A service that waits does not keep certsrv from stopping.
    let waiting =
        tokio::spawn(async move { call::<Feed>(&groupsrv.client, &FeedRequest { after: 99, wait: 20 }).await });
    let start = Instant::now();
    tokio::time::sleep(Duration::from_millis(200)).await;
    certsrv.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5));
    let _ = waiting.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    let request = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("owner"), address("nobody")] };
    let refused = certsrv.admin::<AddMembers>(&request).await.unwrap_err();
    assert!(refused.contains("nobody@members.test"), "{refused}");
    assert_eq!(certsrv.members(LIST).await.len(), 1);
    certsrv.stop().await;
}
