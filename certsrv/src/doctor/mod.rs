//! `doctor`: whether the state directory is whole. It looks, and changes nothing.
//!
//! * [`history`]: the feed log and the audit log, and that each tells the same as the other.
//! * [`index`]: the index against what the feed log makes of a fresh one.
//! * [`cas`]: the CAs' certificates and keys, and the own TLS certificate.
//! * [`files`]: modes and owners.
//!
//! While the service runs it looks itself, asked over the admin socket, and changes wait only while the rows of the index
//! are compared. Memory is bounded: what grows with the log is kept in a scratch directory in the state directory.

mod cas;
mod files;
mod history;
mod index;

use crate::app::App;
use crate::ca_keys::CaKeys;
use crate::config::Config;
use crate::failure::{Failure, refuse};
use crate::init::{InitError, load_feed_key, lock};
use crate::layout::Layout;
use crate::log::key::{FEED_FILE, FeedKey, KEY_FILE};
use crate::registry::{Registry, rebuild};
use crate::rows::Applied;
use crate::store::Tx;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{DoctorReport, Finding};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use twinseal_svc::http::Caller;
use twinseal_svc::store::{Store, StoreError};

/// Most findings of one examination: who has so many reads no more.
const MOST: usize = 200;
/// By how many seconds the clock may be behind the last entry of the feed.
const SKEW: u64 = 60;

/// The scratch directory, below the state directory.
pub(crate) const SCRATCH: &str = "doctor";

/// It could not look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    /// Not initialised, or in use.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The scratch directory.
    #[error("{0}: scratch directory")]
    Scratch(PathBuf, #[source] io::Error),
    /// Files would be left that the service cannot open.
    #[error(
        "{0} is another user's\ntry: as that user, such as: runuser -u twinseal-certsrv -- twinseal-certsrv doctor --offline"
    )]
    User(PathBuf),
    /// The scratch files, or the index.
    #[error("index")]
    Store(#[from] StoreError),
}

/// What was found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, at: &Path, remedy: &str) {
        if self.0.len() < MOST {
            self.0.push(Finding { what: what.into(), at: at.display().to_string(), remedy: remedy.to_owned() });
        }
    }
}

/// A directory that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(state: &Path) -> Result<Self, DoctorError> {
        let dir = state.join(SCRATCH);
        let failed = |e| DoctorError::Scratch(dir.clone(), e);
        if dir.exists() {
            // Of an examination that broke off.
            std::fs::remove_dir_all(&dir).map_err(failed)?;
        }
        durable::make_dir(&dir).map_err(failed)?;
        let made = Self(dir.clone());
        if std::fs::metadata(&dir).map_err(failed)?.uid() != std::fs::metadata(state).map_err(failed)?.uid() {
            return Err(DoctorError::User(state.to_owned()));
        }
        Ok(made)
    }

    fn store(&self, name: &str) -> Result<Store, StoreError> {
        Ok(Store::open(&self.0.join(name))?.store)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Looks while the service is stopped.
pub(crate) fn offline(config: &Config) -> Result<DoctorReport, DoctorError> {
    let layout = Layout::new(&config.state);
    if !layout.feed().join(FEED_FILE).exists() {
        return Err(InitError::NotYet(config.state.clone()).into());
    }
    let _lock = lock(&layout)?;
    examine(config, None)
}

/// `Doctor`: looks while the service runs.
pub(crate) async fn doctor(app: Arc<App>, _: Caller, _: Nothing) -> Result<DoctorReport, Problem> {
    let Ok(_alone) = app.examining.try_lock() else {
        return Err(Problem::new(ProblemCode::Conflict, "an examination is under way"));
    };
    let at = Arc::clone(&app);
    let looked = tokio::task::spawn_blocking(move || examine(&at.config, Some(&at.registry))).await;
    match looked.map_err(Failure::from) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => {
            let text =
                format!("{error}: {}", std::error::Error::source(&error).map_or(String::new(), |e| e.to_string()));
            Err(refuse(ProblemCode::Internal, text).into_problem())
        }
        Err(failure) => Err(failure.into_problem()),
    }
}

/// Looks at everything. `live`: the registry of the running service.
fn examine(config: &Config, live: Option<&Registry>) -> Result<DoctorReport, DoctorError> {
    let layout = Layout::new(&config.state);
    let mut findings = Findings::default();
    files::look(&layout, &mut findings)?;
    let keys = match CaKeys::open_existing(config) {
        Ok(keys) => Some(keys),
        Err(error) => {
            let what = format!("the CAs' keys cannot be had: {}", said(&error));
            findings.add(what, &layout.ca(), "restore the credential, or see to the token");
            None
        }
    };
    cas::look(config, keys.as_ref(), UnixTime::now(), &mut findings);
    // Between two commits: a rotation replaces two files.
    let key = live.map_or_else(|| load_feed_key(&layout), |registry| registry.still(|_| load_feed_key(&layout)))?;
    let scratch = Scratch::new(layout.state())?;
    let rebuilt = scratch.store("index")?;
    let until = live.map_or(u64::MAX, |registry| registry.head().borrow().sequence);
    let counted = history::look(&layout, &key, until, &rebuilt, scratch.store("serials")?, &mut findings)?;
    let (now, last) = (UnixTime::now(), key.newest());
    if last.since(now) > SKEW {
        let what = format!("the clock is {} s behind the last entry of the feed, of {last}", last.since(now));
        findings.add(what, &layout.feed(), "set the clock; consumers refuse what is older than what they saw");
    }
    if counted.feed_whole {
        match live {
            Some(registry) => registry.still(|store| {
                // What was changed since the log was read.
                rebuild(&layout, &key, &rebuilt, |_, _| Ok(())).map_err(io::Error::other)?;
                look_for_key(&key, &layout, &mut findings);
                index::compare(store, &rebuilt, &layout, &mut findings)
            })?,
            None => {
                look_for_key(&key, &layout, &mut findings);
                look_at_index(&layout, &rebuilt, &mut findings)?;
            }
        }
    }
    let history::Counted { entries, records, certificates, .. } = counted;
    Ok(DoctorReport { entries, records, certificates, findings: findings.0 })
}

/// Entries are verified with the keys that the feed's files name, so that alone does not show that the last one is here.
fn look_for_key(key: &FeedKey, layout: &Layout, findings: &mut Findings) {
    if let Err(error) = key.at_hand(&layout.feed()) {
        findings.add(said(&error), &layout.feed().join(KEY_FILE), "restore the backup, as a new generation");
    }
}

/// Compares the index of a service that is stopped, unless it is made anew at the next start anyway.
fn look_at_index(layout: &Layout, rebuilt: &Store, findings: &mut Findings) -> Result<(), DoctorError> {
    if !layout.index().join("db").exists() {
        return Ok(());
    }
    let store = Store::open(&layout.index())?.store;
    if Tx::new(&store).applied()?.version >= Applied::VERSION {
        index::compare(&store, rebuilt, layout, findings)?;
    }
    Ok(())
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text.push_str(": ");
        text.push_str(&error.to_string());
        at = error.source();
    }
    text
}
