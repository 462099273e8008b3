//! How a daemon says that it is ready, that it lives, and that it stops (sd_notify(3)).

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGTERM or SIGINT. A second signal ends the process at once. SIGHUP, which by
/// default would too, ends nothing any more; a daemon that has something to read again listens for it itself.
///
/// # Errors
/// The I/O error of installing the handlers.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    // The handler stays when the stream is dropped.
    drop(signal(SignalKind::hangup())?);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping");
        notify(&[sd_notify::NotifyState::Stopping]);
        stop.cancel();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::warn!("stopped at once, as asked again");
        #[expect(clippy::disallowed_methods, reason = "asked twice: there is nothing to wait for")]
        std::process::exit(1);
    });
    Ok(token)
}

/// Tells the service manager that the daemon is ready, and keeps its watchdog fed while `alive` says so.
pub fn ready(alive: impl Fn() -> bool + Send + 'static) {
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("ready");
    let mut micros = 0;
    if sd_notify::watchdog_enabled(false, &mut micros) {
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_micros(micros / 3));
            loop {
                tick.tick().await;
                if alive() {
                    notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        });
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Outside a service manager there is nobody to tell.
    let _ = sd_notify::notify(false, states);
}
