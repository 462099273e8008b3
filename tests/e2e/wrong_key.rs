//! A sender encrypts to another key that bears the group's issuer and serial number (implicit rejection).

use crate::support::{Up, decrypt, encrypt, pipe};
use std::process::Command;

#[test]
fn right_issuer_and_serial_with_the_wrong_key_is_delivered_unreadable_and_explained() {
    let up = Up::new(&["--members", "1"]);
    let member = &up.lab.members[0];
    let twin = twin_certificate(&up);
    let mail = encrypt(&up.lab, &member.address, "for the wrong key", &["-aes256", "-recip", &twin]);
    let reply = up.post(&member.address, &mail);
    assert!(reply.starts_with("250"), "{reply}");
    let copies = up.wait_copies(&member.address, 1);
    assert_ne!(decrypt(member, &copies[0]).ok().as_deref(), Some("for the wrong key"));
    let read = up.twinseal(member, &["read", "--accept-unsigned", copies[0].to_str().unwrap()], b"");
    assert_eq!(read.status.code(), Some(3), "{}", String::from_utf8_lossy(&read.stderr));
    assert!(read.stdout.is_empty());
    let told = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(told.contains("serial number"), "{told}");
}

/// A certificate with the group certificate's issuer and serial number, for a key of the same size.
fn twin_certificate(up: &Up) -> String {
    use openssl::x509::{X509, X509Builder};
    let group = X509::from_pem(&std::fs::read(&up.lab.group_cert).unwrap()).unwrap();
    let key = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(3072).unwrap()).unwrap();
    let mut twin = X509Builder::new().unwrap();
    twin.set_version(2).unwrap();
    twin.set_issuer_name(group.issuer_name()).unwrap();
    twin.set_subject_name(group.subject_name()).unwrap();
    twin.set_serial_number(group.serial_number()).unwrap();
    twin.set_not_before(group.not_before()).unwrap();
    twin.set_not_after(group.not_after()).unwrap();
    twin.set_pubkey(&key).unwrap();
    twin.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
    let path = up.dir.join("twin.pem");
    std::fs::write(&path, twin.build().to_pem().unwrap()).unwrap();
    let listed = pipe(Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(&path), b"");
    assert!(listed.status.success());
    path.display().to_string()
}
