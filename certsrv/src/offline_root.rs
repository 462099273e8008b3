//! What is done with the root's key once it is kept apart: it is carried out of the state directory, and brought back for
//! the moment in which a sub-CA's certificate is renewed. Both while the service is stopped.

use crate::audit::{Actor, Record};
use crate::ca_keys::{CaKeyError, CaKeys, ROOT, carried_root, key_path, root_without_passphrase};
use crate::cert::ca::{Ca, load_certificate};
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::cert::tbs;
use crate::config::Config;
use crate::identity::IdentityError;
use crate::init::{InitError, SUB_CAS, load_feed_key, lock};
use crate::layout::Layout;
use crate::random;
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinseal_proto::cert::not_after;
use twinseal_proto::encoding::B64;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;
use twinseal_svc::keys::SigningKey;
use twinseal_svc::keys::passphrase::{self, Passphrase};

/// A sub-CA's new certificate.
#[derive(Debug, Serialize)]
pub(crate) struct Renewed {
    /// Where it was written.
    pub(crate) certificate: PathBuf,
    /// Its serial number.
    pub(crate) serial: Serial,
    /// notAfter.
    pub(crate) until: UnixTime,
}

/// Gives the sub-CA `name` a new certificate for the key that it has, under the root, whose key is in `root_key`, or else
/// where the configuration keeps the CAs' keys. Certificates that the sub-CA issued stay good: its name and key are the
/// same.
pub(crate) async fn renew_sub(
    config: &Config,
    name: &str,
    root_key: Option<&Path>,
    passphrase_file: Option<&Path>,
) -> Result<Renewed, InitError> {
    let layout = Layout::new(&config.state);
    let _lock = lock(&layout)?;
    load_feed_key(&layout)?;
    let dir = layout.ca();
    let keys = CaKeys::open(config)?;
    let present = Ca::load(&dir, name, &keys)?;
    let key: Box<dyn SigningKey> = match root_key {
        Some(path) => carried_root(path, passphrase_file, config)?,
        None => keys.load(ROOT)?,
    };
    let root = Ca::with_key(&dir, ROOT, key)?;
    let now = UnixTime::now();
    let serial = Serial::from_random(random::octets()?);
    let profile = Profile::sub_ca(&config.ca_name, name);
    // Of another name it would not be the issuer of what this sub-CA has signed.
    if tbs::name(&profile.common_name) != present.name() {
        return Err(InitError::OtherName(name.to_owned()));
    }
    let prepared = root.prepare(&profile, present.spki(), serial, now, config.ca_days)?;
    let until = prepared.until;
    let audit = Audit::open(&layout.audit())?;
    let record = Record::intent(now, &Actor::Administrator, None, &serial, B64(prepared.tbs.clone()));
    audit.record(&record).await.map_err(IdentityError::from)?;
    let renewed = Ca::new(keys.load(name)?, root.issue(prepared)?)?;
    renewed.save(&dir, name)?;
    Ok(Renewed { certificate: dir.join(format!("{name}.pem")), serial, until })
}

/// Writes the root's key to `out`, encrypted under `passphrase`, and removes it from the state directory.
pub(crate) fn root_out(config: &Config, out: &Path, passphrase: &Passphrase) -> Result<(), InitError> {
    let layout = Layout::new(&config.state);
    let _lock = lock(&layout)?;
    let path = key_path(&layout.ca(), ROOT);
    let failed = |source| InitError::File { path: path.clone(), source };
    let out = outside(&layout, out)?;
    let key = root_without_passphrase(&path, config)?.ok_or_else(|| CaKeyError::Encrypted(path.clone()))?;
    passphrase::write(&out, &key, passphrase).map_err(CaKeyError::from)?;
    // Read back before the only other copy goes.
    passphrase::read(&out, passphrase).map_err(CaKeyError::from)?;
    std::fs::remove_file(&path).map_err(failed)?;
    durable::sync_dir(&layout.ca()).map_err(failed)
}

/// The absolute form of `path`, which must not be in the state directory.
pub(crate) fn outside(layout: &Layout, path: &Path) -> Result<PathBuf, InitError> {
    let failed = |source| InitError::File { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    // Links and ".." are followed: it is the place that counts.
    let dir = absolute.parent().unwrap_or(&absolute).canonicalize().map_err(failed)?;
    if dir.starts_with(layout.state().canonicalize().map_err(failed)?) {
        return Err(InitError::RootInside(absolute));
    }
    Ok(absolute)
}

/// What an administrator should see to about the CAs, as (what, where, what to do).
pub(crate) fn warnings(config: &Config, now: UnixTime) -> Vec<(String, PathBuf, String)> {
    let dir = Layout::new(&config.state).ca();
    let mut found = Vec::new();
    for name in SUB_CAS {
        let path = dir.join(format!("{name}.pem"));
        // One that cannot be read keeps the service from starting, which says so better.
        let Some(until) = load_certificate(&dir, name).ok().and_then(|c| not_after(&c).ok()) else { continue };
        let days = until.since(now) / 86_400;
        if until <= now || days < 2 * u64::from(config.member_days) {
            let what = if until <= now {
                format!("the certificate of the {name} CA has ended")
            } else {
                format!("the certificate of the {name} CA ends in {days} days, and cuts short what it signs by then")
            };
            let what_to_do = format!("stop the service; twinseal-certsrv ca renew-sub {name} --root-key FILE");
            found.push((what, path, what_to_do));
        }
    }
    let path = key_path(&dir, ROOT);
    if !config.evaluation && path.exists() {
        let what = "the root CA's private key lies in the state directory".to_owned();
        found.push((what, path, "stop the service; twinseal-certsrv ca root-out FILE".to_owned()));
    }
    found
}
