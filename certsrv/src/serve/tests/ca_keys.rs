use super::harness::{Running, basic, config, key_and_csr};
use crate::ca_keys::{CaKeys, ROOT};
use crate::cert::ca::{Ca, CaError};
use crate::config::{CaKeyHolder, CaKeyType, CaKeysConfig, Config};
use crate::init::{InitError, RootOut, SUB_CAS, init, init_root_out};
use crate::offline_root::{renew_sub, root_out, warnings};
use crate::tests::now;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_svc::durable;
use twinseal_svc::keys::credential::{Credential, Sealed};
use twinseal_svc::keys::passphrase::{Passphrase, PassphraseError};

fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// `openssl verify` of a leaf under what the state directory has as root and members' CA.
fn verified_by_openssl(dir: &TempDir, leaf: &X509) {
    let (ca, file) = (config(dir).state.join("ca"), dir.path().join("leaf.pem"));
    std::fs::write(&file, leaf.to_pem().unwrap()).unwrap();
    let at = |path: PathBuf| path.display().to_string();
    let (root, members, leaf) = (at(ca.join("root.pem")), at(ca.join("members.pem")), at(file));
    run("openssl", &["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &members, &leaf]);
}

fn passphrase(dir: &TempDir, text: &str) -> (PathBuf, Passphrase) {
    let path = dir.path().join("passphrase");
    durable::replace(&path, text.as_bytes()).unwrap();
    let passphrase = Passphrase::get(Some(&path), "", true).unwrap();
    (path, passphrase)
}

/// Writes a CA's key as older versions kept it: plain PKCS #8 in PEM.
fn make_plain(config: &Config, name: &str) {
    #[derive(serde::Deserialize)]
    struct File {
        public_key: B64,
        private_key: Sealed,
    }
    let path = config.state.join(format!("ca/{name}.key"));
    let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let credential = Credential::load(crate::ca_keys::place(config)).unwrap();
    let digest = Digest::of(file.public_key.as_ref()).0;
    let context = [b"twinseal signing key\0".as_slice(), name.as_bytes(), &[0], &digest].concat();
    let key = PKey::private_key_from_pkcs8(&credential.open(&context, &file.private_key).unwrap()).unwrap();
    durable::replace(&path, &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

/// Files below `dir` that hold a private key in plain PEM.
fn plain(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && std::fs::read(&path).unwrap().windows(17).any(|w| w == b"BEGIN PRIVATE KEY") {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_directory_is_sealed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    init(&config, config.ca_key_type).await.unwrap();
    for name in [ROOT].iter().chain(&SUB_CAS) {
        make_plain(&config, name);
    }
    std::fs::remove_file(config.state.join("credential")).unwrap();
    assert_eq!(plain(&config.state.join("ca")), ["members.key", "memberships.key", "root.key", "services.key"]);
    // The second time everything is sealed already.
    for name in ["ann", "bob"] {
        let certsrv = Running::start(&dir).await;
        assert!(plain(&config.state.join("ca")).is_empty());
        certsrv.account(name, None).await;
        let (_, request) = key_and_csr(name);
        verified_by_openssl(&dir, &certsrv.enrol(&basic(name), &request).await.unwrap());
        certsrv.stop().await;
    }
    // A lost credential is no reason to make another one.
    std::fs::remove_file(config.state.join("credential")).unwrap();
    assert!(CaKeys::open(&config).is_err());
    assert!(!config.state.join("credential").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_never_needs_the_root_key_and_a_sub_ca_is_renewed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { ca_days: 400, ..config(&dir) };
    let (file, secret) = passphrase(&dir, "correct horse battery");
    let out = dir.path().join("medium.key");
    let inside = RootOut { path: config.state.join("x.key"), passphrase: passphrase(&dir, "correct horse battery").1 };
    let refused = init_root_out(&config, CaKeyType::P256, inside).await;
    assert!(matches!(refused, Err(InitError::RootInside(_))));
    let made =
        init_root_out(&config, CaKeyType::P256, RootOut { path: out.clone(), passphrase: secret }).await.unwrap();
    assert_eq!(made.root_key.as_deref(), Some(out.as_path()));
    assert!(!config.state.join("ca/root.key").exists());
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));

    // Everything that the service does, without the file.
    let away = dir.path().join("away");
    std::fs::rename(&out, &away).unwrap();
    let certsrv = Running::start_with(&dir, config.clone()).await;
    certsrv.account("ann", None).await;
    let (_, request) = key_and_csr("ann");
    let first = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.join(ServiceRole::Exploder).await;
    let found = warnings(&config, now());
    assert_eq!(found.iter().filter(|(what, ..)| what.contains(" CA ends in ")).count(), SUB_CAS.len(), "{found:?}");
    let in_use = renew_sub(&config, "members", Some(&away), Some(&file)).await;
    assert!(matches!(in_use, Err(InitError::InUse(_))));
    certsrv.stop().await;

    let before = std::fs::read(config.state.join("ca/members.pem")).unwrap();
    let (wrong, _) = passphrase(&dir, "another passphrase");
    let refused = renew_sub(&config, "members", Some(&away), Some(&wrong)).await.err().unwrap();
    assert!(refused.to_string().contains("another passphrase"), "{refused}");
    passphrase(&dir, "correct horse battery");
    let strange = dir.path().join("strange.key");
    durable::replace(&strange, &crate::tests::ec_key().private_key_to_pem_pkcs8().unwrap()).unwrap();
    let refused = renew_sub(&config, "members", Some(&strange), None).await;
    assert!(matches!(refused, Err(InitError::Ca(CaError::Mismatch(_)))));
    let renamed = Config { ca_name: "Another".into(), ..config.clone() };
    let refused = renew_sub(&renamed, "members", Some(&away), Some(&file)).await;
    assert!(matches!(refused, Err(InitError::OtherName(_))));
    assert_eq!(std::fs::read(config.state.join("ca/members.pem")).unwrap(), before, "a refusal changes nothing");
    for name in ["members", "services"] {
        let longer = Config { ca_days: 2000, ..config.clone() };
        let renewed = renew_sub(&longer, name, Some(&away), Some(&file)).await.unwrap();
        assert!(renewed.until > now().plus(1999 * 86_400));
        let audit = std::fs::read_to_string(config.state.join("audit/audit-000001.log")).unwrap();
        assert!(audit.contains(&renewed.serial.to_string()), "recorded before the key was used");
    }
    let after = std::fs::read(config.state.join("ca/members.pem")).unwrap();
    assert_ne!(after, before);
    let [old, new] = [before, after].map(|pem| X509::from_pem(&pem).unwrap());
    assert!(old.public_key().unwrap().public_eq(&new.public_key().unwrap()));

    let certsrv = Running::start_with(&dir, config.clone()).await;
    verified_by_openssl(&dir, &first);
    certsrv.account("bob", None).await;
    let (_, request) = key_and_csr("bob");
    verified_by_openssl(&dir, &certsrv.enrol(&basic("bob"), &request).await.unwrap());
    let presented = X509::stack_from_pem(&std::fs::read(config.state.join("tls/chain.pem")).unwrap()).unwrap();
    assert_eq!(&presented[1], certsrv.app.services_ca.certificate(), "the renewed issuer is presented");
    certsrv.join(ServiceRole::Groupsrv).await;
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_in_the_state_directory_is_warned_of_and_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { evaluation: false, ..config(&dir) };
    init(&config, config.ca_key_type).await.unwrap();
    let found = warnings(&config, now());
    assert!(matches!(found.as_slice(), [(what, ..)] if what.contains("root CA's private key")), "{found:?}");
    assert!(warnings(&Config { evaluation: true, ..config.clone() }, now()).is_empty());
    let spki = CaKeys::open(&config).unwrap().load(ROOT).unwrap().spki().to_vec();
    let (file, secret) = passphrase(&dir, "correct horse battery");
    let out = dir.path().join("root.key");
    let inside = root_out(&config, &config.state.join("ca/other.key"), &secret);
    assert!(matches!(inside, Err(InitError::RootInside(_))));
    // As an older version left it, and sealed.
    let sealed = std::fs::read(config.state.join("ca/root.key")).unwrap();
    make_plain(&config, ROOT);
    root_out(&config, &dir.path().join("older.key"), &secret).unwrap();
    durable::replace(&config.state.join("ca/root.key"), &sealed).unwrap();
    root_out(&config, &out, &secret).unwrap();
    assert!(warnings(&config, now()).is_empty());
    for out in [&out, &dir.path().join("older.key")] {
        assert_eq!(crate::ca_keys::carried_root(out, Some(&file), &config).unwrap().spki(), spki);
    }
    assert!(root_out(&config, &dir.path().join("again.key"), &secret).is_err(), "there is none any more");
    assert!(matches!(Passphrase::get(Some(&dir.path().join("none")), "", false), Err(PassphraseError::File(..))));
    assert!(Ca::load(&config.state.join("ca"), ROOT, &CaKeys::open(&config).unwrap()).is_err());
}

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Against SoftHSM 2 (`deploy/install-deps test`), which reads its place from the environment: the test runs itself.
#[test]
fn a_members_ca_in_a_token_enrols() {
    let name = "serve::tests::ca_keys::a_members_ca_in_a_token_enrols";
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
    tokio::runtime::Runtime::new().unwrap().block_on(in_a_token(Path::new(&dir)));
}

async fn in_a_token(at: &Path) {
    let pin = at.join("pin");
    durable::replace(&pin, b"123456\n").unwrap();
    let init_token = ["--init-token", "--free", "--label", "cas", "--so-pin", "654321", "--pin", "123456"];
    run("softhsm2-util", &init_token);
    for key_type in [CaKeyType::P256, CaKeyType::Rsa3072] {
        let dir = tempfile::tempdir().unwrap();
        let ca_keys = CaKeysConfig {
            kind: CaKeyHolder::Pkcs11,
            module: Some(MODULE.into()),
            token: Some("cas".into()),
            pin_file: Some(pin.clone()),
            label: format!("{key_type:?}"),
        };
        let config = Config { ca_keys, ..config(&dir) };
        let (_, secret) = passphrase(&dir, "correct horse battery");
        let out = RootOut { path: dir.path().join("medium.key"), passphrase: secret };
        init_root_out(&config, key_type, out).await.unwrap();
        assert!(!config.state.join("credential").exists(), "nothing to seal");
        let keys =
            std::fs::read_dir(config.state.join("ca")).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert!(keys.iter().all(|name| !name.to_string_lossy().ends_with(".key")), "{keys:?}");

        let certsrv = Running::start_with(&dir, config.clone()).await;
        certsrv.account("ann", None).await;
        let (key, request) = key_and_csr("ann");
        let leaf = certsrv.enrol(&basic("ann"), &request).await.unwrap();
        assert!(leaf.public_key().unwrap().public_eq(&key));
        verified_by_openssl(&dir, &leaf);
        certsrv.join(ServiceRole::Groupsrv).await;
        certsrv.stop().await;
        // The same keys after a restart.
        let certsrv = Running::start_with(&dir, config.clone()).await;
        certsrv.account("bob", None).await;
        let (_, request) = key_and_csr("bob");
        verified_by_openssl(&dir, &certsrv.enrol(&basic("bob"), &request).await.unwrap());
        certsrv.stop().await;
    }
    let listed = run("pkcs11-tool", &["--module", MODULE, "--login", "--pin", "123456", "--token-label", "cas", "-O"]);
    assert_eq!(listed.matches("Private Key Object").count(), 6, "three sub-CAs, twice, and no root:\n{listed}");
    assert_eq!(listed.matches("never extractable").count(), 6, "{listed}");
}
