//! A service by the key that it joined with.

use crate::app::App;
use crate::failure::{Failure, refuse};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::services::ServiceRole;
use twinseal_svc::http::Caller;

/// What the caller is, if it is a service that joined and was not revoked.
pub(crate) fn role(app: &App, caller: &Caller) -> Result<ServiceRole, Failure> {
    let unknown = || refuse(ProblemCode::NotAuthenticated, "only a service that joined may call this");
    let Caller::Certificate { pin, .. } = caller else { return Err(unknown()) };
    app.registry.view().pin(pin)?.map(|row| row.role).ok_or_else(unknown)
}

/// Lets groupsrv pass and nobody else.
pub(crate) fn groupsrv(app: &App, caller: &Caller) -> Result<(), Failure> {
    match role(app, caller)? {
        ServiceRole::Groupsrv => Ok(()),
        ServiceRole::Exploder => Err(refuse(ProblemCode::NotAuthorised, "only groupsrv may call this")),
    }
}
