//! [`RecipientInfo`] to DER.

use super::{
    Hash, Kek, KekAlgorithm, KeyAgreement, KeyAgreementAlgorithm, KeyTransport, KeyTransportAlgorithm, Oaep,
    Originator, RecipientId, RecipientInfo,
};
use crate::cms::der::{self, Oid, Tag};
use crate::cms::labels;

impl RecipientInfo {
    /// Its DER.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::KeyTransport(info) => info.encode(),
            Self::KeyAgreement(info) => info.encode(),
            Self::Kek(info) => info.encode(),
            Self::Other(der) => der.clone(),
        }
    }
}

impl RecipientId {
    /// CMSVersion of a KeyTransRecipientInfo with this rid.
    pub(crate) const fn key_transport_version(&self) -> u8 {
        match self {
            Self::IssuerAndSerial { .. } => 0,
            Self::SubjectKeyId(_) => 2,
        }
    }

    /// RecipientIdentifier, as key transport has it.
    pub(crate) fn key_transport_der(&self) -> Vec<u8> {
        match self {
            Self::IssuerAndSerial { issuer_der, serial } => issuer_and_serial(&issuer_der.0, &serial.0),
            Self::SubjectKeyId(id) => der::tlv(Tag::context(0), &[&id.0]),
        }
    }

    /// KeyAgreeRecipientIdentifier, as key agreement has it.
    pub(crate) fn key_agreement_der(&self) -> Vec<u8> {
        match self {
            Self::IssuerAndSerial { issuer_der, serial } => issuer_and_serial(&issuer_der.0, &serial.0),
            Self::SubjectKeyId(id) => der::tlv(Tag::context_constructed(0), &[&der::octet_string(&id.0)]),
        }
    }
}

fn issuer_and_serial(issuer_der: &[u8], serial: &[u8]) -> Vec<u8> {
    der::sequence(&[issuer_der, &der::tlv(Tag::INTEGER, &[serial])])
}

impl KeyTransport {
    fn encode(&self) -> Vec<u8> {
        der::sequence(&[
            &der::small(self.rid.key_transport_version()),
            &self.rid.key_transport_der(),
            &self.algorithm.encode(),
            &der::octet_string(&self.encrypted_key),
        ])
    }
}

impl KeyTransportAlgorithm {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::RsaPkcs1v15 => der::sequence(&[&der::object_id(labels::RSA_ENCRYPTION), der::NULL]),
            Self::RsaOaep(parameters) => der::sequence(&[&der::object_id(labels::RSAES_OAEP), &parameters.encode()]),
            Self::Other(der) => der.clone(),
        }
    }
}

impl Oaep {
    /// RSAES-OAEP-params without the fields that have their default value, as DER wants it.
    fn encode(&self) -> Vec<u8> {
        let hash_algorithm = |hash: Hash| der::sequence(&[&der::object_id(hash.oid()), der::NULL]);
        let mut fields = Vec::new();
        if self.hash != Hash::Sha1 {
            fields.extend(der::tlv(Tag::context_constructed(0), &[&hash_algorithm(self.hash)]));
        }
        if self.mgf_hash != Hash::Sha1 {
            let mgf = der::sequence(&[&der::object_id(labels::MGF1), &hash_algorithm(self.mgf_hash)]);
            fields.extend(der::tlv(Tag::context_constructed(1), &[&mgf]));
        }
        if !self.label.is_empty() {
            let source = der::sequence(&[&der::object_id(labels::P_SPECIFIED), &der::octet_string(&self.label)]);
            fields.extend(der::tlv(Tag::context_constructed(2), &[&source]));
        }
        der::sequence(&[&fields])
    }
}

impl KeyAgreement {
    fn encode(&self) -> Vec<u8> {
        let ukm = self.ukm.as_ref().map(|ukm| der::tlv(Tag::context_constructed(1), &[&der::octet_string(ukm)]));
        let recipients = self.recipients.iter().flat_map(|recipient| {
            der::sequence(&[&recipient.rid.key_agreement_der(), &der::octet_string(&recipient.encrypted_key)])
        });
        der::tlv(
            Tag::context_constructed(1),
            &[
                &der::small(3),
                &der::tlv(Tag::context_constructed(0), &[&self.originator.encode()]),
                &ukm.unwrap_or_default(),
                &self.algorithm.encode(),
                &der::sequence(&[&recipients.collect::<Vec<u8>>()]),
            ],
        )
    }
}

impl Originator {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Point { parameters, point } => der::tlv(
                Tag::context_constructed(1),
                &[
                    &der::sequence(&[&der::object_id(labels::EC_PUBLIC_KEY), parameters]),
                    &der::tlv(Tag::BIT_STRING, &[&[0], point]),
                ],
            ),
            Self::Other(der) => der.clone(),
        }
    }
}

/// The ECDH schemes of RFC 5753 section 7.1.4: cofactor variant, hash, identifier.
static SCHEMES: [(bool, Hash, Oid<'static>); 10] = [
    (false, Hash::Sha1, labels::STD_DH_SHA1),
    (false, Hash::Sha224, labels::STD_DH_SHA224),
    (false, Hash::Sha256, labels::STD_DH_SHA256),
    (false, Hash::Sha384, labels::STD_DH_SHA384),
    (false, Hash::Sha512, labels::STD_DH_SHA512),
    (true, Hash::Sha1, labels::COFACTOR_DH_SHA1),
    (true, Hash::Sha224, labels::COFACTOR_DH_SHA224),
    (true, Hash::Sha256, labels::COFACTOR_DH_SHA256),
    (true, Hash::Sha384, labels::COFACTOR_DH_SHA384),
    (true, Hash::Sha512, labels::COFACTOR_DH_SHA512),
];

impl KeyAgreementAlgorithm {
    /// The variant and hash of a scheme's identifier.
    pub(super) fn scheme(oid: Oid<'_>) -> Option<(bool, Hash)> {
        SCHEMES.iter().find(|(.., known)| *known == oid).map(|(cofactor, hash, _)| (*cofactor, *hash))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::EcDh { cofactor, hash, wrap } => {
                let scheme = SCHEMES.iter().find(|scheme| (scheme.0, scheme.1) == (*cofactor, *hash));
                let oid = scheme.map_or(labels::STD_DH_SHA256, |(.., oid)| *oid);
                der::sequence(&[&der::object_id(oid), wrap.der()])
            }
            Self::Other(der) => der.clone(),
        }
    }
}

impl Kek {
    fn encode(&self) -> Vec<u8> {
        let algorithm = match &self.algorithm {
            KekAlgorithm::Wrap(wrap) => wrap.der(),
            KekAlgorithm::Other(der) => der,
        };
        der::tlv(
            Tag::context_constructed(2),
            &[
                &der::small(4),
                &der::sequence(&[&der::octet_string(&self.key_id), &self.qualifiers]),
                algorithm,
                &der::octet_string(&self.encrypted_key),
            ],
        )
    }
}
