//! An OCSP answer (RFC 6960 section 4.2 in the profile of RFC 9919), written octet by octet. Pure: what is signed goes in,
//! the octets come out.

use super::request::{Hash, HashForm};
use crate::cert::serial::Serial;
use crate::cert::{crl, labels, tbs};
use twinseal_proto::api::admin::certsrv::RevocationReason;
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::cms::labels::{SHA1, SHA256};
use twinseal_proto::time::UnixTime;

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Issued here, and not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// When.
        at: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
}

/// Why there is no signed answer: OCSPResponseStatus (RFC 6960 section 4.2.1). Unsigned, and never kept by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The request cannot be read.
    Malformed = 1,
    /// Something failed here.
    Internal = 2,
    /// Nothing can be said about this certificate: another CA's, unknown here, or ended (RFC 9919).
    Unauthorized = 6,
}

/// A CA as CertIDs name it, for both hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuerHashes {
    sha1: ([u8; 20], [u8; 20]),
    sha256: ([u8; 32], [u8; 32]),
}

impl IssuerHashes {
    /// Those of the CA with this DER Name and the content of this BIT STRING as its key.
    pub(crate) fn new(name: &[u8], key: &[u8]) -> Self {
        use openssl::sha::{sha1, sha256};
        Self { sha1: (sha1(name), sha1(key)), sha256: (sha256(name), sha256(key)) }
    }

    /// The hashes of name and key.
    pub(crate) fn of(&self, hash: Hash) -> (&[u8], &[u8]) {
        match hash {
            Hash::Sha1 => (&self.sha1.0, &self.sha1.1),
            Hash::Sha256 => (&self.sha256.0, &self.sha256.1),
        }
    }
}

/// The one certificate of an answer, and what is said about it.
pub(crate) struct Single<'a> {
    /// How its issuer is named.
    pub(crate) form: HashForm,
    /// Its issuer.
    pub(crate) issuer: &'a IssuerHashes,
    /// Its number.
    pub(crate) serial: &'a Serial,
    /// How it stands.
    pub(crate) status: Status,
    /// When that was known.
    pub(crate) this_update: UnixTime,
    /// When more is known at the latest.
    pub(crate) next_update: UnixTime,
}

/// Writes a DER ResponseData. `responder` is the SHA-1 of the responder's key: ResponderID byKey.
pub(crate) fn response_data(single: &Single<'_>, responder: &[u8; 20]) -> Vec<u8> {
    let by_key = der::tlv(Tag::context_constructed(2), &[&der::octet_string(responder)]);
    let next = der::tlv(Tag::context_constructed(0), &[&tbs::generalized_time(single.next_update)]);
    let this = tbs::generalized_time(single.this_update);
    let one = der::sequence(&[&cert_id(single), &cert_status(single.status), &this, &next]);
    der::sequence(&[&by_key, &this, &der::sequence(&[&one])])
}

fn cert_id(single: &Single<'_>) -> Vec<u8> {
    let (name, key) = single.issuer.of(single.form.hash);
    let oid: Oid<'_> = match single.form.hash {
        Hash::Sha1 => SHA1,
        Hash::Sha256 => SHA256,
    };
    let parameters = if single.form.null { der::NULL } else { &[] };
    der::sequence(&[
        &der::sequence(&[&der::object_id(oid), parameters]),
        &der::octet_string(name),
        &der::octet_string(key),
        &der::tlv(Tag::INTEGER, &[single.serial.octets()]),
    ])
}

fn cert_status(status: Status) -> Vec<u8> {
    match status {
        Status::Good => der::tlv(Tag::context(0), &[]),
        Status::Revoked { at, reason } => {
            let code = crl::reason_code(reason).map(crl::enumerated);
            let reason = code.map(|code| der::tlv(Tag::context_constructed(0), &[&code])).unwrap_or_default();
            der::tlv(Tag::context_constructed(1), &[&tbs::generalized_time(at), &reason])
        }
    }
}

/// A whole DER OCSPResponse of a signed ResponseData (with its algorithm and signature behind it) and the responder's
/// DER certificate.
pub(crate) fn successful(signed: &[u8], certificate: &[u8]) -> Vec<u8> {
    let certificates = der::tlv(Tag::context_constructed(0), &[&der::sequence(&[certificate])]);
    let basic = der::octet_string(&der::sequence(&[signed, &certificates]));
    let octets = der::sequence(&[&der::object_id(labels::OCSP_BASIC), &basic]);
    der::sequence(&[&crl::enumerated(0), &der::tlv(Tag::context_constructed(0), &[&octets])])
}

/// A whole DER OCSPResponse that says why there is no answer.
pub(crate) fn refused(why: Refused) -> Vec<u8> {
    der::sequence(&[&crl::enumerated(why as u8)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use openssl::ocsp::{OcspResponse, OcspResponseStatus};

    #[test]
    fn refusals_are_read_by_openssl() {
        let table = [
            (Refused::Malformed, OcspResponseStatus::MALFORMED_REQUEST),
            (Refused::Internal, OcspResponseStatus::INTERNAL_ERROR),
            (Refused::Unauthorized, OcspResponseStatus::UNAUTHORIZED),
        ];
        for (why, status) in table {
            let read = OcspResponse::from_der(&refused(why)).unwrap();
            assert_eq!(read.status(), status);
            assert!(read.basic().is_err());
        }
    }
}
