//! The to-be-signed part of a certificate (RFC 5280 section 4.1), written octet by octet: what is stored and audited
//! before the key is used is then exactly what the key signs.

use super::labels;
use super::profile::{AltName, Pointers, Profile, StatusSource, Usage};
use super::serial::Serial;
use std::net::IpAddr;
use time::OffsetDateTime;
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;

/// UTF8String.
const UTF8: Tag = Tag(0x0c);
/// UTCTime and GeneralizedTime.
const TIMES: (Tag, Tag) = (Tag(0x17), Tag(0x18));
/// The form of a GeneralName that is a URI.
const URI: Tag = Tag::context(6);

/// How a CA signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    /// ecdsa-with-SHA256.
    EcdsaSha256,
    /// sha256WithRSAEncryption.
    RsaSha256,
}

impl SignatureAlgorithm {
    /// DER AlgorithmIdentifier. RSA has NULL parameters, ECDSA none (RFC 4055 section 5, RFC 5758 section 3.2).
    pub(crate) fn der(self) -> Vec<u8> {
        match self {
            Self::EcdsaSha256 => der::sequence(&[&der::object_id(labels::ECDSA_SHA256)]),
            Self::RsaSha256 => der::sequence(&[&der::object_id(labels::RSA_SHA256), der::NULL]),
        }
    }
}

/// When a certificate is good; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// notBefore.
    pub(crate) from: UnixTime,
    /// notAfter.
    pub(crate) until: UnixTime,
}

/// Who signs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issuer<'a> {
    /// DER of its Name.
    pub(crate) name: &'a [u8],
    /// Its subject key identifier.
    pub(crate) key_id: &'a [u8],
    /// How it signs.
    pub(crate) algorithm: SignatureAlgorithm,
}

/// Writes a DER TBSCertificate. `spki` is the subject's DER SubjectPublicKeyInfo.
pub(crate) fn encode(
    profile: &Profile,
    serial: &Serial,
    validity: Validity,
    spki: &[u8],
    issuer: Issuer<'_>,
) -> Vec<u8> {
    let version = der::tlv(Tag::context_constructed(0), &[&der::small(2)]);
    let number = der::tlv(Tag::INTEGER, &[serial.octets()]);
    let dates = der::sequence(&[&time(validity.from), &time(validity.until)]);
    let extensions = der::tlv(Tag::context_constructed(3), &[&extensions(profile, spki, issuer.key_id)]);
    der::sequence(&[
        &version,
        &number,
        &issuer.algorithm.der(),
        issuer.name,
        &dates,
        &name(&profile.common_name),
        spki,
        &extensions,
    ])
}

/// A DER Name of one common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let value = der::tlv(UTF8, &[common_name.as_bytes()]);
    let attribute = der::sequence(&[&der::object_id(labels::COMMON_NAME), &value]);
    der::sequence(&[&der::tlv(Tag::SET, &[&attribute])])
}

/// The key identifier of a public key: the first 160 bits of SHA-256 over the DER SubjectPublicKeyInfo (RFC 7093
/// section 2: the length of method 1, the input of method 4).
pub(crate) fn key_id(spki: &[u8]) -> [u8; 20] {
    let digest = Digest::of(spki).0;
    std::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
}

/// A Time (RFC 5280 section 4.1.2.5): UTCTime through 2049, GeneralizedTime from 2050 on.
pub(crate) fn time(at: UnixTime) -> Vec<u8> {
    let (year, rest) = civil(at);
    if year < 2050 {
        der::tlv(TIMES.0, &[format!("{:02}{rest}", year.rem_euclid(100)).as_bytes()])
    } else {
        generalized_time(at)
    }
}

/// A GeneralizedTime to the second: the only form of OCSP (RFC 6960 section 4.2.2.1).
pub(crate) fn generalized_time(at: UnixTime) -> Vec<u8> {
    let (year, rest) = civil(at);
    der::tlv(TIMES.1, &[format!("{year:04}{rest}").as_bytes()])
}

/// The year, and month to second as both forms write them.
fn civil(at: UnixTime) -> (i32, String) {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let t = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let rest = format!("{:02}{:02}{:02}{:02}{:02}Z", u8::from(t.month()), t.day(), t.hour(), t.minute(), t.second());
    (t.year(), rest)
}

fn extensions(profile: &Profile, spki: &[u8], issuer_key_id: &[u8]) -> Vec<u8> {
    let mut all = vec![
        extension(labels::BASIC_CONSTRAINTS, true, &basic_constraints(profile.ca)),
        extension(labels::KEY_USAGE, true, &key_usage(profile.usage)),
        extension(labels::SUBJECT_KEY_ID, false, &der::octet_string(&key_id(spki))),
        authority_key_id(issuer_key_id),
    ];
    if !profile.purposes.is_empty() {
        let purposes: Vec<u8> = profile.purposes.iter().flat_map(|p| der::object_id(*p)).collect();
        all.push(extension(labels::EXTENDED_KEY_USAGE, false, &der::sequence(&[&purposes])));
    }
    if !profile.names.is_empty() {
        let names: Vec<u8> = profile.names.iter().flat_map(alternative).collect();
        all.push(extension(labels::SUBJECT_ALT_NAME, false, &der::sequence(&[&names])));
    }
    if profile.hours.is_some() {
        // RFC 9608 section 2: NULL, and nothing that says where to ask.
        all.push(extension(labels::NO_REV_AVAIL, false, der::NULL));
    }
    match &profile.status {
        StatusSource::Untold => {}
        StatusSource::Told(pointers) => all.extend(told(pointers)),
        StatusSource::NotChecked => all.push(extension(labels::OCSP_NO_CHECK, false, der::NULL)),
    }
    der::sequence(&[&all.concat()])
}

/// The authority key identifier extension, of a certificate or of a CRL.
pub(crate) fn authority_key_id(issuer_key_id: &[u8]) -> Vec<u8> {
    extension(labels::AUTHORITY_KEY_ID, false, &der::sequence(&[&der::tlv(Tag::context(0), &[issuer_key_id])]))
}

/// Where the status is found: one distribution point with one URI, and the two access methods.
fn told(pointers: &Pointers) -> Vec<Vec<u8>> {
    let uri = |text: &str| der::tlv(URI, &[text.as_bytes()]);
    // fullName is [0] of the distribution point's name, which is [0] of the distribution point.
    let inner = der::tlv(Tag::context_constructed(0), &[&uri(&pointers.crl)]);
    let point = der::sequence(&[&der::tlv(Tag::context_constructed(0), &[&inner])]);
    let mut all = vec![extension(labels::CRL_DISTRIBUTION_POINTS, false, &der::sequence(&[&point]))];
    if let Some(access) = &pointers.access {
        let way = |method, at: &str| der::sequence(&[&der::object_id(method), &uri(at)]);
        let ways = [way(labels::ACCESS_OCSP, &access.ocsp), way(labels::ACCESS_CA_ISSUERS, &access.issuer)];
        all.push(extension(labels::AUTHORITY_INFO_ACCESS, false, &der::sequence(&[&ways.concat()])));
    }
    all
}

/// An Extension; `critical FALSE` is the default and left out.
pub(crate) fn extension(id: Oid<'_>, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    der::sequence(&[&der::object_id(id), flag, &der::octet_string(value)])
}

/// BasicConstraints; `cA FALSE` is the default and left out (X.690 section 11.5).
fn basic_constraints(ca: Option<u8>) -> Vec<u8> {
    match ca {
        Some(path_length) => der::sequence(&[&[0x01, 0x01, 0xff], &der::small(path_length)]),
        None => der::sequence(&[]),
    }
}

/// A named-bit list without its trailing zero bits (X.690 section 11.2.2).
fn key_usage(usage: Usage) -> Vec<u8> {
    let unused = u8::try_from(usage.0.trailing_zeros().min(7)).unwrap_or(0);
    der::tlv(Tag::BIT_STRING, &[&[unused, usage.0]])
}

fn alternative(name: &AltName) -> Vec<u8> {
    match name {
        AltName::Mail(address) => der::tlv(Tag::context(1), &[address.as_bytes()]),
        AltName::Dns(host) => der::tlv(Tag::context(2), &[host.as_bytes()]),
        AltName::Uri(text) => der::tlv(Tag::context(6), &[text.as_bytes()]),
        AltName::Ip(IpAddr::V4(address)) => der::tlv(Tag::context(7), &[&address.octets()]),
        AltName::Ip(IpAddr::V6(address)) => der::tlv(Tag::context(7), &[&address.octets()]),
    }
}
