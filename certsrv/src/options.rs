//! What a membership may be told to be: its role, by owners; its options, by the member and by owners.

use crate::app::App;
use crate::authority::{Who, change_as};
use crate::change::Change;
use crate::decide::{self, Need};
use crate::failure::{Failure, refuse};
use crate::rows::{Group, Member};
use crate::store::Tx;
use crate::{groups, members};
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{Changed, MemberRole};
use twinseal_proto::api::members::{MemberOptions, MemberRequest, MemberSettings, SetMemberRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// `SetMember`.
pub(crate) async fn set(app: Arc<App>, caller: Caller, request: SetMemberRequest) -> Result<Changed, Problem> {
    let decide = move |_: &App, tx: &mut Tx<'_>, who: &Who| {
        let address = request.address.as_ref().map_or_else(|| who.account(), Ok)?;
        let own = matches!(who, Who::Account(account) if account == address) && request.set.role.is_none();
        let (group, _) = who.group(tx, &request.list, if own { Need::Member } else { Need::Owner })?;
        let member = tx.member(&group.group, address)?.ok_or_else(|| {
            refuse(ProblemCode::NotFound, format!("{address} is no member of {}; nothing was changed", request.list))
        })?;
        set_one(tx, &group, &member, request.set)
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// `AddOwner`.
pub(crate) async fn add_owner(app: Arc<App>, caller: Caller, request: MemberRequest) -> Result<Changed, Problem> {
    let decide = move |app: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        groups::may_own(tx, &request.address)?;
        members::add_one(app, tx, UnixTime::now(), &group, &request.address, who.by())?;
        set_role(tx, &group, &request.address, MemberRole::Owner)
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

/// `RemoveOwner`.
pub(crate) async fn remove_owner(app: Arc<App>, caller: Caller, request: MemberRequest) -> Result<Changed, Problem> {
    let decide = move |_: &App, tx: &mut Tx<'_>, who: &Who| {
        let (group, _) = who.group(tx, &request.list, Need::Owner)?;
        set_role(tx, &group, &request.address, MemberRole::Member)
    };
    change_as(app, caller, decide).await.map(|((), sequence)| Changed { sequence })
}

fn set_role(tx: &mut Tx<'_>, group: &Group, address: &MailAddress, role: MemberRole) -> Result<(), Failure> {
    let Some(member) = tx.member(&group.group, address)? else { return Ok(()) };
    set_one(tx, group, &member, MemberSettings { role: Some(role), ..MemberSettings::default() })
}

/// What the membership would be with these settings, if it may.
pub(crate) fn with(
    tx: &Tx<'_>,
    group: &Group,
    member: &Member,
    set: MemberSettings,
) -> Result<(MemberRole, MemberOptions), Failure> {
    let role = set.role.unwrap_or(member.role);
    if role != member.role {
        decide::role(group, member, role)?;
        if role == MemberRole::Owner {
            groups::may_own(tx, &member.address)?;
        }
    }
    let options = MemberOptions {
        delivery: set.delivery.unwrap_or(member.options.delivery),
        own_posts: set.own_posts.unwrap_or(member.options.own_posts),
        hidden: set.hidden.unwrap_or(member.options.hidden),
        mode: member.options.mode,
    };
    Ok((role, options))
}

/// Sets role and options of a membership; nothing happens when they are so.
pub(crate) fn set_one(tx: &mut Tx<'_>, group: &Group, member: &Member, set: MemberSettings) -> Result<(), Failure> {
    let (role, options) = with(tx, group, member, set)?;
    if (role, &options) == (member.role, &member.options) {
        return Ok(());
    }
    Ok(tx.push(Change::MemberSet { group: group.group, address: member.address.clone(), role, options })?)
}
