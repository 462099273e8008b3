//! Which keys there are: what exploders learn recipient ids from. Long poll.

use crate::authn::Caller;
use crate::service::Service;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::keys::{CertsPage, CertsRequest, GroupKeys};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_svc::http;

/// Longest wait in seconds.
const MAX_WAIT: u64 = 20;

/// What is published at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The digest of the groups: the same keys have the same version, also after a restart.
    version: String,
    groups: Vec<GroupKeys>,
}

impl Page {
    /// The page that lists `groups`.
    pub(crate) fn new(groups: Vec<GroupKeys>) -> Self {
        let json = serde_json::to_vec(&groups).unwrap_or_default();
        Self { version: Digest::of(&json).to_string(), groups }
    }
}

impl Service {
    /// Publishes the keys of all groups that are not known to be gone. A group that the roster does not have (yet) stays:
    /// an index that is being rebuilt must not stop intake.
    pub(crate) fn publish(&self) {
        let page = Page::new(self.ring().published(|group| !self.roster.is_deleted(group)));
        self.page.send_if_modified(|present| {
            let changed = present.version != page.version;
            if changed {
                *present = Arc::new(page);
            }
            changed
        });
    }
}

/// `POST /v1/certs`.
pub(crate) async fn certs(
    service: Arc<Service>,
    caller: http::Caller,
    request: CertsRequest,
) -> Result<CertsPage, Problem> {
    if service.caller(&caller) == Caller::Stranger {
        service.metrics.refused("not-authorised", 1);
        return Err(Problem::new(ProblemCode::NotAuthorised, "only exploders may ask for this"));
    }
    let mut pages = service.page.subscribe();
    let patience = Duration::from_secs(request.wait.min(MAX_WAIT));
    let page = tokio::select! {
        changed = pages.wait_for(|page| page.version != request.version) => changed.ok().map(|page| Arc::clone(&page)),
        () = tokio::time::sleep(patience) => None,
        () = service.stop.cancelled() => None,
    };
    Ok(match page {
        Some(page) => CertsPage { version: page.version.clone(), groups: Some(page.groups.clone()) },
        None => CertsPage { version: request.version, groups: None },
    })
}
