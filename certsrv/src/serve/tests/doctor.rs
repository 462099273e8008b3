use super::harness::{Running, basic, config, key_and_csr};
use crate::audit::Actor;
use crate::backup;
use crate::change::Change;
use crate::config::Config;
use crate::doctor::{DoctorError, offline};
use crate::init::{InitError, load_feed_key};
use crate::layout::Layout;
use crate::log::FeedLog;
use crate::log::replay::replay;
use crate::registry::rebuild;
use crate::restore::restore;
use crate::rows::Applied;
use crate::store::{Told, Tx};
use crate::tests::address;
use openssl::pkey::PKey;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{Doctor, JoinPolicy, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::admin::feed::RotateFeedKey;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use twinseal_svc::store::{Batch, Store, Table};

/// Whatever leaves traces in the logs.
async fn busy(dir: &TempDir) {
    let certsrv = Running::new(dir).await;
    for name in ["ann", "bob", "owner"] {
        certsrv.account(name, None).await;
    }
    certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await;
    certsrv.put_in("team@lists.test", &["ann", "bob"]).await;
    certsrv.enrol_token("bob").await;
    let (_, request) = key_and_csr("ann");
    let certificate = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    let (_, request) = key_and_csr("bob");
    certsrv.enrol(&basic("bob"), &request).await.unwrap();
    certsrv.join(ServiceRole::Exploder).await;
    let serial = certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    certsrv.admin::<Revoke>(&RevokeRequest { serial, reason: RevocationReason::KeyCompromise }).await.unwrap();
    certsrv.stop().await;
}

/// What an examination finds, as text.
fn found(config: &Config) -> Vec<String> {
    let report = offline(config).unwrap();
    assert!(!config.state.join("doctor").exists(), "the scratch directory is gone");
    report.findings.into_iter().map(|finding| format!("{}: {}", finding.at, finding.what)).collect()
}

/// One finding, with these words.
#[track_caller]
fn one(config: &Config, words: &str) {
    let found = found(config);
    assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
}

/// A copy of the state directory, to be damaged.
fn copy(config: &Config, dir: &TempDir) -> Config {
    fn all(from: &Path, to: &Path) {
        durable::make_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() { all(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(drop).unwrap() }
        }
    }
    let state = dir.path().join("copy");
    let _ = fs::remove_dir_all(&state);
    all(&config.state, &state);
    Config { state, ..config.clone() }
}

/// Writes the audit log anew, its chain whole, with these records.
fn rewrite_audit(config: &Config, change: impl FnOnce(&mut Vec<String>)) {
    let path = config.state.join("audit/audit-000001.log");
    let text = fs::read_to_string(&path).unwrap();
    let mut records = text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    change(&mut records);
    let (mut head, mut text) = (Digest([0; 32]), String::new());
    for json in records {
        head = Digest::of_parts(&[&head.0, json.as_bytes()]);
        text.push_str(&format!("{head} {json}\n"));
    }
    durable::replace(&path, text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_state_is_found_whole_and_each_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    assert!(matches!(offline(&config), Err(DoctorError::Init(InitError::NotYet(_)))));
    busy(&dir).await;
    let report = offline(&config).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.certificates, 3);
    assert!(report.entries >= 12 && report.records > report.entries, "{report:?}");

    // One octet of each log.
    for (file, words) in
        [("feed/feed-000001.log", "changed or damaged"), ("audit/audit-000001.log", "changed or damaged")]
    {
        let config = copy(&config, &dir);
        let path = config.state.join(file);
        let mut octets = fs::read(&path).unwrap();
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
        fs::write(&path, octets).unwrap();
        let found = found(&config);
        assert!(found.iter().any(|f| f.contains(words) && f.contains(file)), "{file}: {found:?}");
    }

    // The audit log lost its end, or a record, and its chain was made whole again.
    let damaged = copy(&config, &dir);
    rewrite_audit(&damaged, |records| drop(records.pop()));
    one(&damaged, "has no record in the audit log");
    let damaged = copy(&config, &dir);
    rewrite_audit(&damaged, |records| records.retain(|json| !json.contains("member-added") || !json.contains("ann@")));
    one(&damaged, "has no record in the audit log");
    let damaged = copy(&config, &dir);
    let member = |json: &String| json.contains("signing-certificate") && json.contains("bob@");
    rewrite_audit(&damaged, |records| records.retain(|json| !member(json)));
    one(&damaged, "has no record of its signing before it");
    let damaged = copy(&config, &dir);
    rewrite_audit(&damaged, |records| {
        let again = records.iter().find(|json| member(json)).unwrap().clone();
        records.push(again);
    });
    one(&damaged, "is used a second time");
    let damaged = copy(&config, &dir);
    rewrite_audit(&damaged, |records| {
        let at = records.iter().position(member).unwrap();
        let (head, tail) = records[at].split_once("\"tbs\":\"").unwrap();
        records[at] = format!("{head}\"tbs\":\"AAAA{tail}");
    });
    one(&damaged, "is not what was recorded before it was signed");
    // What a crash leaves is no finding: a record without its entry.
    let torn = copy(&config, &dir);
    rewrite_audit(&torn, |records| {
        let orphan = records.iter().find(|json| json.contains("member-added")).unwrap().clone();
        records.insert(records.len() / 2, orphan);
    });
    assert_eq!(found(&torn), Vec::<String>::new());

    // Rows of the index: another one, one too many, one too few.
    for (words, damage) in [("is not what the feed log says", 0), ("is not in the feed log", 1), ("is missing", 2)] {
        let damaged = copy(&config, &dir);
        let store = Store::open(&damaged.state.join("index")).unwrap().store;
        let (key, mut row) = store.scan::<serde_json::Value>(Table(1), &[]).next().unwrap().unwrap();
        let mut batch = Batch::default();
        match damage {
            0 => {
                row["current"] = serde_json::Value::Null;
                row["password"] = serde_json::Value::Null;
                batch.put(Table(1), &key, &row).unwrap();
            }
            1 => batch.put(Table(3), b"ghost", &row).unwrap(),
            _ => batch.delete(Table(1), &key),
        }
        store.commit(batch).unwrap();
        drop(store);
        one(&damaged, words);
    }
    let rebuilt = copy(&config, &dir);
    fs::remove_dir_all(rebuilt.state.join("index")).unwrap();
    assert_eq!(found(&rebuilt), Vec::<String>::new(), "it is made at the next start");
}

#[tokio::test(flavor = "multi_thread")]
async fn cas_files_and_the_clock_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    busy(&dir).await;

    let damaged = copy(&config, &dir);
    for (file, mode) in [("ca/members.pem", 0o646), ("tls/key.pem", 0o640)] {
        fs::set_permissions(damaged.state.join(file), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&damaged.state, Permissions::from_mode(0o750)).unwrap();
    let told = found(&damaged);
    for words in ["others may look into", "others may write to it", "others may read a secret"] {
        assert_eq!(told.iter().filter(|f| f.contains(words)).count(), 1, "{words}: {told:?}");
    }

    let damaged = copy(&config, &dir);
    fs::copy(damaged.state.join("ca/services.pem"), damaged.state.join("ca/members.pem")).unwrap();
    one(&damaged, "the key is not the certificate's");
    let damaged = copy(&config, &dir);
    fs::copy(damaged.state.join("ca/services.key"), damaged.state.join("ca/members.key")).unwrap();
    one(&damaged, "sealed under another credential");
    let damaged = copy(&config, &dir);
    let stranger = crate::tests::self_signed("root").to_pem().unwrap();
    durable::replace(&damaged.state.join("ca/root.pem"), &stranger).unwrap();
    assert_eq!(found(&damaged).iter().filter(|f| f.contains("is not the root's")).count(), 3);
    let damaged = copy(&config, &dir);
    fs::remove_file(damaged.state.join("credential")).unwrap();
    one(&damaged, "the CAs' keys cannot be had");
    let damaged = copy(&config, &dir);
    durable::replace(
        &damaged.state.join("ca/memberships.key"),
        &crate::tests::ec_key().private_key_to_pem_pkcs8().unwrap(),
    )
    .unwrap();
    one(&damaged, "is in plain PEM");
    one(&Config { service_days: 825 * 2, ..copy(&config, &dir) }, "the own TLS certificate ends in 36");
    one(&Config { evaluation: false, ..copy(&config, &dir) }, "root CA's private key");
    let ending = found(&Config { member_days: 2000, ..copy(&config, &dir) });
    assert_eq!(ending.iter().filter(|f| f.contains("ends in 36")).count(), 3, "{ending:?}");

    // An entry of tomorrow, signed with the right key.
    let damaged = copy(&config, &dir);
    let layout = Layout::new(&damaged.state);
    let key = Arc::new(load_feed_key(&layout).unwrap());
    let start = crate::log::Head { sequence: 0, digest: Digest([0; 32]) };
    let end = replay(&layout.feed(), &key, start, |_, _| Ok(())).unwrap();
    let mut log = FeedLog::open(&layout.feed(), Arc::clone(&key), end).unwrap();
    let change = Change::AccountAdded { address: address("ghost"), password: None };
    let tomorrow = UnixTime::now().plus(86_400);
    let told = [Told { change, groupsrv: None, exploder: None }];
    std::thread::spawn(move || log.append(&told, tomorrow).unwrap()).join().unwrap();
    rebuild(&layout, &key, &Store::open(&layout.index()).unwrap().store, |_, _| Ok(())).unwrap();
    let told = found(&damaged);
    assert!(told.len() == 2 && told.iter().any(|f| f.contains("s behind the last entry")), "{told:?}");
    assert!(told.iter().any(|f| f.contains("has no record in the audit log")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_looks_itself_while_things_change() {
    let dir = tempfile::tempdir().unwrap();
    busy(&dir).await;
    let certsrv = Running::start(&dir).await;
    assert!(matches!(offline(&config(&dir)), Err(DoctorError::Init(InitError::InUse(_)))));
    let changing = async {
        for number in 0..40 {
            certsrv.account(&format!("m{number}"), Some(&crate::tests::ec_key())).await;
        }
    };
    let looking = async {
        for _ in 0..4 {
            assert_eq!(certsrv.admin::<Doctor>(&Nothing {}).await.unwrap().findings, []);
        }
    };
    tokio::join!(changing, looking);
    let (one, two) = tokio::join!(certsrv.admin::<Doctor>(&Nothing {}), certsrv.admin::<Doctor>(&Nothing {}));
    assert!(one.is_ok() || two.is_ok());
    assert!([one, two].into_iter().filter_map(Result::err).all(|refused| refused.contains("under way")));

    // The same certificate a second time: its serial number is used twice.
    let twice = certsrv.app.registry.view().ended(UnixTime(u64::MAX), 1).unwrap().pop().unwrap();
    let row = certsrv.app.registry.view().certificate(&twice).unwrap().unwrap();
    let change = Change::CertificateIssued {
        serial: row.serial,
        holder: row.holder,
        certificate: row.certificate,
        until: row.until,
        token: None,
        purpose: row.purpose,
    };
    certsrv.app.registry.commit(Actor::Clock, move |tx| Ok(tx.push(change)?)).await.unwrap();
    let report = certsrv.admin::<Doctor>(&Nothing {}).await.unwrap();
    let what = report.findings.iter().map(|finding| finding.what.as_str()).collect::<Vec<_>>();
    assert!(matches!(what.as_slice(), [what] if what.contains(&twice.to_string())), "{what:?}");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_feed_keys_and_a_restored_state_are_found_whole() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, out) = (config(&dir), place.path().join("backup"));
    busy(&dir).await;
    let certsrv = Running::start(&dir).await;
    // The first rotation replaces two files, and the service looks meanwhile.
    let (rotated, looked) =
        tokio::join!(certsrv.admin::<RotateFeedKey>(&Nothing {}), certsrv.admin::<Doctor>(&Nothing {}));
    assert_eq!((rotated.is_ok(), looked.unwrap().findings), (true, vec![]));
    certsrv.admin::<RotateFeedKey>(&Nothing {}).await.unwrap();
    assert_eq!(certsrv.admin::<Doctor>(&Nothing {}).await.unwrap().findings, []);
    // An examination that goes on is no part of a backup.
    durable::make_dir(&config.state.join("doctor/index")).unwrap();
    durable::replace(&config.state.join("doctor/index/rows"), b"half").unwrap();
    let manifest = backup::take(&config.admin_socket, &config.state, &out).await.unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    for name in ["credential", "ca/root.key", "ca/members.key", "ca/memberships.key", "ca/services.key"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("doctor")), "{names:?}");
    certsrv.account("late", None).await;
    certsrv.stop().await;
    fs::remove_dir_all(config.state.join("doctor")).unwrap();
    assert_eq!(found(&config), Vec::<String>::new());
    let damaged = copy(&config, &dir);
    let stranger = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
    durable::replace(&damaged.state.join("feed/feed.key"), &stranger).unwrap();
    one(&damaged, "feed.key is not the key that the feed log names last");

    fs::remove_dir_all(&config.state).unwrap();
    let restored = restore(&config, &out, None).await.unwrap();
    assert_eq!(found(&config), Vec::<String>::new());
    let certsrv = Running::start(&dir).await;
    assert_eq!(certsrv.admin::<Doctor>(&Nothing {}).await.unwrap().findings, []);
    certsrv.admin::<RotateFeedKey>(&Nothing {}).await.unwrap();
    certsrv.account("anew", Some(&crate::tests::ec_key())).await;
    let head = certsrv.app.registry.head().borrow().sequence;
    assert!(head > restored.sequence);
    let changing = async {
        for number in 0..20 {
            certsrv.account(&format!("m{number}"), Some(&crate::tests::ec_key())).await;
        }
    };
    let looking = async {
        for _ in 0..3 {
            assert_eq!(certsrv.admin::<Doctor>(&Nothing {}).await.unwrap().findings, []);
        }
    };
    tokio::join!(changing, looking);
    let head = certsrv.app.registry.head().borrow().sequence;
    certsrv.stop().await;
    assert_eq!(found(&config), Vec::<String>::new());

    // An entry is named by its sequence, which jumped where the generation began.
    let damaged = copy(&config, &dir);
    rewrite_audit(&damaged, |records| drop(records.pop()));
    one(&damaged, &format!("entry {head} has no record in the audit log"));
    // An index of an earlier version is made anew at the next start: what is in it says nothing.
    let older = copy(&config, &dir);
    let store = Store::open(&older.state.join("index")).unwrap().store;
    let applied = Tx::new(&store).applied().unwrap();
    let mut batch = Batch::default();
    batch.put(Table(0), &[], &Applied { version: 0, ..applied }).unwrap();
    store.commit(batch).unwrap();
    drop(store);
    assert_eq!(found(&older), Vec::<String>::new());
}
