//! Runs the files of `tests/vectors`: each says in its header what must come of it.

use crate::support::{Identity, openssl_decrypts, vectors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use twinseal_proto::cms::choose::{Choice, choose};
use twinseal_proto::cms::content::decrypt;
use twinseal_proto::cms::frame::{ContentAlgorithm, Limits, scan};
use twinseal_proto::cms::recipient::{Hash, KeyAgreementAlgorithm, KeyTransportAlgorithm, RecipientId, RecipientInfo};
use twinseal_proto::cms::unwrap::unwrap;

struct Vector {
    path: PathBuf,
    header: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (header, body) = text.split_once("\n\n").expect("an empty line before the body");
        let header: BTreeMap<String, String> = header
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").expect("name: value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = match header["encoding"].as_str() {
            "base64" => openssl::base64::decode_block(&body.replace('\n', "")).unwrap(),
            "hex" => hex(body),
            other => panic!("{}: encoding {other}", path.display()),
        };
        Self { path: path.to_owned(), header, body }
    }

    fn get(&self, name: &str) -> &str {
        self.header.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.path.display()))
    }
}

/// Octets in hexadecimal. `#` begins a comment, `×n` repeats the word before it.
fn hex(text: &str) -> Vec<u8> {
    let words = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    let octets = words.map(|word| {
        let (digits, count) = word.split_once('×').unwrap_or((word, "1"));
        data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap().repeat(count.parse().unwrap())
    });
    octets.flatten().collect()
}

fn all(folder: &str) -> Vec<Vector> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(vectors().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Vector::read(path)).collect()
}

/// The form of a RecipientInfo, as the vectors' headers call it.
fn form(info: &RecipientInfo) -> String {
    let name = |hash: &Hash| format!("{hash:?}").to_lowercase();
    match info {
        RecipientInfo::KeyTransport(info) => match &info.algorithm {
            KeyTransportAlgorithm::RsaPkcs1v15 => "pkcs1v15".to_owned(),
            KeyTransportAlgorithm::RsaOaep(oaep) => format!("oaep-{}-{}", name(&oaep.hash), name(&oaep.mgf_hash)),
            KeyTransportAlgorithm::Other(_) => "other".to_owned(),
        },
        RecipientInfo::KeyAgreement(info) => match &info.algorithm {
            KeyAgreementAlgorithm::EcDh { cofactor: false, hash, .. } => format!("ecdh-{}", name(hash)),
            KeyAgreementAlgorithm::EcDh { cofactor: true, hash, .. } => format!("ecdh-{}-cofactor", name(hash)),
            KeyAgreementAlgorithm::Other(_) => "other".to_owned(),
        },
        RecipientInfo::Kek(_) => "kek".to_owned(),
        RecipientInfo::Other(_) => "other".to_owned(),
    }
}

#[test]
fn every_well_formed_vector_opens() {
    let plain = std::fs::read(vectors().join("plain.txt")).unwrap();
    let vectors = all("wellformed");
    for vector in &vectors {
        let path = vector.path.display();
        let frame = scan(vector.body.as_slice(), &Limits::default()).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(frame.content_algorithm.to_string(), vector.get("content"), "{path}");

        let reader = Identity::of_vectors(vector.get("key"));
        let choice = choose(&frame.recipient_infos, |rid| reader.is_named_by(rid).then_some(())).unwrap();
        let Choice::Chosen(chosen) = choice else { panic!("{path}: {choice:?}") };
        let info = RecipientInfo::decode_bounded(&chosen.der).unwrap();
        assert_eq!(form(&info), vector.get("recipient"), "{path}");
        let rid =
            if matches!(chosen.rid, RecipientId::SubjectKeyId(_)) { "subject-key-id" } else { "issuer-and-serial" };
        assert_eq!(rid, vector.get("rid"), "{path}");
        assert_eq!(RecipientInfo::decode(&info.encode()), Ok(info.clone()), "{path}");
        // In the hashes of OAEP, openssl leaves the NULL out (RFC 4055 section 2.1 has both forms).
        let same = info.encode() == chosen.der;
        assert!(same || form(&info).starts_with("oaep-sha"), "{path}: what we write is what openssl wrote");

        let key = reader.software_key();
        let rejection = key.rejection_secret().unwrap();
        let opened = unwrap(&info, &chosen.rid, &key, &frame.content_algorithm, &rejection)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(*decrypt(&frame, &vector.body, &opened.cek).unwrap(), plain, "{path}");
        assert_eq!(openssl_decrypts(&vector.body, &reader).as_ref(), Some(&plain), "{path}");
    }
    assert!(vectors.len() >= 28, "{} vectors", vectors.len());
}

/// What our code says to a malformed vector, or to the sound one beside it.
fn verdict(vector: &Vector) -> String {
    match vector.get("of") {
        "message" => scan(vector.body.as_slice(), &Limits::default())
            .map_or_else(|error| error.to_string(), |_| "scanned".to_owned()),
        "recipient-info" => {
            RecipientInfo::decode_bounded(&vector.body).map_or_else(|error| error.to_string(), |_| "decoded".to_owned())
        }
        "unwrap" => {
            let info = RecipientInfo::decode_bounded(&vector.body).unwrap();
            let rid = info.recipient_ids().next().unwrap();
            let key = Identity::of_vectors(vector.get("key")).software_key();
            let content: ContentAlgorithm = vector.get("content").parse().unwrap();
            let open = || unwrap(&info, rid, &key, &content, &key.rejection_secret().unwrap());
            match (open(), open()) {
                (Ok(first), Ok(second)) => {
                    assert_eq!(first.cek.expose(), second.cek.expose(), "the same key each time");
                    assert_eq!(Some(first.cek.len()), content.key_len());
                    "a key".to_owned()
                }
                (Err(first), _) => first.to_string(),
                (Ok(_), Err(second)) => panic!("now a key, now {second}"),
            }
        }
        other => panic!("{}: of {other}", vector.path.display()),
    }
}

#[test]
fn every_malformed_vector_is_refused_by_name() {
    let vectors = all("malformed");
    let mut wrong = Vec::new();
    for vector in &vectors {
        let verdict = verdict(vector);
        if verdict != vector.get("expect") {
            let name = vector.path.file_name().unwrap().to_string_lossy();
            wrong.push(format!("{name}\n  says:    {verdict}\n  expects: {}", vector.get("expect")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(vectors.len() >= 76, "{} vectors", vectors.len());
}
