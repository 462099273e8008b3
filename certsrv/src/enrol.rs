//! A member's certificate, from credentials and a request to the published certificate: the whole flow on one page.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::{Class, Credentials, Principal, authenticate, bad_token};
use crate::cert::csr;
use crate::cert::good_key::GoodKey;
use crate::cert::profile::{AltName, Profile};
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::issue::{Authority, Order, issue};
use crate::key_change::{self, Way, way};
use crate::rows::{Holder, KeyUse, Notice, RequestEnd, Wish};
use crate::store::Tx;
use crate::{again, decide, members, notices, requests};
use std::collections::BTreeSet;
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::MemberRole;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;

/// What comes of a wish for a certificate.
pub(crate) enum Enrolled {
    /// The DER certificate.
    Certificate(Vec<u8>),
    /// Somebody has to approve the key first.
    Waiting,
}

/// A key that is to be certified.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Whose it is.
    pub(crate) address: MailAddress,
    /// SHA-256 of its DER SubjectPublicKeyInfo.
    pub(crate) key: Digest,
    /// What for.
    pub(crate) purpose: KeyUse,
    /// How much the log-in proves.
    pub(crate) class: Class,
    /// The token that was the log-in.
    pub(crate) token: Option<Digest>,
}

impl Wanted {
    /// What `principal` wants.
    pub(crate) fn new(principal: &Principal, spki: &[u8], purpose: KeyUse) -> Self {
        let Principal { account, class, token } = principal;
        Self { address: account.address.clone(), key: Digest::of(spki), purpose, class: *class, token: *token }
    }

    /// How the key may be certified as things stand in `tx`.
    fn way(&self, tx: &Tx<'_>) -> Result<Way, Failure> {
        let now = UnixTime::now();
        if let Some(token) = self.token
            && decide::enrol_token(tx.token(&token)?.as_ref(), now).as_ref() != Some(&self.address)
        {
            return Err(bad_token());
        }
        way(tx, &key_change::account(tx, &self.address)?, self.key, self.purpose, self.class, now)
    }
}

/// Enrols; returns the new certificate, or that of an enrolment with the same token and key whose answer was lost.
pub(crate) async fn enrol(
    app: &Arc<App>,
    credentials: Credentials,
    purpose: KeyUse,
    request: &[u8],
) -> Result<Enrolled, Failure> {
    let token = match &credentials {
        Credentials::Token(token) => Some(token.digest()),
        _ => None,
    };
    let refused = match (enrol_one(app, credentials, purpose, request).await, token) {
        (Err(Failure::Refused(problem)), Some(token)) => (problem, token),
        (other, _) => return other,
    };
    let given = again::given(app, &refused.1, Authority::Members, request).await?;
    given.map(|row| Enrolled::Certificate(row.certificate.0)).ok_or_else(|| refused.0.into())
}

async fn enrol_one(
    app: &Arc<App>,
    credentials: Credentials,
    purpose: KeyUse,
    request: &[u8],
) -> Result<Enrolled, Failure> {
    // Step 1: who is it?
    let principal = authenticate(app, credentials).await?;
    // Step 2: is the key theirs?
    let request = csr::read(request).map_err(|e| refuse(ProblemCode::BadRequest, e.to_string()))?;
    // Step 3: what may the certificate say?
    own_names(&request.names, &principal.account.address)?;
    certify(app, &principal, request.key, purpose).await
}

/// Steps 3 to 7 for a key whose possession was proven, or that was made here.
pub(crate) async fn certify(
    app: &Arc<App>,
    principal: &Principal,
    key: GoodKey,
    purpose: KeyUse,
) -> Result<Enrolled, Failure> {
    let wanted = Wanted::new(principal, &key.spki, purpose);
    if wanted.way(&app.registry.view())? == Way::Approval {
        return ask(app, wanted).await;
    }
    hit("certsrv.enrol.before-issue");
    // Steps 4 to 6: prepare, record, sign.
    let by = Actor::Account(wanted.address.clone());
    let order = Order {
        holder: Holder::Member { address: wanted.address.clone() },
        profile: Profile::member_for(&wanted.address, key.kind, purpose),
        spki: key.spki,
        days: app.config.member_days,
    };
    let issued = issue(app, &by, Authority::Members, vec![order]).await?;
    // Step 7: publish, if what allowed it still holds.
    let changes: Vec<_> = issued.iter().map(|one| (one.serial, one.change(wanted.token))).collect();
    let at = Arc::clone(app);
    let decide =
        move |tx: &mut Tx<'_>| changes.into_iter().try_for_each(|(s, change)| publish(&at, tx, &wanted, s, change));
    app.registry.commit(by, decide).await?;
    hit("certsrv.enrol.before-answer");
    Ok(Enrolled::Certificate(issued.into_iter().next().map(|one| one.der).unwrap_or_default()))
}

/// Pushes `change`, which gives the account the certificate `serial`, and all that follows from it.
pub(crate) fn publish(
    app: &App,
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    serial: crate::cert::serial::Serial,
    change: Change,
) -> Result<(), Failure> {
    let way = wanted.way(tx)?;
    let another = tx.certificates_of(&wanted.address)?.iter().any(|row| row.key != wanted.key);
    let request = match way {
        Way::Approval => {
            let detail = "the account has got another live key meanwhile; ask again";
            return Err(refuse(ProblemCode::Conflict, detail));
        }
        Way::Replacement(request) => request,
        Way::First | Way::Renewal => None,
    };
    tx.push(change)?;
    if wanted.purpose.encrypts() {
        members::key_memberships(tx, &wanted.address, serial)?;
        notices::memberships(app, tx, UnixTime::now())?;
    }
    if let Some(request) = request {
        tx.push(Change::RequestEnded { request, end: RequestEnd::Done })?;
    }
    // Also a first key after an old one ran out: whoever waited for that is told of.
    if another && way != Way::Renewal {
        let now = UnixTime::now();
        let mut told = owners(tx, &wanted.address)?;
        told.insert(wanted.address.clone());
        for to in told {
            let notice = Notice::KeyChanged { to, address: wanted.address.clone(), serial };
            notices::queue(app, tx, now, notice)?;
        }
    }
    Ok(())
}

/// Has the owners asked about another key, unless they were.
pub(crate) async fn ask(app: &Arc<App>, wanted: Wanted) -> Result<Enrolled, Failure> {
    hit("certsrv.key-request.before-commit");
    let by = Actor::Account(wanted.address.clone());
    let at = Arc::clone(app);
    app.registry.commit(by, move |tx| ask_once(&at, tx, &wanted)).await?;
    hit("certsrv.key-request.before-answer");
    Ok(Enrolled::Waiting)
}

fn ask_once(app: &App, tx: &mut Tx<'_>, wanted: &Wanted) -> Result<(), Failure> {
    let (now, address) = (UnixTime::now(), &wanted.address);
    key_change::account(tx, address)?;
    let wish = Wish::Key { address: address.clone(), key: wanted.key };
    let waiting = tx.requests_of(address)?;
    let keys = waiting.iter().filter(|other| matches!(other.wish, Wish::Key { .. }) && now < other.expires);
    if keys.clone().any(|other| other.wish == wish) {
        return Ok(());
    }
    if keys.count() >= requests::MOST_KEYS {
        let detail = "other keys of this account wait for approval already; an owner or an administrator decides";
        return Err(refuse(ProblemCode::Conflict, detail));
    }
    let request = requests::make(tx, now, wish, true)?.id;
    for group in tx.memberships(address)? {
        for to in owners_of(tx, &group)? {
            notices::queue(app, tx, now, Notice::Waiting { to, request, group })?;
        }
    }
    Ok(())
}

/// The owners of the account's groups.
fn owners(tx: &Tx<'_>, address: &MailAddress) -> Result<BTreeSet<MailAddress>, Failure> {
    let mut found = BTreeSet::new();
    for group in tx.memberships(address)? {
        found.extend(owners_of(tx, &group)?);
    }
    Ok(found)
}

fn owners_of(tx: &Tx<'_>, group: &twinseal_proto::ids::GroupId) -> Result<Vec<MailAddress>, Failure> {
    let owner = |row: &crate::rows::Member| row.role == MemberRole::Owner;
    Ok(tx.members(group)?.into_iter().filter(owner).map(|row| row.address).collect())
}

/// The request must name the account's address and nothing else.
pub(crate) fn own_names(names: &[AltName], address: &MailAddress) -> Result<(), Failure> {
    let own = |name: &AltName| match name {
        AltName::Mail(text) => text.parse::<MailAddress>().is_ok_and(|named| named == *address),
        AltName::Dns(_) | AltName::Ip(_) | AltName::Uri(_) => false,
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
