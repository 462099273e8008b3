//! Step 2, proof of possession: a PKCS#10 request (RFC 2986) is read whole, its signature is checked with its own key,
//! and the key is one that we certify.

use super::good_key::{self, BadKey, GoodKey};
use super::labels;
use super::profile::AltName;
use openssl::error::ErrorStack;
use openssl::x509::X509Req;
use std::net::IpAddr;
use twinseal_proto::cms::der::{DerError, Fault, Reader, Tag};

/// A request whose signature is its key's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The key to certify.
    pub(crate) key: GoodKey,
    /// DER of the subject that it names.
    pub(crate) subject: Vec<u8>,
    /// The subject alternative names that it asks for.
    pub(crate) names: Vec<AltName>,
}

/// A request for a key pair that the server makes (RFC 7030 section 4.4.1): its own key and signature mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyless {
    /// DER SubjectPublicKeyInfo of a key of the wanted sort.
    pub(crate) spki: Vec<u8>,
    /// The subject alternative names that it asks for.
    pub(crate) names: Vec<AltName>,
    /// The key is to be sent encrypted under a key that the client has already (section 4.4.1.1 and 4.4.1.2).
    pub(crate) encrypted: bool,
}

/// What stands in a request.
struct Parsed<'a> {
    subject: &'a [u8],
    spki: &'a [u8],
    attributes: Attributes,
}

#[derive(Default)]
struct Attributes {
    names: Vec<AltName>,
    encrypted: bool,
}

/// Why a request is not taken. The texts are for the requester.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    /// Not one whole PKCS#10 request.
    #[error("not a PKCS#10 request ({0})")]
    Unreadable(DerError),
    /// The signature is not the key's.
    #[error("the request is not signed with the key that it presents")]
    Signature,
    /// The key is none that we certify.
    #[error("{0}")]
    Key(#[from] BadKey),
    /// A kind of name that we never certify.
    #[error("a subject alternative name of another kind than mail address, DNS name and IP address is asked for")]
    Name,
}

impl From<DerError> for BadRequest {
    fn from(error: DerError) -> Self {
        Self::Unreadable(error)
    }
}

/// Reads and checks a DER request.
pub(crate) fn read(der: &[u8]) -> Result<Request, BadRequest> {
    let Parsed { subject, spki, attributes: Attributes { names, .. } } = parse(der)?;
    let (subject, key) = (subject.to_vec(), good_key::check(spki)?);
    let request = X509Req::from_der(der).map_err(|_| BadRequest::Signature)?;
    let proven = request.public_key().and_then(|public| request.verify(&public)).unwrap_or(false);
    // A signature that does not verify leaves its errors in OpenSSL's queue of this thread, where the next reading of
    // any TLS connection would take them for its own and break off.
    drop(ErrorStack::get());
    proven.then_some(Request { key, subject, names }).ok_or(BadRequest::Signature)
}

/// Reads a DER request for a key pair that the server makes.
pub(crate) fn read_keyless(der: &[u8]) -> Result<Keyless, BadRequest> {
    let Parsed { spki, attributes: Attributes { names, encrypted }, .. } = parse(der)?;
    Ok(Keyless { spki: spki.to_vec(), names, encrypted })
}

/// A CertificationRequest (RFC 2986 section 4).
fn parse(der: &[u8]) -> Result<Parsed<'_>, BadRequest> {
    Reader::all(der, "CertificationRequest", |outer| {
        let mut signed = outer.enter(Tag::SEQUENCE, "CertificationRequest")?;
        let mut info = signed.enter(Tag::SEQUENCE, "CertificationRequestInfo")?;
        if info.small()? != 0 {
            return Err(info.fault(Fault::Value).into());
        }
        let subject = info.element(Tag::SEQUENCE)?.raw;
        let spki = info.element(Tag::SEQUENCE)?.raw;
        let attributes = info.optional(Tag::context_constructed(0))?;
        info.finish()?;
        signed.element(Tag::SEQUENCE)?; // signatureAlgorithm
        signed.bits()?;
        signed.finish()?;
        let attributes = match attributes {
            Some(attributes) => Reader::all(attributes.value, "Attributes", requested)?,
            None => Attributes::default(),
        };
        Ok(Parsed { subject, spki, attributes })
    })
}

/// The names in the extensionRequest attribute (RFC 2985 section 5.4.2), and whether a made key is to be sent encrypted.
/// Other attributes ask for nothing that we give.
fn requested(attributes: &mut Reader<'_>) -> Result<Attributes, BadRequest> {
    let (mut names, mut encrypted) = (Vec::new(), false);
    while !attributes.is_empty() {
        let mut attribute = attributes.enter(Tag::SEQUENCE, "Attribute")?;
        let id = attribute.oid()?;
        let mut values = attribute.enter(Tag::SET, "Attribute values")?;
        attribute.finish()?;
        encrypted |= id == labels::DECRYPT_KEY_ID || id == labels::ASYMM_DECRYPT_KEY_ID;
        if id != labels::EXTENSION_REQUEST {
            continue;
        }
        let mut extensions = values.enter(Tag::SEQUENCE, "Extensions")?;
        values.finish()?;
        while !extensions.is_empty() {
            let mut extension = extensions.enter(Tag::SEQUENCE, "Extension")?;
            let id = extension.oid()?;
            extension.optional(Tag::BOOLEAN)?; // critical
            let value = extension.octets()?;
            extension.finish()?;
            if id == labels::SUBJECT_ALT_NAME {
                names.extend(Reader::all(value, "SubjectAltName", alternative_names)?);
            }
        }
    }
    Ok(Attributes { names, encrypted })
}

fn alternative_names(outer: &mut Reader<'_>) -> Result<Vec<AltName>, BadRequest> {
    let mut names = outer.enter(Tag::SEQUENCE, "GeneralNames")?;
    let mut found = Vec::new();
    while !names.is_empty() {
        let name = names.any()?;
        let text = || {
            let text = std::str::from_utf8(name.value).ok().filter(|text| text.is_ascii());
            text.map(str::to_owned).ok_or(BadRequest::Name)
        };
        found.push(match name.tag {
            tag if tag == Tag::context(1) => AltName::Mail(text()?),
            tag if tag == Tag::context(2) => AltName::Dns(text()?),
            tag if tag == Tag::context(7) => AltName::Ip(ip_address(name.value).ok_or(BadRequest::Name)?),
            _ => return Err(BadRequest::Name),
        });
    }
    Ok(found)
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::tests::{csr, ec_key, rsa_key};
    use twinseal_proto::cms::der;

    #[test]
    fn a_request_is_read_with_its_names() {
        let der = csr(&ec_key(), &["email:ann@members.test", "DNS:host.test", "IP:127.0.0.1"]);
        let request = read(&der).unwrap();
        let wanted = [
            AltName::Mail("ann@members.test".into()),
            AltName::Dns("host.test".into()),
            AltName::Ip("127.0.0.1".parse().unwrap()),
        ];
        assert_eq!(request.names, wanted);
        assert!(read(&csr(&rsa_key(2048), &[])).unwrap().names.is_empty());
    }

    #[test]
    fn a_refused_request_leaves_nothing_in_openssls_error_queue() {
        let good = csr(&ec_key(), &["email:ann@members.test"]);
        let rsa = csr(&rsa_key(2048), &["email:ann@members.test"]);
        for mut forged in [good.clone(), rsa] {
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(read(&forged), Err(BadRequest::Signature));
            let left = ErrorStack::get();
            assert!(left.errors().is_empty(), "{left}");
        }
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err());
            assert!(ErrorStack::get().errors().is_empty(), "cut at {end}");
        }
    }

    #[test]
    fn a_request_without_a_key_of_its_own_is_read_for_its_names() {
        let weak = csr(&rsa_key(1024), &["email:ann@members.test"]);
        let keyless = read_keyless(&weak).unwrap();
        assert_eq!(keyless.names, [AltName::Mail("ann@members.test".into())]);
        assert!(!keyless.encrypted);
        assert_eq!(super::good_key::curve(&keyless.spki), None);
        let curve = read_keyless(&csr(&ec_key(), &[])).unwrap();
        assert!(super::good_key::curve(&curve.spki).is_some());
        // An attribute that asks for the key under another one (RFC 7030 section 4.4.1).
        for id in [labels::DECRYPT_KEY_ID, labels::ASYMM_DECRYPT_KEY_ID] {
            let value = der::octet_string(b"key");
            let attribute = der::sequence(&[&der::object_id(id), &der::tlv(Tag::SET, &[&value])]);
            let attributes = der::tlv(Tag::context_constructed(0), &[&attribute]);
            let info = der::sequence(&[&der::small(0), &der::sequence(&[]), &curve.spki, &attributes]);
            let bits = der::tlv(Tag::BIT_STRING, &[&[0]]);
            let request = der::sequence(&[&info, &der::sequence(&[]), &bits]);
            assert!(read_keyless(&request).unwrap().encrypted, "{id}");
        }
    }

    #[test]
    fn bad_requests_are_named() {
        let good = csr(&ec_key(), &["email:ann@members.test"]);
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let mut renamed = good.clone();
        let at = renamed.windows(3).position(|w| w == b"ann").unwrap();
        renamed[at] = b'e';
        let trailing = [good.clone(), vec![0]].concat();
        assert_eq!(read(&forged), Err(BadRequest::Signature));
        assert_eq!(read(&renamed), Err(BadRequest::Signature));
        assert!(matches!(read(&trailing), Err(BadRequest::Unreadable(_))));
        assert_eq!(read(&csr(&rsa_key(1024), &[])), Err(BadRequest::Key(BadKey::RsaBits(1024))));
        assert_eq!(read(&csr(&ec_key(), &["URI:https://x.test"])), Err(BadRequest::Name));
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err());
        }
    }
}
