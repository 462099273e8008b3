//! How the service is, for administrators.

use crate::app::App;
use crate::config::Config;
use crate::offline_root;
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::{Nothing, Status};
use twinseal_proto::time::UnixTime;
use twinseal_svc::colocation;
use twinseal_svc::http::Caller;

/// `GetStatus`.
pub(crate) async fn status(app: Arc<App>, _: Caller, _: Nothing) -> Result<Status, Problem> {
    Ok(Status {
        service: "certsrv".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ready: app.registry.working(),
        feed_sequence: app.registry.head().borrow().sequence,
        lease_seconds: None,
        warnings: warnings(&app.config),
    })
}

/// What an operator should read: the other services on the same host (DESIGN 1), unless that is on purpose, and how the
/// CAs stand. Nobody is certsrv's peer by configuration: the others call it.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut found = if config.evaluation { Vec::new() } else { colocation::warnings("certsrv", &[]) };
    let cas = offline_root::warnings(config, UnixTime::now());
    found.extend(cas.into_iter().map(|(what, at, what_to_do)| format!("{}: {what}; {what_to_do}", at.display())));
    found
}
