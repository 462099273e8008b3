//! What `twinseal send` writes is read by `openssl cms`, and nothing leaves in plaintext.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Ca, Wish, openssl, text, twinseal};
use openssl::x509::X509;
use twinseal::identity::KeyType;

/// A list's certificate and the names of its two files.
fn list(ca: &Ca, address: &str, key_type: KeyType) -> (X509, String, String) {
    let wish = Wish::new(address, key_type);
    let certificate = ca.issue(&wish);
    let (pem, key) = ca.files(address, &certificate, &wish.key);
    (certificate, pem, key)
}

#[test]
fn the_message_is_encrypted_to_the_list_and_signed_by_the_member() {
    let ca = Ca::new();
    let root = ca.root_file();
    for (number, (member, group)) in
        [(KeyType::Rsa2048, KeyType::Rsa3072), (KeyType::P256, KeyType::P256), (KeyType::P384, KeyType::Rsa2048)]
            .into_iter()
            .enumerate()
    {
        let (home, dir) = ca.home(Wish::new(&format!("m{number}@members.test"), member));
        let (certificate, pem, key) = list(&ca, "team@lists.test", group);
        ca.learn(&home, "team@lists.test", &[&certificate]);
        let letter =
            b"From: Someone <m@members.test>\nTo: Team <team@lists.test>\nBcc: x@y\nSubject: hello\nX-Secret: s\n\
                       In-Reply-To: <1@x>\nContent-Type: text/plain; charset=utf-8\n\nGr\xc3\xbc\xc3\x9fe\n.\nend";
        let sent = twinseal(&dir, &["send", "--stdout", "team@lists.test"], letter);
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        let outer = text(&sent.stdout);
        let (header, body) = outer.split_once("\r\n\r\n").unwrap();
        for field in [
            "From: Someone <m@members.test>",
            "To: Team <team@lists.test>",
            "Subject: hello",
            "In-Reply-To: <1@x>",
            "Date: ",
            "Message-ID: <",
            "MIME-Version: 1.0",
            "smime-type=enveloped-data",
        ] {
            assert!(header.contains(field), "{field} in {header}");
        }
        assert!(!header.contains("Bcc") && !header.contains("X-Secret") && !outer.replace("\r\n", "").contains('\n'));
        assert!(body.lines().all(|line| line.len() <= 76));

        let signed = openssl(&["cms", "-decrypt", "-recip", &pem, "-inkey", &key], &sent.stdout);
        assert!(text(&signed).starts_with("Content-Type: multipart/signed"));
        let signer = ca.path("signer.pem").display().to_string();
        let entity = openssl(&["cms", "-verify", "-CAfile", &root, "-signer", &signer], &signed);
        assert_eq!(text(&entity), "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n.\r\nend");
        let signer = X509::from_pem(&std::fs::read(signer).unwrap()).unwrap();
        assert_eq!(twinseal_proto::cert::mail_addresses(&signer), [format!("m{number}@members.test")]);
        let printed = text(&openssl(&["cms", "-cmsout", "-print", "-noout"], &sent.stdout));
        assert!(
            printed.contains("aes-256-cbc")
                && printed.contains(if group == KeyType::P256 { "dhSinglePass-stdDH-sha256kdf" } else { "rsaesOaep" })
        );
    }
}

#[test]
fn text_without_a_header_is_a_body() {
    let ca = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let (certificate, pem, key) = list(&ca, "team@lists.test", KeyType::P256);
    ca.learn(&home, "team@lists.test", &[&certificate]);
    let sent =
        twinseal(&dir, &["send", "--stdout", "--subject", "Größe", "Team@Lists.Test"], b"just text\nof two lines\n");
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let outer = text(&sent.stdout);
    assert!(outer.contains("From: ann@members.test\r\n") && outer.contains("Subject: =?utf-8?B?R3LDtsOfZQ==?=\r\n"));
    assert!(outer.to_lowercase().contains("to: team@lists.test\r\n"));
    let signed = openssl(&["cms", "-decrypt", "-recip", &pem, "-inkey", &key], &sent.stdout);
    assert!(text(&signed).contains("\r\n\r\njust text\r\nof two lines\r\n"));
}

#[test]
fn one_message_goes_to_several_lists() {
    let ca = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let lists = [list(&ca, "one@lists.test", KeyType::P256), list(&ca, "two@lists.test", KeyType::Rsa2048)];
    ca.learn(&home, "one@lists.test", &[&lists[0].0]);
    ca.learn(&home, "two@lists.test", &[&lists[1].0]);
    let sent = twinseal(
        &dir,
        &["send", "--stdout", "-oi", "-t", "-f", "ann@members.test", "two@lists.test"],
        b"To: one@lists.test\n\nhi\n",
    );
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    for (_, pem, key) in &lists {
        openssl(&["cms", "-decrypt", "-recip", pem, "-inkey", key], &sent.stdout);
    }
}

#[test]
fn the_newest_live_certificate_is_taken() {
    let ca = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let mut early = Wish::new("team@lists.test", KeyType::P256);
    early.days = (1, 10);
    // A certificate that is not yet good is not under the root today; it must not hide the one that is.
    let early = ca.issue(&early);
    let (live, pem, key) = list(&ca, "team@lists.test", KeyType::P256);
    ca.learn(&home, "team@lists.test", &[&early, &live]);
    let sent = twinseal(&dir, &["send", "--stdout", "team@lists.test"], b"hi\n");
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    openssl(&["cms", "-decrypt", "-recip", &pem, "-inkey", &key], &sent.stdout);
}

#[test]
fn nothing_is_sent_to_whom_nothing_can_be_encrypted() {
    let ca = Ca::new();
    let other = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let (certificate, ..) = list(&ca, "team@lists.test", KeyType::P256);
    ca.learn(&home, "team@lists.test", &[&certificate]);
    let (foreign, ..) = list(&other, "evil@lists.test", KeyType::P256);
    ca.learn(&home, "evil@lists.test", &[&foreign]);
    let code = |arguments: &[&str], input: &[u8]| {
        let output = twinseal(&dir, &[&["send", "--stdout"], arguments].concat(), input);
        assert!(output.stdout.is_empty());
        assert_eq!(text(&output.stderr).lines().count(), 2, "{}", text(&output.stderr));
        (output.status.code().unwrap(), text(&output.stderr))
    };
    // certsrv does not answer in this test: whatever is not on disk stays unknown.
    let (exit, message) = code(&[], b"To: team@lists.test, bob@elsewhere.test\n\nsecret\n");
    assert_eq!(exit, 75, "{message}");
    assert_eq!(code(&["evil@lists.test"], b"secret\n").0, 75);
    let (exit, message) = code(&["team@lists.test", "team-owner@lists.test"], b"secret\n");
    assert!(exit == 67 && message.contains("team-owner@lists.test") && message.contains("\ntry: "), "{message}");
    assert_eq!(code(&[], b"secret\n").0, 64);
    assert_eq!(code(&["team@lists.test"], b"To: x@y\nbad\n\nsecret\n").0, 65);
    assert_eq!(code(&["--subject", "a\nb", "team@lists.test"], b"secret\n").0, 64);
}

#[test]
fn a_member_whose_certificate_has_ended_cannot_send() {
    let ca = Ca::new();
    let mut wish = Wish::new("old@members.test", KeyType::P256);
    wish.days = (-10, -1);
    let (_, dir) = ca.home(wish);
    let output = twinseal(&dir, &["send", "--stdout", "team@lists.test"], b"hi\n");
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
}
