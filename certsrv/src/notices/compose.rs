//! A notice becomes a mail when it is sent: its text follows from how things stand then, and what is no longer so is not
//! told.

use super::text::{self, Asked, Words};
use super::token::TokenKey;
use crate::config::Mail;
use crate::failure::Failure;
use crate::publish;
use crate::rows::{Notice, NoticeRow, Request, TokenPurpose, Wish};
use crate::store::Tx;
use openssl::hash::MessageDigest;
use openssl::x509::X509Ref;
use twinseal_proto::api::admin::certsrv::{MemberRole, MemberState};
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress, NoticeId};
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;

/// A welcome waits so many seconds for its list's first certificate, and goes without one then.
const PATIENCE: u64 = 3600;

/// What becomes of notices that are due.
pub(crate) enum Composed {
    /// A mail.
    Draft(Draft),
    /// What they tell is not so any more.
    Gone,
    /// Not yet.
    Later,
}

/// A mail without its fields.
pub(crate) struct Draft {
    /// What it says.
    pub(crate) words: Words,
    /// The list that it is about.
    pub(crate) list: Option<ListAddress>,
    /// It is signed in the list's name, with these certificates of the list in the signature.
    pub(crate) signed: Option<Signed>,
}

/// In whose name a mail is signed.
pub(crate) struct Signed {
    /// The group.
    pub(crate) group: GroupId,
    /// Its live certificates, the one to use first.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// What notices of the same sort to the same reader are told together by: `None` for those that go alone.
pub(crate) fn together(notice: &Notice) -> Option<(&'static str, &MailAddress, Option<GroupId>)> {
    match notice {
        Notice::Waiting { to, group, .. } => Some((notice.kind(), to, Some(*group))),
        Notice::KeyChanged { to, address, .. } if to != address => Some((notice.kind(), to, None)),
        Notice::Membership { to, .. } => Some((notice.kind(), to, None)),
        _ => None,
    }
}

/// Composes the mail for `rows`: one, or several that are told together.
pub(crate) fn compose(
    tx: &Tx<'_>,
    mail: &Mail,
    key: &TokenKey,
    rows: &[NoticeRow],
    now: UnixTime,
) -> Result<Composed, Failure> {
    let Some(first) = rows.first() else { return Ok(Composed::Gone) };
    let words = match &first.notice {
        Notice::LogIn { to } => {
            let token = key.log_in(&first.id)?;
            good_until(tx, &token, now, |_| true)?.map(|until| text::log_in(mail, to, &token, until))
        }
        Notice::Confirm { request, .. } => match tx.request(request)? {
            Some(row) if !row.confirmed && now < row.expires => confirm(tx, mail, key, &first.id, &row, now)?,
            _ => None,
        },
        Notice::Waiting { to, group, .. } => waiting(tx, mail, to, group, rows)?,
        Notice::Rejected { list, .. } => Some(text::rejected(mail, list.as_ref())),
        Notice::Welcome { to, group } => return welcome(tx, mail, to, group, first.made, now),
        Notice::Goodbye { to, list } => {
            let back = tx.group(list)?.map(|group| tx.member(&group.group, to)).transpose()?.flatten();
            back.is_none().then(|| text::goodbye(mail, list))
        }
        Notice::Expiry { to, serial, days } => {
            let current = tx.account(to)?.and_then(|account| account.current) == Some(*serial);
            let row = tx.certificate(serial)?.filter(|row| current && row.live(now));
            row.map(|row| text::expiry(mail, &serial.to_string(), row.until, *days))
        }
        Notice::KeyChanged { to, .. } => key_changed(tx, mail, to, rows)?,
        Notice::Membership { to, .. } => membership(tx, mail, to, rows)?,
    };
    Ok(words.map_or(Composed::Gone, |words| Composed::Draft(Draft { words, list: None, signed: None })))
}

/// Until when a token is good, if it is good now and for `wanted`.
fn good_until(
    tx: &Tx<'_>,
    token: &Token,
    now: UnixTime,
    wanted: impl Fn(&TokenPurpose) -> bool,
) -> Result<Option<UnixTime>, Failure> {
    let row = tx.token(&token.digest())?;
    Ok(row.filter(|row| now < row.expires && row.used.is_none() && wanted(&row.purpose)).map(|row| row.expires))
}

fn confirm(
    tx: &Tx<'_>,
    mail: &Mail,
    key: &TokenKey,
    id: &NoticeId,
    request: &Request,
    now: UnixTime,
) -> Result<Option<Words>, Failure> {
    let token = key.confirm(id)?;
    let own = TokenPurpose::Confirm { request: request.id };
    let Some(until) = good_until(tx, &token, now, |purpose| *purpose == own)? else { return Ok(None) };
    let list = request.wish.group().map(|group| tx.list_of(group)).transpose()?.flatten();
    let asked = match (&request.wish, &list) {
        (Wish::Join { .. }, Some(list)) => Asked::Join(list),
        (Wish::Invitation { .. }, Some(list)) => Asked::Invitation(list),
        (Wish::Key { .. }, _) => Asked::Key,
        (_, None) => return Ok(None),
    };
    Ok(Some(text::confirm(mail, &asked, &token, until.min(request.expires))))
}

fn is_owner(tx: &Tx<'_>, group: &GroupId, address: &MailAddress) -> Result<bool, Failure> {
    Ok(tx.member(group, address)?.is_some_and(|member| member.role == MemberRole::Owner))
}

fn waiting(
    tx: &Tx<'_>,
    mail: &Mail,
    to: &MailAddress,
    group: &GroupId,
    rows: &[NoticeRow],
) -> Result<Option<Words>, Failure> {
    let Some(list) = tx.list_of(group)? else { return Ok(None) };
    if !is_owner(tx, group, to)? {
        return Ok(None);
    }
    let mut waiting = 0;
    for row in rows {
        let Notice::Waiting { request, .. } = &row.notice else { continue };
        let open = tx.request(request)?.filter(|row| !row.by_administrator && !row.approved.contains(group));
        waiting += usize::from(open.is_some());
    }
    Ok((waiting > 0).then(|| text::waiting(mail, &list, waiting)))
}

fn welcome(
    tx: &Tx<'_>,
    mail: &Mail,
    to: &MailAddress,
    group: &GroupId,
    made: UnixTime,
    now: UnixTime,
) -> Result<Composed, Failure> {
    let active = tx.member(group, to)?.is_some_and(|member| member.state == MemberState::Active);
    let Some(list) = tx.list_of(group)?.filter(|_| active) else { return Ok(Composed::Gone) };
    let live = publish::live(tx, group, now)?;
    let Some(best) = live.first() else {
        if now.since(made) < PATIENCE {
            return Ok(Composed::Later);
        }
        let words = text::welcome(mail, &list, None, false);
        return Ok(Composed::Draft(Draft { words, list: Some(list), signed: None }));
    };
    let words = text::welcome(mail, &list, Some(&fingerprint(best)?), mail.list_signing);
    let certificates = live.iter().map(|one| one.to_der()).collect::<Result<_, _>>()?;
    let signed = mail.list_signing.then_some(Signed { group: *group, certificates });
    Ok(Composed::Draft(Draft { words, list: Some(list), signed }))
}

/// SHA-256 of a certificate, as people compare it.
fn fingerprint(certificate: &X509Ref) -> Result<String, Failure> {
    let octets = certificate.digest(MessageDigest::sha256())?;
    Ok(octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":"))
}

fn membership(tx: &Tx<'_>, mail: &Mail, to: &MailAddress, rows: &[NoticeRow]) -> Result<Option<Words>, Failure> {
    let mut changed = Vec::new();
    for row in rows {
        let Notice::Membership { list, address, joined, .. } = &row.notice else { continue };
        let Some(group) = tx.group(list)? else { continue };
        if is_owner(tx, &group.group, to)? {
            changed.push((list, address, *joined));
        }
    }
    Ok((!changed.is_empty()).then(|| text::membership(mail, &changed)))
}

fn key_changed(tx: &Tx<'_>, mail: &Mail, to: &MailAddress, rows: &[NoticeRow]) -> Result<Option<Words>, Failure> {
    let mut changed = Vec::new();
    let mut own = false;
    for row in rows {
        let Notice::KeyChanged { address, serial, .. } = &row.notice else { continue };
        own = address == to;
        let mut concerns = own;
        for group in tx.memberships(address)? {
            concerns = concerns || is_owner(tx, &group, to)?;
        }
        if concerns {
            changed.push((address, serial.to_string()));
        }
    }
    Ok((!changed.is_empty()).then(|| text::key_changed(mail, own, &changed)))
}
