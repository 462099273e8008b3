//! Which public keys are certified: RSA of 2048 bits and more with a sane exponent, P-256 and P-384 (DESIGN 2).

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use std::sync::OnceLock;
use twinseal_proto::cms::curve::Curve;
use twinseal_proto::cms::der::{self, DerError, Reader, Tag};
use twinseal_proto::cms::labels;

/// Modulus lengths that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// Lengths of public exponents that are taken, in bits: a long one makes every use of the key slow.
const EXPONENT_BITS: std::ops::RangeInclusive<u32> = 17..=64;

/// What a key can be used for depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// Encrypts keys.
    Rsa,
    /// Agrees on keys.
    Ec,
}

/// A public key that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoodKey {
    /// DER SubjectPublicKeyInfo; elliptic curves by name.
    pub(crate) spki: Vec<u8>,
    /// Its kind.
    pub(crate) kind: KeyKind,
}

/// Why a key is not certified. The texts are for the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKey {
    /// Not a SubjectPublicKeyInfo, or octets after it.
    #[error("the public key cannot be read")]
    Unreadable,
    /// Another algorithm.
    #[error("keys of this kind are not certified: RSA of at least 2048 bits, P-256 or P-384 is wanted")]
    Kind,
    /// An RSA modulus that is too short or too long.
    #[error("an RSA key of {0} bits is not certified: 2048 to 8192 bits are wanted (3072 is a good length)")]
    RsaBits(u32),
    /// An RSA modulus or exponent that no honest key generator makes.
    #[error("the RSA key's numbers are not sound: an odd modulus and an odd exponent of at least 65537 are wanted")]
    RsaNumbers,
    /// Another curve, or explicit curve parameters.
    #[error("keys on this curve are not certified: P-256 or P-384, by name, is wanted")]
    Curve,
    /// The point is not on its curve, or not in the uncompressed form.
    #[error("the elliptic-curve point is not on its curve, or not in the uncompressed form")]
    Point,
}

impl From<DerError> for BadKey {
    fn from(_: DerError) -> Self {
        Self::Unreadable
    }
}

/// Checks the key in a DER SubjectPublicKeyInfo, which has to be in the one encoding that everybody writes: what is
/// certified is exactly what was presented. Read here and not by OpenSSL, whose decoders take a hundred times as long.
pub(crate) fn check(spki: &[u8]) -> Result<GoodKey, BadKey> {
    let kind = Reader::all(spki, "SubjectPublicKeyInfo", |outer| {
        let mut info = outer.enter(Tag::SEQUENCE, "SubjectPublicKeyInfo")?;
        let algorithm = info.enter(Tag::SEQUENCE, "AlgorithmIdentifier")?;
        let key = info.bits()?;
        info.finish()?;
        check_algorithm(algorithm, key)
    })?;
    Ok(GoodKey { spki: spki.to_vec(), kind })
}

fn check_algorithm(mut algorithm: Reader<'_>, key: &[u8]) -> Result<KeyKind, BadKey> {
    match algorithm.oid()? {
        labels::RSA_ENCRYPTION => {
            // RFC 3279 section 2.3.1: the parameters are NULL.
            if algorithm.rest() != der::NULL {
                return Err(BadKey::Unreadable);
            }
            Reader::all(key, "RSAPublicKey", |outer| {
                let mut numbers = outer.enter(Tag::SEQUENCE, "RSAPublicKey")?;
                let (modulus, exponent) = (numbers.integer()?, numbers.integer()?);
                numbers.finish()?;
                check_rsa(modulus, exponent)
            })
        }
        labels::EC_PUBLIC_KEY => {
            let curve = algorithm.oid().ok().and_then(Curve::from_oid).ok_or(BadKey::Curve)?;
            algorithm.finish()?;
            check_ec(curve, key)
        }
        _ => Err(BadKey::Kind),
    }
}

/// The curve that the key in a DER SubjectPublicKeyInfo is on, if it is one of ours; the key itself is not looked at.
pub(crate) fn curve(spki: &[u8]) -> Option<Curve> {
    let read = Reader::all(spki, "SubjectPublicKeyInfo", |outer| {
        let mut info = outer.enter(Tag::SEQUENCE, "SubjectPublicKeyInfo")?;
        let mut algorithm = info.enter(Tag::SEQUENCE, "AlgorithmIdentifier")?;
        let elliptic = algorithm.oid()? == labels::EC_PUBLIC_KEY;
        Ok::<_, DerError>(if elliptic { algorithm.oid().ok().and_then(Curve::from_oid) } else { None })
    });
    read.ok().flatten()
}

/// Modulus and exponent as content octets of INTEGERs.
fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<KeyKind, BadKey> {
    let negative = |octets: &[u8]| octets.first().is_some_and(|first| first & 0x80 != 0);
    let odd = |octets: &[u8]| octets.last().is_some_and(|last| last & 1 == 1);
    if negative(modulus) || negative(exponent) {
        return Err(BadKey::RsaNumbers);
    }
    let bits = bits(modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(BadKey::RsaBits(bits));
    }
    // Odd and of at least 17 bits: 65537 or more.
    let sound = odd(modulus) && odd(exponent) && EXPONENT_BITS.contains(&self::bits(exponent));
    sound.then_some(KeyKind::Rsa).ok_or(BadKey::RsaNumbers)
}

/// Bits of a positive number, big-endian.
fn bits(octets: &[u8]) -> u32 {
    let mut octets = octets.iter().skip_while(|octet| **octet == 0);
    let Some(first) = octets.next() else { return 0 };
    u32::try_from(octets.count()).unwrap_or(u32::MAX / 16) * 8 + (8 - first.leading_zeros())
}

fn check_ec(curve: Curve, point: &[u8]) -> Result<KeyKind, BadKey> {
    // RFC 5480 section 2.2: the uncompressed form is the one that everybody reads.
    if point.len() != 1 + 2 * curve.field_len() || point.first() != Some(&4) {
        return Err(BadKey::Point);
    }
    // OpenSSL refuses coordinates out of range or off the curve while it decodes them; both curves are of prime order.
    let decoded = group(curve).and_then(|group| EcPoint::from_bytes(group, point, &mut *BigNumContext::new()?));
    decoded.map(|_| KeyKind::Ec).map_err(|_| BadKey::Point)
}

/// OpenSSL's group, made once: making one takes longer than checking a point.
fn group(curve: Curve) -> Result<&'static EcGroup, ErrorStack> {
    static GROUPS: [OnceLock<EcGroup>; 2] = [OnceLock::new(), OnceLock::new()];
    let [p256, p384] = &GROUPS;
    let (cell, nid) = match curve {
        Curve::P256 => (p256, Nid::X9_62_PRIME256V1),
        Curve::P384 => (p384, Nid::SECP384R1),
    };
    if let Some(group) = cell.get() {
        return Ok(group);
    }
    let group = EcGroup::from_curve_name(nid)?;
    Ok(cell.get_or_init(|| group))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use openssl::bn::BigNum;
    use openssl::ec::{Asn1Flag, EcKey};
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;

    fn rsa(bits: u32, exponent: u32) -> Vec<u8> {
        Rsa::generate_with_e(bits, &BigNum::from_u32(exponent).unwrap()).unwrap().public_key_to_der().unwrap()
    }

    fn ec(curve: Nid, flag: Asn1Flag) -> Vec<u8> {
        let mut group = EcGroup::from_curve_name(curve).unwrap();
        group.set_asn1_flag(flag);
        EcKey::generate(&group).unwrap().public_key_to_der().unwrap()
    }

    #[test]
    fn good_keys_pass_and_bad_ones_are_named() {
        let named = Asn1Flag::NAMED_CURVE;
        assert_eq!(check(&rsa(2048, 65537)).unwrap().kind, KeyKind::Rsa);
        assert_eq!(check(&ec(Nid::X9_62_PRIME256V1, named)).unwrap().kind, KeyKind::Ec);
        assert_eq!(check(&ec(Nid::SECP384R1, named)).unwrap().kind, KeyKind::Ec);
        let ed25519 = PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
        let trailing = [rsa(2048, 65537), vec![0]].concat();
        let mut off_curve = ec(Nid::X9_62_PRIME256V1, named);
        *off_curve.last_mut().unwrap() ^= 1;
        let even =
            Rsa::from_public_components(BigNum::from_slice(&[0xfe; 256]).unwrap(), BigNum::from_u32(65537).unwrap());
        let table = [
            (rsa(1024, 65537), BadKey::RsaBits(1024)),
            (rsa(2048, 3), BadKey::RsaNumbers),
            (even.unwrap().public_key_to_der().unwrap(), BadKey::RsaNumbers),
            (ec(Nid::SECP521R1, named), BadKey::Curve),
            (ec(Nid::SECP256K1, named), BadKey::Curve),
            (ec(Nid::X9_62_PRIME256V1, Asn1Flag::EXPLICIT_CURVE), BadKey::Curve),
            (off_curve, BadKey::Point),
            (ed25519, BadKey::Kind),
            (trailing, BadKey::Unreadable),
            (b"rubbish".to_vec(), BadKey::Unreadable),
        ];
        for (spki, wanted) in table {
            assert_eq!(check(&spki), Err(wanted));
        }
        assert_eq!([bits(&[]), bits(&[0, 1]), bits(&[1, 0, 1]), bits(&[0, 0x80])], [0, 1, 17, 8]);
    }
}
