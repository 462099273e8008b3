//! A backup: the feed log and its key, the CAs, the TLS identity, the audit log. The index is not in it, since it follows
//! from the log. The CAs' key files are in it as they are, sealed, and the credential too where it lies in the state
//! directory; a credential that is elsewhere, or a token, is for the administrators to keep.
//!
//! The running service says which files with how many octets belong together ([`list`]), between two commits; the command
//! copies them itself ([`take`]). Logs only grow, so their octets up to that length are what they were; every other file
//! is compared with its digest, and a file that was replaced meanwhile makes the copy begin again.

use crate::app::App;
use crate::audit::{Actor, Record};
use crate::doctor;
use crate::failure::Failure;
use crate::layout::Layout;
use crate::log::key::NEXT_KEY_FILE;
use crate::log::{FeedLog, LogError};
use openssl::sha::Sha256;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::feed::{BackupFile, BackupList, ListBackup};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::FeedId;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;
use twinseal_svc::{admin, durable};

/// The manifest's name in a backup.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Version of the manifest.
pub(crate) const VERSION: u32 = 1;
/// How often a copy is begun before it is given up: files are replaced once in months.
const TRIES: usize = 3;
/// What follows from the rest, or belongs to one run of the service.
const LEFT_OUT: [&str; 6] = ["lock", MARK, "index", "index.damaged", "index.other", doctor::SCRATCH];
/// Says that a restore was begun in a state directory and not ended.
pub(crate) const MARK: &str = "restoring";

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// certsrv's version.
    pub(crate) certsrv: String,
    /// When it was taken.
    pub(crate) made: UnixTime,
    /// The feed.
    pub(crate) feed: FeedId,
    /// Its generation.
    pub(crate) generation: u64,
    /// The last entry.
    pub(crate) sequence: u64,
    /// SHA-256 of that entry's header text.
    pub(crate) head: Digest,
    /// DER SubjectPublicKeyInfo of the feed key.
    pub(crate) key: B64,
    /// Every file.
    pub(crate) files: Vec<ManifestFile>,
}

impl Manifest {
    /// Whether the file that is `path` below `state` is in it.
    pub(crate) fn has(&self, state: &Path, path: &Path) -> bool {
        path.strip_prefix(state).is_ok_and(|below| self.files.iter().any(|file| Path::new(&file.path) == below))
    }
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestFile {
    /// Its path below the state directory and below the backup.
    pub(crate) path: String,
    /// Its octets.
    pub(crate) length: u64,
    /// SHA-256 of them.
    pub(crate) sha256: Digest,
}

/// A backup could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// There is something already.
    #[error("{0} is not empty\ntry: a new directory")]
    NotEmpty(PathBuf),
    /// The backup would be a part of itself.
    #[error("{0} is in the state directory\ntry: a directory elsewhere, best on another medium")]
    Inside(PathBuf),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files were replaced again and again.
    #[error("{0}: was changed while it was copied\ntry: again")]
    Changed(String),
    /// The service.
    #[error(transparent)]
    Call(#[from] admin::AdminError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

/// `ListBackup`.
pub(crate) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<BackupList, Problem> {
    listed(&app).await.map_err(Failure::into_problem)
}

async fn listed(app: &Arc<App>) -> Result<BackupList, Failure> {
    let sequence = app.registry.head().borrow().sequence;
    app.registry.audit().record(&Record::backup(UnixTime::now(), &Actor::Administrator, sequence)).await?;
    let at = Arc::clone(app);
    tokio::task::spawn_blocking(move || at.registry.frozen(|_, log| list_frozen(&at, log))).await?
}

fn list_frozen(app: &App, log: &FeedLog) -> Result<BackupList, Failure> {
    let layout = Layout::new(&app.config.state);
    let lengths = log.lengths()?;
    let mut files = Vec::new();
    for path in files_below(layout.state(), "").map_err(LogError::file(layout.state()))? {
        let full = layout.state().join(&path);
        let noted = lengths.iter().find(|(log, _)| *log == full).map(|(_, length)| *length);
        let file = match noted {
            Some(length) => Ok(BackupFile { path, length, sha256: None }),
            // The audit log: what is written meanwhile may be cut off within a line, as by a crash.
            None if path.ends_with(".log") => {
                fs::metadata(&full).map(|found| BackupFile { path, length: found.len(), sha256: None })
            }
            None => fs::read(&full).map(zeroize::Zeroizing::new).map(|octets| BackupFile {
                path,
                length: octets.len() as u64,
                sha256: Some(Digest::of(&octets)),
            }),
        };
        files.push(file.map_err(LogError::file(&full))?);
    }
    let (key, head) = (app.registry.key(), log.head());
    Ok(BackupList {
        version: env!("CARGO_PKG_VERSION").into(),
        feed: key.feed(),
        generation: key.generation(),
        sequence: head.sequence,
        head: head.digest,
        key: B64(key.public_der()?),
        files,
    })
}

/// The paths of all files below `state`, without those that are left out.
fn files_below(state: &Path, below: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(state.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Files with a dot are being written; a next feed key that is in use has another name.
        if name.starts_with('.') || name == NEXT_KEY_FILE || (below.is_empty() && LEFT_OUT.contains(&name.as_str())) {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files_below(state, &path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes a backup of the running service behind `socket`, whose state is in `state`, into `out`. Blocks between calls.
pub(crate) async fn take(socket: &Path, state: &Path, out: &Path) -> Result<Manifest, BackupError> {
    durable::make_dir(out).map_err(at(out))?;
    if fs::read_dir(out).map_err(at(out))?.next().is_some() {
        return Err(BackupError::NotEmpty(out.to_owned()));
    }
    let within = (fs::canonicalize(out).map_err(at(out))?, fs::canonicalize(state).map_err(at(state))?);
    if within.0.starts_with(within.1) {
        return Err(BackupError::Inside(out.to_owned()));
    }
    let mut changed = String::new();
    for _ in 0..TRIES {
        let list = admin::call::<ListBackup>(socket, &Nothing {}).await?;
        match copy_all(&list, state, out)? {
            Ok(files) => return finish(list, files, out),
            Err(path) => changed = path,
        }
    }
    Err(BackupError::Changed(changed))
}

/// The files as they were copied, or the path of one that was replaced meanwhile.
fn copy_all(list: &BackupList, state: &Path, out: &Path) -> Result<Result<Vec<ManifestFile>, String>, BackupError> {
    let mut files = Vec::with_capacity(list.files.len());
    for BackupFile { path, length, sha256 } in &list.files {
        let (from, to) = (state.join(path), out.join(path));
        let digest = match File::open(&from) {
            Ok(file) => copy(file.take(*length), &to, *length)?,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(BackupError::File { path: from, source }),
        };
        match digest {
            Some(digest) if sha256.is_none_or(|wanted| wanted == digest) => {
                files.push(ManifestFile { path: path.clone(), length: *length, sha256: digest });
            }
            _ => return Ok(Err(path.clone())),
        }
    }
    Ok(Ok(files))
}

/// Copies to a file of mode 0600, durably; the digest of what was copied, or `None` when it is not `length` octets.
pub(crate) fn copy(mut from: impl Read, to: &Path, length: u64) -> Result<Option<Digest>, BackupError> {
    if let Some(parent) = to.parent() {
        durable::make_dir(parent).map_err(at(parent))?;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut file = file.map_err(at(to))?;
    let (mut hash, mut buffer, mut copied) = (Sha256::new(), zeroize::Zeroizing::new(vec![0; 1 << 16]), 0_u64);
    loop {
        let count = from.read(&mut buffer).map_err(at(to))?;
        if count == 0 {
            break;
        }
        let octets = buffer.get(..count).unwrap_or_default();
        hash.update(octets);
        file.write_all(octets).map_err(at(to))?;
        copied += count as u64;
    }
    file.sync_all().map_err(at(to))?;
    Ok((copied == length).then(|| Digest(hash.finish())))
}

/// The manifest is written last: what has none is no backup.
fn finish(list: BackupList, files: Vec<ManifestFile>, out: &Path) -> Result<Manifest, BackupError> {
    let BackupList { version, feed, generation, sequence, head, key, .. } = list;
    let made = UnixTime::now();
    let manifest = Manifest { version: VERSION, certsrv: version, made, feed, generation, sequence, head, key, files };
    let path = out.join(MANIFEST);
    let json = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from).map_err(at(&path))?;
    for dir in manifest.files.iter().filter_map(|file| Path::new(&file.path).parent()) {
        durable::sync_dir(&out.join(dir)).map_err(at(out))?;
    }
    durable::replace(&path, &json).map_err(at(&path))?;
    Ok(manifest)
}

/// Whether a path from a manifest stays below the directory that it is put into.
pub(crate) fn stays_below(path: &str) -> bool {
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    let plain =
        parts.iter().all(|part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.')));
    plain && !parts.is_empty() && !LEFT_OUT.iter().any(|name| parts.first() == Some(&Component::Normal(name.as_ref())))
}
