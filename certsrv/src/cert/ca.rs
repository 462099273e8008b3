//! Steps 4 and 6: a certificate is prepared (written out and linted) and, after it was recorded, signed. A
//! [`Prepared`] is used up by signing it, and only the CA that made it signs it.

use super::crl;
use super::lint::{self, LintError};
use super::profile::Profile;
use super::serial::Serial;
use super::tbs::{self, Issuer, SignatureAlgorithm, Validity};
use crate::ca_keys::{CaKeyError, CaKeys};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use twinseal_proto::cert::not_after;
use twinseal_proto::cms::der::{self, Tag};
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use twinseal_svc::keys::{SigningError, SigningKey, SigningKind};

/// Certificates are good from this many seconds before they are made: clocks differ.
const BACKDATED: u64 = 300;

/// A CA could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    /// Its files cannot be read or written.
    #[error("CA file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// OpenSSL refused.
    #[error("CA key or certificate")]
    Ssl(#[from] ErrorStack),
    /// Its key cannot be had.
    #[error(transparent)]
    Keys(#[from] CaKeyError),
    /// Its key did not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Key and certificate do not belong together.
    #[error("CA {0}: the key is not the certificate's")]
    Mismatch(String),
    /// The certificate about to be signed is not what its profile says.
    #[error("lint: {0}")]
    Lint(#[from] LintError),
    /// Prepared by another CA.
    #[error("the certificate was prepared by another CA")]
    OtherCa,
    /// The CA's own certificate ended.
    #[error("the CA's certificate has ended")]
    Ended,
}

/// A CA with its key.
pub(crate) struct Ca {
    key: Box<dyn SigningKey>,
    certificate: X509,
    der: Vec<u8>,
    name: Vec<u8>,
    key_id: Vec<u8>,
    algorithm: SignatureAlgorithm,
    until: UnixTime,
}

/// A certificate that lacks nothing but the signature. Not `Clone`: it is signed once.
pub(crate) struct Prepared {
    /// Its serial number.
    pub(crate) serial: Serial,
    /// Its DER TBSCertificate.
    pub(crate) tbs: Vec<u8>,
    /// notAfter.
    pub(crate) until: UnixTime,
    key_id: Vec<u8>,
}

/// A revocation list that lacks nothing but the signature. Not `Clone`: it is signed once.
pub(crate) struct PreparedList {
    tbs: Vec<u8>,
    key_id: Vec<u8>,
}

impl Ca {
    /// Puts a CA together from its key and its DER certificate.
    pub(crate) fn new(key: Box<dyn SigningKey>, der: Vec<u8>) -> Result<Self, CaError> {
        let certificate = X509::from_der(&der)?;
        let algorithm = signature_algorithm(&*key);
        let name = certificate.subject_name().to_der()?;
        let key_id = certificate.subject_key_id().map(|id| id.as_slice().to_vec()).unwrap_or_default();
        let until = not_after(&certificate).unwrap_or_default();
        Ok(Self { key, certificate, der, name, key_id, algorithm, until })
    }

    /// Reads `NAME.pem` in `dir`, and has the key of this name answer for it.
    pub(crate) fn load(dir: &Path, name: &str, keys: &CaKeys) -> Result<Self, CaError> {
        Self::with_key(dir, name, keys.load(name)?)
    }

    /// Reads `NAME.pem` in `dir`, and has `key` answer for it.
    pub(crate) fn with_key(dir: &Path, name: &str, key: Box<dyn SigningKey>) -> Result<Self, CaError> {
        let certificate = load_certificate(dir, name)?;
        if !certificate.public_key()?.public_eq(&*PKey::public_key_from_der(key.spki())?) {
            return Err(CaError::Mismatch(name.to_owned()));
        }
        Self::new(key, certificate.to_der()?)
    }

    /// Writes the certificate as `NAME.pem` into `dir`. The key is where it was made.
    pub(crate) fn save(&self, dir: &Path, name: &str) -> Result<(), CaError> {
        let path = dir.join(format!("{name}.pem"));
        durable::replace(&path, &self.certificate.to_pem()?).map_err(|source| CaError::File { path, source })
    }

    /// Makes a root: its certificate is signed with its own key.
    pub(crate) fn root(
        key: Box<dyn SigningKey>,
        profile: &Profile,
        serial: Serial,
        now: UnixTime,
        days: u32,
    ) -> Result<Self, CaError> {
        let algorithm = signature_algorithm(&*key);
        let (name, key_id) = (tbs::name(&profile.common_name), tbs::key_id(key.spki()));
        let validity = Validity { from: UnixTime(now.0.saturating_sub(BACKDATED)), until: now.plus(seconds(days)) };
        let issuer = Issuer { name: &name, key_id: &key_id, algorithm };
        let tbs = tbs::encode(profile, &serial, validity, key.spki(), issuer);
        let der = sign(&*key, algorithm, &tbs)?;
        Self::new(key, der)
    }

    /// The CA's certificate.
    pub(crate) const fn certificate(&self) -> &X509 {
        &self.certificate
    }

    /// The CA's certificate in DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// DER of the CA's Name.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// DER SubjectPublicKeyInfo of the CA's key.
    pub(crate) fn spki(&self) -> &[u8] {
        self.key.spki()
    }

    /// Step 4: writes out the certificate that `profile` and `spki` (DER SubjectPublicKeyInfo) ask for, good for `days`
    /// but never longer than the CA, and lints it.
    pub(crate) fn prepare(
        &self,
        profile: &Profile,
        spki: &[u8],
        serial: Serial,
        now: UnixTime,
        days: u32,
    ) -> Result<Prepared, CaError> {
        if self.until <= now {
            return Err(CaError::Ended);
        }
        let life = profile.hours.map_or(seconds(days), |hours| u64::from(hours) * 3600);
        let until = now.plus(life).min(self.until);
        let validity = Validity { from: UnixTime(now.0.saturating_sub(BACKDATED)), until };
        let tbs = tbs::encode(profile, &serial, validity, spki, self.issuer());
        lint::check(&assemble(&tbs, self.algorithm, &[]), profile, &self.certificate)?;
        Ok(Prepared { serial, tbs, until, key_id: self.key_id.clone() })
    }

    /// Step 6: signs. Returns the DER certificate.
    pub(crate) fn issue(&self, prepared: Prepared) -> Result<Vec<u8>, CaError> {
        if prepared.key_id != self.key_id {
            return Err(CaError::OtherCa);
        }
        sign(&*self.key, self.algorithm, &prepared.tbs)
    }

    /// Writes out a revocation list; its nextUpdate is never after the CA's own end.
    pub(crate) fn prepare_list(&self, list: crl::List<'_>) -> Result<PreparedList, CaError> {
        if self.until <= list.this_update {
            return Err(CaError::Ended);
        }
        let list = crl::List { next_update: list.next_update.min(self.until), ..list };
        Ok(PreparedList { tbs: crl::encode(&list, self.issuer()), key_id: self.key_id.clone() })
    }

    /// Signs a revocation list. Returns the DER CertificateList.
    pub(crate) fn sign_list(&self, prepared: PreparedList) -> Result<Vec<u8>, CaError> {
        if prepared.key_id != self.key_id {
            return Err(CaError::OtherCa);
        }
        sign(&*self.key, self.algorithm, &prepared.tbs)
    }

    /// notAfter of the CA's certificate.
    pub(crate) const fn until(&self) -> UnixTime {
        self.until
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer { name: &self.name, key_id: &self.key_id, algorithm: self.algorithm }
    }
}

/// Reads `NAME.pem` in `dir`.
pub(crate) fn load_certificate(dir: &Path, name: &str) -> Result<X509, CaError> {
    let path = dir.join(format!("{name}.pem"));
    let pem = std::fs::read(&path).map_err(|source| CaError::File { path, source })?;
    Ok(X509::from_pem(&pem)?)
}

const fn seconds(days: u32) -> u64 {
    days as u64 * 86_400
}

fn signature_algorithm(key: &dyn SigningKey) -> SignatureAlgorithm {
    match key.kind() {
        SigningKind::Rsa => SignatureAlgorithm::RsaSha256,
        SigningKind::P256 => SignatureAlgorithm::EcdsaSha256,
    }
}

fn sign(key: &dyn SigningKey, algorithm: SignatureAlgorithm, tbs: &[u8]) -> Result<Vec<u8>, CaError> {
    Ok(assemble(tbs, algorithm, &key.sign(tbs)?))
}

/// A DER Certificate; the lint reads one with an empty signature.
fn assemble(tbs: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Vec<u8> {
    der::sequence(&[tbs, &algorithm.der(), &der::tlv(Tag::BIT_STRING, &[&[0], signature])])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::cert::good_key::KeyKind;
    use crate::cert::profile::AltName;
    use crate::tests::{ec_key, now, rsa_key, signer};
    use openssl::stack::Stack;
    use openssl::x509::X509StoreContext;
    use openssl::x509::store::X509StoreBuilder;
    use openssl::x509::verify::X509VerifyFlags;

    fn below(root: &Ca, purpose: &str, key: PKey<openssl::pkey::Private>) -> Ca {
        let spki = key.public_key_to_der().unwrap();
        let serial = Serial::from_random([2; 16]);
        let prepared = root.prepare(&Profile::sub_ca("Test", purpose), &spki, serial, now(), 3650).unwrap();
        Ca::new(signer(key), root.issue(prepared).unwrap()).unwrap()
    }

    #[test]
    fn chains_verify_strictly_for_both_kinds_of_ca_keys() {
        for key in [ec_key(), rsa_key(3072)] {
            let root = Ca::root(signer(key.clone()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650)
                .unwrap();
            let members = below(&root, "members", key);
            for (spki, kind) in
                [(ec_key().public_key_to_der(), KeyKind::Ec), (rsa_key(2048).public_key_to_der(), KeyKind::Rsa)]
            {
                let profile = Profile::member(&"Ann@members.test".parse().unwrap(), kind);
                let serial = Serial::from_random([3; 16]);
                let prepared = members.prepare(&profile, &spki.unwrap(), serial, now(), 365).unwrap();
                let leaf = X509::from_der(&members.issue(prepared).unwrap()).unwrap();
                let mut store = X509StoreBuilder::new().unwrap();
                store.add_cert(root.certificate().clone()).unwrap();
                store.set_flags(X509VerifyFlags::X509_STRICT | X509VerifyFlags::CHECK_SS_SIGNATURE).unwrap();
                store.set_purpose(openssl::x509::X509PurposeId::SMIME_SIGN).unwrap();
                let mut chain = Stack::new().unwrap();
                chain.push(members.certificate().clone()).unwrap();
                let mut context = X509StoreContext::new().unwrap();
                context
                    .init(&store.build(), &leaf, &chain, |c| {
                        let good = c.verify_cert()?;
                        assert!(good, "{}", c.error());
                        Ok(())
                    })
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_prepared_certificate_is_signed_by_its_own_ca_only() {
        let root =
            Ca::root(signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650).unwrap();
        let (members, services) = (below(&root, "members", ec_key()), below(&root, "services", ec_key()));
        let profile = Profile::service("exploder", vec![AltName::Dns("x.test".into())]);
        let spki = ec_key().public_key_to_der().unwrap();
        let prepared = services.prepare(&profile, &spki, Serial::from_random([4; 16]), now(), 365).unwrap();
        assert!(matches!(members.issue(prepared), Err(CaError::OtherCa)));
        let late = now().plus(4000 * 86_400);
        let ended = services.prepare(&profile, &spki, Serial::from_random([5; 16]), late, 365);
        assert!(matches!(ended, Err(CaError::Ended)));
    }

    #[test]
    fn a_ca_comes_back_from_its_file_with_its_own_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = ec_key();
        let profile = Profile::root("Test");
        let root = Ca::root(signer(key.clone()), &profile, Serial::from_random([1; 16]), now(), 3650).unwrap();
        root.save(dir.path(), "root").unwrap();
        assert_eq!(Ca::with_key(dir.path(), "root", signer(key)).unwrap().der(), root.der());
        assert!(matches!(Ca::with_key(dir.path(), "root", signer(ec_key())), Err(CaError::Mismatch(_))));
    }
}
