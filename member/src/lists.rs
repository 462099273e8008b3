//! The lists' certificates: fetched from certsrv, checked under the root, kept in `lists/ADDRESS.pem`.

use crate::exit::{Exit, Explain, Failure};
use crate::home::{self, Home, HomeError};
use crate::http::{Client, HttpError};
use crate::identity::Identity;
use crate::tls::{self, ConnectError};
use crate::trust::{self, Anchors, Purpose};
use openssl::x509::X509;
use std::path::PathBuf;
use std::time::Duration;
use twinseal_proto::api::groups::{Certificates, ListCertificates, ListRequest};
use twinseal_proto::cert;
use twinseal_proto::ids::ListAddress;
use twinseal_proto::time::UnixTime;

/// After this time a list's certificates are asked for again: it may have taken a new key.
const FRESH: Duration = Duration::from_secs(3600);

/// One list, as it is on disk.
pub struct KnownList {
    /// Its address.
    pub list: ListAddress,
    /// Its certificates, newest first.
    pub certificates: Vec<X509>,
    /// Their issuers.
    pub issuers: Vec<X509>,
}

/// There is no certificate for a list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The address cannot be a list's.
    #[error("{0} is not a list, so nothing can be encrypted to it")]
    NotAList(String),
    /// certsrv knows no such list.
    #[error("{0} is no list that certsrv knows, so nothing can be encrypted to it")]
    Unknown(ListAddress),
    /// No certificate of the list is good now.
    #[error("{0} has no live certificate")]
    NoneLive(ListAddress),
    /// What certsrv gave is not good.
    #[error("the certificate of {list} cannot be used: {reason}")]
    Unfit {
        /// The list.
        list: ListAddress,
        /// Why.
        reason: String,
    },
}

impl Explain for ListError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotAList(_) | Self::Unknown(_) => Exit::NoList,
            Self::NoneLive(_) => Exit::TemporaryFailure,
            Self::Unfit { .. } => Exit::Data,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAList(_) | Self::Unknown(_) => {
                "send to the list only; check its address with twinseal status or with its owner".to_owned()
            }
            Self::NoneLive(_) => "tell the list's owner that its certificate has run out".to_owned(),
            Self::Unfit { .. } => "compare root.pem with what whoever runs the lists publishes".to_owned(),
        })
    }
}

impl KnownList {
    /// Its newest certificate that is good now.
    ///
    /// # Errors
    /// [`ListError::NoneLive`].
    pub fn live(&self, now: UnixTime) -> Result<&X509, ListError> {
        let live = |certificate: &&X509| cert::valid_at(certificate, now).unwrap_or(false);
        self.certificates.iter().find(live).ok_or_else(|| ListError::NoneLive(self.list.clone()))
    }
}

/// A client for certsrv; with `identity` for the calls that need a member.
///
/// # Errors
/// [`Failure`].
pub fn client(home: &Home, identity: Option<&Identity>) -> Result<Client, Failure> {
    let anchors = Anchors::load(home)?;
    let connector =
        tls::connector(&anchors, false, identity).map_err(|error| HttpError::from(ConnectError::from(error)))?;
    Ok(Client::new(&home.settings()?.certsrv, connector)?)
}

/// The list's certificates for sending: those on disk while fresh, else new ones. Old ones do when certsrv is away.
///
/// # Errors
/// [`Failure`].
pub fn for_sending(home: &Home, list: &ListAddress, refresh: bool, now: UnixTime) -> Result<KnownList, Failure> {
    let kept = if refresh { None } else { load(home, list)?.filter(|kept| kept.live(now).is_ok()) };
    let Some(kept) = kept else { return fetch(home, list) };
    let modified = std::fs::metadata(path(home, list)).and_then(|data| data.modified());
    if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < FRESH)) {
        return Ok(kept);
    }
    match fetch(home, list) {
        Err(failure) if failure.exit() == Exit::TemporaryFailure => Ok(kept),
        fetched => fetched,
    }
}

/// Asks certsrv for the list's certificates, checks them and keeps them.
///
/// # Errors
/// [`Failure`].
pub fn fetch(home: &Home, list: &ListAddress) -> Result<KnownList, Failure> {
    let answer = client(home, None)?.call::<ListCertificates>(&ListRequest { list: list.clone() });
    let answer = answer.map_err(|error| match error.exit() {
        Exit::NoList => Failure::from(ListError::Unknown(list.clone())),
        _ => error.into(),
    })?;
    let known = check(&Anchors::load(home)?, list, &answer)?;
    save(home, &known)?;
    Ok(known)
}

/// Believes what is under the root and bears the list's address, or says why not.
fn check(anchors: &Anchors, list: &ListAddress, answer: &Certificates) -> Result<KnownList, ListError> {
    let unfit = |reason: String| ListError::Unfit { list: list.clone(), reason };
    let parse = |texts: &[String]| {
        let parsed = texts.iter().map(|text| X509::stack_from_pem(text.as_bytes())).collect::<Result<Vec<_>, _>>();
        parsed.map(|stacks| stacks.concat()).map_err(|_| unfit("it cannot be read".to_owned()))
    };
    let (certificates, issuers) = (parse(&answer.live)?, parse(&answer.chain)?);
    if certificates.is_empty() {
        return Err(ListError::NoneLive(list.clone()));
    }
    let mut good = Vec::new();
    let mut refusal = None;
    for certificate in certificates {
        if !trust::is_for(&certificate, list.address().as_str()) {
            return Err(unfit(format!("it is for {}", trust::name(&certificate))));
        }
        match anchors.check(&certificate, &issuers, Purpose::Any) {
            Ok(()) => good.push(certificate),
            Err(error) => refusal = Some(error.to_string()),
        }
    }
    // One that is not good yet does not hide one that is.
    match refusal {
        Some(reason) if good.is_empty() => Err(unfit(reason)),
        _ => Ok(KnownList { list: list.clone(), certificates: good, issuers }),
    }
}

fn path(home: &Home, list: &ListAddress) -> PathBuf {
    // The grammar of list names leaves no way out of the directory; a domain has neither slash nor a leading dot.
    home.lists().join(format!("{list}.pem"))
}

fn save(home: &Home, known: &KnownList) -> Result<(), HomeError> {
    home::make_dir(&home.lists())?;
    let mut pem = Vec::new();
    for certificate in known.certificates.iter().chain(&known.issuers) {
        pem.extend(certificate.to_pem().unwrap_or_default());
    }
    home::write(&path(home, &known.list), &pem, 0o644)
}

/// The list's certificates on disk, if there are any. They are checked under the root again: the file may have been
/// put there by hand.
///
/// # Errors
/// [`Failure`].
pub fn load(home: &Home, list: &ListAddress) -> Result<Option<KnownList>, Failure> {
    let octets = match home::read(&path(home, list)) {
        Ok(octets) => octets,
        Err(HomeError::Missing(_)) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let anchors = Anchors::load(home)?;
    let all = X509::stack_from_pem(&octets).unwrap_or_default();
    let (certificates, issuers): (Vec<X509>, Vec<X509>) =
        all.into_iter().partition(|certificate| trust::is_for(certificate, list.address().as_str()));
    let good = |certificate: &X509| anchors.check(certificate, &issuers, Purpose::Any).is_ok();
    let certificates: Vec<X509> = certificates.into_iter().filter(good).collect();
    Ok((!certificates.is_empty()).then(|| KnownList { list: list.clone(), certificates, issuers }))
}

/// All lists on disk, in the order of their addresses.
///
/// # Errors
/// [`Failure`].
pub fn all(home: &Home) -> Result<Vec<KnownList>, Failure> {
    let Ok(entries) = std::fs::read_dir(home.lists()) else { return Ok(Vec::new()) };
    let mut addresses: Vec<ListAddress> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".pem")?.parse().ok()).collect();
    addresses.sort();
    let mut known = Vec::new();
    for list in addresses {
        known.extend(load(home, &list)?);
    }
    Ok(known)
}
