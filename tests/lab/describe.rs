//! What a running lab tells others: `lab.json` and the wrappers in `bin/` (DESIGN 6).

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use twinseal_svc::durable;

/// `lab.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lab {
    /// The list's address.
    pub list: String,
    /// Where the exploder takes mail: host:port.
    pub smtp: String,
    /// Where it takes submissions.
    pub submission: String,
    /// Its LMTP socket.
    pub lmtp: PathBuf,
    /// certsrv's base URL.
    pub certsrv: String,
    /// groupsrv's base URL.
    pub groupsrv: String,
    /// The exploder's health and metrics.
    pub exploder_http: String,
    /// OCSP responder for members' and lists' certificates.
    pub ocsp: String,
    /// Certificate revocation list of members' and lists' certificates.
    pub crl: String,
    /// The members' web page.
    pub web: String,
    /// PEM file of the root of all sub-CAs.
    pub ca: PathBuf,
    /// PEM file of the group certificate to encrypt to.
    pub group_cert: PathBuf,
    /// PEM files of all its live certificates.
    pub group_certs: Vec<PathBuf>,
    /// Where the smarthost puts what it gets.
    pub sink_dir: PathBuf,
    /// The wrappers.
    pub bin: PathBuf,
    /// State directories.
    pub state: Three<PathBuf>,
    /// Process ids.
    pub pids: Three<u32>,
    /// The list's owner.
    pub owner: Person,
    /// The members.
    pub members: Vec<Member>,
}

/// One value for each daemon.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Three<T> {
    /// The exploder's.
    pub exploder: T,
    /// groupsrv's.
    pub groupsrv: T,
    /// certsrv's.
    pub certsrv: T,
}

/// The owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Person {
    /// Mail address.
    pub address: String,
    /// Password at certsrv.
    pub password: Option<String>,
    /// `TWINSEAL_HOME` of the member tool.
    pub home: PathBuf,
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Mail address.
    pub address: String,
    /// Password at certsrv; none above the size of the key pool.
    pub password: Option<String>,
    /// `TWINSEAL_HOME` of the member tool.
    pub home: PathBuf,
    /// PEM file of the certificate.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

impl Lab {
    /// Reads `DIR/lab.json`.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&fs::read(dir.join("lab.json"))?)?)
    }

    /// Replaces `DIR/lab.json` at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        Ok(durable::replace(&dir.join("lab.json"), &serde_json::to_vec_pretty(self)?)?)
    }
}

/// Writes the wrappers: each daemon's tool, the member tool, `restart` and `sink`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_wrappers(dir: &Path, programs: &Path) -> Result<PathBuf> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    let (here, there) = (quote(dir), quote(programs));
    for service in ["certsrv", "groupsrv", "exploder"] {
        script(&bin.join(service), &format!("exec {there}/twinseal-{service} --config {here}/{service}.toml \"$@\""))?;
    }
    script(&bin.join("twinseal"), &format!("exec {there}/twinseal \"$@\""))?;
    script(&bin.join("restart"), &format!("exec {there}/twinseal-lab restart --dir {here} \"$@\""))?;
    script(&bin.join("sink"), &format!("exec {there}/twinseal-lab sink --dir {here} \"$@\""))?;
    Ok(bin)
}

fn script(path: &Path, line: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{line}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
