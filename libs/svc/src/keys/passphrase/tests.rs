#![allow(clippy::unwrap_used)]
use super::*;
use crate::keys::SigningKey as _;
use openssl::rsa::Rsa;
use std::process::Command;

fn passphrase(dir: &Path, text: &str) -> Result<Passphrase, PassphraseError> {
    let path = dir.join("passphrase");
    durable::replace(&path, text.as_bytes()).unwrap();
    Passphrase::get(Some(&path), "", true)
}

#[test]
fn the_key_comes_back_under_its_passphrase_and_openssl_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let key = SoftwareSigner::new(PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).unwrap();
    assert!(matches!(passphrase(dir.path(), "too short\n"), Err(PassphraseError::Weak)));
    let good = passphrase(dir.path(), "correct horse battery\nsecond line").unwrap();
    write(&path, &key, &good).unwrap();
    assert!(matches!(write(&path, &key, &good), Err(PassphraseError::File(..))), "never overwritten");
    assert_eq!(read(&path, &good).unwrap().spki(), key.spki());
    let shown = Command::new("openssl")
        .args(["pkcs8", "-passin", "pass:correct horse battery", "-in"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let theirs = PKey::private_key_from_pem(&shown.stdout).unwrap();
    assert_eq!(theirs.public_key_to_der().unwrap(), key.spki());
    let other = passphrase(dir.path(), "incorrect horse battery").unwrap();
    assert!(matches!(read(&path, &other), Err(PassphraseError::Wrong(_))));
}
