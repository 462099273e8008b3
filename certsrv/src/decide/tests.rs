#![allow(clippy::unwrap_used)]
use super::*;
use crate::cert::serial::Serial;
use crate::rows::TokenUse;
use crate::tests::{address, now};
use twinseal_proto::api::admin::certsrv::MemberState;
use twinseal_proto::api::groups::{KeyChangePolicy, RosterVisibility};
use twinseal_proto::api::members::MemberOptions;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{GroupId, Handle, MemberNumber, RequestId};

fn group(join: JoinPolicy, owners: u64) -> Group {
    Group {
        signed: false,
        group: GroupId::from_random([1; 16]),
        list: "team@lists.test".parse().unwrap(),
        owner: address("owner"),
        join,
        key_change: KeyChangePolicy::default(),
        mode: DeliveryMode::Expand,
        history: History::SinceJoin,
        settings: ListSettings::default(),
        roster: RosterVisibility::default(),
        notices: true,
        members: 3,
        owners,
    }
}

fn member(role: MemberRole, state: MemberState) -> Member {
    Member {
        address: address("ann"),
        handle: Handle::from_random([2; 16]),
        number: MemberNumber(1),
        role,
        state,
        serial: None,
        options: MemberOptions::default(),
        joined: 0,
    }
}

fn code(decision: Decision) -> &'static str {
    match decision {
        Decision::Do => "do",
        Decision::Nothing => "nothing",
        Decision::Ask(Missing::Mailbox) => "ask-mailbox",
        Decision::Ask(Missing::Owner) => "ask-owner",
        Decision::Refuse(problem) if problem.code == ProblemCode::NotAuthorised => "not-authorised",
        Decision::Refuse(_) => "conflict",
    }
}

const POLICIES: [JoinPolicy; 5] =
    [JoinPolicy::Open, JoinPolicy::Confirm, JoinPolicy::Approve, JoinPolicy::Invite, JoinPolicy::Closed];

#[test]
fn who_may_join() {
    // Columns: open, confirm, approve, invite, closed (spec mail L6).
    let table = [
        (By::Member, false, ["do", "ask-mailbox", "ask-owner", "not-authorised", "not-authorised"]),
        (By::Invited, false, ["do"; 5]),
        (By::Owner, false, ["do"; 5]),
        (By::Administrator, false, ["do"; 5]),
        (By::Member, true, ["not-authorised"; 5]),
        (By::Invited, true, ["not-authorised"; 5]),
        (By::Owner, true, ["conflict"; 5]),
        (By::Administrator, true, ["conflict"; 5]),
    ];
    for (by, banned, row) in table {
        for (policy, wanted) in POLICIES.into_iter().zip(row) {
            assert_eq!(code(join(&group(policy, 1), None, by, banned)), wanted, "{policy:?} {by:?} {banned}");
            for state in [MemberState::Pending, MemberState::Active, MemberState::Suspended] {
                let present = member(MemberRole::Member, state);
                assert_eq!(code(join(&group(policy, 1), Some(&present), by, banned)), "nothing", "{policy:?} {by:?}");
            }
        }
    }
}

#[test]
fn the_banned_are_told_what_everybody_is_told_at_a_closed_list() {
    for policy in POLICIES {
        let told = join(&group(policy, 1), None, By::Member, true);
        assert_eq!(told, join(&group(JoinPolicy::Closed, 1), None, By::Member, false), "{policy:?}");
    }
}

#[test]
fn what_a_request_lacks() {
    let id = GroupId::from_random([1; 16]);
    let join = Wish::Join { group: id, address: address("ann") };
    let invitation = Wish::Invitation { group: id, address: address("ann") };
    let request = |wish: &Wish, confirmed, approved: bool, by_administrator| Request {
        id: RequestId::from_random([3; 16]),
        wish: wish.clone(),
        made: now(),
        expires: now().plus(1),
        confirmed,
        approved: if approved { vec![id] } else { vec![] },
        by_administrator,
    };
    for policy in POLICIES {
        let owners = !matches!(policy, JoinPolicy::Open | JoinPolicy::Confirm);
        let (mailbox, owner) = (Some(Missing::Mailbox), owners.then_some(Missing::Owner));
        let table = [
            (request(&join, false, false, false), mailbox),
            (request(&join, false, true, true), mailbox),
            (request(&join, true, false, false), owner),
            (request(&join, true, true, false), None),
            (request(&join, true, false, true), None),
            (request(&invitation, false, false, false), mailbox),
            (request(&invitation, true, false, false), None),
        ];
        for (request, wanted) in table {
            assert_eq!(missing(policy, &request), wanted, "{policy:?} {request:?}");
        }
        let other = Request { approved: vec![GroupId::from_random([9; 16])], ..request(&join, true, false, false) };
        assert_eq!(missing(policy, &other), owner, "another group's owner has no say");
    }
}

#[test]
fn what_a_caller_may_ask_about_a_group() {
    let list: ListAddress = "team@lists.test".parse().unwrap();
    let table = [
        (Standing::Administrator, true, true),
        (Standing::Owner, true, true),
        (Standing::Member, true, false),
        (Standing::Outsider, false, false),
    ];
    for (standing, member, owner) in table {
        assert_eq!(authorise(&list, standing, Need::Member).is_ok(), member, "{standing:?}");
        assert_eq!(authorise(&list, standing, Need::Owner).is_ok(), owner, "{standing:?}");
    }
    for need in [Need::Member, Need::Owner] {
        assert_eq!(authorise(&list, Standing::Outsider, need), Err(no_list(&list)));
    }
    assert_eq!(authorise(&list, Standing::Member, Need::Owner).unwrap_err().code, ProblemCode::NotAuthorised);
}

#[test]
fn requests_have_an_end_somewhere() {
    for (own, in_group, wanted) in [(0, 0, true), (7, 99, true), (8, 0, false), (0, 100, false)] {
        assert_eq!(
            room(own, in_group).map_err(|p| p.code),
            if wanted { Ok(()) } else { Err(ProblemCode::RateLimited) }
        );
    }
}

#[test]
fn an_owner_is_nobodys_list() {
    let list = |text: &str| mailbox_of(&text.parse().unwrap()).map(|list| list.to_string());
    assert_eq!(list("Team-Owner@lists.test").as_deref(), Some("team@lists.test"));
    assert_eq!(list("team-request@lists.test").as_deref(), Some("team@lists.test"));
    assert_eq!(list("team@lists.test").as_deref(), Some("team@lists.test"));
    assert_eq!(list("o'hara@lists.test"), None);
    let all: Vec<_> = mailboxes(&"team@lists.test".parse().unwrap()).collect();
    assert_eq!(all.len(), ListAddress::RESERVED.len());
    assert!(all.iter().all(|mailbox| mailbox_of(mailbox).unwrap().to_string() == "team@lists.test"));
}

#[test]
fn a_list_keeps_an_owner() {
    for (owners, present, to, wanted) in [
        (1, MemberRole::Owner, MemberRole::Member, false),
        (2, MemberRole::Owner, MemberRole::Member, true),
        (1, MemberRole::Owner, MemberRole::Owner, true),
        (1, MemberRole::Member, MemberRole::Member, true),
        (1, MemberRole::Member, MemberRole::Owner, true),
    ] {
        let member = member(present, MemberState::Active);
        assert_eq!(role(&group(JoinPolicy::Open, owners), &member, to).is_ok(), wanted, "{owners} {present:?} {to:?}");
    }
}

#[test]
fn who_may_leave() {
    let states = [MemberState::Pending, MemberState::Active, MemberState::Suspended];
    for state in states {
        assert_eq!(code(leave(&group(JoinPolicy::Closed, 1), Some(&member(MemberRole::Member, state)))), "do");
        assert_eq!(code(leave(&group(JoinPolicy::Closed, 1), Some(&member(MemberRole::Owner, state)))), "conflict");
        assert_eq!(code(leave(&group(JoinPolicy::Closed, 2), Some(&member(MemberRole::Owner, state)))), "do");
    }
    assert_eq!(code(leave(&group(JoinPolicy::Open, 1), None)), "nothing");
}

#[test]
fn tokens_are_good_for_one_purpose_and_a_time() {
    let enrolment = TokenPurpose::Enrol { address: address("ann") };
    let service = TokenPurpose::Service { role: ServiceRole::Exploder };
    let row =
        |purpose: &TokenPurpose, expires| TokenRow { purpose: purpose.clone(), expires: UnixTime(expires), used: None };
    let later = now().0 + 1;
    assert_eq!(enrol_token(Some(&row(&enrolment, later)), now()), Some(address("ann")));
    assert_eq!(enrol_token(Some(&row(&enrolment, now().0)), now()), None);
    assert_eq!(enrol_token(Some(&row(&service, later)), now()), None);
    assert_eq!(enrol_token(None, now()), None);
    assert_eq!(service_token(Some(&row(&service, later)), now()), Some(ServiceRole::Exploder));
    assert_eq!(service_token(Some(&row(&enrolment, later)), now()), None);
    assert_eq!(service_token(Some(&row(&service, now().0)), now()), None);
    let used = Some(TokenUse { key: Digest([1; 32]), serial: Serial::from_random([1; 16]) });
    for (purpose, expires) in [(&enrolment, later), (&service, later), (&service, now().0)] {
        let row = TokenRow { used: used.clone(), ..row(purpose, expires) };
        assert_eq!((enrol_token(Some(&row), now()), service_token(Some(&row), now())), (None, None));
        assert_eq!(used_token(Some(row), now()), used.clone().filter(|_| expires == later));
    }
    assert_eq!(used_token(Some(row(&enrolment, later)), now()), None);
}

#[test]
fn which_addresses_may_have_accounts() {
    assert!(add_account(&address("ann"), false, false).is_ok());
    assert_eq!(add_account(&address("ann"), false, true).unwrap_err().code, ProblemCode::Conflict);
    assert_eq!(add_account(&address("ann"), true, false).unwrap_err().code, ProblemCode::Conflict);
    assert_eq!(add_account(&address("δ"), false, false).unwrap_err().code, ProblemCode::BadRequest);
}
