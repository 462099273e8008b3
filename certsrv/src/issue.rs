//! Steps 4 to 6, for every certificate that is issued: prepare and lint, record the intent, sign. What comes out is
//! published by the commit that the caller makes of it; until then nobody has it.

use crate::app::App;
use crate::audit::{Actor, Record};
use crate::cert::ca::{Ca, CaError, Prepared};
use crate::cert::profile::{Pointers, Profile};
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::failure::Failure;
use crate::revocation::places;
use crate::rows::{Holder, KeyUse, Published};
use crate::{parallel, random};
use std::sync::Arc;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;

/// A certificate to issue.
pub(crate) struct Order {
    /// Whose it will be.
    pub(crate) holder: Holder,
    /// What it will say.
    pub(crate) profile: Profile,
    /// DER SubjectPublicKeyInfo that was checked.
    pub(crate) spki: Vec<u8>,
    /// Its life.
    pub(crate) days: u32,
}

/// A signed certificate that is not published yet.
pub(crate) struct Issued {
    /// Its serial number.
    pub(crate) serial: Serial,
    /// Whose it is.
    pub(crate) holder: Holder,
    /// DER.
    pub(crate) der: Vec<u8>,
    /// notAfter.
    until: UnixTime,
    /// What it is for.
    purpose: KeyUse,
}

impl Issued {
    /// The change that publishes it and uses up the token.
    pub(crate) fn change(&self, token: Option<Digest>) -> Change {
        let certificate = B64(self.der.clone());
        let (serial, holder, until, purpose) = (self.serial, self.holder.clone(), self.until, self.purpose);
        Change::CertificateIssued { serial, holder, certificate, until, token, purpose }
    }
}

/// Which CA signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Members and lists.
    Members,
    /// Memberships.
    Memberships,
    /// The services.
    Services,
}

impl Authority {
    /// What its certificates say about their status.
    fn told(self, public_url: &str) -> Option<Pointers> {
        match self {
            Self::Members => places::told(public_url, Published::Members),
            Self::Services => places::told(public_url, Published::Services),
            // Short-lived: nobody asks (RFC 9608).
            Self::Memberships => None,
        }
    }

    const fn of(self, app: &App) -> &Ca {
        match self {
            Self::Members => &app.members_ca,
            Self::Memberships => &app.memberships_ca,
            Self::Services => &app.services_ca,
        }
    }
}

/// Issues a certificate for each order, in their order.
pub(crate) async fn issue(
    app: &Arc<App>,
    by: &Actor,
    authority: Authority,
    orders: Vec<Order>,
) -> Result<Vec<Issued>, Failure> {
    let now = UnixTime::now();
    // Step 4.
    let at = Arc::clone(app);
    let prepared =
        tokio::task::spawn_blocking(move || parallel::map(orders, |order| prepare(&at, authority, order, now)))
            .await??;
    // Step 5: serial number and to-be-signed octets are on the disk before the key is used.
    let records: Vec<Record<'_>> = prepared
        .iter()
        .map(|(holder, _, p)| Record::intent(now, by, Some(holder), &p.serial, B64(p.tbs.clone())))
        .collect();
    app.registry.audit().record_all(&records).await?;
    drop(records);
    hit("certsrv.issue.after-audit");
    // Step 6.
    let at = Arc::clone(app);
    let issued = tokio::task::spawn_blocking(move || {
        parallel::map(prepared, |(holder, purpose, p)| {
            let (serial, until) = (p.serial, p.until);
            let der = authority.of(&at).issue(p)?;
            at.metrics.issued(&serial, &holder);
            Ok::<_, CaError>(Issued { serial, holder, der, until, purpose })
        })
    })
    .await??;
    hit("certsrv.issue.after-sign");
    Ok(issued)
}

fn prepare(
    app: &App,
    authority: Authority,
    order: Order,
    now: UnixTime,
) -> Result<(Holder, KeyUse, Prepared), CaError> {
    let serial = Serial::from_random(random::octets()?);
    let profile = order.profile.told(authority.told(&app.config.public_url));
    let prepared = authority.of(app).prepare(&profile, &order.spki, serial, now, order.days)?;
    Ok((order.holder, profile.key_use(), prepared))
}
