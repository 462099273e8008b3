//! DER to [`RecipientInfo`].

use super::{
    Hash, Kek, KekAlgorithm, KeyAgreement, KeyAgreementAlgorithm, KeyTransport, KeyTransportAlgorithm, Oaep,
    Originator, RecipientEncryptedKey, RecipientId, RecipientInfo,
};
use crate::cms::der::{DerError, Fault, Reader, Tag};
use crate::cms::keywrap::WrapAlgorithm;
use crate::cms::labels;

impl RecipientInfo {
    /// Reads one DER RecipientInfo. Versions are read and not compared: they say nothing that the fields do not.
    ///
    /// # Errors
    /// [`DerError`] if it is not the structure of RFC 5652. Algorithms and keys that we do not open are no error.
    pub fn decode(octets: &[u8]) -> Result<Self, DerError> {
        Reader::all(octets, "RecipientInfo", |outer| {
            let info = outer.any()?;
            match info.tag.0 {
                0x30 => Reader::all(info.value, "KeyTransRecipientInfo", key_transport).map(Self::KeyTransport),
                0xa1 => Reader::all(info.value, "KeyAgreeRecipientInfo", key_agreement).map(Self::KeyAgreement),
                0xa2 => Reader::all(info.value, "KEKRecipientInfo", kek).map(Self::Kek),
                0xa3..=0xbe => Ok(Self::Other(octets.to_vec())),
                other => Err(Fault::Tag(other).in_type("RecipientInfo")),
            }
        })
    }
}

fn key_transport(info: &mut Reader<'_>) -> Result<KeyTransport, DerError> {
    info.small()?;
    let rid = match info.peek() {
        Some(Tag::SEQUENCE) => issuer_and_serial(info)?,
        _ => RecipientId::SubjectKeyId(info.element(Tag::context(0))?.value.to_vec().into()),
    };
    let algorithm = key_transport_algorithm(info)?;
    Ok(KeyTransport { rid, algorithm, encrypted_key: info.octets()?.to_vec() })
}

fn issuer_and_serial(outer: &mut Reader<'_>) -> Result<RecipientId, DerError> {
    let mut pair = outer.enter(Tag::SEQUENCE, "IssuerAndSerialNumber")?;
    let issuer_der = pair.element(Tag::SEQUENCE)?.raw.to_vec().into();
    // Copied out of the certificate, whose issuer may not have kept to the shortest form.
    let serial = pair.element(Tag::INTEGER)?.value.to_vec().into();
    pair.finish()?;
    Ok(RecipientId::IssuerAndSerial { issuer_der, serial })
}

fn key_transport_algorithm(outer: &mut Reader<'_>) -> Result<KeyTransportAlgorithm, DerError> {
    let whole = outer.element(Tag::SEQUENCE)?;
    let mut algorithm = Reader::new(whole.value, "KeyEncryptionAlgorithmIdentifier");
    Ok(match algorithm.oid()? {
        // The parameters are NULL; some programs leave them out (RFC 3370 section 4.2.1 tells readers to bear it).
        labels::RSA_ENCRYPTION => {
            algorithm.optional(Tag::NULL)?;
            algorithm.finish()?;
            KeyTransportAlgorithm::RsaPkcs1v15
        }
        labels::RSAES_OAEP => {
            let parameters = oaep(&mut algorithm)?;
            algorithm.finish()?;
            parameters.map_or_else(|| KeyTransportAlgorithm::Other(whole.raw.to_vec()), KeyTransportAlgorithm::RsaOaep)
        }
        _ => KeyTransportAlgorithm::Other(whole.raw.to_vec()),
    })
}

/// RSAES-OAEP-params (RFC 4055 section 4.1); `None` for functions that we do not know.
fn oaep(algorithm: &mut Reader<'_>) -> Result<Option<Oaep>, DerError> {
    let mut parameters = algorithm.enter(Tag::SEQUENCE, "RSAES-OAEP-params")?;
    let hash = match parameters.optional(Tag::context_constructed(0))? {
        Some(field) => Reader::all(field.value, "RSAES-OAEP-params.hashFunc", hash_algorithm)?,
        None => Some(Hash::Sha1),
    };
    let mgf_hash = match parameters.optional(Tag::context_constructed(1))? {
        Some(field) => Reader::all(field.value, "RSAES-OAEP-params.maskGenFunc", |outer| {
            let mut mgf = outer.enter(Tag::SEQUENCE, "RSAES-OAEP-params.maskGenFunc")?;
            if mgf.oid()? != labels::MGF1 {
                return Ok(None);
            }
            let hash = hash_algorithm(&mut mgf)?;
            mgf.finish()?;
            Ok(hash)
        })?,
        None => Some(Hash::Sha1),
    };
    let label = match parameters.optional(Tag::context_constructed(2))? {
        Some(field) => Reader::all(field.value, "RSAES-OAEP-params.pSourceFunc", |outer| {
            let mut source = outer.enter(Tag::SEQUENCE, "RSAES-OAEP-params.pSourceFunc")?;
            if source.oid()? != labels::P_SPECIFIED {
                return Ok(None);
            }
            let label = source.octets()?;
            source.finish()?;
            Ok(Some(label.to_vec()))
        })?,
        None => Some(Vec::new()),
    };
    parameters.finish()?;
    Ok(hash.zip(mgf_hash).zip(label).map(|((hash, mgf_hash), label)| Oaep { hash, mgf_hash, label }))
}

/// An AlgorithmIdentifier of a hash, its parameters NULL or absent; `None` for hashes that we do not know.
fn hash_algorithm(outer: &mut Reader<'_>) -> Result<Option<Hash>, DerError> {
    let mut algorithm = outer.enter(Tag::SEQUENCE, "HashAlgorithm")?;
    let hash = Hash::from_oid(algorithm.oid()?);
    algorithm.optional(Tag::NULL)?;
    algorithm.finish()?;
    Ok(hash)
}

fn key_agreement(info: &mut Reader<'_>) -> Result<KeyAgreement, DerError> {
    info.small()?;
    let field = info.element(Tag::context_constructed(0))?;
    let originator = Reader::all(field.value, "OriginatorIdentifierOrKey", originator)?;
    let ukm = match info.optional(Tag::context_constructed(1))? {
        Some(field) => Some(Reader::all(field.value, "UserKeyingMaterial", |ukm| ukm.octets())?.to_vec()),
        None => None,
    };
    let algorithm = key_agreement_algorithm(info)?;
    let mut keys = info.enter(Tag::SEQUENCE, "RecipientEncryptedKeys")?;
    let mut recipients = Vec::new();
    while !keys.is_empty() {
        let mut key = keys.enter(Tag::SEQUENCE, "RecipientEncryptedKey")?;
        let rid = key_agreement_rid(&mut key)?;
        let encrypted_key = key.octets()?.to_vec();
        key.finish()?;
        recipients.push(RecipientEncryptedKey { rid, encrypted_key });
    }
    Ok(KeyAgreement { originator, ukm, algorithm, recipients })
}

/// OriginatorIdentifierOrKey: we use `[1] originatorKey` of id-ecPublicKey.
fn originator(outer: &mut Reader<'_>) -> Result<Originator, DerError> {
    let choice = outer.any()?;
    if choice.tag != Tag::context_constructed(1) {
        return Ok(Originator::Other(choice.raw.to_vec()));
    }
    let mut key = Reader::new(choice.value, "OriginatorPublicKey");
    let mut algorithm = key.enter(Tag::SEQUENCE, "OriginatorPublicKey.algorithm")?;
    if algorithm.oid()? != labels::EC_PUBLIC_KEY {
        return Ok(Originator::Other(choice.raw.to_vec()));
    }
    let parameters = algorithm.rest().to_vec();
    let point = key.bits()?.to_vec();
    key.finish()?;
    Ok(Originator::Point { parameters, point })
}

fn key_agreement_algorithm(outer: &mut Reader<'_>) -> Result<KeyAgreementAlgorithm, DerError> {
    let whole = outer.element(Tag::SEQUENCE)?;
    let mut algorithm = Reader::new(whole.value, "KeyEncryptionAlgorithmIdentifier");
    let other = || Ok(KeyAgreementAlgorithm::Other(whole.raw.to_vec()));
    let Some((cofactor, hash)) = KeyAgreementAlgorithm::scheme(algorithm.oid()?) else {
        return other();
    };
    let wrap = algorithm.element(Tag::SEQUENCE)?;
    algorithm.finish()?;
    match WrapAlgorithm::decode(wrap.raw)? {
        Some(wrap) => Ok(KeyAgreementAlgorithm::EcDh { cofactor, hash, wrap }),
        None => other(),
    }
}

/// KeyAgreeRecipientIdentifier: issuerAndSerialNumber, or `[0] rKeyId` with its optional date and attributes ignored.
fn key_agreement_rid(outer: &mut Reader<'_>) -> Result<RecipientId, DerError> {
    if outer.peek() == Some(Tag::SEQUENCE) {
        return issuer_and_serial(outer);
    }
    let mut key_id = outer.enter(Tag::context_constructed(0), "RecipientKeyIdentifier")?;
    Ok(RecipientId::SubjectKeyId(key_id.octets()?.to_vec().into()))
}

fn kek(info: &mut Reader<'_>) -> Result<Kek, DerError> {
    info.small()?;
    let mut identifier = info.enter(Tag::SEQUENCE, "KEKIdentifier")?;
    let key_id = identifier.octets()?.to_vec();
    let qualifiers = identifier.rest().to_vec();
    let algorithm = info.element(Tag::SEQUENCE)?.raw;
    let algorithm = match WrapAlgorithm::decode(algorithm)? {
        Some(wrap) => KekAlgorithm::Wrap(wrap),
        None => KekAlgorithm::Other(algorithm.to_vec()),
    };
    Ok(Kek { key_id, qualifiers, algorithm, encrypted_key: info.octets()?.to_vec() })
}
