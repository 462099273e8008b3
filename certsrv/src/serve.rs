//! `serve`: opens the state, takes the sockets, answers until it is told to stop.

use crate::app::{App, HASHING, LOGGING_IN};
use crate::ca_keys::CaKeys;
use crate::cert::ca::{Ca, load_certificate};
use crate::config::Config;
use crate::events::{self, Metrics};
use crate::foreign::{Imports, watch};
use crate::init::{load_feed_key, lock};
use crate::layout::Layout;
use crate::notices::{self, Post, Smarthost};
use crate::registry::Registry;
use crate::revocation::{self, RevocationState};
use crate::saml::{LoginMetrics, Saml};
use crate::session::Sessions;
use crate::snapshot::Snapshots;
use crate::{identity, revoke, router, status};
use std::error::Error;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::listen::Sockets;
use twinseal_svc::tls::{Clients, Identity, acceptor};
use twinseal_svc::{admin, http, keys, shutdown};

/// What keeps the service from starting.
pub(crate) type StartError = Box<dyn Error + Send + Sync>;

/// Opens everything that is in the state directory. The service lives as long as the lock file is held.
pub(crate) async fn open(
    config: Config,
    stop: CancellationToken,
) -> Result<(Arc<App>, Identity, std::fs::File), StartError> {
    let layout = Layout::new(&config.state);
    let saml = Saml::load(&config, UnixTime::now())?;
    let lock = lock(&layout)?;
    let key = load_feed_key(&layout)?;
    let audit = Arc::new(Audit::open(&layout.audit())?);
    let root = load_certificate(&layout.ca(), "root")?;
    let keys = CaKeys::open(&config)?;
    keys.seal_plain()?;
    let cas = ["members", "memberships", "services"].map(|name| Ca::load(&layout.ca(), name, &keys));
    let [members_ca, memberships_ca, services_ca] = cas;
    let (members_ca, memberships_ca, services_ca) = (members_ca?, memberships_ca?, services_ca?);
    let imports = Imports::load(config.import_roots.as_deref())?;
    let identity = identity::load(&layout, &config, &services_ca, &root, &audit).await?;
    let revocation = RevocationState::open(&layout, &config, (&members_ca, &services_ca), &audit).await?;
    let at = layout.clone();
    let registry = tokio::task::spawn_blocking(move || Registry::open(&at, key, audit)).await??;
    let metrics = Metrics::new()?;
    let app = App {
        saml,
        logins: LoginMetrics::new(&metrics.registry)?,
        sessions: Sessions::new(),
        config,
        registry: Arc::new(registry),
        members_ca,
        memberships_ca,
        services_ca,
        revocation,
        root,
        pin: identity.pin()?,
        hashing: Arc::new(Semaphore::new(HASHING)),
        logging_in: Semaphore::new(LOGGING_IN),
        guesses: Mutex::default(),
        imports,
        post: Post::open(&layout)?,
        examining: tokio::sync::Mutex::new(()),
        snapshots: Snapshots::default(),
        metrics,
        stop,
    };
    Ok((Arc::new(app), identity, lock))
}

/// Whom the HTTPS listener lets in: anybody; a certificate that is presented must be under our root.
pub(crate) fn clients(app: &App) -> Clients {
    // The sub-CAs too: stock clients often present their certificate without its issuer's.
    let mut roots = vec![app.root.clone(), app.members_ca.certificate().clone(), app.services_ca.certificate().clone()];
    // A certificate that was brought from elsewhere logs its member in as one of ours does.
    roots.extend(app.imports.roots().iter().cloned());
    Clients::Optional(roots)
}

/// Runs the service until SIGTERM.
///
/// # Errors
/// What kept it from starting.
pub(crate) async fn serve(config: Config) -> Result<(), StartError> {
    keys::no_core_files()?;
    let stop = shutdown::on_signals()?;
    let mut sockets = Sockets::from_env();
    let (app, identity, _lock) = open(config, stop.clone()).await?;
    let smarthost = app.config.mail.as_ref().map(Smarthost::new).transpose().map_err(|e| format!("mail: {e}"))?;
    let acceptor = acceptor(&identity, clients(&app))?;
    let https = sockets.tcp("https", Some(&app.config.listen))?.ok_or("no socket to listen on")?;
    let plain = sockets.tcp("http", Some(&app.config.publish_listen))?.ok_or("no socket to publish on")?;
    let socket = sockets.unix("admin", Some(&app.config.admin_socket), 0o600)?.ok_or("no admin socket")?;
    events::listening(&https.local_addr()?.to_string(), &plain.local_addr()?.to_string());
    let mail = tokio::spawn(notices::run(Arc::clone(&app), smarthost));
    status::warnings(&app.config).iter().for_each(|text| events::warning(text));
    let sweep = tokio::spawn(revoke::sweep(Arc::clone(&app)));
    let watch = tokio::spawn(watch::run(Arc::clone(&app)));
    let publisher = tokio::spawn(revocation::publish(Arc::clone(&app)));
    let at = Arc::clone(&app);
    shutdown::ready(move || at.registry.working());
    tokio::join!(
        http::serve_tls(https, acceptor, router::https(&app), stop.clone()),
        http::serve_plain(plain, router::plain(&app), stop.clone()),
        admin::serve(socket, router::admin(&app), stop),
    );
    sweep.await?;
    watch.await?;
    mail.await?;
    publisher.await?;
    Ok(())
}

#[cfg(test)]
mod tests;
