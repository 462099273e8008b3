//! Every call that is served, and where.

use crate::app::App;
use crate::{
    accounts, backup, bans, doctor, est, feed, foreign, group_certificates, groups, import, members, notices, options,
    owners, publish, requests, revocation, revoke, roster, saml, services, snapshot, status, tokens,
};
use axum::Router;
use axum::routing::get;
use std::sync::Arc;
use twinseal_proto::api;
use twinseal_proto::api::admin::feed::{ListBackup, RotateFeedKey};
use twinseal_proto::api::admin::notices::{DropNotice, ListNotices};
use twinseal_proto::api::admin::{GetStatus, certsrv as admin};
use twinseal_svc::http::route;
use twinseal_svc::telemetry;

/// What members, owners and administrators may ask, each as far as `authority.rs` allows it: the same calls at both places.
fn shared(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = route::<api::groups::ShowGroup, _, _, _>(router, groups::show);
    let router = route::<api::groups::SetGroup, _, _, _>(router, groups::set);
    let router = route::<api::groups::DeleteGroup, _, _, _>(router, groups::delete);
    let router = route::<api::members::AddMembers, _, _, _>(router, members::add);
    let router = route::<api::members::RemoveMembers, _, _, _>(router, members::remove);
    let router = route::<api::members::ListMembers, _, _, _>(router, roster::list);
    let router = route::<api::members::Who, _, _, _>(router, roster::who);
    let router = route::<api::members::SetMember, _, _, _>(router, options::set);
    let router = route::<api::members::AddOwner, _, _, _>(router, options::add_owner);
    let router = route::<api::members::RemoveOwner, _, _, _>(router, options::remove_owner);
    let router = route::<api::members::Invite, _, _, _>(router, requests::invite);
    let router = route::<api::members::Ban, _, _, _>(router, bans::ban);
    let router = route::<api::members::Unban, _, _, _>(router, bans::unban);
    let router = route::<api::members::ListBans, _, _, _>(router, bans::list);
    let router = route::<api::requests::ListRequests, _, _, _>(router, requests::answer::list);
    let router = route::<api::requests::ApproveRequest, _, _, _>(router, requests::answer::approve);
    route::<api::requests::RejectRequest, _, _, _>(router, requests::answer::reject)
}

/// The HTTPS listener: services, members, and everybody.
pub(crate) fn https(app: &Arc<App>) -> Router {
    let router = Router::new();
    let router = route::<api::feed::Feed, _, _, _>(router, feed::feed);
    let router = route::<api::feed::FeedSnapshot, _, _, _>(router, snapshot::snapshot);
    let router = route::<api::group_certificate::GroupCertificate, _, _, _>(router, group_certificates::certify);
    let router = route::<api::services::JoinService, _, _, _>(router, services::join);
    let router = route::<api::groups::Join, _, _, _>(router, members::join);
    let router = route::<api::groups::Leave, _, _, _>(router, members::leave);
    let router = shared(route::<api::groups::MyGroups, _, _, _>(router, roster::mine));
    let router = route::<api::groups::ListCertificates, _, _, _>(router, publish::certificates);
    let router = route::<api::owners::GetRoster, _, _, _>(router, owners::roster);
    let router = route::<api::owners::GetStatements, _, _, _>(router, owners::statements);
    let router = route::<api::owners::Submit, _, _, _>(router, owners::submit);
    let router = route::<api::login::LoginCode, _, _, _>(router, saml::redeem);
    let router = tokens::routes(foreign::routes(saml::routes(est::routes(router))));
    let router = router.route(publish::FILE_PATH, get(publish::file)).with_state(Arc::clone(app));
    let at = Arc::clone(app);
    let ready = move || {
        at.metrics.sequence.set(i64::try_from(at.registry.head().borrow().sequence).unwrap_or(i64::MAX));
        at.registry.working()
    };
    router.merge(telemetry::routes(app.metrics.registry.clone(), ready))
}

/// The plain HTTP listener: what everybody may read, and nothing else.
pub(crate) fn plain(app: &Arc<App>) -> Router {
    revocation::routes(Router::new()).route(publish::FILE_PATH, get(publish::file)).with_state(Arc::clone(app))
}

/// The admin socket.
pub(crate) fn admin(app: &Arc<App>) -> Router {
    let router = Router::new();
    let router = route::<GetStatus, _, _, _>(router, status::status);
    let router = route::<admin::AddAccounts, _, _, _>(router, accounts::add);
    let router = route::<admin::ImportAccounts, _, _, _>(router, import::accounts);
    let router = route::<admin::ImportMembers, _, _, _>(router, import::members);
    let router = route::<admin::EnrolToken, _, _, _>(router, accounts::token);
    let router = route::<admin::UnbindAccount, _, _, _>(router, saml::unbind);
    let router = accounts::manage::routes(router);
    let router = route::<admin::CreateGroup, _, _, _>(router, groups::create);
    let router = route::<admin::ListGroups, _, _, _>(router, groups::list);
    let router = shared(router);
    let router = route::<admin::Revoke, _, _, _>(router, revoke::revoke);
    let router = route::<admin::ServiceToken, _, _, _>(router, services::token);
    let router = route::<admin::ListPins, _, _, _>(router, services::list);
    let router = route::<ListNotices, _, _, _>(router, notices::admin::list);
    let router = route::<DropNotice, _, _, _>(router, notices::admin::forget);
    let router = route::<admin::Doctor, _, _, _>(router, doctor::doctor);
    let router = route::<RotateFeedKey, _, _, _>(router, feed::rotate_key);
    let router = route::<ListBackup, _, _, _>(router, backup::list);
    router.with_state(Arc::clone(app))
}
