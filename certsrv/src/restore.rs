//! Restoring a backup into an empty state directory, offline. Nobody knows what was told after the backup was taken; so a
//! new generation begins: its first entry follows the last one of the backup, far above every sequence that may have been
//! given, and no consumer follows it before its own administrator says so.
//!
//! Everything is checked before `feed.json` is written, which is last: without it nothing can be served. A restore that
//! was broken off begins again.

use crate::audit::{Actor, Record};
use crate::backup::{BackupError, MANIFEST, MARK, Manifest, VERSION, copy, stays_below};
use crate::ca_keys::{CaKeyError, CaKeys};
use crate::cert::ca::{Ca, CaError};
use crate::change::Change;
use crate::config::Config;
use crate::init::{InitError, SUB_CAS, feed_key, lock};
use crate::layout::Layout;
use crate::log::key::{FEED_FILE, FeedFile};
use crate::log::replay::{ReplayError, replay};
use crate::log::{FeedLog, Head};
use crate::store::Told;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;

/// The place before the first entry.
const NOTHING: Head = Head { sequence: 0, digest: Digest([0; 32]) };
/// Most octets of a manifest.
const MAX_MANIFEST: u64 = 64 << 20;

/// A backup could not be restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// Something is there.
    #[error("{0} is not empty: a backup is restored into an empty state directory\ntry: move it away first")]
    NotEmpty(PathBuf),
    /// The manifest, or a file that it names.
    #[error("{path}: {what}\ntry: another backup")]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The generation is not a later one.
    #[error("generation {asked} is not above the backup's, {backup}")]
    Generation {
        /// The one that was named.
        asked: u64,
        /// The backup's.
        backup: u64,
    },
    /// Copying.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The state directory or the feed key.
    #[error(transparent)]
    State(#[from] InitError),
    /// The feed log.
    #[error(transparent)]
    Log(#[from] ReplayError),
    /// A CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// What holds the CAs' keys: the credential under which they are sealed, or the token.
    #[error(
        "the CAs' keys of the backup cannot be had\ntry: again with the credential that they were sealed under, or the token"
    )]
    Keys(#[source] CaKeyError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] twinseal_svc::audit::AuditError),
    /// A record could not be written.
    #[error(transparent)]
    Record(#[from] twinseal_svc::commit::CommitError),
    /// A step ended without its result.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

/// What was restored.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    /// The generation that began.
    pub(crate) generation: u64,
    /// Its first entry.
    pub(crate) sequence: u64,
    /// The last entry of the backup.
    pub(crate) backup_sequence: u64,
    /// When the backup was taken.
    pub(crate) backup_made: UnixTime,
    /// DER SubjectPublicKeyInfo of the feed key.
    pub(crate) key: B64,
}

/// Restores the backup in `from`, as `generation` or the one after the backup's.
pub(crate) async fn restore(config: &Config, from: &Path, generation: Option<u64>) -> Result<Restored, RestoreError> {
    let layout = Layout::new(&config.state);
    let manifest = manifest(from)?;
    let backup = manifest.generation;
    let generation = generation.unwrap_or_else(|| backup.saturating_add(1));
    if generation <= backup {
        return Err(RestoreError::Generation { asked: generation, backup });
    }
    let _lock = lock(&layout)?;
    begin(&layout)?;
    let (at, source, checked, of) = (layout.clone(), from.to_owned(), manifest.clone(), config.clone());
    let (restored, file) = tokio::task::spawn_blocking(move || {
        let file = copy_all(&at, &source, &checked)?;
        let head = check(&of, &source, &checked, &file)?;
        begin_generation(&at, file, head, generation)
    })
    .await??;
    let audit = Audit::open(&layout.audit())?;
    let change = Change::GenerationBegan { generation };
    audit.record(&Record::change(UnixTime::now(), &Actor::Administrator, &change)).await?;
    file.save(&layout.feed()).map_err(in_state(&layout.feed().join(FEED_FILE)))?;
    let mark = layout.state().join(MARK);
    fs::remove_file(&mark).map_err(in_state(&mark))?;
    let (backup_sequence, backup_made) = (manifest.sequence, manifest.made);
    Ok(Restored { generation, sequence: restored.sequence, backup_sequence, backup_made, key: manifest.key })
}

fn in_state(path: &Path) -> impl FnOnce(io::Error) -> InitError {
    let path = path.to_owned();
    move |source| InitError::File { path, source }
}

fn damaged(path: PathBuf, what: impl Into<String>) -> RestoreError {
    RestoreError::Backup { path, what: what.into() }
}

/// Reads the manifest, every value of which is checked before it is used.
fn manifest(from: &Path) -> Result<Manifest, RestoreError> {
    let path = from.join(MANIFEST);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_MANIFEST).read_to_string(&mut text));
    read.map_err(|error| damaged(path.clone(), format!("cannot be read ({error}): not a backup, or not a whole one")))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| damaged(path.clone(), error.to_string()))?;
    if manifest.version != VERSION {
        return Err(damaged(path, format!("version {} where {VERSION} is known", manifest.version)));
    }
    let mut names = BTreeSet::new();
    for file in &manifest.files {
        if !stays_below(&file.path) || !names.insert(file.path.as_str()) {
            return Err(damaged(path, format!("names the file {:?}", file.path)));
        }
    }
    match ["feed/feed.json", "feed/feed.key", "ca/root.pem"].into_iter().find(|name| !names.contains(name)) {
        Some(missing) => Err(damaged(path, format!("names no {missing}"))),
        None => Ok(manifest),
    }
}

/// The state directory has to be empty, unless a restore was broken off there.
fn begin(layout: &Layout) -> Result<(), RestoreError> {
    let state = layout.state();
    let mark = state.join(MARK);
    // With feed.json it had ended, but for the mark.
    if !mark.exists() || layout.feed().join(FEED_FILE).exists() {
        for entry in fs::read_dir(state).map_err(in_state(state))? {
            if entry.map_err(in_state(state))?.file_name() != "lock" {
                return Err(RestoreError::NotEmpty(state.to_owned()));
            }
        }
    }
    Ok(durable::replace(&mark, b"").map_err(in_state(&mark))?)
}

/// Copies all but `feed.json`, and gives that.
fn copy_all(layout: &Layout, from: &Path, manifest: &Manifest) -> Result<FeedFile, RestoreError> {
    let mut feed = None;
    for file in &manifest.files {
        let source = from.join(&file.path);
        let unlike = || damaged(source.clone(), "not what the manifest says");
        let mut open = File::open(&source).map_err(|error| damaged(source.clone(), error.to_string()))?;
        if file.path == "feed/feed.json" {
            let mut octets = Vec::new();
            (&mut open)
                .take(MAX_MANIFEST)
                .read_to_end(&mut octets)
                .map_err(|e| damaged(source.clone(), e.to_string()))?;
            if Digest::of(&octets) != file.sha256 {
                return Err(unlike());
            }
            feed = Some(serde_json::from_slice(&octets).map_err(|e| damaged(source.clone(), e.to_string()))?);
        } else if copy(open, &layout.state().join(&file.path), file.length)? != Some(file.sha256) {
            return Err(unlike());
        }
    }
    for dir in manifest.files.iter().filter_map(|file| Path::new(&file.path).parent()) {
        let dir = layout.state().join(dir);
        durable::sync_dir(&dir).map_err(in_state(&dir))?;
    }
    feed.ok_or_else(|| damaged(from.join(MANIFEST), "names no feed/feed.json"))
}

/// Checks what was copied: the log with every signature, and the CAs, whose keys have to be at hand. (The audit log is
/// checked when it is opened.) The last entry.
fn check(config: &Config, from: &Path, manifest: &Manifest, file: &FeedFile) -> Result<Head, RestoreError> {
    let layout = Layout::new(&config.state);
    let key = feed_key(&layout, file)?;
    let found = replay(&layout.feed(), &key, NOTHING, |_, _| Ok(()))?;
    let wanted = Head { sequence: manifest.sequence, digest: manifest.head };
    if found.head != wanted || file.generation != manifest.generation || file.feed != manifest.feed {
        let what = format!("the log ends at entry {}, and not as the manifest says", found.head.sequence);
        return Err(damaged(from.join("feed"), what));
    }
    // A backup of an older version has keys in plain PEM and no credential: one is made, as at a start.
    let keys = CaKeys::open(config).map_err(RestoreError::Keys)?;
    for purpose in SUB_CAS {
        Ca::load(&layout.ca(), purpose, &keys)?;
    }
    Ok(found.head)
}

/// Appends the entry with which the generation begins, behind `head`; that entry, and the file that knows of it.
fn begin_generation(
    layout: &Layout,
    mut file: FeedFile,
    head: Head,
    generation: u64,
) -> Result<(Head, FeedFile), RestoreError> {
    file.begin(generation, head.sequence);
    let key = feed_key(layout, &file)?;
    let found = replay(&layout.feed(), &key, NOTHING, |_, _| Ok(()))?;
    let mut log = FeedLog::open(&layout.feed(), Arc::new(key), found).map_err(ReplayError::from)?;
    let change = Change::GenerationBegan { generation };
    let began = Told { change, groupsrv: None, exploder: None };
    let head = log.append(&[began], UnixTime::now()).map_err(ReplayError::from)?;
    Ok((head, file))
}
