//! `serve`: opens the state, takes the sockets, answers until it is told to stop.

use crate::app::{App, HASHING, LOGGING_IN};
use crate::cert::ca::{Ca, load_certificate};
use crate::config::Config;
use crate::events::{self, Metrics};
use crate::init::{load_feed_key, lock};
use crate::layout::Layout;
use crate::registry::Registry;
use crate::revocation::{self, RevocationState};
use crate::{identity, revoke, router, status};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use twinseal_svc::audit::Audit;
use twinseal_svc::listen::Sockets;
use twinseal_svc::tls::{Clients, Identity, acceptor};
use twinseal_svc::{admin, http, shutdown};

/// What keeps the service from starting.
pub(crate) type StartError = Box<dyn Error + Send + Sync>;

/// Opens everything that is in the state directory. The service lives as long as the lock file is held.
pub(crate) async fn open(
    config: Config,
    stop: CancellationToken,
) -> Result<(Arc<App>, Identity, std::fs::File), StartError> {
    let layout = Layout::new(&config.state);
    let lock = lock(&layout)?;
    let key = load_feed_key(&layout)?;
    let audit = Arc::new(Audit::open(&layout.audit())?);
    let root = load_certificate(&layout.ca(), "root")?;
    let (members_ca, services_ca) = (Ca::load(&layout.ca(), "members")?, Ca::load(&layout.ca(), "services")?);
    let identity = identity::load(&layout, &config, &services_ca, &root, &audit).await?;
    let revocation = RevocationState::open(&layout, &config, (&members_ca, &services_ca), &audit).await?;
    let at = layout.clone();
    let registry = tokio::task::spawn_blocking(move || Registry::open(&at, key, audit)).await??;
    let app = App {
        config,
        registry: Arc::new(registry),
        members_ca,
        services_ca,
        revocation,
        root,
        pin: identity.pin()?,
        hashing: Arc::new(Semaphore::new(HASHING)),
        logging_in: Semaphore::new(LOGGING_IN),
        metrics: Metrics::new()?,
        stop,
    };
    Ok((Arc::new(app), identity, lock))
}

/// Whom the HTTPS listener lets in: anybody; a certificate that is presented must be under our root.
pub(crate) fn clients(app: &App) -> Clients {
    // The sub-CAs too: stock clients often present their certificate without its issuer's.
    Clients::Optional(vec![
        app.root.clone(),
        app.members_ca.certificate().clone(),
        app.services_ca.certificate().clone(),
    ])
}

/// Runs the service until SIGTERM.
///
/// # Errors
/// What kept it from starting.
pub(crate) async fn serve(config: Config) -> Result<(), StartError> {
    let stop = shutdown::on_signals()?;
    let mut sockets = Sockets::from_env();
    let (app, identity, _lock) = open(config, stop.clone()).await?;
    let acceptor = acceptor(&identity, clients(&app))?;
    let https = sockets.tcp("https", Some(&app.config.listen))?.ok_or("no socket to listen on")?;
    let plain = sockets.tcp("http", Some(&app.config.publish_listen))?.ok_or("no socket to publish on")?;
    let socket = sockets.unix("admin", Some(&app.config.admin_socket), 0o600)?.ok_or("no admin socket")?;
    events::listening(&https.local_addr()?.to_string(), &plain.local_addr()?.to_string());
    status::warnings(app.config.evaluation).iter().for_each(|text| events::warning(text));
    let sweep = tokio::spawn(revoke::sweep(Arc::clone(&app)));
    let publisher = tokio::spawn(revocation::publish(Arc::clone(&app)));
    let at = Arc::clone(&app);
    shutdown::ready(move || at.registry.working());
    tokio::join!(
        http::serve_tls(https, acceptor, router::https(&app), stop.clone()),
        http::serve_plain(plain, router::plain(&app), stop.clone()),
        admin::serve(socket, router::admin(&app), stop),
    );
    sweep.await?;
    publisher.await?;
    Ok(())
}

#[cfg(test)]
mod tests;
