//! Mail of certsrv's own: what is to be told to whom is a change like any other, so that a mail is owed from the moment
//! at which its cause is in the log. It never passes through the exploder (DESIGN 3.1).
//!
//! * [`queue`]: owes a mail, within the limits of [`limits`] and never to a mailbox of [`own`]'s.
//! * [`token`]: the tokens in mails follow from the notice and a key, so that neither log nor index has one.
//! * [`compose`]: what a notice says when it is sent, if it still holds; [`text`] has the words, [`letter`] the fields.
//! * [`list_key`], [`sign`]: welcome mails are signed in the list's name and carry its certificate.
//! * [`outbox`]: sends what is owed, by [`schedule`]; [`send`] is the one connection to the smarthost.
//! * [`expiry`]: finds certificates that soon end.

pub(crate) mod admin;
mod compose;
mod expiry;
mod letter;
mod limits;
mod list_key;
mod outbox;
mod own;
mod schedule;
mod send;
mod sign;
mod text;
mod token;

#[cfg(test)]
pub(crate) use expiry::warn;
pub(crate) use send::Smarthost;
pub(crate) use sign::SignError;

use crate::app::App;
use crate::change::Change;
use crate::config::Mail;
use crate::failure::Failure;
use crate::layout::Layout;
use crate::rows::{Notice, TokenPurpose};
use crate::store::Tx;
use crate::{events, random};
use limits::Limits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use token::TokenKey;
use tokio::sync::Semaphore;
use twinseal_proto::feed::{ExploderChange, GroupsrvChange};
use twinseal_proto::ids::{MailAddress, NoticeId};
use twinseal_proto::time::UnixTime;

/// Questions for a mail that are being seen to at once; those beyond are answered alike and forgotten.
const ASKING: usize = 64;

/// What the mail part of the running service has at hand.
pub(crate) struct Post {
    /// Tokens in mails are derived from it.
    key: TokenKey,
    /// What was asked for lately.
    limits: Mutex<Limits>,
    /// Guards [`ASKING`].
    pub(crate) asking: Arc<Semaphore>,
}

impl Post {
    /// Reads the key in the state directory; the first start makes it.
    pub(crate) fn open(layout: &Layout) -> std::io::Result<Self> {
        let key = TokenKey::open(&layout.mail())?;
        Ok(Self { key, limits: Mutex::default(), asking: Arc::new(Semaphore::new(ASKING)) })
    }

    /// The limits, for one question.
    pub(crate) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is owed and warns of what ends, where mail is configured, until the service stops.
pub(crate) async fn run(app: Arc<App>, smarthost: Option<Smarthost>) {
    let Some(smarthost) = smarthost else { return };
    tokio::join!(outbox::run(Arc::clone(&app), smarthost), expiry::sweep(app));
}

/// Queues `notice`, where mail is configured. Returns whether it will be sent: not to a mailbox of our own, not more often
/// than [`limits`] allows, and no welcome where none is wanted.
pub(crate) fn queue(app: &App, tx: &mut Tx<'_>, now: UnixTime, notice: Notice) -> Result<bool, Failure> {
    let Some(mail) = &app.config.mail else { return Ok(false) };
    let unwanted = !mail.welcome && matches!(notice, Notice::Welcome { .. } | Notice::Goodbye { .. });
    // Fields are ASCII: whom we cannot name there has no certificate of ours either.
    let unwanted = unwanted || !notice.to().as_str().is_ascii();
    if unwanted || own::is_own(tx, mail, notice.to())? {
        return Ok(false);
    }
    let last = tx.noticed(&notice)?;
    let (_, today) = tx.asked_for(notice.to(), now)?;
    if !limits::may_queue(&notice, last, today, now) {
        return Ok(false);
    }
    let token = match token_of(mail, tx, &notice)? {
        Wanted::Token(purpose, hours) => Some((purpose, now.plus(u64::from(hours) * 3600))),
        Wanted::None => None,
        Wanted::Unknown => return Ok(false),
    };
    if token.is_some()
        && let Err(limit) = app.post.limits().mail(notice.to().domain(), now)
    {
        events::mail_brake(limit);
        return Ok(false);
    }
    let id = NoticeId::from_random(random::octets()?);
    if let Some((purpose, expires)) = token {
        let digest = app.post.key.token(&id, &purpose)?.digest();
        tx.push(Change::TokenMade { digest, purpose, expires, made: now })?;
    }
    tx.push(Change::NoticeQueued { id, notice, made: now })?;
    Ok(true)
}

/// What a notice needs besides its words.
enum Wanted {
    /// A token for this, good for so many hours.
    Token(TokenPurpose, u32),
    /// Nothing.
    None,
    /// The mailbox can do nothing with a token.
    Unknown,
}

fn token_of(mail: &Mail, tx: &Tx<'_>, notice: &Notice) -> Result<Wanted, Failure> {
    Ok(match notice {
        Notice::LogIn { to } => match tx.account(to)? {
            Some(account) => Wanted::Token(TokenPurpose::Enrol { address: account.address }, mail.login_token_hours),
            None if may_register(mail, tx, to)? => {
                Wanted::Token(TokenPurpose::Register { address: to.clone() }, mail.login_token_hours)
            }
            None => Wanted::Unknown,
        },
        Notice::Confirm { request, .. } => {
            Wanted::Token(TokenPurpose::Confirm { request: *request }, mail.confirm_token_hours)
        }
        _ => Wanted::None,
    })
}

/// Whether this mailbox may make itself an account.
pub(crate) fn may_register(mail: &Mail, tx: &Tx<'_>, address: &MailAddress) -> Result<bool, Failure> {
    let list = address.as_str().parse().ok().map(|list| tx.group(&list)).transpose()?.flatten();
    let known = tx.account(address)?.is_some();
    Ok(mail.registers(address.domain()) && crate::decide::add_account(address, known, list.is_some()).is_ok())
}

/// Tells those whose memberships the commit has begun or ended so far; called at its end. Whoever was told already is
/// not told twice.
pub(crate) fn memberships(app: &App, tx: &mut Tx<'_>, now: UnixTime) -> Result<(), Failure> {
    let mut owed = Vec::new();
    for told in tx.told() {
        let began = matches!(told.groupsrv, Some(GroupsrvChange::MemberJoined { .. }));
        let ended = matches!(told.exploder, Some(ExploderChange::MemberLeft { .. }));
        match &told.change {
            Change::MemberAdded { group, address, .. } | Change::MemberKeyed { group, address, .. } if began => {
                owed.push(Notice::Welcome { to: address.clone(), group: *group });
            }
            Change::MemberLeft { group, address } if ended => {
                let list = tx.list_of(group)?;
                owed.extend(list.map(|list| Notice::Goodbye { to: address.clone(), list }));
            }
            _ => {}
        }
    }
    for notice in owed {
        queue(app, tx, now, notice)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
