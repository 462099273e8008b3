//! Who belongs to what, for those who may know: owners and administrators all of it, members as far as the group shows it
//! to them, everybody their own.

use crate::app::App;
use crate::authority::{Who, read_as};
use crate::decide::{Need, Standing};
use crate::failure::{Failure, refuse};
use crate::requests;
use crate::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::groups::{ListRequest, Mine, OwnMembership, RosterVisibility};
use twinseal_proto::api::members::{Known, Member};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::ListAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// `ListMembers`.
pub(crate) async fn list(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Vec<Member>, Problem> {
    read_as(app, caller, move |tx, who| members(tx, who, &request.list)).await
}

fn members(tx: &Tx<'_>, who: &Who, list: &ListAddress) -> Result<Vec<Member>, Failure> {
    let (group, _) = who.group(tx, list, Need::Owner)?;
    let rows = tx.members(&group.group)?;
    let shown = |row: crate::rows::Member| Member {
        address: row.address,
        state: row.state,
        role: row.role,
        handle: row.handle,
        serial: row.serial.map(|serial| serial.to_string()),
        options: row.options,
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// `Who`.
pub(crate) async fn who(app: Arc<App>, caller: Caller, request: ListRequest) -> Result<Vec<Known>, Problem> {
    read_as(app, caller, move |tx, who| known(tx, who, &request.list)).await
}

fn known(tx: &Tx<'_>, who: &Who, list: &ListAddress) -> Result<Vec<Known>, Failure> {
    let (group, standing) = who.group(tx, list, Need::Member)?;
    let all = standing != Standing::Member;
    if !all && group.roster == RosterVisibility::Owners {
        return Err(refuse(ProblemCode::NotAuthorised, format!("only an owner of {list} may see who belongs to it")));
    }
    let rows = tx.members(&group.group)?.into_iter().filter(|row| all || !row.options.hidden);
    Ok(rows.map(|row| Known { address: row.address, role: row.role }).collect())
}

/// `MyGroups`.
pub(crate) async fn mine(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Vec<Mine>, Problem> {
    read_as(app, caller, |tx, who| own(tx, who, UnixTime::now())).await
}

fn own(tx: &Tx<'_>, who: &Who, now: UnixTime) -> Result<Vec<Mine>, Failure> {
    let address = who.account()?;
    let mut found = BTreeMap::new();
    for request in tx.requests_of(address)? {
        let Some(list) = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten() else { continue };
        if now < request.expires {
            let waits_for = Some(requests::waits_for(tx, &request)?);
            found.insert(list.clone(), Mine { list, member: None, waits_for });
        }
    }
    for group in tx.memberships(address)? {
        if let (Some(list), Some(row)) = (tx.list_of(&group)?, tx.member(&group, address)?) {
            let member = OwnMembership { role: row.role, state: row.state, options: row.options };
            found.insert(list.clone(), Mine { list, member: Some(member), waits_for: None });
        }
    }
    Ok(found.into_values().collect())
}
