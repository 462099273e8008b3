//! What the unit tests share: keys, requests, names, a time.
#![allow(clippy::unwrap_used)]

use crate::config::{Mail, SmarthostTls};
use crate::log::key::FeedKey;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder, X509ReqBuilder};
use twinseal_proto::ids::{FeedId, MailAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::keys::{SigningKey, SoftwareSigner};

/// The present time, for certificates that OpenSSL checks against the clock.
pub(crate) fn now() -> UnixTime {
    UnixTime::now()
}

pub(crate) fn address(name: &str) -> MailAddress {
    format!("{name}@members.test").parse().unwrap()
}

pub(crate) fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A key that CAs sign with.
pub(crate) fn signer(key: PKey<Private>) -> Box<dyn SigningKey> {
    Box::new(SoftwareSigner::new(key).unwrap())
}

pub(crate) fn rsa_key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

pub(crate) fn feed_key() -> FeedKey {
    FeedKey::new(FeedId::from_random([1; 16]), 1, PKey::generate_ed25519().unwrap())
}

/// A way for mail that leads nowhere.
pub(crate) fn mail() -> Mail {
    Mail {
        smarthost: "127.0.0.1:25".into(),
        from: "noreply@lists.test".parse().unwrap(),
        url: "https://certsrv.lists.test:8443".into(),
        name: "Twinseal".into(),
        contact: Some("help@lists.test".parse().unwrap()),
        tls: SmarthostTls::Never,
        ca: None,
        user: None,
        password_file: None,
        hello: None,
        welcome: true,
        list_signing: true,
        registration_domains: Vec::new(),
        login_token_hours: 24,
        confirm_token_hours: 72,
    }
}

/// A request for `key`; names as `email:…`, `DNS:…`, `IP:…`, `URI:…`.
pub(crate) fn csr(key: &PKey<Private>, names: &[&str]) -> Vec<u8> {
    request(key, None, names)
}

/// The same, with a subject.
pub(crate) fn csr_of(key: &PKey<Private>, common_name: &str, names: &[&str]) -> Vec<u8> {
    request(key, Some(common_name), names)
}

fn request(key: &PKey<Private>, common_name: Option<&str>, names: &[&str]) -> Vec<u8> {
    let mut builder = X509ReqBuilder::new().unwrap();
    if let Some(common_name) = common_name {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
        builder.set_subject_name(&subject.build()).unwrap();
    }
    builder.set_pubkey(key).unwrap();
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.split_once(':').unwrap() {
                ("email", value) => alternatives.email(value),
                ("DNS", value) => alternatives.dns(value),
                ("IP", value) => alternatives.ip(value),
                (_, value) => alternatives.uri(value),
            };
        }
        let mut extensions = Stack::new().unwrap();
        extensions.push(alternatives.build(&builder.x509v3_context(None)).unwrap()).unwrap();
        builder.add_extensions(&extensions).unwrap();
    }
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

pub(crate) fn self_signed(name: &str) -> X509 {
    let key = ec_key();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    builder.build()
}
