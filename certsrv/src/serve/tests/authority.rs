//! Every call about a group by everybody (spec mail P4), and what those learn who may not know (L5).

use super::harness::{Running, call};
use crate::tests::address;
use std::collections::BTreeMap;
use twinseal_proto::api::groups::{
    DeleteGroup, GroupSettings, JoinPolicy, ListRequest, RosterVisibility, SetGroup, SetGroupRequest, ShowGroup,
};
use twinseal_proto::api::members::{
    AddMembers, AddOwner, Ban, BanRequest, Invite, ListBans, ListMembers, MemberRequest, MemberSettings,
    MembersRequest, RemoveMembers, RemoveOwner, SetMember, SetMemberRequest, Unban, Who,
};
use twinseal_proto::api::requests::{ApproveRequest, ListRequests, ListRequestsRequest, RejectRequest, RequestRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{ListAddress, MailAddress, RequestId};
use twinseal_svc::client::Client;

const LIST: &str = "team@lists.test";
const OTHER: &str = "other@lists.test";
const NONE: &str = "none@lists.test";

/// What came of each call about `list` and `address`, by name of the call.
async fn every_call(
    client: &Client,
    list: &str,
    address: &MailAddress,
    request: RequestId,
) -> BTreeMap<&'static str, Result<(), Problem>> {
    let list: ListAddress = list.parse().unwrap();
    let this = || ListRequest { list: list.clone() };
    let many = || MembersRequest { list: list.clone(), addresses: vec![address.clone()] };
    let one = || MemberRequest { list: list.clone(), address: address.clone() };
    let ban = || BanRequest { list: list.clone(), pattern: "zoe@members.test".parse().unwrap() };
    let mut found = BTreeMap::new();
    macro_rules! ask {
        ($($endpoint:ident, $request:expr;)*) => {
            $(found.insert(stringify!($endpoint), call::<$endpoint>(client, &$request).await.map(|_| ()));)*
        };
    }
    let settings = GroupSettings { description: Some("x".into()), ..GroupSettings::default() };
    let member = MemberSettings { hidden: Some(false), ..MemberSettings::default() };
    ask! {
        ShowGroup, this();
        SetGroup, SetGroupRequest { list: list.clone(), set: settings };
        ListMembers, this();
        Who, this();
        AddMembers, many();
        Invite, many();
        SetMember, SetMemberRequest { list: list.clone(), address: Some(address.clone()), set: member };
        AddOwner, one();
        RemoveOwner, one();
        Ban, ban();
        ListBans, this();
        Unban, ban();
        ListRequests, ListRequestsRequest { list: Some(list.clone()) };
        ApproveRequest, RequestRequest { request };
        RejectRequest, RequestRequest { request };
        RemoveMembers, many();
        DeleteGroup, this();
    }
    found
}

/// `owner` owns the list, `member` belongs to it, `stranger` owns another, `nobody` belongs to none; `asker` asks.
async fn people(certsrv: &Running) -> BTreeMap<&'static str, Client> {
    let mut found = BTreeMap::new();
    for name in ["owner", "member", "stranger", "nobody", "asker", "spare"] {
        found.insert(name, certsrv.caller(name).await);
    }
    found.insert("anonymous", certsrv.client(None));
    certsrv.group(LIST, "owner", JoinPolicy::Approve).await;
    certsrv.group(OTHER, "stranger", JoinPolicy::Approve).await;
    certsrv.put_in(LIST, &["member", "spare"]).await;
    found
}

async fn asked(certsrv: &Running, asker: &Client) -> RequestId {
    let joined = call::<twinseal_proto::api::groups::Join>(asker, &ListRequest { list: LIST.parse().unwrap() }).await;
    assert!(!joined.unwrap().member);
    let view = certsrv.app.registry.view();
    view.requests_of(&address("asker")).unwrap()[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_asks_who_calls() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let people = people(&certsrv).await;
    let request = asked(&certsrv, &people["asker"]).await;
    // What a member may: see the settings, and withdraw nothing.
    for (name, allowed) in
        [("anonymous", vec![]), ("nobody", vec![]), ("stranger", vec![]), ("member", vec!["ShowGroup"])]
    {
        for (endpoint, answer) in every_call(&people[name], LIST, &address("spare"), request).await {
            let wanted = match (name, endpoint) {
                _ if allowed.contains(&endpoint) => None,
                ("anonymous", _) => Some(ProblemCode::NotAuthenticated),
                (_, "ApproveRequest" | "RejectRequest") => Some(ProblemCode::NotFound),
                ("member", _) => Some(ProblemCode::NotAuthorised),
                _ => Some(ProblemCode::NotFound),
            };
            assert_eq!(answer.map_err(|p| p.code).err(), wanted, "{name} {endpoint}");
        }
    }
    assert_eq!(certsrv.members(LIST).await.len(), 3, "nothing was changed");
    // Members change their own options, nobody else's, and never their role.
    let list: ListAddress = LIST.parse().unwrap();
    let set = |name: Option<&str>, set| SetMemberRequest { list: list.clone(), address: name.map(address), set };
    let hidden = MemberSettings { hidden: Some(true), ..MemberSettings::default() };
    let owner = MemberSettings { role: Some(twinseal_proto::api::members::MemberRole::Owner), ..hidden };
    assert!(call::<SetMember>(&people["member"], &set(None, hidden)).await.is_ok());
    for (who, set) in [("member", set(None, owner)), ("member", set(Some("owner"), hidden))] {
        assert_eq!(call::<SetMember>(&people[who], &set).await.unwrap_err().code, ProblemCode::NotAuthorised);
    }
    assert_eq!(call::<SetMember>(&people["nobody"], &set(None, hidden)).await.unwrap_err().code, ProblemCode::NotFound);
    // An owner may all of it, as an administrator may.
    for (endpoint, answer) in every_call(&people["owner"], LIST, &address("spare"), request).await {
        // It was approved a moment before.
        let wanted = (endpoint == "RejectRequest").then_some(ProblemCode::NotFound);
        assert_eq!(answer.map_err(|p| p.code).err(), wanted, "owner {endpoint}");
    }
    assert!(certsrv.app.registry.view().group(&list).unwrap().is_none(), "deleted by its owner");
    let admin = |list: &str| ListRequest { list: list.parse().unwrap() };
    assert!(certsrv.admin::<ShowGroup>(&admin(OTHER)).await.is_ok());
    assert!(certsrv.admin::<DeleteGroup>(&admin(OTHER)).await.is_ok());
    assert!(certsrv.admin::<ShowGroup>(&admin(OTHER)).await.is_err());
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_who_is_a_member_or_that_a_list_exists() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let people = people(&certsrv).await;
    let request = asked(&certsrv, &people["asker"]).await;
    let unknown = RequestId::from_random([7; 16]);
    let text = |answer: &Result<(), Problem>, list: &str, request: &RequestId| {
        let json = serde_json::to_string(answer.as_ref().unwrap_err()).unwrap();
        json.replace(list, "LIST").replace(&request.to_string(), "REQUEST")
    };
    for caller in ["nobody", "stranger"] {
        let mut answers = Vec::new();
        for (list, request) in [(LIST, request), (NONE, unknown)] {
            for about in ["member", "nobody", "not-even-an-account"] {
                let found = every_call(&people[caller], list, &address(about), request).await;
                let texts: BTreeMap<_, _> =
                    found.iter().map(|(name, answer)| (*name, text(answer, list, &request))).collect();
                answers.push(texts);
            }
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{caller}: {answers:#?}");
    }
    // A member who is no owner learns nothing of others either.
    let (about, not_about) = (
        every_call(&people["member"], LIST, &address("spare"), request).await,
        every_call(&people["member"], LIST, &address("nobody"), request).await,
    );
    assert_eq!(about, not_about);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roster_is_shown_to_whom_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let people = people(&certsrv).await;
    let list: ListAddress = LIST.parse().unwrap();
    let this = ListRequest { list: list.clone() };
    let who = async |name: &str| {
        let found = call::<Who>(&people[name], &this).await.map_err(|p| p.code)?;
        Ok::<_, ProblemCode>(found.into_iter().map(|known| known.address.parts().0.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(who("member").await, Err(ProblemCode::NotAuthorised));
    assert_eq!(call::<ShowGroup>(&people["member"], &this).await.unwrap().members, None);
    assert_eq!(who("owner").await.unwrap(), ["member", "owner", "spare"]);
    let set = GroupSettings { roster: Some(RosterVisibility::Members), ..GroupSettings::default() };
    call::<SetGroup>(&people["owner"], &SetGroupRequest { list: list.clone(), set }).await.unwrap();
    let hide = MemberSettings { hidden: Some(true), ..MemberSettings::default() };
    call::<SetMember>(&people["spare"], &SetMemberRequest { list: list.clone(), address: None, set: hide })
        .await
        .unwrap();
    assert_eq!(who("member").await.unwrap(), ["member", "owner"]);
    assert_eq!(who("owner").await.unwrap(), ["member", "owner", "spare"]);
    assert_eq!(who("nobody").await, Err(ProblemCode::NotFound));
    assert_eq!(call::<ShowGroup>(&people["member"], &this).await.unwrap().owners.unwrap(), [address("owner")]);
    // The full list with handles is the owners' in any case.
    assert_eq!(call::<ListMembers>(&people["member"], &this).await.unwrap_err().code, ProblemCode::NotAuthorised);
    assert_eq!(call::<ListMembers>(&people["owner"], &this).await.unwrap().len(), 3);
    certsrv.stop().await;
}
