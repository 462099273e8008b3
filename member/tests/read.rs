//! `twinseal read` against messages that `openssl cms` and `twinseal send` made, whole, damaged and forged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Ca, Wish, openssl, text, twinseal};
use std::path::{Path, PathBuf};
use std::process::Output;
use twinseal::identity::KeyType;

const LETTER: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\n\r\nline one\r\nGr\xc3\xbc\xc3\x9fe\r\n";
const SHOWN: &str = "line one\nGrüße\n";

/// A CA, a reader `ann` and a signer `bob`, with the files that openssl wants.
struct Scene {
    ca: Ca,
    ann: PathBuf,
    ann_pem: String,
    bob_pem: String,
    bob_key: String,
}

fn scene(key_type: KeyType) -> Scene {
    let ca = Ca::new();
    let (home, ann) = ca.home(Wish::new("ann@members.test", key_type));
    let bob = Wish::new("bob@members.test", KeyType::Rsa2048);
    let (bob_pem, bob_key) = ca.files("bob", &ca.issue(&bob), &bob.key);
    let ann_pem = home.certificate().display().to_string();
    ca.files("sub", &ca.sub, &bob.key);
    Scene { ca, ann, ann_pem, bob_pem, bob_key }
}

impl Scene {
    fn sign(&self, entity: &[u8], extra: &[&str]) -> Vec<u8> {
        let sub = self.ca.path("sub.pem").display().to_string();
        let arguments =
            ["cms", "-sign", "-binary", "-signer", &self.bob_pem, "-inkey", &self.bob_key, "-certfile", &sub];
        openssl(&[&arguments, extra].concat(), entity)
    }

    /// A mail from bob to the list, whose copy for ann is encrypted with openssl.
    fn encrypt(&self, entity: &[u8], extra: &[&str]) -> Vec<u8> {
        let headers = ["-from", "Bob <bob@members.test>", "-to", "team@lists.test", "-subject", "s"];
        openssl(&[&["cms", "-encrypt", "-binary"], extra, &headers, &[&self.ann_pem]].concat(), entity)
    }

    fn read(&self, mail: &[u8], extra: &[&str]) -> Output {
        twinseal(&self.ann, &[&["read"], extra].concat(), mail)
    }
}

fn shown(output: &Output, status: &str) {
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), SHOWN);
    assert!(text(&output.stderr).starts_with(status), "{}", text(&output.stderr));
}

fn refused(output: &Output, code: i32, words: &str) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty());
    assert!(message.contains(words) && message.contains("\ntry: "), "{message}");
}

#[test]
fn every_usual_form_is_read() {
    for key_type in [KeyType::Rsa2048, KeyType::P256, KeyType::P384] {
        let scene = scene(key_type);
        let signed = [
            scene.sign(LETTER, &[]),
            scene.sign(LETTER, &["-nodetach"]),
            scene.sign(LETTER, &["-nodetach", "-stream"]),
            scene.sign(LETTER, &["-keyid"]),
        ];
        let keys: &[&[&str]] = match key_type {
            KeyType::Rsa2048 => &[
                &[],
                &["-keyid"],
                &["-keyopt", "rsa_padding_mode:oaep"],
                &["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"],
            ],
            _ => &[&[], &["-keyopt", "ecdh_kdf_md:sha256"]],
        };
        for (number, key) in keys.iter().enumerate() {
            for form in
                [["-aes-128-cbc", ""], ["-aes-256-cbc", "-stream"], ["-aes-256-gcm", ""], ["-aes-128-gcm", "-stream"]]
            {
                let form: Vec<&str> = form.into_iter().filter(|word| !word.is_empty()).collect();
                // openssl wants -keyopt after -recip.
                let recip = [["-recip", scene.ann_pem.as_str()].as_slice(), key].concat();
                let headers = ["-from", "bob@members.test", "-to", "team@lists.test", "-subject", "s"];
                let entity = &signed[number % signed.len()];
                let mail =
                    openssl(&[&["cms", "-encrypt", "-binary"], form.as_slice(), &headers, &recip].concat(), entity);
                shown(&scene.read(&mail, &[]), "signed by bob@members.test (certificate fingerprint ");
                let raw = scene.read(&mail, &["--mime"]);
                assert!(raw.status.success() && &raw.stdout == entity);
            }
        }
    }
}

#[test]
fn what_is_not_signed_is_shown_only_if_the_cipher_authenticates() {
    let scene = scene(KeyType::Rsa2048);
    shown(&scene.read(&scene.encrypt(LETTER, &["-aes-256-gcm"]), &[]), "not signed\n");
    for cipher in ["-aes-256-cbc", "-aes-128-cbc", "-des3"] {
        let mail = scene.encrypt(LETTER, &[cipher]);
        refused(&scene.read(&mail, &[]), 4, "--accept-unsigned");
        refused(&scene.read(&mail, &["--json"]), 4, "not signed");
        shown(&scene.read(&mail, &["--accept-unsigned"]), "not signed\n");
    }
    // Plain text without any header is what `openssl cms -encrypt` makes of a text file.
    let bare = scene.encrypt("line one\r\nGrüße\r\n".as_bytes(), &["-aes-256-gcm"]);
    shown(&scene.read(&bare, &[]), "not signed\n");
}

#[test]
fn a_signature_that_does_not_verify_is_no_signature() {
    let scene = scene(KeyType::P256);
    for (cipher, detach) in [("-aes-256-cbc", "-binary"), ("-aes-256-gcm", "-binary")] {
        let forged = text(&scene.sign(LETTER, &[detach])).replace("line one", "line 0ne").into_bytes();
        let mail = scene.encrypt(&forged, &[cipher]);
        refused(&scene.read(&mail, &[]), 4, "SIGNATURE DOES NOT VERIFY");
        let insisted = scene.read(&mail, &["--accept-unsigned"]);
        assert!(text(&insisted.stdout).contains("line 0ne"));
        assert!(text(&insisted.stderr).starts_with("SIGNATURE DOES NOT VERIFY"));
    }
    // Somebody of another CA, and nobody's certificate at all.
    let other = Ca::new();
    let mallory = Wish::new("bob@members.test", KeyType::Rsa2048);
    let (pem, key) = scene.ca.files("mallory", &other.issue(&mallory), &mallory.key);
    let stranger = openssl(&["cms", "-sign", "-binary", "-signer", &pem, "-inkey", &key], LETTER);
    let mail = scene.encrypt(&stranger, &["-aes-256-cbc"]);
    refused(&scene.read(&mail, &[]), 4, "not under the root");
    let bare = scene.sign(LETTER, &["-nocerts", "-nodetach"]);
    refused(&scene.read(&scene.encrypt(&bare, &["-aes-256-gcm"]), &[]), 4, "SIGNATURE DOES NOT VERIFY");
    let weak = scene.sign(LETTER, &["-md", "sha1"]);
    refused(&scene.read(&scene.encrypt(&weak, &["-aes-256-gcm"]), &[]), 4, "too weak");
    // A signature somewhere inside does not cover the message.
    let inner = text(&scene.sign(LETTER, &[]));
    let around =
        format!("Content-Type: multipart/mixed; boundary=zz\r\n\r\n--zz\r\n\r\nadded\r\n--zz\r\n{inner}\r\n--zz--\r\n");
    refused(&scene.read(&scene.encrypt(around.as_bytes(), &["-aes-256-cbc"]), &[]), 4, "not signed");
}

#[test]
fn the_signer_is_compared_with_the_sender() {
    let scene = scene(KeyType::P256);
    let signed = scene.sign(LETTER, &[]);
    let mail =
        text(&scene.encrypt(&signed, &["-aes-256-gcm"])).replace("Bob <bob@members.test>", "Eve <eve@members.test>");
    let output = scene.read(mail.as_bytes(), &[]);
    assert!(output.status.success());
    assert!(
        text(&output.stderr).contains("signed by bob@members.test")
            && text(&output.stderr).contains("from eve@members.test")
    );
    let json: serde_json::Value = serde_json::from_slice(&scene.read(mail.as_bytes(), &["--json"]).stdout).unwrap();
    assert_eq!(
        (json["signature"]["state"].as_str(), json["signature"]["is_from"].as_bool()),
        (Some("good"), Some(false))
    );
    assert_eq!(json["text"].as_str(), Some(SHOWN));
}

#[test]
fn an_expired_signer_is_believed_and_said_to_be_expired() {
    let scene = scene(KeyType::P256);
    let mut old = Wish::new("bob@members.test", KeyType::P256);
    old.days = (-20, -1);
    let (pem, key) = scene.ca.files("old", &scene.ca.issue(&old), &old.key);
    let sub = scene.ca.path("sub.pem").display().to_string();
    let signed = openssl(&["cms", "-sign", "-binary", "-signer", &pem, "-inkey", &key, "-certfile", &sub], LETTER);
    let output = scene.read(&scene.encrypt(&signed, &["-aes-256-cbc"]), &[]);
    shown(&output, "signed by bob@members.test");
    assert!(text(&output.stderr).contains(", expired 20"));
}

/// Changes one octet of the CMS in a mail, counted from its end.
fn damage(mail: &[u8], from_end: usize) -> Vec<u8> {
    let mail = text(mail).replace("\r\n", "\n");
    let (header, body) = mail.split_once("\n\n").unwrap();
    let mut cms = STANDARD.decode(body.replace('\n', "")).unwrap();
    let place = cms.len() - from_end;
    cms[place] ^= 0x40;
    format!("{header}\n\n{}\n", STANDARD.encode(cms)).into_bytes()
}

#[test]
fn damage_is_found_before_anything_is_shown() {
    let scene = scene(KeyType::Rsa2048);
    let signed = scene.sign(LETTER, &[]);
    for from_end in [1, 20, 100, 400, signed.len() / 2] {
        let output = scene.read(&damage(&scene.encrypt(&signed, &["-aes-256-gcm"]), from_end), &[]);
        refused(&output, 3, "makes no sense");
        let output = scene.read(&damage(&scene.encrypt(&signed, &["-aes-256-cbc"]), from_end), &[]);
        assert!(
            output.stdout.is_empty() && matches!(output.status.code(), Some(3 | 4)),
            "{from_end}: {}",
            text(&output.stderr)
        );
    }
    let mail = scene.encrypt(&signed, &["-aes-256-cbc"]);
    let half: Vec<u8> = mail[..mail.len() / 2].to_vec();
    refused(&scene.read(&half, &[]), 65, "");
    refused(&scene.read(b"From: a@x\n\nhello\n", &[]), 65, "not encrypted");
    refused(&scene.read(b"", &[]), 65, "not a message");
    refused(&scene.read(&scene.sign(LETTER, &["-nodetach"]), &[]), 65, "SignedData, not an encrypted message");
    assert_eq!(twinseal(&scene.ann, &["read", "/nonexistent"], b"").status.code(), Some(66));
}

#[test]
fn another_key_of_the_same_name_is_explained() {
    for (key_type, cipher) in
        [(KeyType::Rsa2048, "-aes-256-cbc"), (KeyType::Rsa2048, "-aes-256-gcm"), (KeyType::P256, "-aes-256-cbc")]
    {
        let ca = Ca::new();
        let twin = |key_type| {
            let mut wish = Wish::new("ann@members.test", key_type);
            wish.serial = Some(77);
            wish
        };
        let (home, ann) = ca.home(twin(key_type));
        let list = ca.issue(&Wish::new("team@lists.test", KeyType::P256));
        ca.learn(&home, "team@lists.test", &[&list]);
        let other = twin(key_type);
        let (pem, _) = ca.files("other", &ca.issue(&other), &other.key);
        let mail = openssl(&["cms", "-encrypt", "-binary", cipher, "-to", "team@lists.test", &pem], LETTER);
        let output = twinseal(&ann, &["read"], &mail);
        refused(&output, 3, "another key with the same issuer and serial number");
        let fingerprint = twinseal::trust::fingerprint(&list).to_string();
        assert!(text(&output.stderr).contains(&format!("team@lists.test with the fingerprint {fingerprint}")));
    }
}

#[test]
fn somebody_elses_message_names_for_whom_it_is() {
    let scene = scene(KeyType::Rsa2048);
    let mail = openssl(&["cms", "-encrypt", "-aes256", &scene.bob_pem], LETTER);
    let bob = openssl::x509::X509::from_pem(&std::fs::read(Path::new(&scene.bob_pem)).unwrap()).unwrap();
    refused(&scene.read(&mail, &[]), 5, &format!("issuer CN=Test Members, serial {}", twinseal::open::serial(&bob)));
}

#[test]
fn what_send_makes_read_shows() {
    let scene = scene(KeyType::P256);
    let (bob, dir) = scene.ca.home(Wish::new("carl@members.test", KeyType::Rsa2048));
    // The copy that a member gets is encrypted to the member; here the list's certificate bears the member's key.
    let ann = twinseal::home::Home::at(scene.ann.clone());
    let mut list = Wish::new("team@lists.test", KeyType::P256);
    list.key = twinseal::identity::load_key(&ann).unwrap();
    let certificate = scene.ca.issue(&list);
    scene.ca.learn(&bob, "team@lists.test", &[&certificate]);
    let own = twinseal::identity::Identity::load(&ann).unwrap();
    twinseal::identity::Identity { key: own.key, certificate, chain: own.chain }.save_certificate(&ann).unwrap();

    for entity in [
        "text\r\n",
        "no end",
        "",
        "\r\n\r\n",
        ".\r\n..\r\n",
        "--x\r\n",
        "tabs\tand trailing  \r\n",
        "Gr\u{fc}\u{df}e \u{1f600}\r\n",
        &"long ".repeat(400),
        &"many\r\n".repeat(5000),
    ] {
        let sent = twinseal(&dir, &["send", "--stdout"], format!("To: team@lists.test\r\n\r\n{entity}").as_bytes());
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        for mail in [sent.stdout.clone(), text(&sent.stdout).replace("\r\n", "\n").into_bytes()] {
            let output = scene.read(&mail, &[]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(text(&output.stdout), entity.replace("\r\n", "\n"));
            assert!(text(&output.stderr).starts_with("signed by carl@members.test"));
        }
    }
}
