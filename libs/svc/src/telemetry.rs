//! Logs and metrics. Logs go to standard error, one line an event, ids as fields; never a body, a key, a token or an
//! address (spec M5). `TWINSEAL_LOG` sets the filter (`info` by default).

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use prometheus::{Encoder as _, Registry, TextEncoder};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Starts logging; once a process.
pub fn init() {
    let filter = EnvFilter::try_from_env("TWINSEAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}

/// `/healthz` (the process lives), `/readyz` (it answers its calls) and `/metrics` (Prometheus text).
pub fn routes(registry: Registry, ready: impl Fn() -> bool + Send + Sync + 'static) -> Router {
    let ready = Arc::new(ready);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                if ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let mut text = Vec::new();
                let encoder = TextEncoder::new();
                let status = match encoder.encode(&registry.gather(), &mut text) {
                    Ok(()) => StatusCode::OK,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
            }),
        )
}
