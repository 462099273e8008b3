//! How the service is, for administrators.

use crate::app::App;
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::{Nothing, Status};
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
        warnings: warnings(app.config.evaluation),
    })
}

/// What an operator should read: the other services on the same host (DESIGN 1), unless that is on purpose. Nobody is
/// certsrv's peer by configuration: the others call it.
pub(crate) fn warnings(evaluation: bool) -> Vec<String> {
    if evaluation { Vec::new() } else { colocation::warnings("certsrv", &[]) }
}
