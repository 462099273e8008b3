//! How the service is, for administrators.

use crate::app::App;
use std::path::Path;
use std::sync::Arc;
use twinseal_proto::api::Problem;
use twinseal_proto::api::admin::{Nothing, Status};
use twinseal_svc::http::Caller;

/// Directories in which the other services keep their sockets when they run on this host.
const SIBLINGS: [(&str, &str); 2] =
    [("groupsrv", "/run/twinseal-groupsrv"), ("the exploder", "/run/twinseal-exploder")];

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

/// What an operator should read: the other services on the same host (DESIGN 1), unless that is on purpose.
pub(crate) fn warnings(evaluation: bool) -> Vec<String> {
    if evaluation {
        return Vec::new();
    }
    let here = SIBLINGS.iter().filter(|(_, directory)| Path::new(directory).exists());
    here.map(|(name, directory)| {
        format!(
            "{name} runs on this host too ({directory} exists): two services on one host give no protection. Put them \
             on hosts of their own, or set evaluation = true"
        )
    })
    .collect()
}
