//! The rules, pure: what may be done, given how things stand. A refusal is a [`Problem`] that says what would help.

use crate::rows::{Group, Member, Request, TokenPurpose, TokenRow, TokenUse, Wish};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;

/// Most wishes of one account that wait.
const MOST_OF_ACCOUNT: usize = 8;
/// Most requests to join one group that wait.
const MOST_IN_GROUP: usize = 100;

/// What comes of a wish to join or to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is done now.
    Do,
    /// It is so already.
    Nothing,
    /// It waits: for the mailbox, or for an owner.
    Ask(Missing),
    /// It is not done.
    Refuse(Problem),
}

/// What a request to join lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The mailbox's confirmation.
    Mailbox,
    /// An owner's approval.
    Owner,
}

/// Who wishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The account itself.
    Member,
    /// The account itself, whom an owner invited.
    Invited,
    /// An owner of the group, for the account.
    Owner,
    /// An administrator, for the account.
    Administrator,
}

/// How a caller stands to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On the admin socket.
    Administrator,
    /// Owns the group.
    Owner,
    /// Belongs to the group.
    Member,
    /// None of these.
    Outsider,
}

/// How a caller must stand to a group for what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A member, an owner or an administrator.
    Member,
    /// An owner or an administrator.
    Owner,
}

fn refuse(code: ProblemCode, detail: impl Into<String>) -> Decision {
    Decision::Refuse(Problem::new(code, detail))
}

/// May a caller who stands so to the group with this list do what needs that much? An outsider is told what would be told
/// if there were no such list (spec mail L5).
pub(crate) fn authorise(list: &ListAddress, standing: Standing, need: Need) -> Result<(), Problem> {
    match (standing, need) {
        (Standing::Administrator | Standing::Owner, _) | (Standing::Member, Need::Member) => Ok(()),
        (Standing::Member, Need::Owner) => {
            Err(Problem::new(ProblemCode::NotAuthorised, format!("only an owner of {list} may do this")))
        }
        (Standing::Outsider, _) => Err(no_list(list)),
    }
}

/// May this account join? `member` is its present membership.
pub(crate) fn join(group: &Group, member: Option<&Member>, by: By, banned: bool) -> Decision {
    if member.is_some() {
        return Decision::Nothing;
    }
    match (by, group.join) {
        (By::Owner | By::Administrator, _) if banned => {
            refuse(ProblemCode::Conflict, format!("the address is banned from {}: lift the ban first", group.list))
        }
        (By::Owner | By::Administrator, _) => Decision::Do,
        // Nobody is told of being banned.
        (By::Member | By::Invited, _) if banned => closed(group),
        (By::Invited, _) | (By::Member, JoinPolicy::Open) => Decision::Do,
        (By::Member, JoinPolicy::Confirm) => Decision::Ask(Missing::Mailbox),
        (By::Member, JoinPolicy::Approve) => Decision::Ask(Missing::Owner),
        (By::Member, JoinPolicy::Invite) => {
            let detail = format!("{} takes those whom an owner invites: ask one for an invitation", group.list);
            refuse(ProblemCode::NotAuthorised, detail)
        }
        (By::Member, JoinPolicy::Closed) => closed(group),
    }
}

fn closed(group: &Group) -> Decision {
    let detail = format!("{} is closed: an owner or an administrator puts members in; ask one", group.list);
    refuse(ProblemCode::NotAuthorised, detail)
}

/// What does a request to join or an invitation lack, under the group's present policy? A policy that lets nobody in by
/// request leaves it to the owners.
pub(crate) fn missing(join: JoinPolicy, request: &Request) -> Option<Missing> {
    if !request.confirmed {
        return Some(Missing::Mailbox);
    }
    let (Wish::Join { group, .. }, false) = (&request.wish, request.by_administrator) else { return None };
    match join {
        JoinPolicy::Open | JoinPolicy::Confirm => None,
        JoinPolicy::Approve | JoinPolicy::Invite | JoinPolicy::Closed => {
            (!request.approved.contains(group)).then_some(Missing::Owner)
        }
    }
}

/// May an account ask for something more, with so many of its own wishes waiting, and so many in the group?
pub(crate) fn room(own: usize, in_group: usize) -> Result<(), Problem> {
    if own >= MOST_OF_ACCOUNT {
        let detail = format!("{MOST_OF_ACCOUNT} requests of this account wait already: withdraw one or wait");
        return Err(Problem::new(ProblemCode::RateLimited, detail));
    }
    if in_group >= MOST_IN_GROUP {
        let detail = format!("{MOST_IN_GROUP} requests wait for the owners of this list already: ask again later");
        return Err(Problem::new(ProblemCode::RateLimited, detail));
    }
    Ok(())
}

/// May this account leave?
pub(crate) fn leave(group: &Group, member: Option<&Member>) -> Decision {
    let Some(member) = member else { return Decision::Nothing };
    match last_owner(group, member) {
        Err(problem) => Decision::Refuse(problem),
        Ok(()) => Decision::Do,
    }
}

/// May this membership have that role?
pub(crate) fn role(group: &Group, member: &Member, role: MemberRole) -> Result<(), Problem> {
    match role {
        MemberRole::Member => last_owner(group, member),
        MemberRole::Owner => Ok(()),
    }
}

/// A list keeps an owner.
fn last_owner(group: &Group, member: &Member) -> Result<(), Problem> {
    if member.role == MemberRole::Owner && group.owners <= 1 {
        let detail = format!("{} is the last owner of {}, and a list keeps one", member.address, group.list);
        return Err(Problem::new(ProblemCode::Conflict, detail));
    }
    Ok(())
}

/// Which list's mailbox is this address, going by its name? Mail to an owner must not come back to a list or to its own
/// mailboxes (spec mail P20): it would go round.
pub(crate) fn mailbox_of(address: &MailAddress) -> Option<ListAddress> {
    let (local, domain) = (address.folded().rsplit_once('@')?.0, address.domain());
    let name = ListAddress::RESERVED.iter().find_map(|ending| local.strip_suffix(ending)).unwrap_or(local);
    format!("{name}@{domain}").parse().ok()
}

/// The mailboxes that a list has beside its own address.
pub(crate) fn mailboxes(list: &ListAddress) -> impl Iterator<Item = MailAddress> {
    let address = |ending| format!("{}{ending}@{}", list.name(), list.domain()).parse().ok();
    ListAddress::RESERVED.iter().filter_map(address)
}

/// An address that cannot own a list, since it is a list's own mailbox.
pub(crate) fn not_an_owner(address: &MailAddress) -> Problem {
    let detail = format!("{address} is a list's own address: mail to an owner there would go round; name a person's");
    Problem::new(ProblemCode::Conflict, detail)
}

/// Whose token is this, for enrolment?
pub(crate) fn enrol_token(token: Option<&TokenRow>, now: UnixTime) -> Option<MailAddress> {
    match token.filter(|row| fresh(row, now)).map(|row| &row.purpose) {
        Some(TokenPurpose::Enrol { address } | TokenPurpose::Register { address }) => Some(address.clone()),
        _ => None,
    }
}

/// What does a service with this token become?
pub(crate) fn service_token(token: Option<&TokenRow>, now: UnixTime) -> Option<ServiceRole> {
    match token.filter(|row| fresh(row, now)).map(|row| &row.purpose) {
        Some(TokenPurpose::Service { role }) => Some(*role),
        _ => None,
    }
}

fn fresh(token: &TokenRow, now: UnixTime) -> bool {
    now < token.expires && token.used.is_none()
}

/// What was this token used for, as long as that is given again?
pub(crate) fn used_token(token: Option<TokenRow>, now: UnixTime) -> Option<TokenUse> {
    token.filter(|row| now < row.expires)?.used
}

/// May this address have an account? `existing`: it has one; `list`: a list has the address.
pub(crate) fn add_account(address: &MailAddress, existing: bool, list: bool) -> Result<(), Problem> {
    if existing {
        return Err(Problem::new(ProblemCode::Conflict, format!("{address} has an account already")));
    }
    if list {
        // Its certificate would be taken for the list's.
        return Err(Problem::new(ProblemCode::Conflict, format!("{address} is a list's address")));
    }
    certifiable(address)
}

/// Can a certificate carry this address? An rfc822Name is ASCII (RFC 5280 section 4.2.1.6).
pub(crate) fn certifiable(address: &MailAddress) -> Result<(), Problem> {
    if address.as_str().is_ascii() {
        return Ok(());
    }
    let detail = format!("{address}: an address beyond ASCII cannot be certified");
    Err(Problem::new(ProblemCode::BadRequest, detail))
}

/// No such list.
pub(crate) fn no_list(list: &ListAddress) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no list {list}"))
}

/// No such account.
pub(crate) fn no_account(address: &MailAddress) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no account {address}; nothing was changed"))
}

#[cfg(test)]
mod tests;
