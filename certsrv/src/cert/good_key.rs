//! Which public keys are certified: RSA of 2048 bits and more with a sane exponent, P-256 and P-384 (DESIGN 2).

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};

/// Modulus lengths that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// Longest public exponent in bits: longer ones make every use of the key slow.
const MAX_EXPONENT_BITS: i32 = 64;

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
    /// The point is not on its curve.
    #[error("the elliptic-curve point is not on its curve")]
    Point,
}

/// Checks the key in a DER SubjectPublicKeyInfo.
pub(crate) fn check(spki: &[u8]) -> Result<GoodKey, BadKey> {
    let key = PKey::public_key_from_der(spki).map_err(|_| BadKey::Unreadable)?;
    let kind = match key.id() {
        Id::RSA => check_rsa(&key)?,
        Id::EC => check_ec(&key)?,
        _ => return Err(BadKey::Kind),
    };
    // What is certified is exactly what was presented, in the one encoding that everybody writes.
    let canonical = key.public_key_to_der().map_err(|_| BadKey::Unreadable)?;
    if canonical != spki {
        return Err(if kind == KeyKind::Ec { BadKey::Curve } else { BadKey::Unreadable });
    }
    Ok(GoodKey { spki: canonical, kind })
}

fn check_rsa(key: &PKey<Public>) -> Result<KeyKind, BadKey> {
    let rsa = key.rsa().map_err(|_| BadKey::Unreadable)?;
    let bits = u32::try_from(rsa.n().num_bits()).unwrap_or(0);
    if !RSA_BITS.contains(&bits) {
        return Err(BadKey::RsaBits(bits));
    }
    let least = openssl::bn::BigNum::from_u32(65_537).map_err(|_| BadKey::Unreadable)?;
    let exponent = rsa.e();
    let sound = rsa.n().is_bit_set(0)
        && exponent.is_bit_set(0)
        && exponent.num_bits() <= MAX_EXPONENT_BITS
        && exponent >= &*least;
    sound.then_some(KeyKind::Rsa).ok_or(BadKey::RsaNumbers)
}

fn check_ec(key: &PKey<Public>) -> Result<KeyKind, BadKey> {
    let ec = key.ec_key().map_err(|_| BadKey::Unreadable)?;
    let Some(curve @ (Nid::X9_62_PRIME256V1 | Nid::SECP384R1)) = ec.group().curve_name() else {
        return Err(BadKey::Curve);
    };
    // Built anew on the named curve: explicit parameters cannot slip through into the certificate.
    let rebuilt = || -> Result<Vec<u8>, openssl::error::ErrorStack> {
        let group = EcGroup::from_curve_name(curve)?;
        let mut context = BigNumContext::new()?;
        let octets =
            ec.public_key().to_bytes(ec.group(), openssl::ec::PointConversionForm::UNCOMPRESSED, &mut context)?;
        let point = openssl::ec::EcPoint::from_bytes(&group, &octets, &mut context)?;
        let named = EcKey::from_public_key(&group, &point)?;
        named.check_key()?;
        PKey::from_ec_key(named)?.public_key_to_der()
    };
    let named = rebuilt().map_err(|_| BadKey::Point)?;
    let presented = key.public_key_to_der().map_err(|_| BadKey::Unreadable)?;
    (named == presented).then_some(KeyKind::Ec).ok_or(BadKey::Curve)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use openssl::bn::BigNum;
    use openssl::ec::Asn1Flag;
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
        let even = Rsa::from_public_components(
            BigNum::from_slice(&[0xfe; 256]).unwrap(),
            BigNum::from_u32(65537).unwrap(),
        );
        let table = [
            (rsa(1024, 65537), BadKey::RsaBits(1024)),
            (rsa(2048, 3), BadKey::RsaNumbers),
            (even.unwrap().public_key_to_der().unwrap(), BadKey::RsaNumbers),
            (ec(Nid::SECP521R1, named), BadKey::Curve),
            (ec(Nid::SECP256K1, named), BadKey::Curve),
            (ec(Nid::X9_62_PRIME256V1, Asn1Flag::EXPLICIT_CURVE), BadKey::Curve),
            (ed25519, BadKey::Kind),
            (trailing, BadKey::Unreadable),
            (b"rubbish".to_vec(), BadKey::Unreadable),
        ];
        for (spki, wanted) in table {
            assert_eq!(check(&spki), Err(wanted));
        }
    }
}
