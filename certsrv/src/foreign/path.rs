//! The path from a certificate that a member brought to a root that the configuration names (RFC 5280 section 6), and the
//! rules of our own on top: purpose S/MIME, the account's address, a key that we would certify (RFC 8550, RFC 8551).

use crate::cert::good_key::{self, BadKey, GoodKey};
use crate::rows::KeyUse;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509ExtendedKeyUsage, X509KeyUsage, X509PurposeId, X509Ref, X509StoreContext};
use twinseal_proto::cert::{not_after, serial_octets};
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;

/// OpenSSL's level of 112 bits: RSA and DSA keys of 2048 bits, curves of 224, no signature with SHA-1 in the path.
const SECURITY_LEVEL: i32 = 2;
/// Longest certificate in octets.
const LONGEST: usize = 16 * 1024;

/// A certificate with a path that holds.
pub(super) struct Path {
    /// The certificate.
    pub(super) certificate: X509,
    /// Its issuers, the nearest first, with the root.
    pub(super) issuers: Vec<X509>,
    /// Its key.
    pub(super) key: GoodKey,
    /// What it is for.
    pub(super) purpose: KeyUse,
    /// notAfter.
    pub(super) until: UnixTime,
}

/// Why a certificate is not taken. The texts are for its holder.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPath {
    /// Something in it is no certificate.
    #[error("not a certificate in DER")]
    Unreadable,
    /// No path to a root of ours, with OpenSSL's reason.
    #[error("the path does not hold: {0} (certificate {1} of it)")]
    Path(&'static str, u32),
    /// Not for S/MIME: extended key usage, or key usage.
    #[error("the certificate is not for S/MIME (RFC 8550 section 4.4)")]
    Purpose,
    /// The account's address is not in it.
    #[error("the certificate does not name the account's address in its subjectAltName")]
    Address,
    /// A key that we would not certify.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// OpenSSL.
    #[error("the certificate cannot be checked")]
    Ssl(#[from] ErrorStack),
}

impl Path {
    /// Checks `chain` (DER; the certificate first) against `roots` at `now`, for `address`.
    pub(super) fn check(chain: &[B64], roots: &[X509], address: &MailAddress, now: UnixTime) -> Result<Self, BadPath> {
        let result = Self::check_one(chain, roots, address, now);
        // What OpenSSL complained of is in its queue, where the next reading of a TLS connection would find it.
        drop(ErrorStack::get());
        result
    }

    fn check_one(chain: &[B64], roots: &[X509], address: &MailAddress, now: UnixTime) -> Result<Self, BadPath> {
        let read = |der: &B64| -> Result<X509, BadPath> {
            let certificate = X509::from_der(der.as_ref()).map_err(|_| BadPath::Unreadable)?;
            let whole = der.0.len() <= LONGEST && certificate.to_der()? == der.0;
            whole.then_some(certificate).ok_or(BadPath::Unreadable)
        };
        let all = chain.iter().map(read).collect::<Result<Vec<X509>, _>>()?;
        let mut all = all.into_iter();
        let certificate = all.next().ok_or(BadPath::Unreadable)?;
        let der = chain.first().ok_or(BadPath::Unreadable)?;
        let spki = CertificateKey::read(der.as_ref()).map_err(|_| BadPath::Unreadable)?.spki;
        let key = good_key::check(spki)?;
        let purpose = purpose(&certificate)?;
        let issuers = verify(&certificate, all, roots, purpose, now)?;
        if !names(&certificate, address) {
            return Err(BadPath::Address);
        }
        // Nobody can address a recipient by a serial number that cannot be read.
        serial_octets(&certificate).map_err(|_| BadPath::Unreadable)?;
        let until = not_after(&certificate).map_err(|_| BadPath::Unreadable)?;
        Ok(Self { certificate, issuers, key, purpose, until })
    }

    /// Where the issuer publishes CRLs: its http addresses.
    pub(super) fn crls(&self) -> Vec<String> {
        crls(&self.certificate)
    }

    /// Where the issuer answers OCSP requests: its http addresses.
    pub(super) fn ocsp(&self) -> Vec<String> {
        let urls = self.certificate.ocsp_responders();
        drop(ErrorStack::get());
        urls.into_iter().flatten().map(|url| url.to_string()).filter(|url| url.starts_with("http://")).take(4).collect()
    }
}

/// The http addresses of a certificate's CRLs.
pub(super) fn crls(certificate: &X509Ref) -> Vec<String> {
    let points = certificate.crl_distribution_points();
    let names = points.iter().flatten().filter_map(|point| point.distpoint()?.fullname());
    let urls = names.flatten().filter_map(|name| name.uri().map(str::to_owned));
    urls.filter(|url| url.starts_with("http://")).take(4).collect()
}

/// The issuers, nearest first, with the root.
fn verify(
    certificate: &X509,
    others: impl Iterator<Item = X509>,
    roots: &[X509],
    purpose: KeyUse,
    now: UnixTime,
) -> Result<Vec<X509>, BadPath> {
    let mut store = X509StoreBuilder::new()?;
    for root in roots {
        store.add_cert(root.clone())?;
    }
    let mut param = X509VerifyParam::new()?;
    param.set_time(i64::try_from(now.0).unwrap_or(i64::MAX));
    param.set_auth_level(SECURITY_LEVEL);
    param.set_depth(8);
    // OpenSSL's purpose of encryption knows RSA keys alone; what it looks at besides is looked at in `for_mail`.
    param.set_purpose(if purpose == KeyUse::Encrypt { X509PurposeId::ANY } else { X509PurposeId::SMIME_SIGN })?;
    store.set_param(&param)?;
    let mut untrusted = Stack::new()?;
    for other in others {
        untrusted.push(other)?;
    }
    let mut context = X509StoreContext::new()?;
    let store = store.build();
    let issuers: Vec<X509> = context.init(&store, certificate, &untrusted, |context| {
        Ok(if context.verify_cert()? {
            Ok(context.chain().into_iter().flatten().skip(1).map(ToOwned::to_owned).collect())
        } else {
            Err(BadPath::Path(context.error().error_string(), context.error_depth()))
        })
    })??;
    issuers.iter().all(|issuer| for_mail(issuer)).then_some(issuers).ok_or(BadPath::Purpose)
}

/// The extended key usage, where there is one, has emailProtection in it (RFC 8550 section 4.4.4).
fn for_mail(certificate: &X509Ref) -> bool {
    certificate.extended_key_usage().is_none_or(|usage| usage.intersects(X509ExtendedKeyUsage::SMIME))
}

/// What the key usage allows; without one, everything (RFC 8550 section 4.4.2).
fn purpose(certificate: &X509) -> Result<KeyUse, BadPath> {
    let mail = for_mail(certificate);
    let usage = certificate.key_usage().unwrap_or(X509KeyUsage::all());
    let rsa = certificate.public_key()?.id() == openssl::pkey::Id::RSA;
    let takes = if rsa { X509KeyUsage::KEY_ENCIPHERMENT } else { X509KeyUsage::KEY_AGREEMENT };
    let signs = usage.intersects(X509KeyUsage::DIGITAL_SIGNATURE | X509KeyUsage::NON_REPUDIATION);
    match (mail, signs, usage.contains(takes)) {
        (true, true, true) => Ok(KeyUse::Both),
        (true, true, false) => Ok(KeyUse::Sign),
        (true, false, true) => Ok(KeyUse::Encrypt),
        _ => Err(BadPath::Purpose),
    }
}

/// The account's address is among the rfc822Names. An emailAddress in the subject does not count: name constraints of the
/// issuers may not be about it (RFC 5280 section 4.2.1.10).
fn names(certificate: &X509, address: &MailAddress) -> bool {
    let all = certificate.subject_alt_names();
    all.iter().flatten().filter_map(|name| name.email()?.parse::<MailAddress>().ok()).any(|named| named == *address)
}

#[cfg(test)]
mod tests;
