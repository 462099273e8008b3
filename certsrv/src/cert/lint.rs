//! The lint: reads back every certificate before it is signed, by OpenSSL's parser and by its own, and compares it with
//! its profile and with rules that hold for all (RFC 5280, RFC 8550 section 4.4).

mod status;

use super::good_key::{self, KeyKind};
use super::labels;
use super::profile::{AltName, Profile, StatusSource, Usage};
use openssl::x509::{X509, X509ExtendedKeyUsage, X509KeyUsage, X509Ref};
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::der::{self, DerError, Fault, Oid, Reader, Tag};

/// Longest life of a certificate that is not a CA's, in days.
const MAX_DAYS: i32 = 825;

/// Every extension that a profile may ask for.
const KNOWN: [Oid<'static>; 10] = [
    labels::AUTHORITY_INFO_ACCESS,
    labels::AUTHORITY_KEY_ID,
    labels::BASIC_CONSTRAINTS,
    labels::CRL_DISTRIBUTION_POINTS,
    labels::EXTENDED_KEY_USAGE,
    labels::KEY_USAGE,
    labels::NO_REV_AVAIL,
    labels::OCSP_NO_CHECK,
    labels::SUBJECT_ALT_NAME,
    labels::SUBJECT_KEY_ID,
];

/// What is wrong with the certificate: a fault of ours, never of the requester's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LintError {
    /// It cannot be read back.
    #[error("unreadable")]
    Unreadable,
    /// An extension is malformed, missing, doubled or has the wrong criticality.
    #[error("extensions ({0})")]
    Extensions(DerError),
    /// A field is not what it has to be.
    #[error("{0}")]
    Field(&'static str),
}

impl From<DerError> for LintError {
    fn from(error: DerError) -> Self {
        Self::Extensions(error)
    }
}

/// Checks a DER certificate, whose signature is not looked at, against its profile and its issuer.
pub(crate) fn check(der: &[u8], profile: &Profile, issuer: &X509Ref) -> Result<(), LintError> {
    let certificate = X509::from_der(der).map_err(|_| LintError::Unreadable)?;
    let again = certificate.to_der().map_err(|_| LintError::Unreadable)?;
    let extensions = extensions(der)?;
    let key = CertificateKey::read(der)?;
    let rules: [(bool, &'static str); 15] = [
        (again == der, "the encoding is not DER"),
        (certificate.version() == 2, "the version is not 3"),
        (serial(&certificate), "the serial number is not positive with 16 octets"),
        (same_name(&certificate, issuer), "the issuer is not the CA"),
        (
            certificate.authority_key_id().map(openssl::asn1::Asn1OctetStringRef::as_slice)
                == issuer.subject_key_id().map(openssl::asn1::Asn1OctetStringRef::as_slice),
            "the authority key is not the CA's",
        ),
        (
            certificate.subject_key_id().is_some_and(|id| id.len() == 20),
            "there is no subject key identifier of 20 octets",
        ),
        (validity(&certificate, profile, issuer), "the dates are wrong"),
        (subject(&certificate, profile), "the subject is not the profile's"),
        (names(&certificate, profile), "the alternative names are not the profile's"),
        (usage(&certificate, key.spki, profile), "the key usage is not the profile's, or not the key's"),
        (purposes(&certificate, &extensions, profile), "the extended key usage is not the profile's"),
        (short_lived(&certificate, &extensions, profile), "what is said about revocation is not the profile's"),
        (constraints(&certificate, &extensions, profile), "the basic constraints are not the profile's"),
        (extensions.iter().all(|extension| KNOWN.contains(&extension.id)), "there is an extension that no profile has"),
        (status::told(&extensions, &profile.status), "where the status is found is not the profile's"),
    ];
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(LintError::Field(rule)))
}

/// An extension as it is written.
struct Extension<'a> {
    id: Oid<'a>,
    value: &'a [u8],
}

/// The extensions; each id once, critical where RFC 5280 wants it.
fn extensions(der: &[u8]) -> Result<Vec<Extension<'_>>, DerError> {
    Reader::all(der, "Certificate", |outer| {
        let mut signed = outer.enter(Tag::SEQUENCE, "Certificate")?;
        let mut tbs = signed.enter(Tag::SEQUENCE, "TBSCertificate")?;
        tbs.element(Tag::context_constructed(0))?;
        tbs.integer()?;
        for _ in 0..5 {
            tbs.element(Tag::SEQUENCE)?; // signature, issuer, validity, subject, subjectPublicKeyInfo
        }
        let mut wrapper = tbs.enter(Tag::context_constructed(3), "Extensions")?;
        tbs.finish()?;
        let mut list = wrapper.enter(Tag::SEQUENCE, "Extensions")?;
        wrapper.finish()?;
        let mut found: Vec<Extension<'_>> = Vec::new();
        while !list.is_empty() {
            let mut extension = list.enter(Tag::SEQUENCE, "Extension")?;
            let id = extension.oid()?;
            let critical = extension.optional(Tag::BOOLEAN)?.is_some();
            let value = extension.octets()?;
            extension.finish()?;
            let wanted = id == labels::BASIC_CONSTRAINTS || id == labels::KEY_USAGE;
            if critical != wanted || found.iter().any(|other| other.id == id) {
                return Err(list.fault(Fault::Value));
            }
            found.push(Extension { id, value });
        }
        signed.element(Tag::SEQUENCE)?; // signatureAlgorithm
        signed.bits()?;
        signed.finish()?;
        Ok(found)
    })
}

fn value<'a>(extensions: &[Extension<'a>], id: Oid<'_>) -> Option<&'a [u8]> {
    extensions.iter().find(|extension| extension.id == id).map(|extension| extension.value)
}

fn serial(certificate: &X509Ref) -> bool {
    certificate.serial_number().to_bn().is_ok_and(|number| !number.is_negative() && number.num_bytes() == 16)
}

fn same_name(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    certificate.issuer_name().to_der().ok() == issuer.subject_name().to_der().ok()
}

fn validity(certificate: &X509Ref, profile: &Profile, issuer: &X509Ref) -> bool {
    let Ok(life) = certificate.not_before().diff(certificate.not_after()) else { return false };
    let positive = life.days > 0 || life.secs > 0;
    let short = profile.ca.is_some() || life.days <= MAX_DAYS;
    let within = certificate.not_after().compare(issuer.not_after()).is_ok_and(std::cmp::Ordering::is_le);
    positive && short && within
}

fn subject(certificate: &X509Ref, profile: &Profile) -> bool {
    let mut entries = certificate.subject_name().entries();
    let first = entries.next().and_then(|entry| entry.data().to_string().ok());
    first.is_some_and(|name| name == profile.common_name && !name.is_empty() && name.len() <= 64)
        && entries.next().is_none()
}

fn names(certificate: &X509Ref, profile: &Profile) -> bool {
    let found = certificate.subject_alt_names();
    let read: Vec<Option<AltName>> = found.iter().flatten().map(alternative).collect();
    let wanted: Vec<Option<AltName>> = profile.names.iter().cloned().map(Some).collect();
    // Only what nobody looks up by name has none: CAs and their OCSP responders.
    let nameless = profile.ca.is_some() || profile.status == StatusSource::NotChecked;
    read == wanted && (nameless == wanted.is_empty())
}

fn alternative(name: &openssl::x509::GeneralNameRef) -> Option<AltName> {
    let ascii = |text: &str| text.is_ascii().then(|| text.to_owned());
    if let Some(address) = name.email() {
        return ascii(address).map(AltName::Mail);
    }
    if let Some(host) = name.dnsname() {
        return ascii(host).map(AltName::Dns);
    }
    if let Some(uri) = name.uri() {
        return ascii(uri).map(AltName::Uri);
    }
    let octets = name.ipaddress()?;
    let v4 = <[u8; 4]>::try_from(octets).map(Into::into);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(Into::into)).ok().map(AltName::Ip)
}

fn usage(certificate: &X509Ref, spki: &[u8], profile: &Profile) -> bool {
    let table = [
        (Usage::SIGN, X509KeyUsage::DIGITAL_SIGNATURE),
        (Usage::ENCIPHER, X509KeyUsage::KEY_ENCIPHERMENT),
        (Usage::AGREE, X509KeyUsage::KEY_AGREEMENT),
        (Usage::CA, X509KeyUsage::KEY_CERT_SIGN | X509KeyUsage::CRL_SIGN),
    ];
    let mut wanted = X509KeyUsage::empty();
    for (ours, theirs) in table {
        if profile.usage.0 & ours.0 != 0 {
            wanted |= theirs;
        }
    }
    let Ok(key) = good_key::check(spki) else { return false };
    // RSA keys do not agree, elliptic-curve keys do not encipher (RFC 3279 section 2.3, RFC 5480 section 3).
    let foreign = match key.kind {
        KeyKind::Rsa => X509KeyUsage::KEY_AGREEMENT,
        KeyKind::Ec => X509KeyUsage::KEY_ENCIPHERMENT,
    };
    certificate.key_usage() == Some(wanted) && !wanted.is_empty() && !wanted.intersects(foreign)
}

fn purposes(certificate: &X509Ref, extensions: &[Extension<'_>], profile: &Profile) -> bool {
    let Some(octets) = value(extensions, labels::EXTENDED_KEY_USAGE) else { return profile.purposes.is_empty() };
    let read = Reader::all(octets, "ExtKeyUsage", |outer| {
        let mut list = outer.enter(Tag::SEQUENCE, "ExtKeyUsage")?;
        let mut found = Vec::new();
        while !list.is_empty() {
            found.push(list.oid()?);
        }
        Ok::<_, DerError>(found)
    });
    let mail = profile.purposes.contains(&labels::EMAIL_PROTECTION);
    let seen = certificate.extended_key_usage().unwrap_or(X509ExtendedKeyUsage::empty());
    read.is_ok_and(|found| found == profile.purposes)
        && seen.contains(X509ExtendedKeyUsage::SMIME) == mail
        && !(mail && seen != X509ExtendedKeyUsage::SMIME)
}

/// noRevAvail stands in short-lived certificates and in no other, and never beside a way to ask (RFC 9608 section 4).
fn short_lived(certificate: &X509Ref, extensions: &[Extension<'_>], profile: &Profile) -> bool {
    let said = value(extensions, labels::NO_REV_AVAIL);
    let Some(hours) = profile.hours else { return said.is_none() };
    let asks = certificate.crl_distribution_points().is_some() || certificate.ocsp_responders().is_ok();
    let life = certificate.not_before().diff(certificate.not_after());
    // A day more than said at most: certificates are dated back a little.
    let short = life.is_ok_and(|life| u32::try_from(life.days).is_ok_and(|days| days <= hours.div_ceil(24)));
    said == Some(der::NULL) && !asks && short && hours <= 168
}

fn constraints(certificate: &X509Ref, extensions: &[Extension<'_>], profile: &Profile) -> bool {
    let Some(octets) = value(extensions, labels::BASIC_CONSTRAINTS) else { return false };
    // `cA FALSE` is an empty SEQUENCE.
    (octets == [0x30, 0x00]) == profile.ca.is_none() && certificate.pathlen() == profile.ca.map(u32::from)
}

#[cfg(test)]
mod tests;
