//! What a snapshot says of a signed group: what owners signed, as far as somebody who begins with it, or who fell behind,
//! has to check it.

use crate::rows::Member;
use crate::store::Tx;
use crate::views::{inconsistent, recipient};
use std::collections::HashMap;
use twinseal_proto::feed::{DeliveryOptions, ExploderChange, GroupsrvChange};
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::roster::{SignedStatement, Statement};
use twinseal_svc::store::StoreError;

/// The changes for groupsrv and for the exploder, each with the entry of the feed that it stands for.
pub(crate) type Retold = (Vec<(u64, GroupsrvChange)>, Vec<(u64, ExploderChange)>);

/// All of a signed group but its creation; `now` is the last entry of the feed. Every change of owners is told, the
/// newest head, the removals after it, and every entry that is in force or that the head counts. An entry that is not in
/// force comes before what ended it.
pub(crate) fn retold(group: GroupId, now: u64, tx: &Tx<'_>) -> Result<Retold, StoreError> {
    let (mut groupsrv, mut exploder) = (Vec::new(), Vec::new());
    let say = |statement: SignedStatement, groupsrv: &mut Vec<_>, exploder: &mut Vec<_>| {
        groupsrv.push((now, GroupsrvChange::Statement { group, statement: statement.clone() }));
        exploder.push((now, ExploderChange::Statement { group, statement }));
    };
    let Some(roster) = tx.roster(&group)? else { return Ok((groupsrv, exploder)) };
    let head = roster.state.head.map_or(0, |head| head.sequence);
    let (mut late, counted) = (Vec::new(), tx.counted(&group)?);
    for statement in tx.statements(&group, 0, usize::MAX)? {
        match statement.read() {
            Ok(Statement::Owners(_)) => say(statement, &mut groupsrv, &mut exploder),
            Ok(Statement::Removal(removal)) if removal.sequence > head => late.push(statement),
            Ok(Statement::Head(of)) if of.sequence == head => late.push(statement),
            Ok(_) => {}
            Err(_) => return Err(inconsistent("a statement that cannot be read")),
        }
    }
    for (_, statement) in &counted {
        say(statement.clone(), &mut groupsrv, &mut exploder);
    }
    let members = tx.members(&group)?;
    let members: HashMap<Handle, Member> = members.into_iter().map(|member| (member.handle, member)).collect();
    for (handle, row) in tx.entries(&group)? {
        let member = members.get(&handle).ok_or_else(|| inconsistent("an entry for nobody"))?;
        let (number, address, joined) = (member.number, row.address, member.joined);
        let signed = Some(row.statement);
        let recipient = recipient(&row.serial, tx)?;
        groupsrv.push((joined, GroupsrvChange::MemberJoined { group, handle, recipient, signed: signed.clone() }));
        if row.suspended {
            groupsrv.push((now, GroupsrvChange::MemberSuspended { group, handle }));
        }
        let salt = Some(row.salt);
        exploder.push((joined, ExploderChange::MemberJoined { group, handle, number, address, salt, signed }));
        let options = member.options.for_delivery();
        if options != DeliveryOptions::default() {
            exploder.push((now, ExploderChange::MemberOptions { group, handle, options }));
        }
    }
    for statement in late {
        say(statement, &mut groupsrv, &mut exploder);
    }
    for (handle, _) in counted {
        // Also those whom certsrv alone took out.
        if tx.entry(&group, &handle)?.is_none() {
            groupsrv.push((now, GroupsrvChange::MemberLeft { group, handle }));
            exploder.push((now, ExploderChange::MemberLeft { group, handle }));
        }
    }
    Ok((groupsrv, exploder))
}
