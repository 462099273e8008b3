//! `twinseal enroll`: from an address and a credential to a key and a certificate. May be run again after any failure.

use crate::est::{self, Credential, EstError};
use crate::exit::{Exit, Explain, Failure};
use crate::home::{self, Home, Settings};
use crate::http::Client;
use crate::identity::{self, Identity, IdentityError, KeyType};
use crate::tls::{self, ConnectError};
use crate::trust::{self, Anchors, Purpose};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use twinseal_proto::cert;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use zeroize::Zeroizing;

/// Longest password or token file, in octets.
const MAX_SECRET: usize = 4096;

/// What the command line says.
pub struct Request {
    /// The member, certsrv, the submission server.
    pub settings: Settings,
    /// The file with the root certificate.
    pub root: PathBuf,
    /// Who proves the right to enrol.
    pub credential: Credential,
    /// The sort of a new key.
    pub key_type: KeyType,
}

/// Enrolment cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is a live certificate already.
    #[error("{address} has a certificate already, good until {until}")]
    Enrolled {
        /// The member.
        address: MailAddress,
        /// The end of its validity.
        until: UnixTime,
    },
    /// The home belongs to another address.
    #[error("this home belongs to {0}")]
    OtherMember(MailAddress),
    /// A file of the command line cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// certsrv answered with no certificate for our key and address.
    #[error("the answer of certsrv holds no certificate for {0} and the new key")]
    NotOurs(MailAddress),
}

impl Explain for EnrolError {
    fn exit(&self) -> Exit {
        match self {
            Self::Enrolled { .. } | Self::OtherMember(_) => Exit::Setup,
            Self::File { .. } => Exit::NoInput,
            Self::NotOurs(_) => Exit::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Enrolled { .. } => "twinseal status".to_owned(),
            Self::OtherMember(_) => "set TWINSEAL_HOME to another directory".to_owned(),
            Self::File { .. } => "name a file that you can read".to_owned(),
            Self::NotOurs(_) => "check that the token or password belongs to this address".to_owned(),
        })
    }
}

/// Enrols; the new identity is saved when this returns.
///
/// # Errors
/// [`Failure`], with a key that stays for the next try.
pub fn enrol(home: &Home, request: &Request, now: UnixTime) -> Result<Identity, Failure> {
    let address = &request.settings.address;
    refuse_second(home, address, now)?;
    let root = read_file(&request.root)?;
    let anchors = Anchors::from_pem(&root, &request.root.display().to_string())?;

    let mut settings = request.settings.clone();
    settings.submission = settings.submission.or_else(|| home.settings().ok()?.submission);
    home.save_settings(&settings)?;
    home::write(&home.root(), &root, 0o644)?;
    let key = identity::key_for_enrolment(home, request.key_type)?;

    let connector =
        tls::connector(&anchors, false, None).map_err(ConnectError::from).map_err(crate::http::HttpError::from)?;
    let client = Client::new(&request.settings.certsrv, connector)?;
    let mut others = est::ca_certificates(&client)?;
    others.extend(est::simple_enroll(&client, address, &key, &request.credential)?);

    received(home, &anchors, address, key, others)
}

/// Renews: another certificate for the same key, asked for with the present one. Old mail stays readable, and nobody has to
/// approve anything.
///
/// # Errors
/// [`Failure`]; the present certificate stays where it is then.
pub fn renew(home: &Home) -> Result<Identity, Failure> {
    let (identity, anchors) = (Identity::load(home)?, Anchors::load(home)?);
    let address = home.settings()?.address;
    let client = crate::lists::client(home, Some(&identity))?;
    let mut others = est::ca_certificates(&client)?;
    others.extend(est::simple_reenroll(&client, &address, &identity)?);
    received(home, &anchors, &address, identity.key, others)
}

/// Finds our certificate among those that certsrv gave, checks it, and keeps it.
fn received(
    home: &Home,
    anchors: &Anchors,
    address: &MailAddress,
    key: PKey<Private>,
    mut others: Vec<X509>,
) -> Result<Identity, Failure> {
    let public = key.public_key_to_der().map_err(EstError::from)?;
    let is_ours = |certificate: &X509| {
        let its = certificate.public_key().and_then(|key| key.public_key_to_der());
        its.is_ok_and(|its| its == public) && trust::is_for(certificate, address.as_str())
    };
    let position = others.iter().position(is_ours).ok_or_else(|| EnrolError::NotOurs(address.clone()))?;
    let certificate = others.swap_remove(position);
    anchors.check(&certificate, &others, Purpose::Any)?;
    let chain = issuers(&certificate, &others, anchors);
    let identity = Identity { key, certificate, chain };
    identity.save_certificate(home)?;
    Ok(identity)
}

/// The certificates between `certificate` and the root, in order.
fn issuers(certificate: &X509, others: &[X509], anchors: &Anchors) -> Vec<X509> {
    let mut chain: Vec<X509> = Vec::new();
    while let Some(next) = others.iter().find(|other| {
        let last = chain.last().unwrap_or(certificate);
        other.issued(last) == openssl::x509::X509VerifyResult::OK && !anchors.contains(other)
    }) {
        // A cross-signed pair could go round for ever; real chains have one or two.
        if chain.len() == 8 {
            break;
        }
        chain.push(next.clone());
    }
    chain
}

/// One live certificate a home; another address has another home.
fn refuse_second(home: &Home, address: &MailAddress, now: UnixTime) -> Result<(), Failure> {
    match home.settings() {
        Ok(settings) if settings.address != *address => return Err(EnrolError::OtherMember(settings.address).into()),
        _ => {}
    }
    let Ok((certificate, _)) = identity::load_certificate(home) else { return Ok(()) };
    let live = cert::valid_at(&certificate, now).map_err(IdentityError::from)?;
    let until = cert::not_after(&certificate).map_err(IdentityError::from)?;
    if live { Err(EnrolError::Enrolled { address: address.clone(), until }.into()) } else { Ok(()) }
}

fn read_file(path: &Path) -> Result<Vec<u8>, EnrolError> {
    std::fs::read(path).map_err(|error| EnrolError::File { path: path.to_owned(), reason: error.to_string() })
}

/// Reads a token from a file: its first line, without blanks around it.
///
/// # Errors
/// [`EnrolError::File`].
pub fn token_from(path: &Path) -> Result<Credential, EnrolError> {
    let text = secret(path)?;
    Ok(Credential::Token(Token::presented(text.lines().next().unwrap_or_default().trim().to_owned())))
}

/// Reads a password from a file: its first line.
///
/// # Errors
/// [`EnrolError::File`].
pub fn password_from(path: &Path) -> Result<Zeroizing<String>, EnrolError> {
    let text = secret(path)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn secret(path: &Path) -> Result<Zeroizing<String>, EnrolError> {
    let refuse = |reason: &str| EnrolError::File { path: path.to_owned(), reason: reason.to_owned() };
    let octets = Zeroizing::new(read_file(path)?);
    let text = std::str::from_utf8(&octets).map_err(|_| refuse("not text"))?;
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() || first.contains(char::is_control) || text.len() > MAX_SECRET {
        return Err(refuse("no token or password in its first line"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}
