//! The signature of a welcome mail: a detached SignedData (RFC 5652 section 5) by the list's signing key, with the list's
//! certificates and the attributes from which mail programs learn how to write to the list (RFC 8551 section 2.5).

use crate::cert::tbs;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::cms::labels;
use twinseal_proto::cms::recipient::RecipientId;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::ContentPolicy;
use twinseal_proto::time::UnixTime;

/// id-contentType (RFC 5652 section 11.1).
const CONTENT_TYPE: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03");
/// id-messageDigest (RFC 5652 section 11.2).
const MESSAGE_DIGEST: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04");
/// id-signingTime (RFC 5652 section 11.3).
const SIGNING_TIME: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05");
/// smimeCapabilities (RFC 8551 section 2.5.2).
const CAPABILITIES: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0f");
/// id-aa-encrypKeyPref (RFC 8551 section 2.5.3).
const ENCRYPTION_KEY_PREFERENCE: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0b");

/// A list's signing key with its certificate.
pub(crate) struct ListSigner {
    /// RSA.
    pub(crate) key: PKey<Private>,
    /// DER.
    pub(crate) certificate: Vec<u8>,
}

/// A certificate that is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// OpenSSL.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// One of the certificates.
    #[error("a certificate that cannot be read")]
    Certificate,
}

/// Signs `entity`. `issuers`: DER certificates between the signer's and the root; `list`: the list's own, the one to use
/// first; `content`: what the list takes.
pub(crate) fn sign(
    entity: &[u8],
    signer: &ListSigner,
    issuers: &[&[u8]],
    list: &[Vec<u8>],
    content: ContentPolicy,
    at: UnixTime,
) -> Result<Vec<u8>, SignError> {
    let sha256 = der::sequence(&[&der::object_id(labels::SHA256)]);
    let mut attributes = vec![
        attribute(CONTENT_TYPE, &der::object_id(labels::DATA)),
        attribute(SIGNING_TIME, &tbs::time(at)),
        attribute(MESSAGE_DIGEST, &der::octet_string(&Digest::of(entity).0)),
        attribute(CAPABILITIES, &capabilities(content)),
    ];
    if let Some(preferred) = list.first() {
        // SMIMEEncryptionKeyPreference is a CHOICE; [0] IMPLICIT IssuerAndSerialNumber.
        let (issuer, serial) = issuer_and_serial(preferred)?;
        let choice = der::tlv(Tag::context_constructed(0), &[&issuer, &serial]);
        attributes.push(attribute(ENCRYPTION_KEY_PREFERENCE, &choice));
    }
    // A SET OF in DER is in the order of its members' octets (X.690 section 11.6).
    attributes.sort_unstable();
    let attributes = attributes.concat();
    // RFC 5652 section 5.4: what is signed has the tag of a SET, what is sent that of the field.
    let signature =
        Signer::new(MessageDigest::sha256(), &signer.key)?.sign_oneshot_to_vec(&der::tlv(Tag::SET, &[&attributes]))?;
    let (issuer, serial) = issuer_and_serial(&signer.certificate)?;
    let signer_info = der::sequence(&[
        &der::small(1),
        &der::sequence(&[&issuer, &serial]),
        &sha256,
        &der::tlv(Tag::context_constructed(0), &[&attributes]),
        &der::sequence(&[&der::object_id(labels::RSA_ENCRYPTION), der::NULL]),
        &der::octet_string(&signature),
    ]);
    let mut certificates: Vec<&[u8]> = vec![&signer.certificate];
    certificates.extend(issuers);
    certificates.extend(list.iter().map(Vec::as_slice));
    certificates.sort_unstable();
    let signed_data = der::sequence(&[
        &der::small(1),
        &der::tlv(Tag::SET, &[&sha256]),
        &der::sequence(&[&der::object_id(labels::DATA)]),
        &der::tlv(Tag::context_constructed(0), &certificates),
        &der::tlv(Tag::SET, &[&signer_info]),
    ]);
    let content = der::tlv(Tag::context_constructed(0), &[&signed_data]);
    Ok(der::sequence(&[&der::object_id(labels::SIGNED_DATA), &content]))
}

fn attribute(id: Oid<'_>, value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::object_id(id), &der::tlv(Tag::SET, &[value])])
}

/// What the list takes, the best first: what no list takes is not named.
fn capabilities(content: ContentPolicy) -> Vec<u8> {
    let named: &[Oid<'static>] = match content {
        ContentPolicy::CbcAllowed => &[labels::AES256_CBC, labels::AES128_CBC, labels::AES256_GCM, labels::AES128_GCM],
        ContentPolicy::AeadRequired => &[labels::AES256_GCM, labels::AES128_GCM],
    };
    let each: Vec<u8> = named.iter().flat_map(|id| der::sequence(&[&der::object_id(*id)])).collect();
    der::sequence(&[&each])
}

/// DER of the issuer's Name and of the serial number's INTEGER.
fn issuer_and_serial(certificate: &[u8]) -> Result<(Vec<u8>, Vec<u8>), SignError> {
    let key = CertificateKey::read(certificate).map_err(|_| SignError::Certificate)?;
    match key.issuer_and_serial {
        RecipientId::IssuerAndSerial { issuer_der, serial } => {
            Ok((issuer_der.0, der::tlv(Tag::INTEGER, &[serial.as_ref()])))
        }
        RecipientId::SubjectKeyId(_) => Err(SignError::Certificate),
    }
}
