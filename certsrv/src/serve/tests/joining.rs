//! Joining under each policy, and what waits.

use super::harness::{Running, call, config};
use crate::audit::Actor;
use crate::failure::Failure;
use crate::requests::{self, expire};
use crate::rows::{Request, Wish};
use crate::tests::{address, ec_key};
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{AddAccounts, AddAccountsRequest, NewAccount};
use twinseal_proto::api::groups::{
    GroupSettings, Join, JoinPolicy, Leave, ListRequest, Membership, MyGroups, SetGroup, SetGroupRequest, WaitsFor,
};
use twinseal_proto::api::members::{Ban, BanRequest, Invite, MembersRequest, Unban};
use twinseal_proto::api::requests::{
    ApproveRequest, ListRequests, ListRequestsRequest, RejectRequest, RequestRequest, Wish as Asked,
};
use twinseal_proto::api::{Problem, admin::Nothing};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, RequestId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;

const LIST: &str = "team@lists.test";

fn this() -> ListRequest {
    ListRequest { list: LIST.parse().unwrap() }
}

async fn join(client: &Client) -> Result<Membership, Problem> {
    call::<Join>(client, &this()).await
}

async fn waiting(client: &Client) -> Vec<twinseal_proto::api::requests::Request> {
    call::<ListRequests>(client, &ListRequestsRequest { list: None }).await.unwrap()
}

fn invitation(name: &str) -> MembersRequest {
    MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address(name)] }
}

fn ban(pattern: &str) -> BanRequest {
    BanRequest { list: LIST.parse().unwrap(), pattern: pattern.parse().unwrap() }
}

/// Who is told what, of the mail that is on its way.
fn told(certsrv: &Running) -> Vec<String> {
    let notices = certsrv.app.registry.view().notices().unwrap();
    let mut found: Vec<String> = notices
        .iter()
        .map(|row| {
            let json = serde_json::to_value(&row.notice).unwrap();
            format!("{} {}", json["notice"].as_str().unwrap(), row.notice.to().parts().0)
        })
        .collect();
    found.sort();
    found
}

async fn with_mail(dir: &tempfile::TempDir) -> Running {
    Running::new(dir).await.stop().await;
    let mail = crate::tests::mail();
    let mut config = config(dir);
    config.mail = Some(mail);
    Running::start_with(dir, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_approves_or_rejects() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = with_mail(&dir).await;
    let (owner, ann, bob) = (certsrv.caller("owner").await, certsrv.caller("ann").await, certsrv.caller("bob").await);
    certsrv.group(LIST, "owner", JoinPolicy::Approve).await;
    for _ in 0..2 {
        let asked = join(&ann).await.unwrap();
        assert_eq!((asked.member, asked.waits_for), (false, Some(WaitsFor::Owner)));
    }
    join(&bob).await.unwrap();
    assert_eq!(told(&certsrv), ["waiting owner", "waiting owner"], "once for each request");
    let mine = call::<MyGroups>(&ann, &Nothing {}).await.unwrap();
    assert_eq!((mine[0].member.is_some(), mine[0].waits_for), (false, Some(WaitsFor::Owner)));
    let waits = waiting(&owner).await;
    assert_eq!(waits.len(), 2);
    assert!(waits.iter().all(|one| one.wish == Asked::Join && one.means.contains(LIST)));
    assert!(waiting(&ann).await.is_empty(), "nobody sees what others own");
    let id = |name: &str| RequestRequest { request: waits.iter().find(|w| w.address == address(name)).unwrap().id };
    let own = call::<ApproveRequest>(&ann, &id("ann")).await.unwrap_err();
    assert_eq!(own.code, ProblemCode::NotFound);
    assert_eq!(call::<ApproveRequest>(&owner, &id("ann")).await.unwrap().waits_for, None);
    assert!(join(&ann).await.unwrap().member);
    call::<RejectRequest>(&owner, &id("bob")).await.unwrap();
    assert_eq!(call::<ApproveRequest>(&owner, &id("bob")).await.unwrap_err().code, ProblemCode::NotFound);
    assert_eq!(certsrv.members(LIST).await.len(), 2);
    let wanted = ["membership owner", "rejected bob", "waiting owner", "waiting owner", "welcome ann"];
    assert_eq!(told(&certsrv), wanted);
    // Leaving withdraws what waits; and it ends a membership, whatever becomes of mail.
    join(&bob).await.unwrap();
    assert!(!call::<Leave>(&bob, &this()).await.unwrap().member);
    assert!(waiting(&owner).await.is_empty());
    call::<Leave>(&ann, &this()).await.unwrap();
    assert_eq!(certsrv.members(LIST).await.len(), 1);
    assert!(told(&certsrv).contains(&"goodbye ann".to_owned()));
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_confirms_and_more_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = with_mail(&dir).await;
    let (owner, ann) = (certsrv.caller("owner").await, certsrv.caller("ann").await);
    certsrv.group(LIST, "owner", JoinPolicy::Confirm).await;
    assert_eq!(join(&ann).await.unwrap().waits_for, Some(WaitsFor::Mailbox));
    join(&ann).await.unwrap();
    assert_eq!(told(&certsrv), ["confirm ann"]);
    let id = waiting(&owner).await[0].id;
    // An owner's yes does not stand for the mailbox's.
    let still = call::<ApproveRequest>(&owner, &RequestRequest { request: id }).await.unwrap().waits_for;
    assert_eq!(still, Some(WaitsFor::Mailbox));
    assert_eq!(confirm(&certsrv, id).await.unwrap(), None);
    assert!(join(&ann).await.unwrap().member);
    let Err(Failure::Refused(again)) = confirm(&certsrv, id).await else { panic!("confirmed twice") };
    assert_eq!(again.code, ProblemCode::NotFound);
    // The policy that holds at the end counts.
    let bob = certsrv.caller("bob").await;
    join(&bob).await.unwrap();
    let set = GroupSettings { join: Some(JoinPolicy::Approve), ..GroupSettings::default() };
    call::<SetGroup>(&owner, &SetGroupRequest { list: LIST.parse().unwrap(), set }).await.unwrap();
    let id = waiting(&owner).await[0].id;
    assert_eq!(confirm(&certsrv, id).await.unwrap(), Some(WaitsFor::Owner));
    assert_eq!(call::<ApproveRequest>(&owner, &RequestRequest { request: id }).await.unwrap().waits_for, None);
    assert!(join(&bob).await.unwrap().member);
    certsrv.stop().await;
}

async fn confirm(certsrv: &Running, id: RequestId) -> Result<Option<WaitsFor>, Failure> {
    let app = Arc::clone(&certsrv.app);
    let decide = move |tx: &mut crate::store::Tx<'_>| requests::confirm(&app, tx, UnixTime::now(), &id, None);
    certsrv.app.registry.commit(Actor::Clock, decide).await.map(|(waits, _)| waits)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_nothing_is_promised_that_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let ann = certsrv.caller("ann").await;
    certsrv.account("owner", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Confirm).await;
    assert_eq!(join(&ann).await.unwrap_err().code, ProblemCode::Unavailable);
    assert!(certsrv.app.registry.view().requests().unwrap().is_empty());
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invited_join_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner, ann, bob) = (certsrv.caller("owner").await, certsrv.caller("ann").await, certsrv.caller("bob").await);
    certsrv.group(LIST, "owner", JoinPolicy::Invite).await;
    assert_eq!(join(&ann).await.unwrap_err().code, ProblemCode::NotAuthorised);
    for _ in 0..2 {
        call::<Invite>(&owner, &invitation("ann")).await.unwrap();
    }
    assert_eq!(waiting(&owner).await.len(), 1);
    assert_eq!(call::<MyGroups>(&ann, &Nothing {}).await.unwrap()[0].waits_for, Some(WaitsFor::Mailbox));
    assert!(join(&ann).await.unwrap().member);
    assert!(waiting(&owner).await.is_empty());
    assert_eq!(join(&bob).await.unwrap_err().code, ProblemCode::NotAuthorised);
    // An address without an account waits until it has one.
    call::<Invite>(&owner, &invitation("new")).await.unwrap();
    let id = waiting(&owner).await[0].id;
    assert_eq!(confirm(&certsrv, id).await.unwrap(), Some(WaitsFor::Account));
    assert_eq!(expire::sweep(&certsrv.app, UnixTime::now()).await.unwrap(), 0);
    certsrv.account("new", None).await;
    assert_eq!(expire::sweep(&certsrv.app, UnixTime::now()).await.unwrap(), 1);
    assert_eq!(certsrv.members(LIST).await.len(), 3);
    // The invited may decline; lists and the banned are not invited.
    call::<Invite>(&owner, &invitation("bob")).await.unwrap();
    let id = waiting(&owner).await[0].id;
    call::<RejectRequest>(&bob, &RequestRequest { request: id }).await.unwrap();
    assert_eq!(join(&bob).await.unwrap_err().code, ProblemCode::NotAuthorised);
    call::<Ban>(&owner, &ban("bob@members.test")).await.unwrap();
    let lists = MembersRequest { addresses: vec!["team-owner@lists.test".parse().unwrap()], ..invitation("bob") };
    for refused in [invitation("bob"), lists] {
        assert_eq!(call::<Invite>(&owner, &refused).await.unwrap_err().code, ProblemCode::Conflict, "{refused:?}");
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banned_leave_and_stay_out() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner, ann) = (certsrv.caller("owner").await, certsrv.caller("ann").await);
    certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    assert!(join(&ann).await.unwrap().member);
    assert_eq!(call::<Ban>(&owner, &ban("@members.test")).await.unwrap_err().code, ProblemCode::Conflict, "owners");
    call::<Ban>(&owner, &ban("Ann@members.test")).await.unwrap();
    assert_eq!(certsrv.members(LIST).await.len(), 1);
    let banned = join(&ann).await.unwrap_err();
    certsrv.group("closed@lists.test", "owner", JoinPolicy::Closed).await;
    let closed = call::<Join>(&ann, &ListRequest { list: "closed@lists.test".parse().unwrap() }).await.unwrap_err();
    assert_eq!(banned.detail.replace(LIST, "LIST"), closed.detail.replace("closed@lists.test", "LIST"));
    let add = invitation("ann");
    let refused = certsrv.admin::<twinseal_proto::api::members::AddMembers>(&add).await.unwrap_err();
    assert!(refused.contains("banned"), "{refused}");
    call::<Unban>(&owner, &ban("ann@members.test")).await.unwrap();
    assert!(join(&ann).await.unwrap().member);
    // A domain's members too, and what they asked for.
    let set = GroupSettings { join: Some(JoinPolicy::Approve), ..GroupSettings::default() };
    call::<SetGroup>(&owner, &SetGroupRequest { list: LIST.parse().unwrap(), set }).await.unwrap();
    let key = ec_key().public_key_to_der().unwrap();
    let foreign =
        NewAccount { address: "eve@sub.evil.test".parse().unwrap(), password: None, public_key: Some(key.into()) };
    certsrv.admin::<AddAccounts>(&AddAccountsRequest { accounts: vec![foreign.clone()] }).await.unwrap();
    let add = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![foreign.address] };
    certsrv.admin::<twinseal_proto::api::members::AddMembers>(&add).await.unwrap();
    assert_eq!(certsrv.members(LIST).await.len(), 3);
    call::<Ban>(&owner, &ban("*.evil.test")).await.unwrap();
    assert_eq!(certsrv.members(LIST).await.len(), 2);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_forgotten_and_has_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let ann = certsrv.caller("ann").await;
    certsrv.account("owner", None).await;
    let mut codes = Vec::new();
    for n in 0..9 {
        let list = format!("list{n}@lists.test");
        certsrv.group(&list, "owner", JoinPolicy::Approve).await;
        let asked = call::<Join>(&ann, &ListRequest { list: list.parse().unwrap() }).await;
        codes.push(asked.map_err(|p| p.code).err());
    }
    assert_eq!(codes[..8], [None; 8]);
    assert_eq!(codes[8], Some(ProblemCode::RateLimited));
    let later = UnixTime::now().plus(requests::LIFE);
    assert_eq!(expire::sweep(&certsrv.app, UnixTime::now()).await.unwrap(), 0);
    assert_eq!(expire::sweep(&certsrv.app, later).await.unwrap(), 8);
    assert!(certsrv.app.registry.view().requests().unwrap().is_empty());
    let list = ListRequest { list: "list8@lists.test".parse().unwrap() };
    assert_eq!(call::<Join>(&ann, &list).await.unwrap().waits_for, Some(WaitsFor::Owner));
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_every_group_or_an_administrator_lets_a_key_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (one, two, ann) = (certsrv.caller("one").await, certsrv.caller("two").await, certsrv.caller("ann").await);
    certsrv.group(LIST, "one", JoinPolicy::Closed).await;
    certsrv.group("second@lists.test", "two", JoinPolicy::Closed).await;
    let wish = |key| Wish::Key { address: address("ann"), key: Digest([key; 32]) };
    let ask = async |key| {
        let (request, _) = certsrv
            .app
            .registry
            .commit(Actor::Account(address("ann")), move |tx| requests::make(tx, UnixTime::now(), wish(key), true))
            .await
            .unwrap();
        request
    };
    let may = |request: &Request| {
        let view = certsrv.app.registry.view();
        requests::may_replace(&view, &view.request(&request.id).unwrap().unwrap()).unwrap()
    };
    let alone = ask(1).await;
    assert!(!may(&alone), "no group, no owner: an administrator has to");
    assert!(waiting(&one).await.is_empty());
    certsrv.put_in(LIST, &["ann"]).await;
    certsrv.put_in("second@lists.test", &["ann"]).await;
    let request = RequestRequest { request: alone.id };
    let shown = &waiting(&one).await[0];
    assert_eq!((shown.wish, shown.key, shown.waits_for), (Asked::Key, Some(Digest([1; 32])), WaitsFor::Owner));
    assert!(shown.means.contains("ann@members.test") && shown.means.contains("will read"), "{}", shown.means);
    let in_list = ListRequestsRequest { list: Some(LIST.parse().unwrap()) };
    assert_eq!(call::<ListRequests>(&one, &in_list).await.unwrap().len(), 1);
    assert_eq!(call::<ApproveRequest>(&ann, &request).await.unwrap_err().code, ProblemCode::NotFound);
    let first = call::<ApproveRequest>(&one, &request).await.unwrap();
    assert_eq!(first.waits_for, Some(WaitsFor::Owner));
    assert!(!may(&alone));
    let second = call::<ApproveRequest>(&two, &request).await.unwrap();
    assert_eq!(second.waits_for, Some(WaitsFor::Nothing));
    assert!(may(&alone));
    // A group that the account joins later has its say too.
    certsrv.group("third@lists.test", "one", JoinPolicy::Closed).await;
    certsrv.put_in("third@lists.test", &["ann"]).await;
    assert!(!may(&alone));
    let other = ask(2).await;
    let request = RequestRequest { request: other.id };
    certsrv.admin::<ApproveRequest>(&request).await.unwrap();
    assert!(may(&other));
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_does_not_approve_an_own_key() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let owner = certsrv.caller("owner").await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    let wish = Wish::Key { address: address("owner"), key: Digest([1; 32]) };
    let made = |tx: &mut crate::store::Tx<'_>| requests::make(tx, UnixTime::now(), wish, true);
    let (request, _) = certsrv.app.registry.commit(Actor::Account(address("owner")), made).await.unwrap();
    let request = RequestRequest { request: request.id };
    assert_eq!(call::<ApproveRequest>(&owner, &request).await.unwrap_err().code, ProblemCode::NotAuthorised);
    call::<RejectRequest>(&owner, &request).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_group_that_is_gone_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner, ann) = (certsrv.caller("owner").await, certsrv.caller("ann").await);
    let gone: GroupId = certsrv.group(LIST, "owner", JoinPolicy::Approve).await.group;
    join(&ann).await.unwrap();
    call::<twinseal_proto::api::groups::DeleteGroup>(&owner, &this()).await.unwrap();
    assert!(certsrv.app.registry.view().requests().unwrap().is_empty());
    let again = certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    assert_ne!(again.group, gone);
    assert_eq!(again.members, 1);
    certsrv.stop().await;
}
