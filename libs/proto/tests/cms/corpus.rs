//! Other people's messages: each is re-wrapped to an RSA and to an EC member, or refused by name.

use crate::support::{Identity, copy_with, corpus, openssl_decrypts, say};
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use twinseal_proto::cms::choose::{Choice, choose};
use twinseal_proto::cms::content::decrypt;
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::cms::unwrap::{UnwrapError, unwrap};

/// What came of a message.
enum Outcome {
    Rewrapped,
    NoKey,
    Refused(String),
}

#[test]
fn messages_of_others_are_rewrapped_or_refused_by_name() {
    let Some(folder) = corpus("messages_of_others_are_rewrapped_or_refused_by_name") else { return };
    let folders = ["comm-central/mailnews/test/data", "nss/tests/smime", "openssl/test"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|name| files_below(&folder.join(name))).collect();
    let keys: Vec<Identity> = files.iter().flat_map(|file| identities(file)).collect();
    let members = [Identity::of_vectors("rsa2048"), Identity::of_vectors("p256")];

    let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_mail(file)) {
        for message in messages(&std::fs::read(file).unwrap()) {
            let outcome = match process(&message, &keys, &members) {
                Outcome::Rewrapped => "re-wrapped".to_owned(),
                Outcome::NoKey => "no key in the corpus".to_owned(),
                Outcome::Refused(why) => format!("refused: {why}"),
            };
            counts.entry(outcome).or_default().push(file.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    for (outcome, files) in &counts {
        say(&format!("{:4} {outcome}", files.len()));
        if files.len() <= 12 {
            say(&format!("       {}", files.join(" ")));
        }
    }
    let count = |outcome: &str| counts.get(outcome).map_or(0, Vec::len);
    assert!(count("re-wrapped") >= 35, "{} re-wrapped", count("re-wrapped"));
    // OAEP with a label, and triple-DES key wrap: the only forms that openssl opens and we do not.
    assert_eq!(count("refused: Unsupported"), 6);
    let opened = counts.get("re-wrapped").into_iter().flatten();
    assert_eq!(opened.filter(|file| file.contains("malformed")).count(), 0);
}

/// The way of a message through all of our code.
fn process(message: &[u8], keys: &[Identity], members: &[Identity]) -> Outcome {
    let frame = match scan(message, &Limits::default()) {
        Ok(frame) => frame,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let mut outcome = Outcome::NoKey;
    for key in keys {
        let chosen = match choose(&frame.recipient_infos, |rid| key.is_named_by(rid).then_some(())) {
            Ok(Choice::Chosen(chosen)) => chosen,
            Ok(Choice::NotForGroup) => continue,
            Ok(other) => {
                outcome = Outcome::Refused(format!("{other:?}"));
                continue;
            }
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let info = RecipientInfo::decode_bounded(&chosen.der).unwrap();
        let software = key.software_key();
        let rejection = software.rejection_secret().unwrap();
        let cek = match unwrap(&info, &chosen.rid, &software, &frame.content_algorithm, &rejection) {
            Ok(opened) => opened.cek,
            Err(error @ (UnwrapError::Public(_) | UnwrapError::Refused)) => {
                outcome = Outcome::Refused(error.to_string());
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        // Several of the corpus' certificates share issuer and serial number, with different keys. PKCS #1 v1.5 gives
        // a key for each of them; only the right one opens the content.
        let Some(plain) = openssl_decrypts(message, key) else { continue };
        assert_eq!(*decrypt(&frame, message, &cek).unwrap(), plain);
        for member in members {
            let copy = copy_with(&frame, message, &member.member_key().wrap(&cek).unwrap());
            assert_eq!(openssl_decrypts(&copy, member).as_ref(), Some(&plain));
            let copied = scan(copy.as_slice(), &Limits::default()).unwrap();
            let info = |octets: &[u8], from: u64, to: u64| octets[from as usize..to as usize].to_vec();
            assert_eq!(
                info(&copy, copied.ri_end, copied.eci_end),
                info(message, frame.ri_end, frame.eci_end),
                "EncryptedContentInfo stays as it was"
            );
        }
        return Outcome::Rewrapped;
    }
    outcome
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Certificates with their keys: PKCS #12 with the password `nss`, PEM files with both, `X-cert.pem` beside `X-key.pem`.
fn identities(file: &Path) -> Vec<Identity> {
    let name = file.file_name().unwrap().to_string_lossy();
    let pem = if name.ends_with(".p12") {
        let output = Command::new("openssl")
            .args(["pkcs12", "-legacy", "-nodes", "-passin", "pass:nss", "-in"])
            .arg(file)
            .output()
            .unwrap();
        output.stdout
    } else if name.ends_with("-cert.pem") {
        let key = file.with_file_name(name.replace("-cert", "-key"));
        [std::fs::read(file).unwrap(), std::fs::read(key).unwrap()].concat()
    } else if name.ends_with(".pem") {
        std::fs::read(file).unwrap()
    } else {
        return Vec::new();
    };
    let Ok(private) = PKey::private_key_from_pem(&pem) else { return Vec::new() };
    if twinseal_proto::cms::unwrap::SoftwareKey::new(&private).is_err() {
        return Vec::new();
    }
    let certificates = X509::stack_from_pem(&pem).unwrap_or_default();
    let own = certificates.into_iter().find(|certificate| certificate.public_key().unwrap().public_eq(&private));
    own.map(|certificate| Identity { certificate, private }).into_iter().collect()
}

/// Neither keys nor certificates.
fn is_mail(file: &Path) -> bool {
    !file.extension().is_some_and(|extension| extension == "p12" || extension == "pem")
}

/// The CMS messages in a file: all of it if it is BER, else the blocks of base64 lines that begin like BER.
fn messages(octets: &[u8]) -> Vec<Vec<u8>> {
    if octets.first() == Some(&0x30) && std::str::from_utf8(octets).is_err() {
        return vec![octets.to_vec()];
    }
    let text = String::from_utf8_lossy(octets);
    let mut found = Vec::new();
    let mut block = String::new();
    for line in text.lines().chain([""]) {
        let base64 = line.len() >= 4 && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        if base64 && (!block.is_empty() || line.starts_with("MI")) {
            block.push_str(line);
        } else if !block.is_empty() {
            found.extend(openssl::base64::decode_block(&std::mem::take(&mut block)));
        }
    }
    found.retain(|message| message.first() == Some(&0x30));
    found
}
