//! What is done with tokens that are not an administrator's: those that came by mail, to log in ([`login`]) and to confirm
//! ([`confirm`], with the page for it in [`page`]), and those with which members' mail programs post ([`posting`]).

mod confirm;
pub(crate) mod login;
mod page;
pub(crate) mod posting;

use crate::app::App;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;
use twinseal_proto::api::Endpoint;
use twinseal_proto::api::tokens::{Confirm, ListPostingTokens, LogInByMail, MakePostingToken, RevokePostingToken};
use twinseal_svc::http::route;

/// Adds these calls' paths.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = route::<MakePostingToken, _, _, _>(router, posting::make);
    let router = route::<ListPostingTokens, _, _, _>(router, posting::list);
    let router = route::<RevokePostingToken, _, _, _>(router, posting::revoke);
    router
        .route(LogInByMail::PATH, post(login::ask))
        .route(Confirm::PATH, post(confirm::confirm))
        .route(page::PATH, get(page::show))
}
