//! What key transport needs of a certificate (RFC 5280): the names of its key, and the key. Whether to trust it is
//! decided elsewhere.

use super::curve::Curve;
use super::der::{DerError, Fault, Reader, Tag};
use super::labels;
use super::recipient::RecipientId;

/// The key of a certificate, and the two ids under which messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateKey<'a> {
    /// Issuer and serial number, octets as in the certificate.
    pub issuer_and_serial: RecipientId,
    /// The subject key identifier extension (RFC 5280 section 4.2.1.2), where there is one.
    pub subject_key_id: Option<RecipientId>,
    /// DER of the SubjectPublicKeyInfo.
    pub spki: &'a [u8],
}

impl<'a> CertificateKey<'a> {
    /// Reads a DER certificate. Nothing of it is verified.
    ///
    /// # Errors
    /// [`DerError`] if it is not a certificate.
    pub fn read(certificate: &'a [u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(certificate, "Certificate");
        let mut signed = outer.enter(Tag::SEQUENCE, "Certificate")?;
        outer.finish()?;
        let mut tbs = signed.enter(Tag::SEQUENCE, "TBSCertificate")?;
        tbs.optional(Tag::context_constructed(0))?; // version
        let serial = tbs.element(Tag::INTEGER)?.value.to_vec().into();
        tbs.element(Tag::SEQUENCE)?; // signature
        let issuer_der = tbs.element(Tag::SEQUENCE)?.raw.to_vec().into();
        tbs.element(Tag::SEQUENCE)?; // validity
        tbs.element(Tag::SEQUENCE)?; // subject
        let spki = tbs.element(Tag::SEQUENCE)?.raw;
        tbs.optional(Tag::context(1))?; // issuerUniqueID
        tbs.optional(Tag::context(2))?; // subjectUniqueID
        let subject_key_id = match tbs.optional(Tag::context_constructed(3))? {
            Some(extensions) => Reader::all(extensions.value, "Extensions", subject_key_id)?,
            None => None,
        };
        Ok(Self { issuer_and_serial: RecipientId::IssuerAndSerial { issuer_der, serial }, subject_key_id, spki })
    }

    /// Whether a RecipientInfo with this id is for the certificate's key.
    #[must_use]
    pub fn is_named_by(&self, rid: &RecipientId) -> bool {
        *rid == self.issuer_and_serial || Some(rid) == self.subject_key_id.as_ref()
    }
}

fn subject_key_id(outer: &mut Reader<'_>) -> Result<Option<RecipientId>, DerError> {
    let mut extensions = outer.enter(Tag::SEQUENCE, "Extensions")?;
    while !extensions.is_empty() {
        let mut extension = extensions.enter(Tag::SEQUENCE, "Extension")?;
        if extension.oid()? != labels::SUBJECT_KEY_IDENTIFIER {
            continue;
        }
        extension.optional(Tag::BOOLEAN)?; // critical
        let id = Reader::all(extension.octets()?, "SubjectKeyIdentifier", Reader::octets)?;
        return Ok(Some(RecipientId::SubjectKeyId(id.to_vec().into())));
    }
    Ok(None)
}

/// A SubjectPublicKeyInfo of a sort that keys are wrapped for.
pub(crate) enum SubjectPublicKey<'a> {
    /// rsaEncryption: modulus and exponent, big-endian (RFC 8017 appendix A.1.1).
    Rsa {
        /// n
        modulus: &'a [u8],
        /// e
        exponent: &'a [u8],
    },
    /// id-ecPublicKey on one of our curves (RFC 5480): the encoded point, not yet checked.
    Ec {
        /// Its curve.
        curve: Curve,
        /// The point.
        point: &'a [u8],
    },
    /// Another sort, by its dotted object identifier: that of the curve for elliptic curves.
    Other(String),
}

impl<'a> SubjectPublicKey<'a> {
    /// Reads a DER SubjectPublicKeyInfo.
    pub(crate) fn read(spki: &'a [u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(spki, "SubjectPublicKeyInfo");
        let mut info = outer.enter(Tag::SEQUENCE, "SubjectPublicKeyInfo")?;
        outer.finish()?;
        let mut algorithm = info.enter(Tag::SEQUENCE, "SubjectPublicKeyInfo.algorithm")?;
        let key = info.bits()?;
        info.finish()?;
        Ok(match algorithm.oid()? {
            labels::RSA_ENCRYPTION => Reader::all(key, "RSAPublicKey", |outer| {
                let mut pair = outer.enter(Tag::SEQUENCE, "RSAPublicKey")?;
                let (modulus, exponent) = (positive(&mut pair)?, positive(&mut pair)?);
                pair.finish()?;
                Ok(Self::Rsa { modulus, exponent })
            })?,
            labels::EC_PUBLIC_KEY => {
                let oid = algorithm.oid()?;
                let curve = Curve::from_oid(oid);
                curve.map_or_else(|| Self::Other(oid.to_string()), |curve| Self::Ec { curve, point: key })
            }
            other => Self::Other(other.to_string()),
        })
    }
}

/// A positive INTEGER, without the octet that only says that it is positive.
fn positive<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DerError> {
    match reader.integer()? {
        [0, magnitude @ ..] if !magnitude.is_empty() => Ok(magnitude),
        [0] | [0x80..=0xff, ..] => Err(reader.fault(Fault::Value)),
        magnitude => Ok(magnitude),
    }
}
