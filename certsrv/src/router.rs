//! Every call that is served, and where.

use crate::app::App;
use crate::{accounts, est, feed, group_certificates, groups, members, owners, publish, revoke, services, status};
use axum::Router;
use axum::routing::get;
use std::sync::Arc;
use twinseal_proto::api;
use twinseal_proto::api::admin::{GetStatus, certsrv as admin};
use twinseal_svc::http::route;
use twinseal_svc::telemetry;

/// The HTTPS listener: services, members, and everybody.
pub(crate) fn https(app: &Arc<App>) -> Router {
    let router = Router::new();
    let router = route::<api::feed::Feed, _, _, _>(router, feed::feed);
    let router = route::<api::group_certificate::GroupCertificate, _, _, _>(router, group_certificates::certify);
    let router = route::<api::services::JoinService, _, _, _>(router, services::join);
    let router = route::<api::groups::Join, _, _, _>(router, members::join);
    let router = route::<api::groups::Leave, _, _, _>(router, members::leave);
    let router = route::<api::groups::ListCertificates, _, _, _>(router, publish::certificates);
    let router = route::<api::owners::GetRoster, _, _, _>(router, owners::roster);
    let router = route::<api::owners::GetStatements, _, _, _>(router, owners::statements);
    let router = route::<api::owners::Submit, _, _, _>(router, owners::submit);
    let router = est::routes(router).route(publish::PEM_PATH, get(publish::pem)).with_state(Arc::clone(app));
    let at = Arc::clone(app);
    let ready = move || {
        at.metrics.sequence.set(i64::try_from(at.registry.head().borrow().sequence).unwrap_or(i64::MAX));
        at.registry.working()
    };
    router.merge(telemetry::routes(app.metrics.registry.clone(), ready))
}

/// The admin socket.
pub(crate) fn admin(app: &Arc<App>) -> Router {
    let router = Router::new();
    let router = route::<GetStatus, _, _, _>(router, status::status);
    let router = route::<admin::AddAccounts, _, _, _>(router, accounts::add);
    let router = route::<admin::EnrolToken, _, _, _>(router, accounts::token);
    let router = route::<admin::CreateGroup, _, _, _>(router, groups::create);
    let router = route::<admin::ListGroups, _, _, _>(router, groups::list);
    let router = route::<admin::AddMembers, _, _, _>(router, members::add);
    let router = route::<admin::RemoveMembers, _, _, _>(router, members::remove);
    let router = route::<admin::ListMembers, _, _, _>(router, members::list);
    let router = route::<admin::Revoke, _, _, _>(router, revoke::revoke);
    let router = route::<admin::ServiceToken, _, _, _>(router, services::token);
    let router = route::<admin::ListPins, _, _, _>(router, services::list);
    router.with_state(Arc::clone(app))
}
