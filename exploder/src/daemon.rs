//! `serve`: opens the state, starts every part, and stops them in order.

use crate::admin::Admin;
use crate::config::Config;
use crate::deliver::connect::Smarthost;
use crate::engine::{Engine, Parts};
use crate::events;
use crate::groupkeys::GroupKeys;
use crate::metrics::Metrics;
use crate::owners::ListPins;
use crate::queue::Queue;
use crate::receive::Receiver;
use crate::roster::Roster;
use crate::runner;
use crate::smtp::caps::Connections;
use crate::smtp::listen::{Deadlines, Listening, listen};
use crate::smtp::session::Settings;
use crate::spool::Spool;
use crate::spool::post::SpooledPost;
use crate::verp::VerpKeys;
use anyhow::{Context as _, anyhow, bail};
use prometheus::Registry;
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;
use twinseal_svc::follow::trust::Followed;
use twinseal_svc::follow::{Lease, follow};
use twinseal_svc::join::FeedTrust;
use twinseal_svc::listen::Sockets;
use twinseal_svc::pins::Pins;
use twinseal_svc::store::Store;
use twinseal_svc::tls::{Clients, Identity, acceptor};
use twinseal_svc::{admin, durable, http, shutdown, telemetry};

/// SMTP connections from one source at a time; this host is no source.
const PER_SOURCE: usize = 20;

/// The sockets of the daemon; those for submission and LMTP are left to whoever handed them over.
struct Listeners {
    smtp: Option<TcpListener>,
    http: Option<TcpListener>,
    admin: Option<UnixListener>,
}

/// What the other services are called with.
struct Peers {
    identity: Identity,
    trust: FeedTrust,
    certsrv: Client,
    groupsrv: Client,
}

/// Serves until SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting, with what to try.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let state = &config.state;
    durable::make_dir(state).with_context(|| format!("state directory {}", state.display()))?;
    let _lock = durable::lock_state(state).with_context(|| format!("{} is in use", state.display()))?;
    let peers = open_peers(&config)?;
    let listeners = open_listeners(&config)?;
    let stop = shutdown::on_signals()?;

    let store = Store::open(&state.join("index"))?.store;
    let roster = Arc::new(Roster::open(store.clone(), &peers.trust, ListPins::load(state)?)?);
    let keys = Arc::new(GroupKeys::open(store)?);
    let (spool, recovered) = Spool::open(state, SpooledPost::read_summary).context("spool")?;
    events::recovered(recovered.len());
    let registry = Registry::new();
    registry.register(Box::new(roster.owners.counter.clone()))?;
    let lease = Lease::default();
    let parts = Parts {
        spool,
        queue: Queue::rebuilt(recovered),
        roster: Arc::clone(&roster),
        lease: lease.clone(),
        groupsrv: peers.groupsrv.clone(),
        smarthost: Smarthost::new(&config).context("smarthost")?,
        verp: VerpKeys::load(state, UnixTime::now())?,
        metrics: Metrics::new(&registry)?,
    };
    let engine = Arc::new(Engine::new(&config, parts, stop.clone()));
    let sender = start_sender(Arc::clone(&engine), config.connections)?;

    let warnings = config.warnings();
    warnings.iter().for_each(|warning| events::warning(warning));
    peers.trust.key().context("feed.json: the feed key")?;
    let feed = Followed::new(state, peers.trust, "twinseal_exploder_feed_alarm")?;
    registry.register(Box::new(feed.gauge()))?;
    let admin =
        Arc::new(Admin { engine: Arc::clone(&engine), keys: Arc::clone(&keys), feed: Arc::clone(&feed), warnings });
    let tasks = TaskTracker::new();
    let news = {
        let engine = Arc::clone(&engine);
        move || engine.changed.notify_one()
    };
    tasks.spawn(follow(roster, peers.certsrv, feed, lease, news, stop.clone()));
    let seen = {
        let engine = Arc::clone(&engine);
        move || engine.groupsrv_seen()
    };
    tasks.spawn(Arc::clone(&keys).follow(peers.groupsrv, seen, stop.clone()));
    if let Some(listener) = listeners.admin {
        tasks.spawn(admin::serve(listener, admin.routes(), stop.clone()));
    }
    if let Some(listener) = listeners.http {
        let acceptor = acceptor(&peers.identity, Clients::Optional(vec![peers.identity.root().clone()]))?;
        let admin = Arc::clone(&admin);
        let routes = telemetry::routes(registry, move || admin.ready());
        tasks.spawn(http::serve_tls(listener, acceptor, routes, stop.clone()));
    }
    let smtp = listeners.smtp.map(|listener| tokio::spawn(serve_smtp(listener, &config, &engine, &keys, stop.clone())));
    shutdown::ready(move || !sender.is_finished());

    tokio::spawn({
        let (mut hangup, stop) = (signal(SignalKind::hangup())?, stop.clone());
        async move {
            loop {
                tokio::select! { _ = hangup.recv() => events::nothing_reloaded(), () = stop.cancelled() => return }
            }
        }
    });
    let died = tokio::select! {
        biased;
        () = stop.cancelled() => false,
        // Mail that is taken and never sent helps nobody: the service manager starts us again.
        () = engine.sent_all.cancelled() => true,
    };
    stop.cancel();
    tasks.close();
    if let Some(smtp) = smtp {
        // A session that panicked took nothing with it.
        let _ = smtp.await;
    }
    tasks.wait().await;
    engine.sent_all.cancelled().await;
    if died {
        bail!("the sending thread ended by itself; what it said is in the log");
    }
    Ok(())
}

fn open_listeners(config: &Config) -> anyhow::Result<Listeners> {
    let mut sockets = Sockets::from_env();
    let listeners = Listeners {
        smtp: sockets.tcp("smtp", config.smtp_listen.as_deref())?,
        http: sockets.tcp("http", config.http_listen.as_deref())?,
        admin: sockets.unix("admin", Some(&config.admin_socket), 0o600)?,
    };
    if listeners.smtp.is_none() {
        bail!("no SMTP socket\ntry: set smtp_listen, or hand over a socket called smtp");
    }
    Ok(listeners)
}

fn open_peers(config: &Config) -> anyhow::Result<Peers> {
    let state = &config.state;
    let not_joined =
        |why: &dyn std::fmt::Display| anyhow!("not joined to certsrv ({why})\ntry: twinseal-exploder join");
    let identity = Identity::load(&state.join("tls")).map_err(|error| not_joined(&error))?;
    let trust = FeedTrust::load(state).map_err(|error| not_joined(&error))?;
    let pins = Pins::load(state)?;
    let certsrv = pins.certsrv.ok_or_else(|| not_joined(&"no pin"))?;
    let groupsrv = pins.groupsrv.context("no pin for groupsrv\ntry: twinseal-exploder pin set groupsrv DIGEST")?;
    Ok(Peers {
        certsrv: Client::pinned(&config.certsrv, identity.root(), certsrv, Some(&identity))?,
        groupsrv: Client::pinned(&config.groupsrv, identity.root(), groupsrv, Some(&identity))?,
        identity,
        trust,
    })
}

/// The runner and the connections to the smarthost have a thread and a reactor of their own.
fn start_sender(engine: Arc<Engine>, connections: usize) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("send".into()).spawn(move || {
        let done = engine.sent_all.clone().drop_guard();
        runtime.block_on(runner::run(engine, connections));
        drop(done);
    })
}

fn serve_smtp(
    listener: TcpListener,
    config: &Config,
    engine: &Arc<Engine>,
    keys: &Arc<GroupKeys>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let receiver = Receiver::new(Arc::clone(engine), Arc::clone(keys), config.hostname.clone(), config.certsrv.clone());
    let settings = Settings { max_size: config.max_size, ..Settings::new(&config.hostname) };
    let listening = Listening { settings, deadlines: Deadlines::default() };
    let connections = Connections::new(config.sessions, PER_SOURCE);
    listen(listener, Arc::new(Arc::new(receiver)), Arc::new(listening), connections, stop)
}
