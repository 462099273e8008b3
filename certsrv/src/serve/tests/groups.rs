//! Groups and their owners, options, tables of members; and all of it once more from the log.

use super::harness::{Joined, Running, call, config};
use crate::tests::{address, ec_key};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, CreateGroup, ImportAccounts, ImportAccountsRequest, ImportLine, ImportMembers,
    ImportMembersRequest, ImportReport, ImportWhat, JoinPolicy, NewAccount, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::feed::{Feed, FeedRequest};
use twinseal_proto::api::groups::{
    DeleteGroup, GroupSettings, Leave, ListRequest, SetGroup, SetGroupRequest, ShowGroup,
};
use twinseal_proto::api::members::{
    AddOwner, Ban, BanRequest, Delivery, MemberRequest, MemberRole, MemberSettings, RemoveMembers, RemoveOwner,
    SetMember, SetMemberRequest,
};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::feed::{Cursor, ExploderChange, GroupsrvChange, History, View};

const LIST: &str = "team@lists.test";

fn this() -> ListRequest {
    ListRequest { list: LIST.parse().unwrap() }
}

fn one(name: &str) -> MemberRequest {
    MemberRequest { list: LIST.parse().unwrap(), address: address(name) }
}

/// The kinds of changes that a service was told.
async fn kinds<C>(service: &Joined, view: View) -> Vec<String>
where
    C: serde::de::DeserializeOwned + serde::Serialize,
{
    let (mut cursor, key) = (Cursor::start(service.trust.feed, service.trust.generation), service.feed_key());
    let page = call::<Feed>(&service.client, &FeedRequest { after: 0, wait: 0 }).await.unwrap();
    let changes = page.entries.iter().filter_map(|entry| cursor.accept::<C>(entry, view, &key).unwrap());
    changes.map(|c| serde_json::to_value(c).unwrap()["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_and_each_consumer_hears_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (groupsrv, exploder) = (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
    let owner = certsrv.caller("owner").await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    let set = |set| SetGroupRequest { list: LIST.parse().unwrap(), set };
    let settings = GroupSettings { join: Some(JoinPolicy::Open), notices: Some(false), ..Default::default() };
    call::<SetGroup>(&owner, &set(settings)).await.unwrap();
    let before = *certsrv.app.registry.head().borrow();
    let same = GroupSettings { join: Some(JoinPolicy::Open), ..Default::default() };
    call::<SetGroup>(&owner, &set(same)).await.unwrap();
    assert_eq!(*certsrv.app.registry.head().borrow(), before, "nothing new, no entry");
    call::<SetGroup>(&owner, &set(GroupSettings { history: Some(History::All), ..Default::default() })).await.unwrap();
    let description = Some("The team".to_owned());
    call::<SetGroup>(&owner, &set(GroupSettings { description, ..Default::default() })).await.unwrap();
    let size = GroupSettings { max_size: Some(2048), ..Default::default() };
    assert_eq!(call::<SetGroup>(&owner, &set(size.clone())).await.unwrap_err().code, ProblemCode::NotAuthorised);
    certsrv.admin::<SetGroup>(&set(size)).await.unwrap();
    for bad in [
        GroupSettings { max_size: Some(1), ..Default::default() },
        GroupSettings { description: Some("a\nb".into()), ..Default::default() },
    ] {
        assert!(certsrv.admin::<SetGroup>(&set(bad)).await.is_err());
    }
    let shown = call::<ShowGroup>(&owner, &this()).await.unwrap();
    assert_eq!((shown.join, shown.history, shown.notices), (JoinPolicy::Open, History::All, false));
    assert_eq!((shown.settings.description.as_str(), shown.settings.max_size), ("The team", 2048));
    call::<DeleteGroup>(&owner, &this()).await.unwrap();
    let told = kinds::<GroupsrvChange>(&groupsrv, View::Groupsrv).await;
    assert_eq!(told, ["group-created", "member-joined", "group-changed", "group-deleted"]);
    let told = kinds::<ExploderChange>(&exploder, View::Exploder).await;
    assert_eq!(told, ["group-created", "member-joined", "group-changed", "group-changed", "group-deleted"]);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_keeps_an_owner_whose_mail_goes_to_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner, ann) = (certsrv.caller("owner").await, certsrv.caller("ann").await);
    certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    let many =
        twinseal_proto::api::members::MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("owner")] };
    let role = MemberSettings { role: Some(MemberRole::Member), ..Default::default() };
    let demote = SetMemberRequest { list: LIST.parse().unwrap(), address: Some(address("owner")), set: role };
    let ban = BanRequest { list: LIST.parse().unwrap(), pattern: "owner@members.test".parse().unwrap() };
    let codes = [
        call::<Leave>(&owner, &this()).await.map(|_| ()),
        call::<RemoveMembers>(&owner, &many).await.map(|_| ()),
        call::<SetMember>(&owner, &demote).await.map(|_| ()),
        call::<RemoveOwner>(&owner, &one("owner")).await.map(|_| ()),
        call::<Ban>(&owner, &ban).await.map(|_| ()),
    ];
    assert!(codes.iter().all(|c| c.as_ref().is_err_and(|p| p.code == ProblemCode::Conflict)), "{codes:?}");
    assert!(certsrv.admin::<RemoveMembers>(&many).await.unwrap_err().contains("last owner"));
    assert_eq!(crate::members::owned_alone(&certsrv.app.registry.view(), &address("owner")).unwrap().len(), 1);
    for _ in 0..2 {
        call::<AddOwner>(&owner, &one("ann")).await.unwrap();
    }
    assert!(crate::members::owned_alone(&certsrv.app.registry.view(), &address("owner")).unwrap().is_empty());
    let owners = call::<ShowGroup>(&owner, &this()).await.unwrap().owners.unwrap();
    assert_eq!(owners, [address("ann"), address("owner")]);
    call::<RemoveOwner>(&owner, &one("owner")).await.unwrap();
    assert_eq!(call::<ShowGroup>(&ann, &this()).await.unwrap().owners.unwrap(), [address("ann")]);
    call::<Leave>(&owner, &this()).await.unwrap();
    assert_eq!(call::<Leave>(&ann, &this()).await.unwrap_err().code, ProblemCode::Conflict);
    // A revoked certificate takes nobody's ownership away.
    let serial = certsrv.members(LIST).await[0].serial.clone().unwrap();
    certsrv.admin::<Revoke>(&RevokeRequest { serial, reason: RevocationReason::Superseded }).await.unwrap();
    assert_eq!(certsrv.members(LIST).await[0].role, MemberRole::Owner);
    // P20: no list's own mailbox is an owner.
    let account = |text: &str| NewAccount { address: text.parse().unwrap(), password: None, public_key: None };
    let accounts = vec![account("team-owner@lists.test"), account("next-owner@lists.test")];
    certsrv.admin::<AddAccounts>(&AddAccountsRequest { accounts }).await.unwrap();
    let list = LIST.parse().unwrap();
    let own = MemberRequest { list, address: "team-owner@lists.test".parse().unwrap() };
    assert!(certsrv.admin::<AddOwner>(&own).await.unwrap_err().contains("list's own address"));
    let next = super::harness::group_request("next@lists.test", "ann", JoinPolicy::Open);
    assert!(certsrv.admin::<CreateGroup>(&next).await.unwrap_err().contains("next-owner@lists.test"));
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exploder_is_told_what_members_chose_once_it_knows_them() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let exploder = certsrv.join(ServiceRole::Exploder).await;
    let ann = certsrv.caller("ann").await;
    certsrv.account("owner", None).await;
    certsrv.account("bob", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    certsrv.put_in(LIST, &["ann", "bob"]).await;
    let off = MemberSettings { delivery: Some(Delivery::Off), ..Default::default() };
    let set =
        |name: Option<&str>, set| SetMemberRequest { list: LIST.parse().unwrap(), address: name.map(address), set };
    for _ in 0..2 {
        call::<SetMember>(&ann, &set(None, off)).await.unwrap();
    }
    certsrv.admin::<SetMember>(&set(Some("bob"), off)).await.unwrap();
    assert!(certsrv.admin::<SetMember>(&set(None, off)).await.unwrap_err().contains("name the account"));
    let told = kinds::<ExploderChange>(&exploder, View::Exploder).await;
    assert_eq!(told, ["group-created", "member-joined", "member-options"], "bob has no key yet");
    let (_, csr) = super::harness::key_and_csr("bob");
    certsrv.enrol(&super::harness::basic("bob"), &csr).await.unwrap();
    let told = kinds::<ExploderChange>(&exploder, View::Exploder).await;
    assert_eq!(told[3..], ["member-joined", "member-options"]);
    let members = certsrv.members(LIST).await;
    assert!(members.iter().filter(|m| m.options.delivery == Delivery::Off).count() == 2);
    certsrv.stop().await;
}

fn line(line: u64, text: &str, role: Option<&str>, delivery: Option<&str>) -> ImportLine {
    let some = |text: Option<&str>| text.map(str::to_owned);
    ImportLine { line, address: text.to_owned(), role: some(role), delivery: some(delivery), ..Default::default() }
}

fn whats(report: &ImportReport) -> Vec<ImportWhat> {
    report.lines.iter().map(|line| line.what).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_reported_on_line_by_line() {
    use ImportWhat::{Added, Changed, Refused, Unchanged};
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    let accounts = |dry_run, strict| ImportAccountsRequest {
        lines: vec![
            line(2, "ann@members.test", None, None),
            line(3, "owner@members.test", None, None),
            line(4, "nonsense", None, None),
            line(5, LIST, None, None),
            line(6, "ann@members.test", None, None),
        ],
        dry_run,
        strict,
    };
    let wanted = [Added, Unchanged, Refused, Refused, Unchanged];
    for (dry_run, strict, done) in
        [(true, false, false), (true, true, false), (false, true, false), (false, false, true)]
    {
        let head = *certsrv.app.registry.head().borrow();
        let report = certsrv.admin::<ImportAccounts>(&accounts(dry_run, strict)).await.unwrap();
        assert_eq!((whats(&report), report.done), (wanted.to_vec(), done), "{dry_run} {strict}");
        assert_eq!(*certsrv.app.registry.head().borrow() == head, !done);
    }
    certsrv.account("bob", Some(&ec_key())).await;
    let members = |dry_run, strict, lines: &[ImportLine]| ImportMembersRequest {
        list: LIST.parse().unwrap(),
        lines: lines.to_vec(),
        dry_run,
        strict,
    };
    let lines = [
        line(2, "ann@members.test", Some("owner"), Some("off")),
        line(3, "owner@members.test", Some("member"), None),
        line(4, "ann@members.test", Some("member"), None),
        line(5, "bob@members.test", None, Some("sometimes")),
        line(6, "nobody@members.test", None, None),
        line(7, "bob@members.test", Some("owner"), None),
        line(8, "bob@members.test", None, None),
    ];
    // Line 3 may be done since line 2 made another owner, line 4 not, since line 3 took the first one away.
    let wanted = [Added, Changed, Refused, Refused, Refused, Added, Unchanged];
    for (dry_run, strict, done) in [(true, true, false), (false, true, false), (false, false, true)] {
        let report = certsrv.admin::<ImportMembers>(&members(dry_run, strict, &lines)).await.unwrap();
        assert_eq!((whats(&report), report.done), (wanted.to_vec(), done), "{dry_run} {strict}: {report:?}");
        assert_eq!(certsrv.members(LIST).await.len(), if done { 3 } else { 1 });
    }
    let report = certsrv.admin::<ImportMembers>(&members(false, true, &lines[..2])).await.unwrap();
    assert_eq!((whats(&report), report.done), (vec![Unchanged, Unchanged], true));
    assert!(
        certsrv
            .admin::<ImportMembers>(&ImportMembersRequest {
                list: "none@lists.test".parse().unwrap(),
                ..members(false, false, &[])
            })
            .await
            .is_err()
    );
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_bans_options_and_requests_follow_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (owner, ann) = (certsrv.caller("owner").await, certsrv.caller("ann").await);
    certsrv.account("bob", None).await;
    for (list, policy) in [(LIST, JoinPolicy::Approve), ("gone@lists.test", JoinPolicy::Approve)] {
        certsrv.group(list, "owner", policy).await;
        call::<twinseal_proto::api::groups::Join>(&ann, &ListRequest { list: list.parse().unwrap() }).await.unwrap();
    }
    call::<AddOwner>(&owner, &one("bob")).await.unwrap();
    let off = MemberSettings { delivery: Some(Delivery::Off), role: Some(MemberRole::Member), ..Default::default() };
    let set = SetMemberRequest { list: LIST.parse().unwrap(), address: Some(address("bob")), set: off };
    call::<SetMember>(&owner, &set).await.unwrap();
    for pattern in ["eve@members.test", "*.evil.test"] {
        let ban = BanRequest { list: LIST.parse().unwrap(), pattern: pattern.parse().unwrap() };
        call::<Ban>(&owner, &ban).await.unwrap();
    }
    let settings = GroupSettings { notices: Some(false), ..Default::default() };
    call::<SetGroup>(&owner, &SetGroupRequest { list: LIST.parse().unwrap(), set: settings }).await.unwrap();
    let gone = ListRequest { list: "gone@lists.test".parse().unwrap() };
    certsrv.put_in("gone@lists.test", &["bob"]).await;
    call::<DeleteGroup>(&owner, &gone).await.unwrap();
    let state = |certsrv: &Running| {
        let view = certsrv.app.registry.view();
        let groups = view.groups().unwrap();
        let group = groups[0].group;
        let memberships = view.memberships(&address("bob")).unwrap();
        let bans = view.bans(&group).unwrap();
        (
            groups,
            view.members(&group).unwrap(),
            bans,
            view.requests_in(&group).unwrap(),
            view.requests().unwrap(),
            memberships,
        )
    };
    let before = state(&certsrv);
    let (groups, members, bans, in_group, requests, memberships) = &before;
    assert_eq!((groups.len(), members.len(), bans.len(), in_group.len()), (1, 2, 2, 1));
    assert_eq!((requests.len(), memberships.len(), groups[0].owners), (1, 1, 1));
    certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!(state(&certsrv), before);
    certsrv.stop().await;
}
