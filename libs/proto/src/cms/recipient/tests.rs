#![allow(clippy::unwrap_used)]

use super::*;
use crate::cms::der;
use crate::cms::labels;
use crate::cms::wrap::wrap_kek;
use crate::secret::Cek;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most)
}

fn rid() -> impl Strategy<Value = RecipientId> {
    // A positive serial number, and a Name with one attribute.
    let serial = (1_u8..0x80, octets(19)).prop_map(|(first, rest)| [vec![first], rest].concat());
    let issuer = "[a-z]{1,40}".prop_map(|name| {
        let value = [&[0x13, name.len() as u8], name.as_bytes()].concat();
        der::sequence(&[&der::tlv(der::Tag::SET, &[&der::sequence(&[&[6, 3, 0x55, 4, 3], &value])])])
    });
    prop_oneof![
        (issuer, serial).prop_map(|(issuer, serial)| RecipientId::IssuerAndSerial {
            issuer_der: issuer.into(),
            serial: serial.into()
        }),
        octets(40).prop_map(|id| RecipientId::SubjectKeyId(id.into())),
    ]
}

fn hash() -> impl Strategy<Value = Hash> {
    prop::sample::select(vec![Hash::Sha1, Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512])
}

fn wrap() -> impl Strategy<Value = WrapAlgorithm> {
    let algorithm = prop::sample::select(vec![labels::AES128_WRAP, labels::AES192_WRAP, labels::AES256_WRAP]);
    (algorithm, any::<bool>()).prop_map(|(oid, null)| {
        let parameters = if null { der::NULL } else { &[] };
        WrapAlgorithm::decode(&der::sequence(&[&der::object_id(oid), parameters])).unwrap().unwrap()
    })
}

fn unknown_algorithm() -> impl Strategy<Value = Vec<u8>> {
    octets(30).prop_map(|parameter| der::sequence(&[&[6, 3, 0x2b, 6, 1], &der::octet_string(&parameter)]))
}

fn key_transport() -> impl Strategy<Value = RecipientInfo> {
    let algorithm = prop_oneof![
        Just(KeyTransportAlgorithm::RsaPkcs1v15),
        (hash(), hash(), octets(20)).prop_map(|(hash, mgf_hash, label)| KeyTransportAlgorithm::RsaOaep(Oaep {
            hash,
            mgf_hash,
            label
        })),
        unknown_algorithm().prop_map(KeyTransportAlgorithm::Other),
    ];
    (rid(), algorithm, octets(600)).prop_map(|(rid, algorithm, encrypted_key)| {
        RecipientInfo::KeyTransport(KeyTransport { rid, algorithm, encrypted_key })
    })
}

fn key_agreement() -> impl Strategy<Value = RecipientInfo> {
    let parameters = prop::sample::select(vec![Vec::new(), der::NULL.to_vec(), der::object_id(labels::SECP256R1)]);
    let originator = prop_oneof![
        (parameters, octets(97)).prop_map(|(parameters, point)| Originator::Point { parameters, point }),
        octets(20).prop_map(|id| Originator::Other(der::tlv(der::Tag::context(0), &[&id]))),
    ];
    let algorithm = prop_oneof![
        (any::<bool>(), hash(), wrap()).prop_map(|(cofactor, hash, wrap)| KeyAgreementAlgorithm::EcDh {
            cofactor,
            hash,
            wrap
        }),
        unknown_algorithm().prop_map(KeyAgreementAlgorithm::Other),
    ];
    let recipient = (rid(), octets(48)).prop_map(|(rid, encrypted_key)| RecipientEncryptedKey { rid, encrypted_key });
    (originator, option::of(octets(64)), algorithm, vec(recipient, 0..4)).prop_map(
        |(originator, ukm, algorithm, recipients)| {
            RecipientInfo::KeyAgreement(KeyAgreement { originator, ukm, algorithm, recipients })
        },
    )
}

fn kek() -> impl Strategy<Value = RecipientInfo> {
    let qualifiers = prop_oneof![Just(Vec::new()), Just(b"\x18\x0f20261121120000Z".to_vec())];
    let algorithm = prop_oneof![wrap().prop_map(KekAlgorithm::Wrap), unknown_algorithm().prop_map(KekAlgorithm::Other)];
    (octets(40), qualifiers, algorithm, octets(48)).prop_map(|(key_id, qualifiers, algorithm, encrypted_key)| {
        RecipientInfo::Kek(Kek { key_id, qualifiers, algorithm, encrypted_key })
    })
}

fn foreign() -> impl Strategy<Value = RecipientInfo> {
    (3_u8..9, octets(200))
        .prop_map(|(number, content)| der::tlv(der::Tag::context_constructed(number), &[&der::octet_string(&content)]))
        .prop_map(RecipientInfo::Other)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(info in prop_oneof![key_transport(), key_agreement(), kek(), foreign()]) {
        let written = info.encode();
        let read = RecipientInfo::decode(&written);
        prop_assert_eq!(read.as_ref(), Ok(&info));
        prop_assert_eq!(RecipientInfo::decode(&[written, vec![0]].concat()).map_err(|error| error.fault), Err(der::Fault::Trailing));
    }

    #[test]
    fn no_octets_make_it_panic(octets in octets(300)) {
        let _ = RecipientInfo::decode(&octets);
    }

    #[test]
    fn no_change_makes_it_panic(info in prop_oneof![key_transport(), key_agreement(), kek()], at: prop::sample::Index, octet: u8) {
        let mut octets = info.encode();
        let at = at.index(octets.len());
        octets[at] = octet;
        if let Ok(changed) = RecipientInfo::decode(&octets) {
            prop_assert_eq!(RecipientInfo::decode(&changed.encode()), Ok(changed));
        }
    }

    #[test]
    fn recipient_ids_travel_in_json(rid in rid()) {
        let json = serde_json::to_string(&rid).unwrap();
        prop_assert_eq!(serde_json::from_str::<RecipientId>(&json).unwrap(), rid);
    }
}

#[test]
fn a_shared_key_wraps_and_unwraps() {
    let kek = |octets: usize| crate::cms::keywrap::KeyEncryptionKey::new(Zeroizing::new(vec![7; octets])).unwrap();
    let cek = Cek::new(Zeroizing::new(vec![9; 32])).unwrap();
    let content: crate::cms::frame::ContentAlgorithm = "aes-256-cbc".parse().unwrap();
    let RecipientInfo::Kek(info) = RecipientInfo::decode(&wrap_kek(&kek(24), b"epoch 1", &cek).unwrap()).unwrap()
    else {
        unreachable!("a KEKRecipientInfo")
    };
    assert_eq!(info.key_id, b"epoch 1");
    let opened = crate::cms::unwrap::unwrap_kek(&info, &kek(24), &content).unwrap();
    assert_eq!(opened.expose(), cek.expose());
    assert!(crate::cms::unwrap::unwrap_kek(&info, &kek(32), &content).is_err());
}
