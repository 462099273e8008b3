//! `init`: the root CA, the three CAs below it, the feed and the own TLS identity. Offline, once. `feed/feed.json` is
//! written last: while it is missing, nothing was initialised, and `init` begins again. The root's key can be written to
//! a file elsewhere at once; nothing but `ca renew-sub` ever asks for it again.

use crate::audit::{Actor, Record};
use crate::ca_keys::{CaKeyError, CaKeys, ROOT, key_path, new_key};
use crate::cert::ca::{Ca, CaError};
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::config::{CaKeyType, Config};
use crate::identity::{self, IdentityError};
use crate::layout::Layout;
use crate::log::key::{FEED_FILE, FeedFile, FeedKey, KEY_FILE};
use crate::offline_root::outside;
use crate::random;
use crate::revocation::{self, StateError, places};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::FeedId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;
use twinseal_svc::keys::SigningKey;
use twinseal_svc::keys::passphrase::{self, Passphrase};

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
    /// A CA's key.
    #[error(transparent)]
    Keys(#[from] CaKeyError),
    /// A renewed sub-CA would have another name.
    #[error("the {0} CA would get another name\ntry: ca_name as it was when init ran")]
    OtherName(String),
    /// The root's key would not be apart.
    #[error("{0} is in the state directory\ntry: a file on a medium that is kept apart")]
    RootInside(PathBuf),
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
    /// The file of the root CA's key, unless a token holds it.
    pub(crate) root_key: Option<PathBuf>,
    /// SHA-256 of the own TLS key.
    pub(crate) pin: Digest,
    /// The feed.
    pub(crate) feed: FeedId,
}

/// A file outside the state directory for the root's key.
pub(crate) struct RootOut {
    /// The file; it must not exist.
    pub(crate) path: PathBuf,
    /// The key is encrypted under this.
    pub(crate) passphrase: Passphrase,
}

/// Initialises the state directory of `config`. The root's key is kept where the other CAs' keys are.
pub(crate) async fn init(config: &Config, key_type: CaKeyType) -> Result<Made, InitError> {
    init_with(config, key_type, None).await
}

/// Initialises the state directory of `config`. The root's key goes to a file outside it.
pub(crate) async fn init_root_out(config: &Config, key_type: CaKeyType, out: RootOut) -> Result<Made, InitError> {
    init_with(config, key_type, Some(out)).await
}

async fn init_with(config: &Config, key_type: CaKeyType, root_out: Option<RootOut>) -> Result<Made, InitError> {
    let layout = Layout::new(&config.state);
    let _lock = lock(&layout)?;
    if layout.feed().join(FEED_FILE).exists() {
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
    let keys = CaKeys::open(config)?;
    let (key, root_key) = root_key(&layout, &keys, key_type, root_out)?;
    let days = config.root_days.max(config.ca_days);
    let root = Ca::root(key, &profile, Serial::from_random(random::octets()?), now, days)?;
    root.save(&layout.ca(), ROOT)?;
    revocation::sign_root(&layout, &root, &audit, now).await?;
    let mut services = None;
    for purpose in SUB_CAS {
        let ca = sub_ca(&root, config, keys.make(purpose, key_type)?, purpose, now, &audit).await?;
        ca.save(&layout.ca(), purpose)?;
        services = (purpose == "services").then_some(ca).or(services);
    }
    let services = services.ok_or_else(|| InitError::NotYet(config.state.clone()))?;
    let tls_key = random::p256_key()?;
    let identity = identity::make(&layout, config, &services, root.certificate(), tls_key, &audit).await?;
    let feed = new_feed(&layout)?;
    let pin = identity.pin().map_err(IdentityError::from)?;
    Ok(Made { root: layout.ca().join("root.pem"), root_key, pin, feed })
}

/// Makes the root's key, and says in which file it is.
fn root_key(
    layout: &Layout,
    keys: &CaKeys,
    key_type: CaKeyType,
    out: Option<RootOut>,
) -> Result<(Box<dyn SigningKey>, Option<PathBuf>), InitError> {
    let inside = key_path(&layout.ca(), ROOT);
    let Some(RootOut { path, passphrase }) = out else {
        let key = keys.make(ROOT, key_type)?;
        return Ok((key, inside.exists().then_some(inside)));
    };
    let path = outside(layout, &path)?;
    let key = new_key(key_type)?;
    passphrase::write(&path, &key, &passphrase).map_err(CaKeyError::from)?;
    match std::fs::remove_file(&inside) {
        // Of an init that broke off.
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(InitError::File { path: inside, source });
        }
        _ => {}
    }
    Ok((Box::new(key), Some(path)))
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
    let path = layout.feed().join(FEED_FILE);
    let file = match FeedFile::load(&layout.feed()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(InitError::NotYet(layout.state().to_owned())),
        other => other.map_err(|source| InitError::File { path, source })?,
    };
    feed_key(layout, &file)
}

/// Reads the key of the feed that `file` names.
pub(crate) fn feed_key(layout: &Layout, file: &FeedFile) -> Result<FeedKey, InitError> {
    let path = layout.feed().join(KEY_FILE);
    let pem = durable::read_secret(&path).map_err(|source| InitError::File { path, source })?;
    Ok(FeedKey::of(file, PKey::private_key_from_pem(&pem)?)?)
}

async fn sub_ca(
    root: &Ca,
    config: &Config,
    key: Box<dyn SigningKey>,
    purpose: &str,
    now: UnixTime,
    audit: &Audit,
) -> Result<Ca, InitError> {
    let serial = Serial::from_random(random::octets()?);
    let profile = Profile::sub_ca(&config.ca_name, purpose).told(places::told_by_root(&config.public_url));
    let prepared = root.prepare(&profile, key.spki(), serial, now, config.ca_days)?;
    let record = Record::intent(now, &Actor::Administrator, None, &serial, B64(prepared.tbs.clone()));
    audit.record(&record).await.map_err(IdentityError::from)?;
    Ok(Ca::new(key, root.issue(prepared)?)?)
}

fn new_feed(layout: &Layout) -> Result<FeedId, InitError> {
    let key = PKey::generate_ed25519()?;
    let pem = zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8()?);
    let failed = |name: &str| {
        let path = layout.feed().join(name);
        move |source| InitError::File { path, source }
    };
    durable::replace(&layout.feed().join(KEY_FILE), &pem).map_err(failed(KEY_FILE))?;
    let file = FeedFile::new(FeedId::from_random(random::octets()?));
    file.save(&layout.feed()).map_err(failed(FEED_FILE))?;
    Ok(file.feed)
}
