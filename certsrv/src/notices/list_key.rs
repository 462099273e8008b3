//! A list's signing key: made when the first mail is signed in its name, kept in the state directory, certified like any
//! other. It signs and nothing else; the list's own keys, which groupsrv has, never sign.

use super::sign::ListSigner;
use crate::app::App;
use crate::audit::Actor;
use crate::cert::profile::Profile;
use crate::failure::Failure;
use crate::issue::{Authority, Order, issue};
use crate::layout::Layout;
use crate::rows::Holder;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use std::path::PathBuf;
use std::sync::Arc;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, ListAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use zeroize::Zeroizing;

/// Bits of a new key: what every S/MIME program verifies.
const BITS: u32 = 2048;
/// Seconds before its end at which a certificate is made anew, with the same key.
const RENEWED: u64 = 30 * 86_400;

/// The signing key of `list`, with a certificate that is in force.
pub(crate) async fn signer(app: &Arc<App>, group: GroupId, list: &ListAddress) -> Result<ListSigner, Failure> {
    let now = UnixTime::now();
    let view = app.registry.view();
    let row = view.list_signer(&group)?.map(|serial| view.certificate(&serial)).transpose()?.flatten();
    let at = path(app, &group);
    let known = at.exists().then(|| read(&at)).transpose()?;
    if let (Some(key), Some(row)) = (&known, &row)
        && row.live(now)
        && row.until.since(now) > RENEWED.min(u64::from(app.config.member_days) * 86_400 / 3)
        && Digest::of(&key.public_key_to_der()?) == row.key
    {
        return Ok(ListSigner { key: key.clone(), certificate: row.certificate.0.clone() });
    }
    let key = match known {
        // A key whose certificate was revoked is not used again.
        Some(key) if !revoked(app, &key, row.as_ref())? => key,
        _ => tokio::task::spawn_blocking(move || make(at)).await??,
    };
    let order = Order {
        holder: Holder::ListSigner { group },
        profile: Profile::list_signer(list),
        spki: key.public_key_to_der()?,
        days: app.config.member_days,
    };
    let mut certificate = Vec::new();
    for one in issue(app, &Actor::Clock, Authority::Members, vec![order]).await? {
        certificate.clone_from(&one.der);
        app.registry.commit(Actor::Clock, move |tx| Ok(tx.push(one.change(None))?)).await?;
    }
    Ok(ListSigner { key, certificate })
}

fn path(app: &App, group: &GroupId) -> PathBuf {
    Layout::new(&app.config.state).signing().join(format!("{group}.pem"))
}

fn read(path: &std::path::Path) -> Result<PKey<Private>, Failure> {
    Ok(PKey::private_key_from_pem(&durable::read_secret(path)?)?)
}

/// Makes a key and keeps it at `path` before it is used.
fn make(path: PathBuf) -> Result<PKey<Private>, Failure> {
    let key = PKey::from_rsa(Rsa::generate(BITS)?)?;
    if let Some(dir) = path.parent() {
        durable::make_dir(dir)?;
    }
    durable::replace(&path, &Zeroizing::new(key.private_key_to_pem_pkcs8()?))?;
    Ok(key)
}

fn revoked(app: &App, key: &PKey<Private>, row: Option<&crate::rows::Certificate>) -> Result<bool, Failure> {
    let digest = Digest::of(&key.public_key_to_der()?);
    Ok(row.is_some_and(|row| row.key == digest && row.revoked.is_some()) || app.registry.view().compromised(&digest)?)
}
