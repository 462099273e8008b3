//! Certificates in a SignedData without signers (RFC 5652 section 5.2, RFC 8551 section 3.8): what EST answers with.

use twinseal_proto::cms::der::{self, Tag};
use twinseal_proto::cms::labels;

/// The certificates (DER) as a DER ContentInfo.
pub(crate) fn encode(certificates: &[&[u8]]) -> Vec<u8> {
    // The certificates are a SET OF: DER orders its members by their octets (X.690 section 11.6).
    let mut ordered = certificates.to_vec();
    ordered.sort_unstable();
    let empty_set = der::tlv(Tag::SET, &[]);
    let signed_data = der::sequence(&[
        &der::small(1),
        &empty_set,
        &der::sequence(&[&der::object_id(labels::DATA)]),
        &der::tlv(Tag::context_constructed(0), &ordered),
        &empty_set,
    ]);
    let content = der::tlv(Tag::context_constructed(0), &[&signed_data]);
    der::sequence(&[&der::object_id(labels::SIGNED_DATA), &content])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::encode;
    use openssl::pkcs7::Pkcs7;

    #[test]
    fn openssl_reads_the_certificates_back() {
        let one = crate::tests::self_signed("one").to_der().unwrap();
        let two = crate::tests::self_signed("two").to_der().unwrap();
        let parsed = Pkcs7::from_der(&encode(&[&one, &two])).unwrap();
        let mut found: Vec<Vec<u8>> =
            parsed.signed().unwrap().certificates().unwrap().iter().map(|c| c.to_der().unwrap()).collect();
        let mut wanted = vec![one, two];
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
