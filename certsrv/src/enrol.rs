//! A member's certificate, from credentials and a request to the published certificate: the whole flow on one page.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::{Credentials, Principal, authenticate, bad_token};
use crate::cert::csr;
use crate::cert::profile::{AltName, Profile};
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Order, issue};
use crate::rows::{Account, Holder};
use crate::store::Tx;
use crate::{again, decide, members, notices};
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;

/// Enrols; returns the new DER certificate, or that of an enrolment with the same token and key whose answer was lost.
pub(crate) async fn enrol(app: &Arc<App>, credentials: Credentials, request: &[u8]) -> Result<Vec<u8>, Failure> {
    let Credentials::Token(token) = &credentials else { return enrol_one(app, credentials, request).await };
    let token = token.digest();
    let refused = match enrol_one(app, credentials, request).await {
        Err(Failure::Refused(problem)) => problem,
        other => return other,
    };
    let given = again::given(app, &token, Authority::Members, request).await?;
    given.map(|row| row.certificate.0).ok_or_else(|| refused.into())
}

async fn enrol_one(app: &Arc<App>, credentials: Credentials, request: &[u8]) -> Result<Vec<u8>, Failure> {
    // Step 1: who is it?
    let Principal { account, token, .. } = authenticate(app, credentials).await?;
    // Step 2: is the key theirs?
    let request = csr::read(request).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    // Step 3: what may the certificate say?
    own_names(&request.names, &account.address)?;
    let profile = Profile::member(&account.address, request.key.kind);
    let key = Digest::of(&request.key.spki);
    allowed(&app.registry.view(), &account.address, &key)?;
    hit("certsrv.enrol.before-issue");
    // Steps 4 to 6: prepare, record, sign.
    let by = Actor::Account(account.address.clone());
    let holder = Holder::Member { address: account.address.clone() };
    let order = Order { holder, profile, spki: request.key.spki, days: app.config.member_days };
    let issued = issue(app, &by, Authority::Members, vec![order]).await?;
    // Step 7: publish, if what allowed it still holds.
    let ((), _) = app
        .registry
        .commit(by, {
            let (address, at) = (account.address.clone(), Arc::clone(app));
            let changes: Vec<_> = issued.iter().map(|one| (one.serial, one.change(token))).collect();
            move |tx| {
                if let Some(token) = token
                    && decide::enrol_token(tx.token(&token)?.as_ref(), UnixTime::now()).as_ref() != Some(&address)
                {
                    return Err(bad_token());
                }
                allowed(tx, &address, &key)?;
                for (serial, change) in changes {
                    tx.push(change)?;
                    members::key_memberships(tx, &address, serial)?;
                }
                notices::memberships(&at, tx, UnixTime::now())
            }
        })
        .await?;
    hit("certsrv.enrol.before-answer");
    Ok(issued.into_iter().next().map(|one| one.der).unwrap_or_default())
}

/// The request must name the account's address and nothing else.
fn own_names(names: &[AltName], address: &MailAddress) -> Result<(), Failure> {
    let own = |name: &AltName| match name {
        AltName::Mail(text) => text.parse::<MailAddress>().is_ok_and(|named| named == *address),
        AltName::Dns(_) | AltName::Ip(_) => false,
    };
    if names.is_empty() {
        let detail = "the request names no address: a subjectAltName with the account's address is wanted \
                      (openssl req … -addext subjectAltName=email:ADDRESS)";
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    if !names.iter().all(own) {
        let detail = "the request's subjectAltName has a name that is not the account's address";
        return Err(refuse(ProblemCode::NotAuthorised, detail));
    }
    Ok(())
}

fn allowed(tx: &Tx<'_>, address: &MailAddress, key: &Digest) -> Result<(), Failure> {
    let account: Account = tx.account(address)?.ok_or_else(|| decide::no_account(address))?;
    let current = account.current.map(|serial| tx.certificate(&serial)).transpose()?.flatten();
    Ok(decide::enrol(&account, current.as_ref(), key, tx.compromised(key)?, UnixTime::now())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_account_and_nobody_else() {
        let ann = crate::tests::address("ann");
        let mail = |text: &str| AltName::Mail(text.into());
        let table = [
            (vec![mail("ann@members.test")], true),
            (vec![mail("Ann@Members.test"), mail("ann@members.test")], true),
            (vec![], false),
            (vec![mail("eve@members.test")], false),
            (vec![mail("ann@members.test"), mail("eve@members.test")], false),
            (vec![mail("ann@members.test"), AltName::Dns("members.test".into())], false),
            (vec![mail("ann@members.test\0.evil.test")], false),
        ];
        for (names, wanted) in table {
            assert_eq!(own_names(&names, &ann).is_ok(), wanted, "{names:?}");
        }
    }
}
