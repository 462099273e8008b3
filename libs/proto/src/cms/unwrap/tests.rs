#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::cms::curve;
use crate::cms::kdf::Hash;
use crate::cms::recipient::Oaep;
use openssl::bn::BigNum;
use openssl::ec::EcKey;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;

fn unhex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// Writes a line past the test harness, which hides what passing tests print.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Calls `check` with each group and test of the wycheproof files whose names begin so; returns how many tests it was.
fn wycheproof(test: &str, beginning: &str, mut check: impl FnMut(&Value, &Value)) {
    let Some(folder) = std::env::var_os("TWINSEAL_CORPUS") else {
        say(&format!("SKIPPED {test}: TWINSEAL_CORPUS does not name the folder of the corpus"));
        return;
    };
    let mut tests = 0;
    for file in std::fs::read_dir(PathBuf::from(folder).join("wycheproof/testvectors_v1")).unwrap() {
        let path = file.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with(beginning) {
            continue;
        }
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for group in file["testGroups"].as_array().unwrap() {
            for test in group["tests"].as_array().unwrap() {
                check(group, test);
                tests += 1;
            }
        }
    }
    say(&format!("{test}: {tests} vectors"));
    assert!(tests > 0);
}

fn private(group: &Value) -> PKey<Private> {
    PKey::private_key_from_pkcs8(&unhex(&group["privateKeyPkcs8"])).unwrap()
}

/// The decrypted block, where there is one: lengths and ranges are public checks.
fn raw(key: &PKey<Private>, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let rsa = key.rsa().unwrap();
    let mut block = vec![0; rsa.size() as usize];
    let sound = ciphertext.len() == block.len() && ciphertext < rsa.n().to_vec().as_slice();
    sound.then(|| rsa.private_decrypt(ciphertext, &mut block, Padding::NONE).unwrap())?;
    Some(block)
}

#[test]
fn wycheproof_pkcs1() {
    let rejection = RejectionSecret::new(Zeroizing::new([5; 32]));
    wycheproof("wycheproof_pkcs1", "rsa_pkcs1_", |group, test| {
        let (ciphertext, message) = (unhex(&test["ct"]), unhex(&test["msg"]));
        let Some(block) = raw(&private(group), &ciphertext) else {
            assert_eq!(test["result"], "invalid");
            return;
        };
        // Substitutes have 32 octets at most, as keys have.
        for length in 0..=32 {
            let (key, substituted) = pkcs1::decode(&block, length, &ciphertext, &rejection).unwrap();
            let good = test["result"] == "valid" && length == message.len();
            assert_eq!(bool::from(substituted), !good, "{test}, length {length}");
            if good {
                assert_eq!(*key, message, "{test}");
            } else {
                let substitute = rejection.substitute(&ciphertext, length).unwrap();
                assert_eq!(*key, *substitute, "{test}, length {length}");
            }
        }
    });
}

#[test]
fn wycheproof_oaep() {
    let hash = |name: &Value| match name.as_str().unwrap() {
        "SHA-1" => Some(Hash::Sha1),
        "SHA-224" => Some(Hash::Sha224),
        "SHA-256" => Some(Hash::Sha256),
        "SHA-384" => Some(Hash::Sha384),
        "SHA-512" => Some(Hash::Sha512),
        _ => None,
    };
    for beginning in ["rsa_oaep_", "rsa_three_primes_oaep_"] {
        wycheproof("wycheproof_oaep", beginning, |group, test| {
            let (Some(hash), Some(mgf_hash)) = (hash(&group["sha"]), hash(&group["mgfSha"])) else { return };
            let parameters = Oaep { hash, mgf_hash, label: unhex(&test["label"]) };
            let (ciphertext, message) = (unhex(&test["ct"]), unhex(&test["msg"]));
            let Some(block) = raw(&private(group), &ciphertext) else {
                assert_eq!(test["result"], "invalid");
                return;
            };
            let room = block.len() - oaep::overhead(&parameters);
            for length in [0, 16, 24, 32, message.len()].into_iter().filter(|length| *length <= room) {
                let key = oaep::decode(&block, &parameters, length).unwrap();
                let right = test["result"] != "invalid" && length == message.len();
                assert_eq!(key.as_deref(), right.then_some(&message), "{test}, length {length}");
            }
        });
    }
}

#[test]
fn wycheproof_key_wrap() {
    wycheproof("wycheproof_key_wrap", "aes_wrap_", |_, test| {
        let kek = KeyEncryptionKey::new(Zeroizing::new(unhex(&test["key"]))).unwrap();
        let (key, wrapped) = (unhex(&test["msg"]), unhex(&test["ct"]));
        let opened = kek.unwrap(&wrapped);
        match test["result"].as_str().unwrap() {
            "valid" => {
                assert_eq!(opened.as_deref(), Some(&key), "{test}");
                assert_eq!(kek.wrap(&key).unwrap(), wrapped, "{test}");
            }
            "invalid" => assert!(opened.is_none(), "{test}"),
            _ => {}
        }
    });
}

#[test]
fn wycheproof_ecdh() {
    wycheproof("wycheproof_ecdh", "ecdh_secp256r1_ecpoint", |_, test| {
        let secret = BigNum::from_slice(&unhex(&test["private"])).unwrap();
        let point = Curve::P256.point(&unhex(&test["public"]));
        let agreed = point.map(|point| curve::agree(Curve::P256, &point, &secret).unwrap());
        match test["result"].as_str().unwrap() {
            "invalid" => assert!(agreed.is_none(), "{test}"),
            _ => assert_eq!(agreed.as_deref(), Some(&unhex(&test["shared"])), "{test}"),
        }
    });
}

#[test]
fn substitutes_depend_on_key_ciphertext_and_length() {
    let substitute = |secret: u8, ciphertext: &[u8], length| {
        RejectionSecret::new(Zeroizing::new([secret; 32])).substitute(ciphertext, length).unwrap().to_vec()
    };
    let one = substitute(1, b"a", 16);
    assert_eq!(one, substitute(1, b"a", 16));
    assert_ne!(one, substitute(2, b"a", 16));
    assert_ne!(one, substitute(1, b"b", 16));
    assert_ne!(one, substitute(1, b"a", 32)[..16]);
}

#[test]
fn padding_is_checked_to_its_last_octet() {
    let rejection = RejectionSecret::new(Zeroizing::new([0; 32]));
    let mut block = [vec![0, 2], vec![0xff; 256 - 2 - 1 - 32], vec![0], vec![0x42; 32]].concat();
    let opens = |block: &[u8]| {
        let (key, substituted) = pkcs1::decode(block, 32, b"c", &rejection).unwrap();
        assert_eq!(bool::from(substituted), *key != vec![0x42; 32]);
        !bool::from(substituted)
    };
    assert!(opens(&block));
    for at in 0..256 - 32 {
        let right = std::mem::replace(&mut block[at], if (2..223).contains(&at) { 0 } else { 1 });
        assert!(!opens(&block), "octet {at}");
        block[at] = right;
    }
}

#[test]
fn substitution_is_told_for_v1_5_alone_and_only_of_broken_blocks() {
    use crate::cms::wrap::{MemberKey, RsaScheme};
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let ec = PKey::from_ec_key(EcKey::generate(Curve::P256.group().unwrap()).unwrap()).unwrap();
    let oaep = RsaScheme::Oaep(Hash::Sha256);
    for (key, scheme, refuses) in [(&rsa, RsaScheme::Pkcs1v15, false), (&rsa, oaep, true), (&ec, oaep, true)] {
        let rid = RecipientId::SubjectKeyId(vec![1].into());
        let wrapping = MemberKey::new(rid.clone(), &key.public_key_to_der().unwrap(), scheme).unwrap();
        let software = SoftwareKey::new(key).unwrap();
        let rejection = software.rejection_secret().unwrap();
        let open = |info: &RecipientInfo| unwrap(info, &rid, &software, &ContentAlgorithm::Aes256Cbc, &rejection);
        let cek = Cek::new(Zeroizing::new(vec![9; 32])).unwrap();
        let mut info = RecipientInfo::decode(&wrapping.wrap(&cek).unwrap()).unwrap();
        let good = open(&info).unwrap();
        assert_eq!((good.cek.expose(), bool::from(good.substituted)), ([9; 32].as_slice(), false));
        match &mut info {
            RecipientInfo::KeyTransport(info) => info.encrypted_key[9] ^= 1,
            RecipientInfo::KeyAgreement(info) => info.recipients[0].encrypted_key[9] ^= 1,
            _ => panic!("one of the two"),
        }
        match open(&info) {
            Ok(opened) => assert!(!refuses && bool::from(opened.substituted)),
            Err(error) => assert!(refuses && matches!(error, UnwrapError::Refused)),
        }
    }
}

#[test]
fn a_software_key_answers_only_its_own_sort() {
    let rsa = SoftwareKey::new(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).unwrap();
    let ec = EcKey::generate(Curve::P256.group().unwrap()).unwrap();
    let point = Curve::P256.uncompressed(ec.public_key()).unwrap();
    let ec = SoftwareKey::new(&PKey::from_ec_key(ec).unwrap()).unwrap();
    assert!(matches!(rsa.ecdh(&point), Err(KeyError::WrongSort)));
    assert!(matches!(ec.rsa_raw(&[1; 256]), Err(KeyError::WrongSort)));
    assert!(matches!(rsa.rsa_raw(&[1; 255]), Err(KeyError::WrongSort)));
    assert!(matches!(ec.ecdh(&[4; 65]), Err(KeyError::WrongSort)), "off the curve");
    assert_eq!(ec.ecdh(&point).unwrap().len(), 32);
    let other = PKey::generate_x25519().unwrap();
    assert!(matches!(SoftwareKey::new(&other), Err(SoftwareKeyError::Sort)));
}
