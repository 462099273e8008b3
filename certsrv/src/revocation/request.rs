//! An OCSP question (RFC 6960 section 4.1). Pure: octets from anybody in, what is asked out.
//!
//! Of several certificates in one request only the first is answered: RFC 9919 has clients ask for one, and answers
//! are signed before they are asked for. Nonces are not echoed, for the same reason; other extensions that are
//! not critical are passed over.

use twinseal_proto::cms::der::{DerError, Fault, Oid, Reader, Tag};
use twinseal_proto::cms::labels::{SHA1, SHA256};

/// Most octets of a request; one with a requestor name and a nonce needs about 300.
pub const MAX_REQUEST: usize = 4096;

/// How a CertID names its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashForm {
    /// The hash.
    pub hash: Hash,
    /// Its AlgorithmIdentifier has NULL parameters. The answer repeats what was asked, and some clients compare octets.
    pub null: bool,
}

/// The hashes of CertIDs that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1: what most clients send.
    Sha1,
    /// SHA-256: what RFC 9919 recommends.
    Sha256,
}

/// Which certificate is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertId<'a> {
    /// The hash; `None` for one that is not answered.
    pub form: Option<HashForm>,
    /// Hash of the issuer's DER Name.
    pub issuer_name: &'a [u8],
    /// Hash of the issuer's public key: the content of its BIT STRING.
    pub issuer_key: &'a [u8],
    /// Content octets of the serial number.
    pub serial: &'a [u8],
}

/// Reads a DER OCSPRequest.
///
/// # Errors
/// [`DerError`] when it is not one, has more than [`MAX_REQUEST`] octets, asks for nothing, or has a critical extension.
pub fn read(octets: &[u8]) -> Result<CertId<'_>, DerError> {
    if octets.len() > MAX_REQUEST {
        return Err(Fault::Length.in_type("OCSPRequest"));
    }
    Reader::all(octets, "OCSPRequest", |outer| {
        let mut request = outer.enter(Tag::SEQUENCE, "OCSPRequest")?;
        let mut tbs = request.enter(Tag::SEQUENCE, "TBSRequest")?;
        // Who asks does not matter: the answer is public.
        request.optional(Tag::context_constructed(0))?; // optionalSignature
        request.finish()?;
        if let Some(version) = tbs.optional(Tag::context_constructed(0))?
            && Reader::all(version.value, "Version", Reader::small)? != 0
        {
            return Err(tbs.fault(Fault::Value));
        }
        tbs.optional(Tag::context_constructed(1))?; // requestorName
        let mut list = tbs.enter(Tag::SEQUENCE, "requestList")?;
        if let Some(wrapped) = tbs.optional(Tag::context_constructed(2))? {
            no_critical_extension(wrapped.value)?;
        }
        tbs.finish()?;
        let first = one(&mut list)?;
        while !list.is_empty() {
            one(&mut list)?;
        }
        Ok(first)
    })
}

fn one<'a>(list: &mut Reader<'a>) -> Result<CertId<'a>, DerError> {
    let mut request = list.enter(Tag::SEQUENCE, "Request")?;
    let mut id = request.enter(Tag::SEQUENCE, "CertID")?;
    if let Some(wrapped) = request.optional(Tag::context_constructed(0))? {
        no_critical_extension(wrapped.value)?;
    }
    request.finish()?;
    let mut algorithm = id.enter(Tag::SEQUENCE, "CertID.hashAlgorithm")?;
    let form = form(algorithm.oid()?, algorithm.rest());
    let found = CertId { form, issuer_name: id.octets()?, issuer_key: id.octets()?, serial: id.integer()? };
    id.finish()?;
    Ok(found)
}

fn form(oid: Oid<'_>, parameters: &[u8]) -> Option<HashForm> {
    let hash = match oid {
        SHA1 => Hash::Sha1,
        SHA256 => Hash::Sha256,
        _ => return None,
    };
    match parameters {
        [] => Some(HashForm { hash, null: false }),
        [0x05, 0x00] => Some(HashForm { hash, null: true }),
        _ => None,
    }
}

/// An extension that has to be understood is not: the request cannot be answered as it was meant.
fn no_critical_extension(octets: &[u8]) -> Result<(), DerError> {
    Reader::all(octets, "Extensions", |outer| {
        let mut list = outer.enter(Tag::SEQUENCE, "Extensions")?;
        while !list.is_empty() {
            let mut extension = list.enter(Tag::SEQUENCE, "Extension")?;
            extension.oid()?;
            let critical = extension.optional(Tag::BOOLEAN)?.is_some_and(|flag| flag.value != [0]);
            extension.octets()?;
            extension.finish()?;
            if critical {
                return Err(list.fault(Fault::Value));
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use openssl::hash::MessageDigest;
    use openssl::ocsp::{OcspCertId, OcspRequest};
    use twinseal_proto::cms::der::{self, NULL};

    fn asked(digests: &[MessageDigest]) -> Vec<u8> {
        let certificate = crate::tests::self_signed("one");
        let mut request = OcspRequest::new().unwrap();
        for digest in digests {
            request.add_id(OcspCertId::from_cert(*digest, &certificate, &certificate).unwrap()).unwrap();
        }
        request.to_der().unwrap()
    }

    #[test]
    fn what_openssl_asks_is_understood() {
        let table = [
            (MessageDigest::sha1(), Some(Hash::Sha1), 20),
            (MessageDigest::sha256(), Some(Hash::Sha256), 32),
            (MessageDigest::sha384(), None, 48),
        ];
        for (digest, hash, length) in table {
            let der = asked(&[digest]);
            let id = read(&der).unwrap();
            assert_eq!(id.form.map(|form| form.hash), hash);
            assert_eq!((id.issuer_name.len(), id.issuer_key.len()), (length, length));
        }
        let several = asked(&[MessageDigest::sha256(), MessageDigest::sha1()]);
        assert_eq!(read(&several).unwrap().form.unwrap().hash, Hash::Sha256, "the first is answered");
    }

    fn id() -> Vec<u8> {
        let algorithm = der::sequence(&[&der::object_id(SHA1), NULL]);
        der::sequence(&[&algorithm, &der::octet_string(&[1; 20]), &der::octet_string(&[2; 20]), &der::small(7)])
    }

    fn extensions(tag: u8, flag: &[u8]) -> Vec<u8> {
        let one = der::sequence(&[&der::object_id(SHA1), flag, &der::octet_string(b"x")]);
        der::tlv(Tag::context_constructed(tag), &[&der::sequence(&[&one])])
    }

    #[test]
    fn optional_fields_are_passed_over_and_what_is_malformed_is_refused() {
        let request = der::sequence(&[&id()]);
        let whole = |parts: &[&[u8]], after: &[u8]| der::sequence(&[&der::sequence(parts), after]);
        let list = |requests: &[&[u8]]| der::sequence(requests);
        let version = |number| der::tlv(Tag::context_constructed(0), &[&der::small(number)]);
        let name = der::tlv(Tag::context_constructed(1), &[&der::tlv(Tag::context(1), &[b"a@b"])]);
        let signature = der::tlv(Tag::context_constructed(0), &[&der::sequence(&[])]);
        let critical = [0x01, 0x01, 0xff];
        let with_single = |flag: &[u8]| list(&[&der::sequence(&[&id(), &extensions(0, flag)])]);
        let plain = list(&[&request]);
        let good = [
            whole(&[&plain], &[]),
            whole(&[&version(0), &name, &plain, &extensions(2, &[])], &signature),
            whole(&[&with_single(&[])], &[]),
        ];
        for der in good {
            let read = read(&der).unwrap();
            assert_eq!((read.issuer_name, read.serial), (&[1; 20][..], &[7][..]));
            assert_eq!(read.form, Some(HashForm { hash: Hash::Sha1, null: true }));
        }
        let many: Vec<&[u8]> = (0..80).map(|_| request.as_slice()).collect();
        let bad = [
            Vec::new(),
            whole(&[&list(&[])], &[]),
            whole(&[&version(1), &plain], &[]),
            whole(&[&plain, &extensions(2, &critical)], &[]),
            whole(&[&with_single(&critical)], &[]),
            whole(&[&plain, NULL], &[]),
            whole(&[&list(&[&request, NULL])], &[]),
            whole(&[&plain], NULL),
            [whole(&[&plain], &[]), vec![0]].concat(),
            whole(&[&list(&many)], &[]),
        ];
        for der in bad {
            assert!(read(&der).is_err(), "{der:02x?}");
        }
    }
}
