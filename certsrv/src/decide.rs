//! The rules, pure: what may be done, given how things stand. A refusal is a [`Problem`] that says what would help.

use crate::rows::{Account, Certificate, Group, Member, TokenPurpose, TokenRow, TokenUse};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;

/// What comes of a wish to join or to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is done now.
    Do,
    /// It is so already.
    Nothing,
    /// It is not done.
    Refuse(Problem),
}

/// Who wishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The member.
    Member,
    /// An administrator.
    Administrator,
}

fn refuse(code: ProblemCode, detail: impl Into<String>) -> Decision {
    Decision::Refuse(Problem::new(code, detail))
}

/// May this account join?
pub(crate) fn join(group: &Group, member: Option<&Member>, by: By) -> Decision {
    if member.is_some() {
        return Decision::Nothing;
    }
    match (by, group.join) {
        (By::Administrator, _) | (By::Member, JoinPolicy::Open) => Decision::Do,
        (By::Member, JoinPolicy::Closed) => {
            let detail = format!("{} is closed: an owner or an administrator puts members in; ask one", group.list);
            refuse(ProblemCode::NotAuthorised, detail)
        }
    }
}

/// May this account leave?
pub(crate) fn leave(group: &Group, member: Option<&Member>) -> Decision {
    let Some(member) = member else { return Decision::Nothing };
    if member.role == MemberRole::Owner && group.owners <= 1 {
        let detail = format!("{} is the last owner of {}, and a list keeps one", member.address, group.list);
        return refuse(ProblemCode::Conflict, detail);
    }
    Decision::Do
}

/// May this key be certified for this account by a password or a token alone (DESIGN 3.1)? `current` is the account's
/// present certificate.
pub(crate) fn enrol(
    account: &Account,
    current: Option<&Certificate>,
    key: &Digest,
    compromised: bool,
    now: UnixTime,
) -> Result<(), Problem> {
    if compromised {
        let detail = "this key was revoked as compromised and is not certified again; make a new one";
        return Err(Problem::new(ProblemCode::Conflict, detail));
    }
    match current.filter(|certificate| certificate.live(now)) {
        None => Ok(()),
        Some(certificate) if certificate.key == *key => Ok(()),
        Some(certificate) => Err(Problem::new(
            ProblemCode::Conflict,
            format!(
                "{} has a live certificate (serial {}) for another key, and a password or a token does not replace a \
                 live key. Send a request for the key you have, or have an administrator revoke that certificate first",
                account.address, certificate.serial
            ),
        )),
    }
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
