//! `serve`: the service put together, its listeners, its end.

use crate::certs::Page;
use crate::config::Config;
use crate::daily;
use crate::identity::IdentityKey;
use crate::keys::KeyRing;
use crate::keys::create::{Creator, check_all};
use crate::keys::credential::Credential;
use crate::keys::file::load_all;
use crate::metrics::Metrics;
use crate::rebuild::rebuild;
use crate::roster::Roster;
use crate::service::{Service, admin_routes, chain, routes};
use crate::store::Index;
use crate::substituted::Substituted;
use anyhow::{Context as _, Result, anyhow};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::Cursor;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::client::Client;
use twinseal_svc::follow::trust::Followed;
use twinseal_svc::follow::{Lease, follow};
use twinseal_svc::join::FeedTrust;
use twinseal_svc::listen::Sockets;
use twinseal_svc::pins::{Peer, Pins};
use twinseal_svc::tls::{Clients, Identity, acceptor};
use twinseal_svc::{admin, colocation, durable, http, keys, shutdown, telemetry};

/// Takes the lock of the state directory.
///
/// # Errors
/// With what to try when somebody else holds it.
pub(crate) fn lock(state: &Path) -> Result<std::fs::File> {
    durable::make_dir(state).with_context(|| format!("{}", state.display()))?;
    durable::lock_state(state).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => anyhow!("{}: in use\ntry: stop the service first", state.display()),
        _ => anyhow!("{}: {error}", state.join("lock").display()),
    })
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What keeps it from starting; once it runs it does not fail.
pub(crate) async fn serve(config: Config) -> Result<()> {
    keys::no_core_files().context("no core files")?;
    let _lock = lock(&config.state)?;
    let mut sockets = Sockets::from_env();
    let https = sockets.tcp("https", Some(&config.listen))?.ok_or_else(|| anyhow!("no socket https"))?;
    let metrics = sockets.tcp("metrics", config.metrics_listen.as_deref())?;
    let admin_socket =
        sockets.unix("admin", Some(&config.admin_socket), 0o600)?.ok_or_else(|| anyhow!("no socket admin"))?;

    let stop = shutdown::on_signals()?;
    let identity = tls_identity(&config.state)?;
    let trust = FeedTrust::load(&config.state).map_err(|error| not_joined(&config.state.join("feed.json"), &error))?;
    let certsrv = certsrv(&config, &identity)?;
    trust.key().context("feed.json: the feed key")?;
    let service = build(&config, &identity, &trust, certsrv.clone(), stop.clone()).await?;
    for warning in &service.warnings {
        tracing::warn!("{warning}");
    }

    let known = Arc::clone(&service);
    let pinned = Clients::Pinned(Arc::new(move |pin: &Digest| {
        known.pins.read().unwrap_or_else(PoisonError::into_inner).peer(pin) == Some(Peer::Exploder)
    }));
    let acceptor = acceptor(&identity, pinned)?;
    let health = |registry: &prometheus::Registry| {
        let service = Arc::clone(&service);
        telemetry::routes(registry.clone(), move || service.is_ready())
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(http::serve_tls(
        https,
        acceptor,
        routes(Arc::clone(&service)).merge(health(&service.metrics.registry)),
        stop.clone(),
    ));
    tasks.spawn(admin::serve(admin_socket, admin_routes(Arc::clone(&service)), stop.clone()));
    if let Some(listener) = metrics {
        tasks.spawn(http::serve_plain(listener, health(&service.metrics.for_operators), stop.clone()));
    }
    let (roster, feed, lease) = (Arc::clone(&service.roster), Arc::clone(&service.feed), service.lease.clone());
    tasks.spawn(follow(roster, certsrv, feed, lease, news(Arc::clone(&service)), stop.clone()));
    let (begun, stopped) = (Arc::clone(&service), stop.clone());
    tasks.spawn(async move {
        // What is broken off here is begun again at the next start.
        tokio::select! { () = begun.finish_begun() => {}, () = stopped.cancelled() => {} }
    });
    tasks.spawn(reload(Arc::clone(&service)));
    tasks.spawn(daily::watch(Arc::clone(&service)));
    shutdown::ready(|| true);
    while tasks.join_next().await.is_some() {}
    daily::keep(&service).await;
    Ok(())
}

fn tls_identity(state: &Path) -> Result<Identity> {
    let dir = state.join("tls");
    Identity::load(&dir).map_err(|error| not_joined(&dir, &error))
}

fn not_joined(path: &Path, error: &dyn std::error::Error) -> anyhow::Error {
    anyhow!("{}: {}\ntry: twinseal-groupsrv join", path.display(), chain(error))
}

fn certsrv(config: &Config, identity: &Identity) -> Result<Client> {
    let address = config.certsrv.as_deref().ok_or_else(|| anyhow!("certsrv: missing in the configuration"))?;
    let pin = Pins::load(&config.state)?.certsrv.ok_or_else(|| anyhow!("no pin for certsrv\ntry: pin set certsrv"))?;
    Ok(Client::pinned(address, identity.root(), pin, Some(identity))?)
}

/// Reads the state, and mends in it what a crash left.
pub(crate) async fn build(
    config: &Config,
    identity: &Identity,
    trust: &FeedTrust,
    certsrv: Client,
    stop: CancellationToken,
) -> Result<Arc<Service>> {
    let state = &config.state;
    let keys = state.join("keys");
    let credential = Credential::load(config)?;
    let stored = load_all(&keys, &credential)?;
    let identity_key = IdentityKey::load_or_make(&keys, &credential, stored.is_empty())?;
    let audit_dir = state.join("audit");
    let audit = Audit::open(&audit_dir)?;
    let index = Arc::new(Index::open(&state.join("index"))?);
    rebuild(&audit_dir, &index)?;
    check_all(&keys, &stored, &index.keys()?)?;
    let substituted = Substituted::new(&index.substituted()?, UnixTime::now());
    let roster = Roster::load(Arc::clone(&index), Cursor::start(trust.feed, trust.generation))?;

    let metrics = Metrics::new()?;
    metrics.for_operators.register(Box::new(roster.owners.counter.clone()))?;

    let (certified, unfinished): (Vec<_>, Vec<_>) = stored.into_iter().partition(|key| key.certified.is_some());
    let creator = Creator {
        keys,
        credential,
        certsrv,
        root: identity.root().clone(),
        unfinished: tokio::sync::Mutex::new(unfinished),
    };
    let warnings = if config.evaluation {
        vec!["evaluation: all services on one host, which protects nobody from whoever holds it".to_owned()]
    } else {
        let peers: Vec<String> = config.certsrv.iter().cloned().collect();
        tokio::task::spawn_blocking(move || {
            colocation::warnings("groupsrv", &peers.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .await?
    };
    let (feed, metrics) = (Followed::new(state, trust.clone(), "groupsrv_feed_alarm")?, Metrics::new()?);
    for registry in [&metrics.registry, &metrics.for_operators] {
        registry.register(Box::new(feed.gauge()))?;
    }
    let service = Arc::new(Service {
        state: state.clone(),
        index,
        roster: Arc::new(roster),
        feed,
        lease: Lease::default(),
        ring: RwLock::new(Arc::new(KeyRing::default())),
        page: watch::Sender::new(Arc::new(Page::new(Vec::new()))),
        identity: identity_key,
        audit,
        pins: RwLock::new(Pins::load(state)?),
        creator,
        metrics,
        substituted: Mutex::new(substituted),
        warnings,
        stop,
    });
    service.put_into_use(&certified).await?;
    service.pass_day(UnixTime::now());
    Ok(service)
}

/// What is done after each page of the feed.
pub(crate) fn news(service: Arc<Service>) -> impl Fn() + Send + 'static {
    move || {
        if service.lease.live() && !service.roster.is_complete() {
            let service = Arc::clone(&service);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = service.roster.set_complete() {
                    tracing::error!(%error, "index");
                }
            });
        }
        service.publish();
    }
}

/// SIGHUP: reads `pins.toml` again.
async fn reload(service: Arc<Service>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! { _ = hangup.recv() => {}, () = service.stop.cancelled() => return }
        match Pins::load(&service.state) {
            Ok(pins) => *service.pins.write().unwrap_or_else(PoisonError::into_inner) = pins,
            Err(error) => tracing::error!(%error, "pins.toml not read again"),
        }
    }
}
