//! Who may name whom (DESIGN 4): held over `cargo metadata` and the source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn crate_sources(of: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join(of).join("src"), &mut found);
    found
}

/// Files of the product, relative to the root, in which a line that is no comment has `word`.
fn naming(word: &str) -> BTreeSet<String> {
    ["libs/proto", "libs/svc", "exploder", "groupsrv", "certsrv", "member"]
        .iter()
        .flat_map(|of| crate_sources(of))
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        })
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect()
}

#[test]
fn arrows_between_crates_go_one_way() {
    let metadata =
        cargo_metadata::MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let mine = |name: &str| name.starts_with("twinseal");
    let mut arrows = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| mine(&d.name)) {
            arrows.insert((package.name.to_string(), dependency.name.clone()));
        }
    }
    let allowed = [
        ("twinseal", vec!["twinseal-proto"]),
        ("twinseal-svc", vec!["twinseal-proto"]),
        ("twinseal-certsrv", vec!["twinseal-proto", "twinseal-svc"]),
        ("twinseal-exploder", vec!["twinseal-proto", "twinseal-svc"]),
        ("twinseal-groupsrv", vec!["twinseal-proto", "twinseal-svc"]),
    ];
    for (from, to) in &arrows {
        if from == "twinseal-tests" {
            continue;
        }
        let rule = allowed.iter().find(|(name, _)| name == from);
        assert!(rule.is_some_and(|(_, targets)| targets.contains(&to.as_str())), "{from} must not depend on {to}");
    }
}

#[test]
fn each_borrowed_engine_is_named_where_it_belongs() {
    assert_eq!(naming("sled::"), BTreeSet::from(["libs/svc/src/store.rs".to_owned()]), "sled");
    // certsrv's own mail never passes through the exploder (docs/adr/0003-certsrv-mail.md).
    let sends = |file: &String| file.starts_with("exploder/src/deliver") || file == "certsrv/src/notices/send.rs";
    assert!(naming("lettre::").iter().all(sends), "lettre: {:?}", naming("lettre::"));
    let saml = naming("samael::");
    assert!(saml.iter().all(|file| file.starts_with("certsrv/src/saml/")), "samael: {saml:?}");
    assert_eq!(naming("cryptoki::"), BTreeSet::from(["libs/svc/src/keys/pkcs11.rs".to_owned()]), "cryptoki");
    let calls = naming("Command::new");
    assert!(calls.iter().all(|file| file.contains("tests")), "no service starts a program: {calls:?}");
}

#[test]
fn the_pure_crate_does_no_input_or_output() {
    for word in ["std::fs", "std::net", "tokio", "std::thread", "std::process"] {
        let found =
            naming(word).into_iter().filter(|f| f.starts_with("libs/proto") && !f.contains("test")).collect::<Vec<_>>();
        assert!(found.is_empty(), "{word} in {found:?}");
    }
}

#[test]
fn only_the_exploder_touches_mail_and_only_groupsrv_holds_group_keys() {
    let messages = naming("mail_parser");
    assert!(messages.iter().all(|f| f.starts_with("exploder") || f.starts_with("member")), "{messages:?}");
    let opens = naming("cms::unwrap");
    assert!(opens.iter().all(|f| !f.starts_with("exploder") && !f.starts_with("certsrv")), "who opens keys: {opens:?}");
}

#[test]
fn files_stay_short() {
    let mut lengths: Vec<(usize, PathBuf)> = Vec::new();
    for of in ["libs/proto", "libs/svc", "exploder", "groupsrv", "certsrv", "member"] {
        for path in crate_sources(of) {
            if path.file_name().is_some_and(|n| n == "tests.rs") || path.components().any(|c| c.as_os_str() == "tests")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            lengths.push((text.lines().take_while(|l| *l != "#[cfg(test)]").count(), path));
        }
    }
    lengths.sort();
    let (longest, path) = lengths.last().unwrap();
    assert!(*longest <= 500, "{} has {longest} lines", path.display());
    let median = lengths[lengths.len() / 2].0;
    assert!(median <= 160, "median {median} lines");
}
