//! How groupsrv and the exploders join: a one-time token from the administrator, a request, a certificate, a pin.

use crate::app::App;
use crate::audit::Actor;
use crate::cert::csr;
use crate::cert::profile::{AltName, Profile, service_name};
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Order, issue};
use crate::rows::{Certificate, Holder, TokenPurpose};
use crate::store::Tx;
use crate::{again, decide, events, random};
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{IssuedToken, ServicePin, ServiceTokenRequest};
use twinseal_proto::api::services::{JoinServiceRequest, JoinServiceResponse, ServiceRole};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;

/// `ServiceToken`.
pub(crate) async fn token(app: Arc<App>, _: Caller, request: ServiceTokenRequest) -> Result<IssuedToken, Problem> {
    let made = async {
        let made = UnixTime::now();
        let expires = made.plus(u64::from(app.config.service_token_hours) * 3600);
        let token = random::token()?;
        let change = Change::TokenMade {
            digest: token.digest(),
            purpose: TokenPurpose::Service { role: request.role },
            expires,
            made,
        };
        app.registry.commit(Actor::Administrator, move |tx| Ok(tx.push(change)?)).await?;
        issued_token(&app, &token)
    };
    made.await.map_err(Failure::into_problem)
}

/// A token with what its user needs to know us by.
pub(crate) fn issued_token(app: &App, token: &Token) -> Result<IssuedToken, Failure> {
    let root = String::from_utf8_lossy(&app.root.to_pem()?).into_owned();
    Ok(IssuedToken { token: token.expose().to_owned(), certsrv_pin: app.pin, root })
}

/// `ListPins`.
pub(crate) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Vec<ServicePin>, Problem> {
    let pins = app.registry.view().pins().map_err(|e| Failure::from(e).into_problem())?;
    Ok(pins.into_iter().map(|(pin, row)| ServicePin { role: row.role, pin }).collect())
}

/// `JoinService`.
pub(crate) async fn join(
    app: Arc<App>,
    _: Caller,
    request: JoinServiceRequest,
) -> Result<JoinServiceResponse, Problem> {
    let token = Token::presented(request.token).digest();
    join_or_again(&app, token, request.csr.as_ref()).await.map_err(Failure::into_problem)
}

async fn join_or_again(app: &Arc<App>, token: Digest, request: &[u8]) -> Result<JoinServiceResponse, Failure> {
    let refused = match join_one(app, token, request).await {
        Err(Failure::Refused(problem)) => problem,
        other => return other,
    };
    match again::given(app, &token, Authority::Services, request).await? {
        Some(Certificate { holder: Holder::Service { role }, certificate, .. }) => answer(app, role, certificate),
        _ => Err(refused.into()),
    }
}

async fn join_one(app: &Arc<App>, token: Digest, request: &[u8]) -> Result<JoinServiceResponse, Failure> {
    let role = role_of(&app.registry.view(), &token)?;
    let asked = csr::read(request).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    let names = service_names(asked.names)?;
    let pin = Digest::of(&asked.key.spki);
    if !app.config.evaluation {
        not_our_own(&names, &app.config.names().unwrap_or_default())?;
    }
    may_join(&app.registry.view(), &pin, role)?;
    let order = Order {
        holder: Holder::Service { role },
        profile: Profile::service(role_name(role), names),
        spki: asked.key.spki,
        days: app.config.service_days,
    };
    let issued = issue(app, &Actor::Service(role), Authority::Services, vec![order]).await?;
    let changes: Vec<Change> = issued.iter().map(|one| one.change(Some(token))).collect();
    let decide = move |tx: &mut Tx<'_>| {
        role_of(tx, &token)?;
        may_join(tx, &pin, role)?;
        Ok(changes.into_iter().try_for_each(|change| tx.push(change))?)
    };
    app.registry.commit(Actor::Service(role), decide).await?;
    hit("certsrv.service.before-answer");
    events::service_joined(role_name(role), &pin.to_string());
    answer(app, role, B64(issued.into_iter().next().map(|one| one.der).unwrap_or_default()))
}

fn answer(app: &App, role: ServiceRole, certificate: B64) -> Result<JoinServiceResponse, Failure> {
    let key = app.registry.key();
    Ok(JoinServiceResponse {
        role,
        certificate,
        chain: vec![B64(app.services_ca.der().to_vec()), B64(app.root.to_der()?)],
        feed: key.feed(),
        generation: key.generation(),
        feed_key: B64(key.public_der()?),
    })
}

/// May this key be a service's?
fn may_join(tx: &Tx<'_>, pin: &Digest, role: ServiceRole) -> Result<(), Failure> {
    if tx.compromised(pin)? {
        return Err(refuse(ProblemCode::Conflict, "this key was revoked as compromised and is not certified again"));
    }
    match tx.pin(pin)? {
        Some(known) if known.role != role => {
            Err(refuse(ProblemCode::Conflict, "this key joined as another service; a key has one role"))
        }
        _ => Ok(()),
    }
}

/// Members know certsrv by its name: whoever had a certificate for it could ask them for passwords and tokens.
fn not_our_own(asked: &[AltName], own: &[AltName]) -> Result<(), Failure> {
    if asked.iter().any(|name| own.contains(name)) {
        let detail = "a name of certsrv itself is asked for: give the service a name of its own, or set evaluation = \
                      true at certsrv if all run on one host on purpose";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    Ok(())
}

fn role_of(tx: &Tx<'_>, token: &Digest) -> Result<ServiceRole, Failure> {
    decide::service_token(tx.token(token)?.as_ref(), UnixTime::now()).ok_or_else(|| {
        refuse(ProblemCode::NotAuthenticated, "the token is unknown, used or out of time; make one with: service token")
    })
}

/// The names that a service asks for, checked as its own would be.
fn service_names(asked: Vec<AltName>) -> Result<Vec<AltName>, Failure> {
    let checked: Option<Vec<AltName>> = asked
        .into_iter()
        .map(|name| match name {
            AltName::Dns(host) => service_name(&host),
            AltName::Ip(_) => Some(name),
            AltName::Mail(_) | AltName::Uri(_) => None,
        })
        .collect();
    checked.filter(|names| (1..=16).contains(&names.len())).ok_or_else(|| {
        refuse(ProblemCode::BadRequest, "1 to 16 DNS names or IP addresses are wanted in the request's subjectAltName")
    })
}

const fn role_name(role: ServiceRole) -> &'static str {
    match role {
        ServiceRole::Groupsrv => "groupsrv",
        ServiceRole::Exploder => "exploder",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_service_is_not_given_certsrvs_name() {
        let names = |texts: &[&str]| texts.iter().map(|text| service_name(text).unwrap()).collect::<Vec<_>>();
        let own = names(&["certsrv.test", "192.0.2.1"]);
        assert!(not_our_own(&names(&["exploder.test", "192.0.2.2"]), &own).is_ok());
        for asked in ["CERTSRV.test", "192.0.2.1"] {
            assert!(not_our_own(&names(&["exploder.test", asked]), &own).is_err(), "{asked}");
        }
    }
}
