//! Another CA, for the tests: certificates good and bad, CRLs, and a server for them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Builder, X509Crl, X509CrlBuilder, X509Extension, X509NameBuilder, X509RevokedBuilder};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use twinseal_proto::cms::der::{self, Tag};
use twinseal_proto::time::UnixTime;

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) key: PKey<Private>,
    pub(crate) certificate: X509,
}

/// What a certificate says: extensions in OpenSSL's words.
pub(crate) struct Says<'a> {
    pub(crate) name: &'a str,
    pub(crate) from: UnixTime,
    pub(crate) until: UnixTime,
    pub(crate) digest: MessageDigest,
    pub(crate) extensions: Vec<(Nid, String)>,
}

impl<'a> Says<'a> {
    /// A CA's certificate.
    pub(crate) fn ca(name: &'a str, now: UnixTime, constraints: &str) -> Self {
        let extensions = vec![
            (Nid::BASIC_CONSTRAINTS, format!("critical,CA:TRUE{constraints}")),
            (Nid::KEY_USAGE, "critical,keyCertSign,cRLSign".into()),
        ];
        Self::new(name, now, extensions)
    }

    /// An S/MIME certificate for `mail`.
    pub(crate) fn mail(mail: &'a str, now: UnixTime) -> Self {
        let extensions = vec![
            (Nid::BASIC_CONSTRAINTS, "critical,CA:FALSE".into()),
            (Nid::KEY_USAGE, "critical,digitalSignature,keyAgreement".into()),
            (Nid::EXT_KEY_USAGE, "emailProtection".into()),
            (Nid::SUBJECT_ALT_NAME, format!("email:{mail}")),
        ];
        Self::new(mail, now, extensions)
    }

    fn new(name: &'a str, now: UnixTime, extensions: Vec<(Nid, String)>) -> Self {
        let (from, until) = (UnixTime(now.0 - 1000), now.plus(365 * 86_400));
        Self { name, from, until, digest: MessageDigest::sha256(), extensions }
    }

    /// With another value for an extension; an empty one leaves it out.
    pub(crate) fn with(mut self, id: Nid, value: &str) -> Self {
        self.extensions.retain(|(other, _)| *other != id);
        if !value.is_empty() {
            self.extensions.push((id, value.to_owned()));
        }
        self
    }
}

fn time(at: UnixTime) -> Asn1Time {
    Asn1Time::from_unix(i64::try_from(at.0).unwrap()).unwrap()
}

fn number(certificate: &str, key: &PKey<Private>) -> Asn1Integer {
    let digest = openssl::sha::sha256(&[certificate.as_bytes(), &key.public_key_to_der().unwrap()].concat());
    BigNum::from_slice(&digest[..8]).unwrap().to_asn1_integer().unwrap()
}

/// Certifies `key`; without an issuer, by itself.
pub(crate) fn certify(key: PKey<Private>, says: &Says<'_>, issuer: Option<&Held>) -> Held {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, says.name).unwrap();
    let name = name.build();
    let mut builder: X509Builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&number(says.name, &key)).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(issuer.map_or(&*name, |issuer| issuer.certificate.subject_name())).unwrap();
    builder.set_not_before(&time(says.from)).unwrap();
    builder.set_not_after(&time(says.until)).unwrap();
    builder.set_pubkey(&key).unwrap();
    #[allow(deprecated, reason = "the one way to write any extension in words")]
    let extension = |builder: &X509Builder, id: Nid, value: &str| {
        let context = builder.x509v3_context(issuer.map(|issuer| &*issuer.certificate), None);
        X509Extension::new_nid(None, Some(&context), id, value).unwrap()
    };
    let hash = extension(&builder, Nid::SUBJECT_KEY_IDENTIFIER, "hash");
    builder.append_extension(hash).unwrap();
    if issuer.is_some() {
        let id = extension(&builder, Nid::AUTHORITY_KEY_IDENTIFIER, "keyid:always");
        builder.append_extension(id).unwrap();
    }
    for (id, value) in &says.extensions {
        let extension = extension(&builder, *id, value);
        builder.append_extension(extension).unwrap();
    }
    builder.sign(issuer.map_or(&key, |issuer| &issuer.key), says.digest).unwrap();
    Held { certificate: builder.build(), key }
}

/// A CRL of `issuer` with these certificates in it.
pub(crate) fn crl(issuer: &Held, revoked: &[&X509], from: UnixTime, until: UnixTime) -> X509Crl {
    let mut builder = X509CrlBuilder::new().unwrap();
    builder.set_issuer_name(issuer.certificate.subject_name()).unwrap();
    builder.set_last_update(&time(from)).unwrap();
    builder.set_next_update(&time(until)).unwrap();
    for certificate in revoked {
        let mut entry = X509RevokedBuilder::new().unwrap();
        entry.set_serial_number(certificate.serial_number()).unwrap();
        entry.set_revocation_date(&time(from)).unwrap();
        builder.add_revoked(entry.build()).unwrap();
    }
    let id = issuer.certificate.subject_key_id().unwrap().as_slice();
    let authority = der::sequence(&[&der::tlv(Tag::context(0), &[id])]);
    // authorityKeyIdentifier and cRLNumber (RFC 5280 section 5.2).
    for (id, value) in [("2.5.29.35", authority), ("2.5.29.20", der::small(1))] {
        let id = Asn1Object::from_str(id).unwrap();
        let value = Asn1OctetString::new_from_bytes(&value).unwrap();
        builder.append_extension(X509Extension::new_from_der(&id, false, &value).unwrap()).unwrap();
    }
    builder.sort().unwrap();
    builder.sign(&issuer.key, MessageDigest::sha256()).unwrap();
    builder.build().unwrap()
}

/// A web server on loopback.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) url: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self { url: format!("http://{}", listener.local_addr().unwrap()), files: Arc::default() };
        let files = Arc::clone(&web.files);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).await.unwrap_or_default();
                let text = String::from_utf8_lossy(&request[..count]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let found = files.lock().unwrap().get(&path).cloned();
                let answer = match found {
                    Some(body) => {
                        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body]
                            .concat()
                    }
                    None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                };
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        web
    }

    pub(crate) fn put(&self, path: &str, body: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), body);
    }
}
