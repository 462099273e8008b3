//! Registration (DESIGN 3.2): a wrapped key is known, with the place in the feed at which it was first seen, before it is
//! ever opened. Nothing is opened here, so this goes on while the lease is over.

use crate::authz::{Ask, Stop, admit};
use crate::parse::present;
use crate::record::{Call, Event};
use crate::service::{Service, internal};
use crate::store::{Registered as Outcome, Registration};
use std::sync::Arc;
use twinseal_proto::api::tickets::{RegisterRequest, Registered};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::{failpoint, http};

/// `POST /v1/tickets`.
pub(crate) async fn register(
    service: Arc<Service>,
    caller: http::Caller,
    request: RegisterRequest,
) -> Result<Registered, Problem> {
    let caller = service.caller(&caller);
    let group = request.group;
    let mut message = None;
    match try_register(&service, caller, request, &mut message).await {
        Ok(registered) => Ok(registered),
        Err(problem) => Err(service.refuse(caller, Call::Register, group, message, problem).await),
    }
}

/// `named`: the look-up value of the message, as soon as it is known.
async fn try_register(
    service: &Arc<Service>,
    caller: crate::authn::Caller,
    request: RegisterRequest,
    named: &mut Option<Digest>,
) -> Result<Registered, Problem> {
    let group = request.group;
    admit(caller, Ask::Register, service.lease.left()).map_err(stopped)?;
    if !service.roster.is_complete() {
        return Err(Problem::new(ProblemCode::Unavailable, "no complete roster yet"));
    }
    let content_algorithm = request.content_algorithm.clone();
    let presented =
        present(&service.ring(), &service.roster, &group, request.recipient_info.as_ref(), content_algorithm)
            .map_err(|refused| refused.problem())?;

    *named = Some(presented.message());
    let epoch = presented.key.epoch;
    let new = Registration {
        first_seen: service.roster.sequence(),
        time: UnixTime::now(),
        epoch,
        content_algorithm: request.content_algorithm.clone(),
    };
    let values = presented.lookup.clone();
    let outcome = service.blocking(move |service| service.index.register(&values, &new)).await?;
    let (first_seen, repeated) = match outcome.map_err(|error| internal("index", &error))? {
        Outcome::Done { first_seen, repeated } => (first_seen, repeated),
        Outcome::OtherContent => {
            let text = "recipient_info: registered already, for a message with another content encryption";
            return Err(Problem::new(ProblemCode::Conflict, text));
        }
    };

    failpoint::hit("groupsrv.register.before-commit");
    let event = Event::Registered {
        caller: caller.digest(),
        group,
        epoch,
        message: presented.lookup,
        content_algorithm: request.content_algorithm,
        first_seen,
        repeated,
    };
    let (recorded, synced) = tokio::join!(service.record(event), service.blocking(|service| service.index.sync()));
    recorded?;
    synced?.map_err(|error| internal("index", &error))?;
    failpoint::hit("groupsrv.register.after-commit");
    if !repeated {
        service.metrics.registrations.inc();
    }
    Ok(Registered { first_seen, repeated })
}

/// The refusal of a call that was not admitted.
pub(crate) fn stopped(stop: Stop) -> Problem {
    match stop {
        Stop::NotAuthorised => Problem::new(ProblemCode::NotAuthorised, "only exploders may ask for this"),
        Stop::LeaseOver => {
            Problem::new(ProblemCode::Unavailable, "the roster may be out of date: certsrv does not answer")
        }
        Stop::NotRegistered => Problem::new(ProblemCode::NotRegistered, "recipient_info: register it first"),
    }
}
