//! The two elliptic curves: points checked once, and the agreement of RFC 5753 on them.

use super::der::Oid;
use super::labels;
use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ec::{EcGroup, EcGroupRef, EcKey, EcPoint, EcPointRef, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Private;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// A curve of prime order: every point on it but infinity is a good public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
}

impl Curve {
    /// Octets of a coordinate, and of an agreed secret.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::P256 => labels::SECP256R1,
            Self::P384 => labels::SECP384R1,
        }
    }

    /// The curve with this identifier, if it is one of ours.
    #[must_use]
    pub fn from_oid(oid: Oid<'_>) -> Option<Self> {
        [Self::P256, Self::P384].into_iter().find(|curve| curve.oid() == oid)
    }

    /// OpenSSL's group, made once: making one takes longer than multiplying in it.
    fn prepared(self) -> Result<&'static Prepared, ErrorStack> {
        static P256: OnceLock<Prepared> = OnceLock::new();
        static P384: OnceLock<Prepared> = OnceLock::new();
        let (cell, nid) = match self {
            Self::P256 => (&P256, Nid::X9_62_PRIME256V1),
            Self::P384 => (&P384, Nid::SECP384R1),
        };
        if let Some(prepared) = cell.get() {
            return Ok(prepared);
        }
        let prepared = Prepared::new(nid)?;
        Ok(cell.get_or_init(|| prepared))
    }

    /// OpenSSL's group.
    pub(crate) fn group(self) -> Result<&'static EcGroupRef, ErrorStack> {
        Ok(&self.prepared()?.group)
    }

    /// Checks an encoded public key (SEC 1 section 2.3.4), whole or compressed: on the curve, and not infinity.
    /// `None` if it is not.
    pub(crate) fn point(self, octets: &[u8]) -> Option<EcPoint> {
        let whole = octets.len() == 1 + 2 * self.field_len() && octets.first() == Some(&4);
        let compressed = octets.len() == 1 + self.field_len() && matches!(octets.first(), Some(2 | 3));
        if !whole && !compressed {
            return None;
        }
        let mut context = BigNumContext::new().ok()?;
        // OpenSSL refuses coordinates out of range or off the curve while it decodes them.
        EcPoint::from_bytes(self.group().ok()?, octets, &mut context).ok()
    }

    /// The uncompressed form of a point (SEC 1 section 2.3.3).
    pub(crate) fn uncompressed(self, point: &EcPointRef) -> Result<Vec<u8>, ErrorStack> {
        let mut context = BigNumContext::new()?;
        point.to_bytes(self.group()?, PointConversionForm::UNCOMPRESSED, &mut context)
    }
}

/// A group, and the coordinates of its generator: something harmless to overwrite points with.
struct Prepared {
    group: EcGroup,
    x: BigNum,
    y: BigNum,
}

impl Prepared {
    fn new(curve: Nid) -> Result<Self, ErrorStack> {
        let group = EcGroup::from_curve_name(curve)?;
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        let mut generator = EcPoint::new(&group)?;
        let mut context = BigNumContext::new()?;
        generator.mul_generator2(&group, &*BigNum::from_u32(1)?, &mut context)?;
        generator.affine_coordinates(&group, &mut x, &mut y, &mut context)?;
        Ok(Self { group, x, y })
    }
}

/// The agreed secret Z (SEC 1 section 3.3.1): the x coordinate of `secret` times `point`, [`Curve::field_len`] octets.
///
/// This is the constant-time multiplication that OpenSSL's own ECDH does, without the export of both keys into a
/// provider, which would cost half as much again. `point` must come from [`Curve::point`].
pub(crate) fn agree(curve: Curve, point: &EcPointRef, secret: &BigNumRef) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let prepared = curve.prepared()?;
    // OpenSSL wipes numbers of this sort when it frees them.
    let mut context = BigNumContext::new_secure()?;
    let (mut x, mut y) = (BigNum::new_secure()?, BigNum::new_secure()?);
    let mut product = EcPoint::new(&prepared.group)?;
    product.mul2(&prepared.group, point, secret, &mut context)?;
    product.affine_coordinates(&prepared.group, &mut x, &mut y, &mut context)?;
    // Points it does not wipe.
    product.set_affine_coordinates(&prepared.group, &prepared.x, &prepared.y, &mut context)?;
    Ok(Zeroizing::new(x.to_vec_padded(curve.field_len() as i32)?))
}

/// A fresh key pair for one agreement, and its public half as an uncompressed point.
pub(crate) fn ephemeral(curve: Curve) -> Result<(EcKey<Private>, Vec<u8>), ErrorStack> {
    let key = EcKey::generate(curve.group()?)?;
    let point = curve.uncompressed(key.public_key())?;
    Ok((key, point))
}
