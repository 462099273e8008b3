//! Against SoftHSM 2 (`deploy/install-deps test`). One test: a module is the process's, and this one pulls it away.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
use super::*;
use std::process::Command;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Signs, and verifies with OpenSSL alone.
fn good(key: &TokenKey) {
    let tbs = b"to be signed";
    let signature = key.sign(tbs).unwrap();
    let public = PKey::public_key_from_der(key.spki()).unwrap();
    assert!(Verifier::new(MessageDigest::sha256(), &public).unwrap().verify_oneshot(&signature, tbs).unwrap());
    assert!(!Verifier::new(MessageDigest::sha256(), &public).unwrap().verify_oneshot(&signature, b"other").unwrap());
}

#[test]
fn keys_in_a_token_sign_and_outlive_lost_sessions() {
    // SoftHSM reads its place from the environment, which a test may not change: the test runs itself with it.
    let Some(dir) = std::env::var_os("TWINSEAL_TEST_TOKEN") else {
        if !Path::new(MODULE).exists() {
            assert!(std::env::var_os("CI").is_none(), "no SoftHSM: deploy/install-deps test");
            eprintln!("skipped: no SoftHSM");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("softhsm2.conf");
        std::fs::create_dir(dir.path().join("tokens")).unwrap();
        std::fs::write(&conf, format!("directories.tokendir = {}/tokens\n", dir.path().display())).unwrap();
        let name = "keys::pkcs11::tests::keys_in_a_token_sign_and_outlive_lost_sessions";
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("SOFTHSM2_CONF", conf)
            .env("TWINSEAL_TEST_TOKEN", dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && text.contains("1 passed"), "{text}");
        return;
    };
    let pin = Path::new(&dir).join("pin");
    durable::replace(&pin, b"123456\n").unwrap();
    let module = Path::new(MODULE);
    let init = ["--init-token", "--free", "--label", "ca", "--so-pin", "654321", "--pin", "123456"];
    run("softhsm2-util", &init);

    assert!(matches!(Token::open(Path::new("/none.so"), "ca", &pin), Err(SigningError::Token(TokenError::Module(..)))));
    assert!(matches!(Token::open(module, "other", &pin), Err(SigningError::Token(TokenError::NoToken { .. }))));
    let wrong = Path::new(&dir).join("wrong");
    durable::replace(&wrong, b"111111").unwrap();
    assert!(matches!(Token::open(module, "ca", &wrong), Err(SigningError::Token(TokenError::Pin(_)))));

    let token = Token::open(module, "ca", &pin).unwrap();
    assert!(token.key("members").unwrap().is_none());
    let members = token.generate("members", SigningKind::P256).unwrap();
    let services = token.generate("services", SigningKind::Rsa).unwrap();
    assert_eq!((members.kind(), services.kind()), (SigningKind::P256, SigningKind::Rsa));
    good(&members);
    good(&services);
    assert_eq!(token.key("members").unwrap().unwrap().spki(), members.spki());

    // Several threads at once.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| good(&members));
        }
    });

    // Somebody else in this process logs out: the handles of private objects are gone.
    token.session(false).unwrap().logout().unwrap();
    good(&members);
    // The module is begun anew: every session number is unknown.
    token.module.clone().finalize().unwrap();
    good(&members);
    good(&services);
    token.module.clone().finalize().unwrap();
    initialise(&token.module).unwrap();
    good(&services);
    good(&members);

    // A key that somebody makes elsewhere works too; two of a name do not.
    let key = ["--module", MODULE, "--login", "--pin", "123456", "--token-label", "ca", "--keypairgen"];
    run("pkcs11-tool", &[&key[..], &["--key-type", "EC:prime256v1", "--label", "made", "--usage-sign"]].concat());
    good(&token.key("made").unwrap().unwrap());
    assert!(token.generate("members", SigningKind::P256).is_err());
    assert!(matches!(token.key("members"), Err(SigningError::Token(TokenError::Key { found: 2, .. }))));
}
