//! `twinseal status`: the member, the certificate, the lists.

use crate::exit::Failure;
use crate::home::Home;
use crate::identity::{self, IdentityError};
use crate::lists;
use crate::trust;
use openssl::x509::X509Ref;
use serde::Serialize;
use std::fmt;
use twinseal_proto::cert;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;

/// How things stand.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The member.
    pub address: MailAddress,
    /// certsrv's URL.
    pub certsrv: String,
    /// The member's certificate, once there is one.
    pub certificate: Option<Certificate>,
    /// The lists whose certificates are known, with the newest of each.
    pub lists: Vec<List>,
}

/// A certificate in short.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Digest,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// The end of its validity, RFC 3339.
    pub not_after: String,
    /// Whether it is good now.
    pub live: bool,
    /// Whether it ends within 30 days: time to renew.
    pub ends_soon: bool,
}

/// A list in short.
#[derive(Debug, Serialize)]
pub struct List {
    /// Its address.
    pub list: ListAddress,
    /// Its newest certificate.
    pub certificate: Certificate,
}

impl Certificate {
    /// What there is to say about `certificate` at `now`.
    ///
    /// # Errors
    /// [`IdentityError`] when it cannot be read.
    pub fn of(certificate: &X509Ref, now: UnixTime) -> Result<Self, IdentityError> {
        let serial = certificate.serial_number().to_bn()?.to_hex_str()?.to_lowercase();
        let until = cert::not_after(certificate)?;
        Ok(Self {
            fingerprint: trust::fingerprint(certificate),
            serial,
            not_after: until.to_string(),
            ends_soon: until.since(now) < 30 * 86_400,
            live: cert::valid_at(certificate, now)?,
        })
    }
}

/// Reads how things stand at `now`.
///
/// # Errors
/// [`Failure`].
pub fn status(home: &Home, now: UnixTime) -> Result<Status, Failure> {
    let settings = home.settings()?;
    let certificate = match identity::load_certificate(home) {
        Ok((own, _)) => Some(Certificate::of(&own, now)?),
        Err(IdentityError::Home(crate::home::HomeError::Missing(_))) => None,
        Err(other) => return Err(other.into()),
    };
    let mut found = Vec::new();
    for known in lists::all(home)? {
        if let Some(newest) = known.certificates.first() {
            found.push(List { list: known.list.clone(), certificate: Certificate::of(newest, now)? });
        }
    }
    Ok(Status { address: settings.address, certsrv: settings.certsrv, certificate, lists: found })
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.live { "good until" } else { "NOT LIVE, ends" };
        write!(f, "{state} {}, fingerprint {}", self.not_after, self.fingerprint)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "address      {}", self.address)?;
        writeln!(f, "certsrv      {}", self.certsrv)?;
        match &self.certificate {
            Some(certificate) if certificate.ends_soon => {
                write!(f, "certificate  {certificate}\n             it ends soon: twinseal renew")?;
            }
            Some(certificate) => write!(f, "certificate  {certificate}")?,
            None => write!(f, "certificate  none: enrolment is not finished")?,
        }
        for list in &self.lists {
            write!(f, "\nlist         {}: {}", list.list, list.certificate)?;
        }
        Ok(())
    }
}
