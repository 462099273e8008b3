//! The to-be-signed part of a certificate revocation list (RFC 5280 section 5.1), written octet by octet like that of a
//! certificate.

use super::labels;
use super::tbs::{self, Issuer};
use crate::rows::Revocation;
use twinseal_proto::api::admin::certsrv::RevocationReason;
use twinseal_proto::cms::der::{self, Tag};
use twinseal_proto::time::UnixTime;

/// ENUMERATED.
const ENUMERATED: Tag = Tag(0x0a);

/// What a list says. It is whole: everything that its CA revoked is on it (no issuingDistributionPoint).
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'a> {
    /// cRLNumber.
    pub(crate) number: u64,
    /// When it was true.
    pub(crate) this_update: UnixTime,
    /// When the next one is there at the latest.
    pub(crate) next_update: UnixTime,
    /// Who is on it.
    pub(crate) revoked: &'a [Revocation],
}

/// Writes a DER TBSCertList, version 2.
pub(crate) fn encode(list: &List<'_>, issuer: Issuer<'_>) -> Vec<u8> {
    let entries: Vec<u8> = list.revoked.iter().flat_map(entry).collect();
    // A list of nobody has no revokedCertificates at all (RFC 5280 section 5.1.2.6).
    let revoked = if entries.is_empty() { Vec::new() } else { der::sequence(&[&entries]) };
    let number = tbs::extension(labels::CRL_NUMBER, false, &integer(list.number));
    let extensions = der::sequence(&[&tbs::authority_key_id(issuer.key_id), &number]);
    der::sequence(&[
        &der::small(1),
        &issuer.algorithm.der(),
        issuer.name,
        &tbs::time(list.this_update),
        &tbs::time(list.next_update),
        &revoked,
        &der::tlv(Tag::context_constructed(0), &[&extensions]),
    ])
}

fn entry(row: &Revocation) -> Vec<u8> {
    let reason = match reason_code(row.reason) {
        // Left out rather than said (RFC 5280 section 5.3.1).
        None => Vec::new(),
        Some(code) => der::sequence(&[&tbs::extension(labels::CRL_REASON, false, &enumerated(code))]),
    };
    der::sequence(&[&der::tlv(Tag::INTEGER, &[row.serial.octets()]), &tbs::time(row.at), &reason])
}

/// CRLReason (RFC 5280 section 5.3.1); none for `unspecified`.
pub(crate) const fn reason_code(reason: RevocationReason) -> Option<u8> {
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(1),
        RevocationReason::AffiliationChanged => Some(3),
        RevocationReason::Superseded => Some(4),
        RevocationReason::CessationOfOperation => Some(5),
        RevocationReason::PrivilegeWithdrawn => Some(9),
    }
}

/// A DER ENUMERATED in 0 to 127.
pub(crate) fn enumerated(value: u8) -> Vec<u8> {
    der::tlv(ENUMERATED, &[&[value & 0x7f]])
}

/// A DER INTEGER: no octet more than needed, and a leading zero where the first bit would make it negative.
fn integer(value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count().min(octets.len() - 1);
    let significant = octets.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if significant.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    der::tlv(Tag::INTEGER, &[sign, significant])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::cert::ca::Ca;
    use crate::cert::profile::Profile;
    use crate::cert::serial::Serial;
    use crate::tests::{ec_key, now, rsa_key};
    use openssl::x509::{CrlStatus, ReasonCode, X509Crl};

    #[test]
    fn openssl_reads_the_list_back_for_both_kinds_of_ca_keys() {
        for key in [ec_key(), rsa_key(3072)] {
            let ca = Ca::root(
                crate::tests::signer(key.clone()),
                &Profile::root("Test"),
                Serial::from_random([1; 16]),
                now(),
                3650,
            )
            .unwrap();
            let reasons = RevocationReason::ALL;
            let revoked: Vec<Revocation> = (0u8..).zip(reasons).map(|(n, (_, reason))| row(n, reason)).collect();
            let list = List { number: 200, this_update: now(), next_update: now().plus(60), revoked: &revoked };
            let der = ca.sign_list(ca.prepare_list(list).unwrap()).unwrap();
            let crl = X509Crl::from_der(&der).unwrap();
            assert!(crl.verify(&key).unwrap());
            assert_eq!(crl.to_der().unwrap(), der);
            assert_eq!(crl.get_revoked().unwrap().len(), reasons.len());
            let said: Vec<Option<i64>> = revoked
                .iter()
                .map(|row| {
                    let number = openssl::bn::BigNum::from_slice(row.serial.octets()).unwrap();
                    let CrlStatus::Revoked(found) = crl.get_by_serial(&number.to_asn1_integer().unwrap()) else {
                        panic!("not on the list")
                    };
                    let reason = found.extension::<ReasonCode>().unwrap();
                    reason.map(|(critical, code)| {
                        assert!(!critical);
                        code.get_i64().unwrap()
                    })
                })
                .collect();
            assert_eq!(said, [None, Some(1), Some(3), Some(4), Some(5), Some(9)]);
        }
    }

    fn row(n: u8, reason: RevocationReason) -> Revocation {
        Revocation { serial: Serial::from_random([n; 16]), at: UnixTime(1_700_000_000), reason, until: UnixTime(0) }
    }

    #[test]
    fn a_list_of_nobody_is_a_list_and_ends_with_its_ca() {
        let ca =
            Ca::root(crate::tests::signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 30)
                .unwrap();
        let late = now().plus(400 * 86_400);
        let list = List { number: 1, this_update: now(), next_update: late, revoked: &[] };
        let crl = X509Crl::from_der(&ca.sign_list(ca.prepare_list(list).unwrap()).unwrap()).unwrap();
        assert!(crl.get_revoked().is_none_or(|stack| stack.is_empty()));
        assert!(crl.next_update().unwrap() <= ca.certificate().not_after());
        assert!(ca.prepare_list(List { this_update: late, ..list }).is_err());
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_positive() {
        for (value, octets) in [
            (0, vec![2, 1, 0]),
            (127, vec![2, 1, 127]),
            (128, vec![2, 2, 0, 128]),
            (256, vec![2, 2, 1, 0]),
            (u64::MAX, vec![2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            assert_eq!(integer(value), octets);
        }
    }
}
