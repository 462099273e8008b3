//! Structures that `openssl cms` does not write: authenticated and unprotected attributes, originatorInfo, several
//! recipients in one key agreement, user keying material.

use crate::support::{Identity, copy_with, openssl_decrypts};
use openssl::aes::{self, AesKey};
use openssl::bn::BigNumContext;
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::sha::sha384;
use openssl::symm::{Cipher, encrypt, encrypt_aead};
use twinseal_proto::cms::choose::{Choice, choose};
use twinseal_proto::cms::content::decrypt;
use twinseal_proto::cms::der::{NULL, Oid, Tag, object_id, octet_string, sequence, small, tlv};
use twinseal_proto::cms::frame::{Frame, Limits, scan};
use twinseal_proto::cms::keywrap::WrapAlgorithm;
use twinseal_proto::cms::labels;
use twinseal_proto::cms::recipient::{
    Hash, KeyAgreementAlgorithm, Originator, RecipientEncryptedKey, RecipientId, RecipientInfo,
};
use twinseal_proto::cms::unwrap::unwrap;
use twinseal_proto::secret::Cek;
use zeroize::Zeroizing;

const PLAIN: &[u8] = b"Content-Type: text/plain\r\n\r\nHello.\r\n";

fn cek() -> Cek {
    Cek::new(Zeroizing::new((0..32).collect())).unwrap()
}

fn attributes(tag: Tag) -> Vec<u8> {
    tlv(tag, &[&sequence(&[&object_id(Oid::new(b"\x2b\x06\x01")), &tlv(Tag::SET, &[NULL])])])
}

fn content_info(kind: Oid<'_>, fields: &[&[u8]]) -> Vec<u8> {
    sequence(&[&object_id(kind), &tlv(Tag::context_constructed(0), &[&sequence(fields)])])
}

fn content(algorithm: Oid<'_>, parameters: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&object_id(algorithm), parameters]);
    sequence(&[&object_id(labels::DATA), &algorithm, &tlv(Tag::context(0), &[ciphertext])])
}

fn scanned(message: &[u8]) -> Frame {
    scan(message, &Limits::default()).unwrap()
}

#[test]
fn authenticated_attributes_are_checked_with_the_content() {
    let group = Identity::of_vectors("p256");
    let mut mac = [0; 16];
    let aad = attributes(Tag::SET);
    let (cipher, nonce) = (Cipher::aes_256_gcm(), [7; 12]);
    let ciphertext = encrypt_aead(cipher, cek().expose(), Some(&nonce), &aad, PLAIN, &mut mac).unwrap();
    let message = |auth_attrs: &[u8]| {
        content_info(
            labels::AUTH_ENVELOPED_DATA,
            &[
                &small(0),
                &tlv(Tag::SET, &[&group.member_key().wrap(&cek()).unwrap()]),
                &content(labels::AES256_GCM, &sequence(&[&octet_string(&nonce), &small(16)]), &ciphertext),
                auth_attrs,
                &octet_string(&mac),
                &attributes(Tag::context_constructed(2)),
            ],
        )
    };
    let sound = message(&attributes(Tag::context_constructed(1)));
    let frame = scanned(&sound);
    assert!(frame.attributes_follow && frame.has_unprotected_attrs);
    assert_eq!(*decrypt(&frame, &sound, &cek()).unwrap(), PLAIN);

    let copy = copy_with(&frame, &sound, &Identity::of_vectors("rsa2048").member_key().wrap(&cek()).unwrap());
    assert_eq!(scanned(&copy).cms_version, 0, "AuthEnvelopedData has version 0 (RFC 5083 section 2.1)");
    assert_eq!(*decrypt(&scanned(&copy), &copy, &cek()).unwrap(), PLAIN);

    let stripped = message(&[]);
    assert!(decrypt(&scanned(&stripped), &stripped, &cek()).is_err(), "they are gone");
}

#[test]
fn originator_info_is_dropped_and_unprotected_attributes_stay() {
    let (group, member) = (Identity::of_vectors("rsa2048"), Identity::of_vectors("rsa3072"));
    let ciphertext = encrypt(Cipher::aes_256_cbc(), cek().expose(), Some(&[7; 16]), PLAIN).unwrap();
    let certificates = tlv(Tag::context_constructed(0), &[&group.der(), &member.der()]);
    let attributes = attributes(Tag::context_constructed(1));
    let message = content_info(
        labels::ENVELOPED_DATA,
        &[
            &small(2),
            &tlv(Tag::context_constructed(0), &[&certificates]),
            &tlv(Tag::SET, &[&group.member_key().wrap(&cek()).unwrap()]),
            &content(labels::AES256_CBC, &octet_string(&[7; 16]), &ciphertext),
            &attributes,
        ],
    );
    let frame = scanned(&message);
    assert!(frame.attributes_follow && frame.has_unprotected_attrs);
    assert_eq!(frame.end - frame.eci_end, attributes.len() as u64);

    let copy = copy_with(&frame, &message, &member.member_key().wrap(&cek()).unwrap());
    assert_eq!(scanned(&copy).cms_version, 2, "because of the attributes (RFC 5652 section 6.1)");
    assert!(copy.ends_with(&attributes));
    assert!(copy.len() < 1000, "the certificates are gone");
    assert_eq!(openssl_decrypts(&copy, &member).as_deref(), Some(PLAIN));
}

#[test]
fn of_a_key_agreement_for_several_only_ours_goes_on() {
    let group = Identity::of_vectors("p256");
    let wrapped = group.member_key().wrap(&cek()).unwrap();
    let RecipientInfo::KeyAgreement(mut info) = RecipientInfo::decode(&wrapped).unwrap() else { panic!("ECDH") };
    for id in 0..100 {
        let stranger = RecipientId::SubjectKeyId(vec![id; 20].into());
        info.recipients.insert(0, RecipientEncryptedKey { rid: stranger, encrypted_key: vec![id; 40] });
    }
    let message = RecipientInfo::KeyAgreement(info).encode();
    assert!(message.len() > labels::MAX_RECIPIENT_INFO);

    let choice = choose(&[message], |rid| group.is_named_by(rid).then_some(())).unwrap();
    let Choice::Chosen(chosen) = choice else { panic!("{choice:?}") };
    assert_eq!(chosen.der, wrapped);
    let key = group.software_key();
    let content = "aes-256-cbc".parse().unwrap();
    let info = RecipientInfo::decode_bounded(&chosen.der).unwrap();
    let opened = unwrap(&info, &chosen.rid, &key, &content, &key.rejection_secret().unwrap()).unwrap();
    assert_eq!(opened.cek.expose(), cek().expose());
}

#[test]
fn user_keying_material_enters_the_derivation() {
    let group = Identity::of_vectors("p384");
    let wrapped = group.member_key().wrap(&cek()).unwrap();
    let RecipientInfo::KeyAgreement(mut info) = RecipientInfo::decode(&wrapped).unwrap() else { panic!("ECDH") };
    let ukm = b"list 7, epoch 2";

    // RFC 5753 section 7.2, written out for one block of SHA-384 and a key of 32 octets.
    let curve = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let ephemeral = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let recipient = group.certificate.public_key().unwrap();
    let mut deriver = Deriver::new(&ephemeral).unwrap();
    deriver.set_peer(&recipient).unwrap();
    let z = deriver.derive_to_vec().unwrap();
    let key_info = sequence(&[&object_id(labels::AES256_WRAP)]);
    let shared_info = sequence(&[
        &key_info,
        &tlv(Tag::context_constructed(0), &[&octet_string(ukm)]),
        &tlv(Tag::context_constructed(2), &[&octet_string(&256_u32.to_be_bytes())]),
    ]);
    let kek = sha384(&[z.as_slice(), &[0, 0, 0, 1], &shared_info].concat());
    let mut encrypted_key = vec![0; 40];
    aes::wrap_key(&AesKey::new_encrypt(&kek[..32]).unwrap(), None, &mut encrypted_key, cek().expose()).unwrap();

    let mut context = BigNumContext::new().unwrap();
    let key = ephemeral.ec_key().unwrap();
    let point = key.public_key().to_bytes(&curve, PointConversionForm::UNCOMPRESSED, &mut context).unwrap();
    info.originator = Originator::Point { parameters: NULL.to_vec(), point };
    info.ukm = Some(ukm.to_vec());
    let wrap = WrapAlgorithm::decode(&key_info).unwrap().unwrap();
    info.algorithm = KeyAgreementAlgorithm::EcDh { cofactor: false, hash: Hash::Sha384, wrap };
    info.recipients[0].encrypted_key = encrypted_key;
    let rid = info.recipients[0].rid.clone();
    let info = RecipientInfo::KeyAgreement(info);

    let key = group.software_key();
    let content_algorithm = "aes-256-cbc".parse().unwrap();
    let opened = unwrap(&info, &rid, &key, &content_algorithm, &key.rejection_secret().unwrap()).unwrap();
    assert_eq!(opened.cek.expose(), cek().expose());

    let ciphertext = encrypt(Cipher::aes_256_cbc(), cek().expose(), Some(&[7; 16]), PLAIN).unwrap();
    let content = content(labels::AES256_CBC, &octet_string(&[7; 16]), &ciphertext);
    let message = content_info(labels::ENVELOPED_DATA, &[&small(2), &tlv(Tag::SET, &[&info.encode()]), &content]);
    assert_eq!(openssl_decrypts(&message, &group).as_deref(), Some(PLAIN));
}
