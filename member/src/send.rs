//! `twinseal send`: from a letter to a signed and encrypted message, submitted or written out. Nothing leaves in
//! plaintext: every recipient is a list whose certificate is known, or nothing is sent at all.

use crate::exit::{Exit, Explain, Failure};
use crate::home::{Home, HomeError, Settings};
use crate::identity::{Identity, IdentityError};
use crate::letter::{Letter, LetterError};
use crate::lists::{self, KnownList, ListError};
use crate::outer::Defaults;
use crate::seal::{self, SealError};
use crate::smtp::{self, Envelope, Reply, SmtpError};
use crate::tls;
use crate::trust::Anchors;
use openssl::rand::rand_bytes;
use openssl::x509::X509;
use twinseal_proto::cert;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The lists; when there are none, those in To, Cc and Bcc.
    pub lists: Vec<MailAddress>,
    /// A subject that wins over the letter's.
    pub subject: Option<String>,
    /// The envelope sender, if not the member.
    pub sender: Option<MailAddress>,
    /// Ask certsrv for the lists' certificates even if those on disk are fresh.
    pub refresh: bool,
}

/// A message that is ready to leave.
pub struct Ready {
    /// MAIL FROM.
    pub from: MailAddress,
    /// RCPT TO.
    pub to: Vec<MailAddress>,
    /// The message.
    pub message: Vec<u8>,
}

/// The member cannot send.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The own certificate is not live: nobody would believe the signature.
    #[error("your certificate is not good now; it ends {0}")]
    NotLive(UnixTime),
    /// home.toml names no submission server.
    #[error("home.toml names no submission server")]
    NoServer,
}

impl Explain for SendError {
    fn exit(&self) -> Exit {
        Exit::Setup
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotLive(_) => "enrol again: twinseal enroll".to_owned(),
            Self::NoServer => "add [submission] with server and tls to home.toml, or use --stdout".to_owned(),
        })
    }
}

/// Makes the message; nothing has left when this returns.
///
/// # Errors
/// [`Failure`].
pub fn prepare(home: &Home, input: &[u8], options: &Options, now: UnixTime) -> Result<Ready, Failure> {
    let settings = home.settings()?;
    let identity = Identity::load(home)?;
    if !cert::valid_at(&identity.certificate, now).map_err(IdentityError::from)? {
        let end = cert::not_after(&identity.certificate).map_err(IdentityError::from)?;
        return Err(SendError::NotLive(end).into());
    }
    let letter = Letter::parse(input)?;
    let to = if options.lists.is_empty() { letter.recipients()? } else { options.lists.clone() };
    if to.is_empty() {
        return Err(LetterError::NoRecipient.into());
    }
    let known = known(home, &to, options.refresh, now)?;
    let certificates = known.iter().map(|list| list.live(now)).collect::<Result<Vec<&X509>, ListError>>()?;

    let mut random = [0; 16];
    rand_bytes(&mut random).map_err(SealError::from)?;
    let defaults = Defaults { from: &settings.address, to: &to, subject: options.subject.as_deref(), now, random };
    let header = letter.outer_header(&defaults)?;
    let signed = seal::sign(&letter.entity(), &identity)?;
    let message = seal::message(&header, &seal::encrypt(&signed, &certificates)?);
    Ok(Ready { from: options.sender.clone().unwrap_or(settings.address), to, message })
}

/// The certificates of all recipients, or the error that names the first without one.
fn known(home: &Home, to: &[MailAddress], refresh: bool, now: UnixTime) -> Result<Vec<KnownList>, Failure> {
    let mut known = Vec::new();
    for address in to {
        let list: ListAddress = address.as_str().parse().map_err(|_| ListError::NotAList(address.to_string()))?;
        known.push(lists::for_sending(home, &list, refresh, now)?);
    }
    Ok(known)
}

/// Submits the message to the server of home.toml.
///
/// # Errors
/// [`Failure`].
pub fn submit(home: &Home, ready: &Ready) -> Result<Reply, Failure> {
    let Settings { submission, .. } = home.settings()?;
    let submission = submission.ok_or(SendError::NoServer)?;
    let anchors = Anchors::load(home)?;
    let connector = tls::connector(&anchors, true, None).map_err(|error| SmtpError::Connect(error.into()))?;
    let envelope = Envelope { from: &ready.from, to: &ready.to, message: &ready.message };
    Ok(smtp::submit(&submission.server, submission.tls, &connector, &envelope)?)
}

/// Whether there is a server to submit to; asked before any work is done.
///
/// # Errors
/// [`SendError::NoServer`], or the home's own.
pub fn check_server(home: &Home) -> Result<(), Failure> {
    let settings: Result<Settings, HomeError> = home.settings();
    if settings?.submission.is_none() { Err(SendError::NoServer.into()) } else { Ok(()) }
}
