//! The member's side of a wrap: a content-encryption key in, a DER RecipientInfo for the member out.
//!
//! A member's key is parsed and checked once, when the roster brings it. A wrap is then one public-key operation and the
//! copying of a few hundred octets.

use super::certificate::{CertificateKey, SubjectPublicKey};
use super::curve::{self, Curve};
use super::der::DerError;
use super::kdf::{self, Hash};
use super::keywrap::{KeyEncryptionKey, WrapAlgorithm};
use super::labels;
use super::recipient::{
    Kek, KekAlgorithm, KeyAgreement, KeyAgreementAlgorithm, KeyTransport, KeyTransportAlgorithm, Oaep, Originator,
    RecipientEncryptedKey, RecipientId, RecipientInfo,
};
use crate::secret::Cek;
use openssl::bn::BigNum;
use openssl::ec::EcPoint;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};

/// A member's public key, checked and ready to wrap for.
pub struct MemberKey {
    rid: RecipientId,
    key: Prepared,
}

enum Prepared {
    Rsa {
        rsa: Rsa<Public>,
        /// The key once more, as OpenSSL wants it for OAEP; `None` for PKCS #1 v1.5.
        oaep: Option<(PKey<Public>, Hash)>,
        /// All of the RecipientInfo that comes before the encrypted key.
        head: Vec<u8>,
    },
    Ec {
        curve: Curve,
        point: EcPoint,
    },
}

/// How keys are encrypted under an RSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RsaScheme {
    /// OAEP with this hash in both places, for a member whose capabilities say so.
    Oaep(Hash),
    /// PKCS #1 v1.5: the one form that every mail program reads.
    #[default]
    Pkcs1v15,
}

/// Why no keys are wrapped for a public key.
#[derive(Debug, thiserror::Error)]
pub enum MemberKeyError {
    /// OpenSSL failed.
    #[error("the key cannot be prepared")]
    Crypto(#[from] ErrorStack),
    /// An exponent that is even, 1, or too large.
    #[error("an RSA key with a bad exponent")]
    Exponent,
    /// An RSA modulus outside 2048 to 8192 bits, or an even one.
    #[error("an RSA key of {0} bits; 2048 to 8192 are taken")]
    Modulus(usize),
    /// Not a certificate or a SubjectPublicKeyInfo.
    #[error(transparent)]
    Malformed(#[from] DerError),
    /// A public point that is not on its curve.
    #[error("an elliptic-curve key that is not on its curve")]
    Point,
    /// Neither RSA nor P-256 nor P-384, by its dotted object identifier.
    #[error("a key of another sort than RSA, P-256 or P-384: {0}")]
    Sort(String),
}

/// OpenSSL failed to wrap: out of memory or of randomness.
#[derive(Debug, thiserror::Error)]
#[error("the key cannot be wrapped")]
pub struct WrapError(#[from] ErrorStack);

impl MemberKey {
    /// The key of a DER certificate, named by issuer and serial number, with PKCS #1 v1.5 if it is RSA.
    ///
    /// # Errors
    /// [`MemberKeyError`].
    pub fn from_certificate(certificate: &[u8]) -> Result<Self, MemberKeyError> {
        let key = CertificateKey::read(certificate)?;
        Self::new(key.issuer_and_serial, key.spki, RsaScheme::default())
    }

    /// The key of a DER SubjectPublicKeyInfo, named as `rid`; `scheme` says how to encrypt if it is RSA.
    ///
    /// # Errors
    /// [`MemberKeyError`].
    pub fn new(rid: RecipientId, spki: &[u8], scheme: RsaScheme) -> Result<Self, MemberKeyError> {
        let key = match SubjectPublicKey::read(spki)? {
            SubjectPublicKey::Rsa { modulus, exponent } => {
                check_rsa(modulus, exponent)?;
                let rsa = Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?)?;
                prepare_rsa(&rid, rsa, scheme)?
            }
            SubjectPublicKey::Ec { curve, point } => {
                let point = curve.point(point).ok_or(MemberKeyError::Point)?;
                Prepared::Ec { curve, point }
            }
            SubjectPublicKey::Other(sort) => return Err(MemberKeyError::Sort(sort)),
        };
        Ok(Self { rid, key })
    }

    /// The id under which the RecipientInfos name the member's key.
    #[must_use]
    pub const fn recipient_id(&self) -> &RecipientId {
        &self.rid
    }

    /// Wraps `cek` for the member: the DER RecipientInfo. It costs one RSA public operation, or the making of an
    /// ephemeral key and one ECDH.
    ///
    /// # Errors
    /// [`WrapError`] if OpenSSL fails.
    pub fn wrap(&self, cek: &Cek) -> Result<Vec<u8>, WrapError> {
        Ok(match &self.key {
            Prepared::Rsa { rsa, oaep, head } => {
                let mut info = Vec::with_capacity(head.len() + rsa.size() as usize);
                info.extend_from_slice(head);
                info.resize(head.len() + rsa.size() as usize, 0);
                let encrypted_key = info.get_mut(head.len()..).unwrap_or_default();
                match oaep {
                    None => rsa.public_encrypt(cek.expose(), encrypted_key, Padding::PKCS1)?,
                    Some((key, hash)) => encrypt_oaep(key, *hash, cek, encrypted_key)?,
                };
                info
            }
            Prepared::Ec { curve, point } => self.agree(*curve, point, cek)?.encode(),
        })
    }

    /// ECDH with a fresh key: `dhSinglePass-stdDH-sha256kdf-scheme` (RFC 5753 section 3.1).
    fn agree(&self, curve: Curve, point: &EcPoint, cek: &Cek) -> Result<RecipientInfo, ErrorStack> {
        let wrap = WrapAlgorithm::for_cek(cek.len());
        let (ephemeral, public) = curve::ephemeral(curve)?;
        let z = curve::agree(curve, point, ephemeral.private_key())?;
        let encrypted_key = kdf::ecc_cms_kek(&z, Hash::Sha256, &wrap, None)?.wrap(cek.expose())?;
        Ok(RecipientInfo::KeyAgreement(KeyAgreement {
            originator: Originator::Point { parameters: Vec::new(), point: public },
            ukm: None,
            algorithm: KeyAgreementAlgorithm::EcDh { cofactor: false, hash: Hash::Sha256, wrap },
            recipients: vec![RecipientEncryptedKey { rid: self.rid.clone(), encrypted_key }],
        }))
    }
}

/// Wraps `cek` under a key that both sides hold: a DER KEKRecipientInfo that names it as `key_id` (L9).
///
/// # Errors
/// [`WrapError`] if OpenSSL fails.
pub fn wrap_kek(kek: &KeyEncryptionKey, key_id: &[u8], cek: &Cek) -> Result<Vec<u8>, WrapError> {
    let info = Kek {
        key_id: key_id.to_vec(),
        qualifiers: Vec::new(),
        algorithm: KekAlgorithm::Wrap(kek.algorithm()),
        encrypted_key: kek.wrap(cek.expose())?,
    };
    Ok(RecipientInfo::Kek(info).encode())
}

/// Refuses keys that are too weak, and such as would make the public operation slow.
fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), MemberKeyError> {
    let bits = |number: &[u8]| number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    let size = bits(modulus);
    if !(labels::MIN_RSA_BITS..=labels::MAX_RSA_BITS).contains(&size) || !odd(modulus) {
        return Err(MemberKeyError::Modulus(size));
    }
    if !(2..=labels::MAX_RSA_EXPONENT_BITS).contains(&bits(exponent)) || !odd(exponent) {
        return Err(MemberKeyError::Exponent);
    }
    Ok(())
}

fn prepare_rsa(rid: &RecipientId, rsa: Rsa<Public>, scheme: RsaScheme) -> Result<Prepared, ErrorStack> {
    let (algorithm, oaep) = match scheme {
        RsaScheme::Oaep(hash) => {
            (KeyTransportAlgorithm::RsaOaep(Oaep::with(hash)), Some((PKey::from_rsa(rsa.clone())?, hash)))
        }
        RsaScheme::Pkcs1v15 => (KeyTransportAlgorithm::RsaPkcs1v15, None),
    };
    let size = rsa.size() as usize;
    let info = KeyTransport { rid: rid.clone(), algorithm, encrypted_key: vec![0; size] };
    let mut head = RecipientInfo::KeyTransport(info).encode();
    head.truncate(head.len() - size);
    Ok(Prepared::Rsa { rsa, oaep, head })
}

fn encrypt_oaep(key: &PKey<Public>, hash: Hash, cek: &Cek, out: &mut [u8]) -> Result<usize, ErrorStack> {
    let mut context = PkeyCtx::new(key)?;
    context.encrypt_init()?;
    context.set_rsa_padding(Padding::PKCS1_OAEP)?;
    context.set_rsa_oaep_md(hash.md())?;
    context.set_rsa_mgf1_md(hash.md())?;
    context.encrypt(cek.expose(), Some(out))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::cms::der::{self, Tag};
    use openssl::ec::EcKey;
    use openssl::nid::Nid;
    use zeroize::Zeroizing;

    fn take(spki: &[u8]) -> Result<MemberKey, MemberKeyError> {
        MemberKey::new(RecipientId::SubjectKeyId(vec![1].into()), spki, RsaScheme::default())
    }

    fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let positive = |number: &[u8]| der::tlv(Tag::INTEGER, &[&[0], number]);
        let number =
            |number: &[u8]| if number[0] < 0x80 { der::tlv(Tag::INTEGER, &[number]) } else { positive(number) };
        let key = der::sequence(&[&number(modulus), &number(exponent)]);
        let algorithm = der::sequence(&[&der::object_id(labels::RSA_ENCRYPTION), der::NULL]);
        der::sequence(&[&algorithm, &der::tlv(Tag::BIT_STRING, &[&[0], &key])])
    }

    #[test]
    fn weak_and_slow_rsa_keys_are_refused() {
        let modulus = |octets: usize| vec![0xff; octets];
        assert!(take(&rsa_spki(&modulus(256), &[1, 0, 1])).is_ok());
        assert!(take(&rsa_spki(&modulus(1024), &[3])).is_ok());
        assert!(matches!(take(&rsa_spki(&modulus(255), &[3])), Err(MemberKeyError::Modulus(2040))));
        assert!(matches!(take(&rsa_spki(&modulus(1025), &[3])), Err(MemberKeyError::Modulus(8200))));
        let even = [modulus(255), vec![0xfe]].concat();
        assert!(matches!(take(&rsa_spki(&even, &[3])), Err(MemberKeyError::Modulus(2048))));
        for exponent in [vec![1], vec![4], vec![0xff; 9]] {
            assert!(matches!(take(&rsa_spki(&modulus(256), &exponent)), Err(MemberKeyError::Exponent)));
        }
    }

    #[test]
    fn keys_of_other_sorts_and_points_off_the_curve_are_refused() {
        let x25519 = PKey::generate_x25519().unwrap().public_key_to_der().unwrap();
        assert!(matches!(take(&x25519), Err(MemberKeyError::Sort(sort)) if sort == "1.3.101.110"));
        let of = |curve| {
            let group = openssl::ec::EcGroup::from_curve_name(curve).unwrap();
            EcKey::generate(&group).unwrap().public_key_to_der().unwrap()
        };
        assert!(matches!(take(&of(Nid::SECP521R1)), Err(MemberKeyError::Sort(sort)) if sort == "1.3.132.0.35"));
        let mut spki = of(Nid::X9_62_PRIME256V1);
        assert!(take(&spki).is_ok());
        *spki.last_mut().unwrap() ^= 1;
        assert!(matches!(take(&spki), Err(MemberKeyError::Point)));
        assert!(matches!(take(&[spki.as_slice(), &[0]].concat()), Err(MemberKeyError::Malformed(_))));
    }

    #[test]
    fn every_wrap_is_fresh() {
        let cek = Cek::new(Zeroizing::new(vec![7; 16])).unwrap();
        let rsa = take(&rsa_spki(&[0xff; 256], &[3])).unwrap();
        let ec = EcKey::generate(Curve::P256.group().unwrap()).unwrap().public_key_to_der().unwrap();
        for key in [rsa, take(&ec).unwrap()] {
            assert_ne!(key.wrap(&cek).unwrap(), key.wrap(&cek).unwrap());
        }
    }
}
