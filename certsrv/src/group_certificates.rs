//! A list's certificate, asked for by groupsrv for a key pair that it made.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::service;
use crate::cert::csr;
use crate::cert::profile::Profile;
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Order, issue};
use crate::rows::Holder;
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::group_certificate::{GroupCertificateRequest, GroupCertificateResponse};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{Epoch, GroupId, ListAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::Caller;

/// `GroupCertificate`.
pub(crate) async fn certify(
    app: Arc<App>,
    caller: Caller,
    request: GroupCertificateRequest,
) -> Result<GroupCertificateResponse, Problem> {
    certify_one(&app, &caller, request).await.map_err(Failure::into_problem)
}

async fn certify_one(
    app: &Arc<App>,
    caller: &Caller,
    request: GroupCertificateRequest,
) -> Result<GroupCertificateResponse, Failure> {
    service::groupsrv(app, caller)?;
    let asked = csr::read(request.csr.as_ref()).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    let (group, epoch, key) = (request.group, request.epoch, Digest::of(&asked.key.spki));
    let (list, present) = wanted(&app.registry.view(), &group, epoch, &key)?;
    if let Some(certificate) = present {
        // Asked again after an answer that did not arrive.
        return answer(app, certificate);
    }
    let order = Order {
        holder: Holder::Group { group, epoch },
        profile: Profile::group(&list, asked.key.kind),
        spki: asked.key.spki,
        days: app.config.group_days,
    };
    let by = Actor::Service(ServiceRole::Groupsrv);
    let issued = issue(app, &by, Authority::Members, vec![order]).await?;
    let decide = move |tx: &mut Tx<'_>| {
        let mut certificate = Vec::new();
        for one in issued {
            certificate = match wanted(tx, &group, epoch, &key)? {
                (_, Some(other)) => other,
                (_, None) => {
                    tx.push(one.change(None))?;
                    one.der
                }
            };
        }
        Ok(certificate)
    };
    let (certificate, _) = app.registry.commit(by, decide).await?;
    hit("certsrv.group-certificate.before-answer");
    answer(app, certificate)
}

/// The group's list, and the certificate that this key has already, unless it soon ends.
fn wanted(tx: &Tx<'_>, group: &GroupId, epoch: Epoch, key: &Digest) -> Result<(ListAddress, Option<Vec<u8>>), Failure> {
    let list = tx.list_of(group)?.ok_or_else(|| refuse(ProblemCode::NotFound, format!("there is no group {group}")))?;
    if tx.compromised(key)? {
        return Err(refuse(ProblemCode::Conflict, "this key was revoked as compromised and is not certified again"));
    }
    let Some(known) = tx.group_key(key)? else { return Ok((list, None)) };
    if known.group != *group || known.epoch != epoch {
        // One key for two groups, or two epochs, would open the one's mail with the other's rights (DESIGN 2).
        return Err(refuse(ProblemCode::Conflict, "this key is another group's or epoch's; make a new one"));
    }
    let row = tx.certificate(&known.serial)?;
    let now = UnixTime::now();
    let fresh = row.filter(|row| row.live(now) && row.until.since(now) > 30 * 86_400);
    Ok((list, fresh.map(|row| row.certificate.0)))
}

fn answer(app: &App, certificate: Vec<u8>) -> Result<GroupCertificateResponse, Failure> {
    let chain = vec![B64(app.members_ca.der().to_vec()), B64(app.root.to_der()?)];
    Ok(GroupCertificateResponse { certificate: B64(certificate), chain })
}
