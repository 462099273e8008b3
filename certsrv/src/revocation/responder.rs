//! The keys that sign OCSP answers: one for each CA, short-lived, with a certificate that only lets it do this (RFC 6960
//! section 4.2.2.2). The CA's own key is used once in weeks for them, not once an answer.

use super::state::StateError;
use crate::audit::{Actor, Record};
use crate::cert::ca::Ca;
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::cert::tbs::SignatureAlgorithm;
use crate::random;
use crate::rows::Published;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::{X509, X509VerifyResult};
use std::io::ErrorKind;
use std::path::Path;
use twinseal_proto::cert::not_after;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::der::{self, DerError, Reader, Tag};
use twinseal_proto::encoding::B64;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::durable;
use zeroize::Zeroizing;

/// Life of a responder's certificate in days: it cannot be revoked, so it is short.
const DAYS: u32 = 30;
/// Seconds before its end at which another key takes its place.
const RENEWED: u64 = DAYS as u64 * 86_400 / 3;

/// A key that signs answers, with its certificate.
pub(super) struct Responder {
    key: PKey<Private>,
    /// The certificate, DER.
    pub(super) der: Vec<u8>,
    /// SHA-1 of the key: how answers name it.
    pub(super) key_hash: [u8; 20],
    /// notAfter.
    pub(super) until: UnixTime,
}

impl Responder {
    fn new(key: PKey<Private>, certificate: &X509) -> Result<Self, StateError> {
        let der = certificate.to_der()?;
        let key_hash = openssl::sha::sha1(key_bits(&der)?);
        let until = not_after(certificate).unwrap_or_default();
        Ok(Self { key, der, key_hash, until })
    }

    /// Another one should be made.
    pub(super) fn due(&self, now: UnixTime) -> bool {
        self.until.since(now) <= RENEWED
    }

    /// Signs a DER ResponseData; returns it with the algorithm and the signature behind it.
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let signature = Signer::new(MessageDigest::sha256(), &self.key)?.sign_oneshot_to_vec(data)?;
        let algorithm = SignatureAlgorithm::EcdsaSha256.der();
        Ok([data, &algorithm, &der::tlv(Tag::BIT_STRING, &[&[0], &signature])].concat())
    }
}

/// The content of the BIT STRING that is a certificate's public key.
pub(super) fn key_bits(certificate: &[u8]) -> Result<&[u8], DerError> {
    let spki = CertificateKey::read(certificate)?.spki;
    Reader::all(spki, "SubjectPublicKeyInfo", |outer| {
        let mut info = outer.enter(Tag::SEQUENCE, "SubjectPublicKeyInfo")?;
        info.element(Tag::SEQUENCE)?;
        info.bits()
    })
}

/// The responder in the file at `path` (key and certificate, PEM); a new one when there is none, when it is not this
/// CA's, or when it is near its end.
pub(super) async fn load(
    path: &Path,
    by: Published,
    ca: &Ca,
    ca_name: &str,
    audit: &Audit,
) -> Result<Responder, StateError> {
    let now = UnixTime::now();
    match read(path, ca)?.filter(|responder| !responder.due(now)) {
        Some(responder) => Ok(responder),
        None => make(path, by, ca, ca_name, audit, now).await,
    }
}

fn read(path: &Path, ca: &Ca) -> Result<Option<Responder>, StateError> {
    let pem = match durable::read_secret(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| StateError::File { path: path.to_owned(), source })?,
    };
    let (Ok(key), Ok(certificate)) = (PKey::private_key_from_pem(&pem), X509::from_pem(&pem)) else { return Ok(None) };
    let issued = ca.certificate().issued(&certificate) == X509VerifyResult::OK
        && certificate.verify(&*ca.certificate().public_key()?)?;
    let own = certificate.public_key()?.public_eq(&key);
    (issued && own).then(|| Responder::new(key, &certificate)).transpose()
}

/// Makes a key and has it certified: prepared, linted, recorded, signed, like every certificate.
pub(super) async fn make(
    path: &Path,
    by: Published,
    ca: &Ca,
    ca_name: &str,
    audit: &Audit,
    now: UnixTime,
) -> Result<Responder, StateError> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let serial = Serial::from_random(random::octets()?);
    let profile = Profile::ocsp_responder(ca_name, by.name());
    let prepared = ca.prepare(&profile, &key.public_key_to_der()?, serial, now, DAYS)?;
    audit.record(&Record::intent(now, &Actor::Clock, None, &serial, B64(prepared.tbs.clone()))).await?;
    let certificate = X509::from_der(&ca.issue(prepared)?)?;
    let mut pem = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
    // Grown once, so that no copy of the key is left behind.
    let text = certificate.to_pem()?;
    let mut whole = Zeroizing::new(Vec::with_capacity(pem.len() + text.len()));
    whole.append(&mut pem);
    whole.extend_from_slice(&text);
    durable::replace(path, &whole).map_err(|source| StateError::File { path: path.to_owned(), source })?;
    Responder::new(key, &certificate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::{ec_key, now};

    #[tokio::test]
    async fn a_responder_is_kept_until_it_is_due_and_is_its_cas_own() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(&dir.path().join("audit")).unwrap();
        let path = dir.path().join("members.pem");
        let ca = |n| {
            Ca::root(crate::tests::signer(ec_key()), &Profile::root("Test"), Serial::from_random([n; 16]), now(), 3650)
                .unwrap()
        };
        let (one, other) = (ca(1), ca(2));
        let at = |ca| load(&path, Published::Members, ca, "Test", &audit);
        let first = at(&one).await.unwrap();
        assert_eq!(at(&one).await.unwrap().der, first.der);
        let second = at(&other).await.unwrap();
        assert_ne!(second.der, first.der, "another CA's");
        std::fs::write(&path, "damaged").unwrap();
        assert_ne!(at(&other).await.unwrap().der, second.der);
        assert!(!first.due(now()) && first.due(now().plus(20 * 86_400)));
        let mut told = Vec::new();
        twinseal_svc::audit::each(&dir.path().join("audit"), |text| told.push(text.to_owned())).unwrap();
        assert_eq!(told.iter().filter(|text| text.contains("signing-certificate")).count(), 3);
    }
}
