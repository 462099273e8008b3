//! `init`: the root CA, the three CAs below it, the feed and the own TLS identity. Offline, once. `feed/feed.json` is
//! written last: while it is missing, nothing was initialised, and `init` begins again.

use crate::audit::{Actor, Record};
use crate::cert::ca::{Ca, CaError};
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::config::{CaKeyType, Config};
use crate::identity::{self, IdentityError};
use crate::layout::Layout;
use crate::log::line::FeedKey;
use crate::random;
use crate::revocation::{self, StateError, places};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::FeedId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;

/// The CAs below the root: name of the files, and what the certificates call them.
pub(crate) const SUB_CAS: [&str; 3] = ["members", "memberships", "services"];

/// Initialising, or reading what it made, failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// A second time.
    #[error("{0} is initialised already\ntry: serve; a new start means a new state directory")]
    Already(PathBuf),
    /// Not even once.
    #[error("{0} is not initialised\ntry: twinseal-certsrv --config FILE init")]
    NotYet(PathBuf),
    /// Somebody else works on it.
    #[error("{0} is in use\ntry: stop the service first")]
    InUse(PathBuf),
    /// A file.
    #[error("{path}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The own TLS identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The root's CRL.
    #[error(transparent)]
    Revocation(#[from] StateError),
    /// OpenSSL.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] twinseal_svc::audit::AuditError),
}

/// What `init` made.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    /// The root CA's certificate.
    pub(crate) root: PathBuf,
    /// SHA-256 of the own TLS key.
    pub(crate) pin: Digest,
    /// The feed.
    pub(crate) feed: FeedId,
}

/// `feed/feed.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedFile {
    feed: FeedId,
    generation: u64,
}

/// Initialises the state directory of `config`.
pub(crate) async fn init(config: &Config, key_type: CaKeyType) -> Result<Made, InitError> {
    let layout = Layout::new(&config.state);
    let _lock = lock(&layout)?;
    if layout.feed().join("feed.json").exists() {
        return Err(InitError::Already(config.state.clone()));
    }
    if config.names.is_empty() {
        return Err(IdentityError::Names.into());
    }
    for dir in [layout.ca(), layout.tls(), layout.feed()] {
        durable::make_dir(&dir).map_err(|source| InitError::File { path: dir, source })?;
    }
    let audit = Audit::open(&layout.audit())?;
    let now = UnixTime::now();
    let profile = Profile::root(&config.ca_name);
    let root = Ca::root(new_key(key_type)?, &profile, Serial::from_random(random::octets()?), now, config.ca_days)?;
    root.save(&layout.ca(), "root")?;
    revocation::sign_root(&layout, &root, &audit, now).await?;
    let mut services = None;
    for purpose in SUB_CAS {
        let ca = sub_ca(&root, config, key_type, purpose, now, &audit).await?;
        ca.save(&layout.ca(), purpose)?;
        services = (purpose == "services").then_some(ca).or(services);
    }
    let services = services.ok_or_else(|| InitError::NotYet(config.state.clone()))?;
    let tls_key = new_key(CaKeyType::P256)?;
    let identity = identity::make(&layout, config, &services, root.certificate(), tls_key, &audit).await?;
    let feed = new_feed(&layout)?;
    let pin = identity.pin().map_err(IdentityError::from)?;
    Ok(Made { root: layout.ca().join("root.pem"), pin, feed })
}

/// Takes the state lock, making the directory.
pub(crate) fn lock(layout: &Layout) -> Result<std::fs::File, InitError> {
    let state = layout.state().to_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock => InitError::InUse(state.clone()),
        _ => InitError::File { path: state.clone(), source },
    };
    durable::make_dir(layout.state()).map_err(failed)?;
    durable::lock_state(layout.state()).map_err(failed)
}

/// Reads the feed's identity and key.
pub(crate) fn load_feed_key(layout: &Layout) -> Result<FeedKey, InitError> {
    let path = layout.feed().join("feed.json");
    let text = match std::fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(InitError::NotYet(layout.state().to_owned())),
        other => other.map_err(|source| InitError::File { path: path.clone(), source })?,
    };
    let file: FeedFile = serde_json::from_slice(&text).map_err(|e| InitError::File { path, source: e.into() })?;
    let path = layout.feed().join("feed.key");
    let pem = durable::read_secret(&path).map_err(|source| InitError::File { path, source })?;
    Ok(FeedKey::new(file.feed, file.generation, PKey::private_key_from_pem(&pem)?))
}

async fn sub_ca(
    root: &Ca,
    config: &Config,
    key_type: CaKeyType,
    purpose: &str,
    now: UnixTime,
    audit: &Audit,
) -> Result<Ca, InitError> {
    let key = new_key(key_type)?;
    let serial = Serial::from_random(random::octets()?);
    let profile = Profile::sub_ca(&config.ca_name, purpose).told(places::told_by_root(&config.public_url));
    let prepared = root.prepare(&profile, &key.public_key_to_der()?, serial, now, config.ca_days)?;
    let record = Record::intent(now, &Actor::Administrator, None, &serial, B64(prepared.tbs.clone()));
    audit.record(&record).await.map_err(IdentityError::from)?;
    Ok(Ca::new(key, root.issue(prepared)?)?)
}

fn new_key(key_type: CaKeyType) -> Result<PKey<Private>, ErrorStack> {
    match key_type {
        CaKeyType::P256 => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        CaKeyType::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?),
    }
}

fn new_feed(layout: &Layout) -> Result<FeedId, InitError> {
    let write = |name: &str, octets: &[u8]| {
        let path = layout.feed().join(name);
        durable::replace(&path, octets).map_err(|source| InitError::File { path, source })
    };
    let key = PKey::generate_ed25519()?;
    write("feed.key", &zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8()?))?;
    let file = FeedFile { feed: FeedId::from_random(random::octets()?), generation: 1 };
    let json = serde_json::to_vec(&file)
        .map_err(|e| InitError::File { path: layout.feed().join("feed.json"), source: e.into() })?;
    write("feed.json", &json)?;
    Ok(file.feed)
}
