//! Who comes onto a list and how: join policies, owners, delivery options, bans, tables (spec mail K8-K10, L6, N7).

use crate::support::{Up, encrypt, pipe};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use twinseal_tests::describe::Member;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The tool as the owner of the list.
fn owner(up: &Up, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("20").arg(up.lab.bin.join("twinseal")).args(arguments).env("TWINSEAL_HOME", &up.lab.owner.home);
    pipe(&mut command, b"")
}

fn enrol_owner(up: &Up) {
    let password = up.dir.join("owner.password");
    std::fs::write(&password, up.lab.owner.password.as_ref().unwrap()).unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (password, root) = (password.display().to_string(), up.lab.ca.display().to_string());
    let address = &up.lab.owner.address;
    let enrolled = owner(
        up,
        &[
            "enroll",
            address,
            "--certsrv",
            &up.lab.certsrv,
            "--root",
            &root,
            "--password-file",
            &password,
            "--key-type",
            "p256",
        ],
    );
    assert!(enrolled.status.success(), "{}", said(&enrolled));
}

/// How the member stands at certsrv, if it belongs to the list.
fn state(up: &Up, address: &str) -> Option<String> {
    let listed = json(&up.run("certsrv", &["--json", "member", "list", &up.lab.list]));
    let found = listed.as_array().unwrap().iter().find(|m| m["address"] == address)?;
    Some(found["state"].as_str().unwrap().to_owned())
}

/// Both consumers have followed the feed to its end.
fn followed(up: &Up) {
    let sequence = |daemon: &str| json(&up.run(daemon, &["--json", "status"]))["feed_sequence"].as_u64().unwrap();
    let (wanted, until) = (sequence("certsrv"), Instant::now() + Duration::from_secs(20));
    while ["groupsrv", "exploder"].iter().any(|daemon| sequence(daemon) < wanted) {
        assert!(Instant::now() < until, "the feed is not followed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn post(up: &Up, from: &Member, text: &str) {
    let mail = encrypt(&up.lab, &from.address, text, &["-aes256"]);
    let reply = up.post(&from.address, &mail);
    assert!(reply.starts_with("250"), "{reply}");
}

fn policy(up: &Up, join: &str) {
    up.run("certsrv", &["group", "set", &up.lab.list, "--join", join]);
}

#[test]
fn a_list_lets_in_whom_its_policy_lets_in() {
    let up = Up::new(&["--members", "3"]);
    let (list, third) = (up.lab.list.clone(), &up.lab.members[2]);
    enrol_owner(&up);
    let tool = |arguments: &[&str]| up.twinseal(third, arguments, b"");

    policy(&up, "approve");
    assert!(tool(&["leave", &list]).status.success());
    assert_eq!(state(&up, &third.address), None);
    let asked = tool(&["join", &list]);
    assert!(asked.status.success() && said(&asked).contains("next: an owner"), "{}", said(&asked));
    assert_eq!(state(&up, &third.address), None);
    assert!(said(&tool(&["lists"])).contains("waits: an owner"), "{}", said(&tool(&["lists"])));
    let waiting = json(&said(&owner(&up, &["requests", "--json"])));
    let request = waiting[0]["id"].as_str().unwrap();
    assert_eq!(waiting[0]["address"], third.address.as_str());
    assert!(!tool(&["approve", request]).status.success(), "nobody approves an own request");
    assert!(owner(&up, &["approve", request]).status.success());
    assert_eq!(state(&up, &third.address).as_deref(), Some("active"));
    followed(&up);
    post(&up, &up.lab.members[0], "The third reads this.");
    let copy = up.wait_copies(&third.address, 1).remove(0);
    assert_eq!(crate::support::decrypt(third, &copy).unwrap(), "The third reads this.");

    policy(&up, "closed");
    assert!(tool(&["leave", &list]).status.success());
    let refused = tool(&["join", &list]);
    assert_eq!(refused.status.code(), Some(77), "{}", said(&refused));
    up.run("certsrv", &["member", "add", &list, &third.address]);

    policy(&up, "invite");
    assert!(tool(&["leave", &list]).status.success());
    assert_eq!(tool(&["join", &list]).status.code(), Some(77));
    up.run("certsrv", &["member", "invite", &list, &third.address]);
    assert!(tool(&["join", &list]).status.success());
    assert_eq!(state(&up, &third.address).as_deref(), Some("active"));

    policy(&up, "open");
    up.run("certsrv", &["member", "ban", &list, &third.address]);
    assert_eq!(state(&up, &third.address), None);
    assert_eq!(tool(&["join", &list]).status.code(), Some(77));
    assert_eq!(json(&up.run("certsrv", &["--json", "member", "bans", &list])), serde_json::json!([third.address]));
    up.run("certsrv", &["member", "unban", &list, &third.address]);
    assert!(tool(&["join", &list]).status.success());

    let last = owner(&up, &["leave", &list]);
    assert!(!last.status.success() && said(&last).contains("last owner"), "{}", said(&last));
    up.run("certsrv", &["group", "add-owner", &list, &third.address]);
    assert!(owner(&up, &["leave", &list]).status.success());
    assert!(!up.bin("certsrv", &["group", "delete", &list, "--yes", "other@lists.test"]).status.success());
    up.run("certsrv", &["group", "delete", &list, "--yes", &list]);
    followed(&up);
    let gone = up.post(&third.address, &encrypt(&up.lab, &third.address, "x", &["-aes256"]));
    assert!(gone.starts_with("550"), "{gone}");
}

#[test]
fn members_choose_what_they_are_sent() {
    let up = Up::new(&["--members", "3"]);
    let [first, second, third] = up.lab.members.as_slice() else { panic!("three members") };
    let list = up.lab.list.as_str();
    let off = up.twinseal(second, &["set", list, "--delivery", "off"], b"");
    assert!(off.status.success(), "{}", said(&off));
    assert!(up.twinseal(first, &["set", list, "--own-posts", "off"], b"").status.success());
    followed(&up);
    post(&up, second, "who gets no copies may post");
    post(&up, first, "not to myself");
    up.wait_copies(&third.address, 2);
    up.drained();
    let counts = [first, second, third].map(|member| up.copies(&member.address).len());
    assert_eq!(counts, [1, 0, 2], "(own post, delivery) are off for (first, second)");
    let on = up.twinseal(second, &["set", list, "--delivery", "on"], b"");
    assert!(on.status.success(), "{}", said(&on));
    followed(&up);
    post(&up, third, "again for all");
    up.wait_copies(&second.address, 1);
    up.wait_copies(&first.address, 2);
}

fn table(dir: &Path, name: &str, rows: impl Iterator<Item = String>) -> String {
    let mut text = "\u{feff}address,delivery\r\n".to_owned();
    rows.for_each(|row| write!(text, "{row}\r\n").unwrap());
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_thousand_members_come_from_a_table() {
    let up = Up::new(&["--members", "1"]);
    let list = up.lab.list.as_str();
    let addresses: Vec<String> = (0..1000).map(|n| format!("+import{n}@members.test")).collect();
    let accounts = up.dir.join("accounts.json");
    let entries: Vec<Value> = addresses.iter().map(|a| serde_json::json!({ "address": a })).collect();
    std::fs::write(&accounts, serde_json::to_string(&entries).unwrap()).unwrap();
    let accounts = accounts.display().to_string();
    let whats = |report: &Value, what: &str| {
        report["lines"].as_array().unwrap().iter().filter(|line| line["what"] == what).count()
    };
    for (arguments, done) in [(vec!["--dry-run"], false), (vec!["--strict"], true)] {
        let arguments = [vec!["--json", "account", "import", "--file", &accounts], arguments].concat();
        let report = json(&up.run("certsrv", &arguments));
        assert_eq!((whats(&report, "added"), report["done"].as_bool()), (1000, Some(done)));
    }
    let bad = ["nobody@members.test,on", "nonsense,on", "+import3@members.test,maybe"].map(str::to_owned);
    let rows = addresses.iter().map(|a| format!("{a},off")).chain(bad);
    let mixed = table(&up.dir, "mixed.csv", rows);
    let strict = up.bin("certsrv", &["--json", "group", "import", list, "--file", &mixed, "--strict"]);
    assert!(!strict.status.success());
    let report =
        json(String::from_utf8_lossy(&strict.stdout).lines().next().unwrap_or_else(|| panic!("{}", said(&strict))));
    assert_eq!((whats(&report, "added"), whats(&report, "refused")), (1000, 3));
    assert_eq!(report["done"], false);
    assert_eq!(report["lines"][1000]["line"], 1002, "the number in the file, after the header line");
    let members = || json(&up.run("certsrv", &["--json", "group", "show", list]))["members"].as_u64().unwrap();
    assert_eq!(members(), 2);
    let report = json(&up.run("certsrv", &["--json", "group", "import", list, "--file", &mixed]));
    assert_eq!((whats(&report, "added"), whats(&report, "refused"), members()), (1000, 3, 1002));

    // What is exported is imported again as it was, and no cell of it is a formula.
    let exported = up.run("certsrv", &["group", "export", list]);
    assert!(exported.lines().skip(1).all(|row| !row.starts_with(['=', '+', '-', '@'])), "{exported}");
    for (name, text) in [("out.csv", exported), ("out.json", up.run("certsrv", &["--json", "group", "export", list]))] {
        let path = up.dir.join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        let report = json(&up.run("certsrv", &["--json", "group", "import", list, "--file", &path, "--strict"]));
        assert_eq!(whats(&report, "unchanged"), 1002, "{name}");
    }
}
