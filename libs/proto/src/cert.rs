//! What the services read out of an X.509 certificate (RFC 5280). Path validation is done where the trust anchor is known.

use crate::encoding::Digest;
use crate::time::UnixTime;
use openssl::asn1::Asn1Time;
use openssl::nid::Nid;
use openssl::x509::X509Ref;

/// A certificate could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// OpenSSL could not parse it or one of its parts.
    #[error("the certificate cannot be read")]
    Unreadable(#[from] openssl::error::ErrorStack),
}

/// SHA-256 of the DER SubjectPublicKeyInfo: what peers pin.
///
/// # Errors
/// [`CertError::Unreadable`] when the key cannot be re-encoded.
pub fn spki_digest(certificate: &X509Ref) -> Result<Digest, CertError> {
    Ok(Digest::of(&certificate.public_key()?.public_key_to_der()?))
}

/// The DER of the issuer's Name.
///
/// # Errors
/// [`CertError::Unreadable`] when the name cannot be re-encoded.
pub fn issuer_der(certificate: &X509Ref) -> Result<Vec<u8>, CertError> {
    Ok(certificate.issuer_name().to_der()?)
}

/// The content octets of the serial number's DER INTEGER: big-endian, two's complement, at least one octet.
///
/// # Errors
/// [`CertError::Unreadable`] when the number cannot be read.
pub fn serial_octets(certificate: &X509Ref) -> Result<Vec<u8>, CertError> {
    let mut octets = certificate.serial_number().to_bn()?.to_vec();
    if octets.first().is_none_or(|first| first & 0x80 != 0) {
        octets.insert(0, 0);
    }
    Ok(octets)
}

/// The subject key identifier (RFC 5280 section 4.2.1.2), where the certificate has one.
#[must_use]
pub fn subject_key_id(certificate: &X509Ref) -> Option<Vec<u8>> {
    certificate.subject_key_id().map(|id| id.as_slice().to_vec())
}

/// The mail addresses of the certificate: rfc822Name alternatives first, then emailAddress in the subject (RFC 8550
/// section 3), as written.
#[must_use]
pub fn mail_addresses(certificate: &X509Ref) -> Vec<String> {
    let mut found: Vec<String> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| name.email().map(str::to_owned))
        .collect();
    for entry in certificate.subject_name().entries_by_nid(Nid::PKCS9_EMAILADDRESS) {
        if let Ok(text) = entry.data().to_string() {
            found.push(text);
        }
    }
    found
}

/// Whether `now` lies within the certificate's validity.
///
/// # Errors
/// [`CertError::Unreadable`] when its times cannot be compared.
pub fn valid_at(certificate: &X509Ref, now: UnixTime) -> Result<bool, CertError> {
    let now = Asn1Time::from_unix(i64::try_from(now.0).unwrap_or(i64::MAX))?;
    let started = certificate.not_before().compare(&now)?.is_le();
    let ended = certificate.not_after().compare(&now)?.is_le();
    Ok(started && !ended)
}

/// The end of the certificate's validity.
///
/// # Errors
/// [`CertError::Unreadable`] when its time cannot be read.
pub fn not_after(certificate: &X509Ref) -> Result<UnixTime, CertError> {
    let epoch = Asn1Time::from_unix(0)?;
    let span = epoch.diff(certificate.not_after())?;
    let seconds = i64::from(span.days) * 86_400 + i64::from(span.secs);
    Ok(UnixTime(u64::try_from(seconds).unwrap_or(0)))
}
