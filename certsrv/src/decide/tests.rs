#![allow(clippy::unwrap_used)]
use super::*;
use crate::cert::serial::Serial;
use crate::rows::{Holder, TokenUse};
use crate::tests::{address, now};
use twinseal_proto::api::admin::certsrv::{MemberState, RevocationReason};
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{GroupId, Handle, MemberNumber};

fn group(join: JoinPolicy, owners: u64) -> Group {
    Group {
        signed: false,
        group: GroupId::from_random([1; 16]),
        list: "team@lists.test".parse().unwrap(),
        owner: address("owner"),
        join,
        mode: DeliveryMode::Expand,
        history: History::SinceJoin,
        settings: ListSettings::default(),
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
    }
}

fn code(decision: Decision) -> &'static str {
    match decision {
        Decision::Do => "do",
        Decision::Nothing => "nothing",
        Decision::Refuse(problem) if problem.code == ProblemCode::NotAuthorised => "not-authorised",
        Decision::Refuse(_) => "conflict",
    }
}

#[test]
fn who_may_join() {
    use JoinPolicy::{Closed, Open};
    let table = [
        (Open, None, By::Member, "do"),
        (Closed, None, By::Member, "not-authorised"),
        (Open, None, By::Administrator, "do"),
        (Closed, None, By::Administrator, "do"),
        (Open, Some(MemberState::Active), By::Member, "nothing"),
        (Closed, Some(MemberState::Pending), By::Member, "nothing"),
        (Closed, Some(MemberState::Suspended), By::Administrator, "nothing"),
    ];
    for (policy, state, by, wanted) in table {
        let present = state.map(|state| member(MemberRole::Member, state));
        assert_eq!(code(join(&group(policy, 1), present.as_ref(), by)), wanted, "{policy:?} {state:?} {by:?}");
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
fn which_keys_a_password_enrols() {
    let account = Account { address: address("ann"), password: None, current: None };
    let (mine, other) = (Digest([1; 32]), Digest([2; 32]));
    let certificate = |until: u64, revoked| Certificate {
        serial: Serial::from_random([1; 16]),
        holder: Holder::Member { address: address("ann") },
        certificate: B64::default(),
        key: mine,
        until: UnixTime(until),
        revoked,
    };
    let (live, ended) = (certificate(now().0 + 1, None), certificate(now().0, None));
    let revoked = certificate(now().0 + 1, Some(RevocationReason::Superseded));
    let table = [
        (None, other, false, true),
        (Some(&live), mine, false, true),
        (Some(&live), other, false, false),
        (Some(&ended), other, false, true),
        (Some(&revoked), other, false, true),
        (Some(&live), mine, true, false),
        (None, other, true, false),
    ];
    for (current, key, compromised, wanted) in table {
        assert_eq!(
            enrol(&account, current, &key, compromised, now()).is_ok(),
            wanted,
            "{current:?} {key} {compromised}"
        );
    }
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
