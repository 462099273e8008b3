//! Each daemon dies at each of its named steps, and at random moments under load: no accepted message is lost, and a
//! copy is delivered twice only when the exploder died between the smarthost's answer and its own note of it.

use crate::support::{Smtp, Up, encrypt};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use twinseal_tests::describe::Lab;

const MEMBERS: usize = 3;
/// Random kills in `make test`, over all three daemons.
const RANDOM_KILLS: usize = 200;

/// Messages that got their 250, by subject.
type Accepted = Arc<Mutex<Vec<String>>>;

/// A message whose subject is unique; the encryption is made once, since what is counted is delivery.
fn message(template: &str, name: &str) -> Vec<u8> {
    template.replace("Subject: to the team", &format!("Subject: {name}")).into_bytes()
}

/// Posts until told to stop; connection trouble is what the test makes, a refusal is a failure.
fn load(lab: &Lab, template: &str, prefix: &str, accepted: &Accepted, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("{prefix}-{number}");
        match try_post(lab, &message(template, &name)) {
            Ok(reply) if reply.starts_with("250") => accepted.lock().unwrap().push(name),
            Ok(reply) => assert!(reply.starts_with('4'), "{name}: {reply}"),
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn try_post(lab: &Lab, message: &[u8]) -> std::io::Result<String> {
    let mut smtp = Smtp::connect(&lab.smtp)?;
    for line in ["EHLO load.test", "MAIL FROM:<m1@members.test>", &format!("RCPT TO:<{}>", lab.list)] {
        let reply = smtp.command(line)?;
        if !reply.starts_with('2') {
            return Ok(reply);
        }
    }
    let reply = smtp.command("DATA")?;
    if reply.starts_with('3') { smtp.data(message) } else { Ok(reply) }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// How often each (member, subject) was delivered.
fn delivered(up: &Up) -> HashMap<(String, String), usize> {
    let mut counts = HashMap::new();
    for member in &up.lab.members {
        for copy in up.copies(&member.address) {
            let text = String::from_utf8(std::fs::read(&copy).unwrap()).unwrap();
            let subject = text.lines().find_map(|l| l.strip_prefix("Subject: ")).unwrap().to_owned();
            *counts.entry((member.address.clone(), subject)).or_insert(0) += 1;
        }
    }
    counts
}

/// Waits until every accepted message reached every member; the number of copies that came twice.
fn all_delivered(up: &Up, accepted: &[String]) -> usize {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let counts = delivered(up);
        let missing: Vec<_> = up
            .lab
            .members
            .iter()
            .flat_map(|m| accepted.iter().map(|name| (m.address.clone(), name.clone())))
            .filter(|key| !counts.contains_key(key))
            .collect();
        if missing.is_empty() {
            up.drained();
            return delivered(up).values().map(|n| n - 1).sum();
        }
        assert!(
            Instant::now() < until,
            "{} copies are missing, first {:?}; queue {}",
            missing.len(),
            missing[0],
            up.queue()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn template(up: &Up) -> String {
    String::from_utf8(encrypt(&up.lab, "m1@members.test", "crash test", &["-aes256"])).unwrap()
}

#[test]
fn a_daemon_may_die_at_every_named_step() {
    let mut up = Up::new(&["--members", "3"]);
    let large = encrypt(&up.lab, "m1@members.test", &"large ".repeat(100_000), &["-aes256"]);
    let large = String::from_utf8(large).unwrap();
    let mut accepted = Vec::new();
    let mut duplicates = HashMap::new();
    let exploder: Vec<&str> = twinseal_exploder::FAILPOINTS.to_vec();
    // The steps of making a key have a test of their own.
    let groupsrv: Vec<&str> = twinseal_groupsrv::FAILPOINTS.iter().copied().filter(|point| !makes_key(point)).collect();
    let certsrv: Vec<&str> = twinseal_certsrv::FAILPOINTS.to_vec();
    for (daemon, points) in [("exploder", exploder), ("groupsrv", groupsrv), ("certsrv", certsrv)] {
        for point in points {
            prepare(&up, point);
            let before = delivered(&up).values().map(|n| n - 1).sum::<usize>();
            up.restart_to_die(daemon, point);
            let name = format!("at-{point}");
            // Encrypted anew each time: an old key would be an old message to groupsrv, and who joined since would not get it.
            let mail = if point == "exploder.body.after-link" { large.clone() } else { template(&up) };
            if let Ok(reply) = try_post(&up.lab, &message(&mail, &name))
                && reply.starts_with("250")
            {
                accepted.push(name.clone());
            }
            if point.starts_with("certsrv.") || point.starts_with("groupsrv.roster.") {
                // Who leaves and joins below would rightly not get what came before.
                all_delivered(&up, &accepted);
            }
            provoke(&up, point);
            let died = wait_death(&up, daemon);
            up.restart(daemon);
            let duplicate = all_delivered(&up, &accepted) - before;
            println!("{point}: {}, {duplicate} duplicates", if died { "died" } else { "not reached" });
            assert!(died, "{point} was not reached: the test shows nothing");
            duplicates.insert(point, duplicate);
            // Whatever was cut off is done by asking again.
            provoke(&up, point);
            settle(&up);
            crate::enrolment::settled(&up, point);
            if daemon == "certsrv" {
                whole(&mut up, point);
            }
        }
    }
    for (point, count) in duplicates {
        // The window: from the smarthost's answer until the outcome, gathered with others for 2 ms, is in the segment.
        let window = ["exploder.deliver.before-dot", "exploder.deliver.after-reply", "exploder.outcome.after-write"]
            .contains(&point);
        assert!(count == 0 || window && count <= MEMBERS, "{point}: {count} duplicates outside the documented window");
    }
    assert!(!up.run("groupsrv", &["audit", "verify"]).is_empty());
}

/// Feed log, audit log and index tell the same, no serial number was used twice; and the index is no more than what the log
/// comes to: without it, the same is known.
fn whole(up: &mut Up, point: &str) {
    let known = |up: &Up| {
        let account = up.run("certsrv", &["--json", "account", "list"]);
        (account, up.run("certsrv", &["--json", "member", "list", &up.lab.list]))
    };
    let before = known(up);
    for round in ["as it was left", "made anew"] {
        let found = up.bin("certsrv", &["doctor"]);
        assert!(found.status.success(), "{point}, index {round}: {}", String::from_utf8_lossy(&found.stdout));
        assert_eq!(known(up), before, "{point}, index {round}");
        if round == "as it was left" {
            up.stop("certsrv");
            std::fs::remove_dir_all(up.lab.state.certsrv.join("index")).unwrap();
            up.restart("certsrv");
        }
    }
}

fn makes_key(point: &str) -> bool {
    point.starts_with("groupsrv.key.") || point == "durable.before-rename"
}

#[test]
fn groupsrv_may_die_at_every_step_of_making_a_key() {
    let mut up = Up::new(&["--members", "1"]);
    let sender = up.lab.members[0].address.clone();
    let keys = |up: &Up| -> serde_json::Value {
        serde_json::from_str(&up.run("groupsrv", &["--json", "key", "list"])).unwrap()
    };
    let group = keys(&up)[0]["group"].as_str().unwrap().to_owned();
    for (index, point) in twinseal_groupsrv::FAILPOINTS.iter().filter(|p| makes_key(p)).enumerate() {
        up.restart_to_die("groupsrv", point);
        let made = up.bin_briefly("groupsrv", &["key", "create", &group, "--algorithm", "p256"]);
        assert!(!made.status.success() && wait_death(&up, "groupsrv"), "{point} was not reached");
        up.restart("groupsrv");
        // Asked again it goes on where it was: there is one key more each time, never a half one.
        up.bin("groupsrv", &["key", "create", &group, "--algorithm", "p256"]);
        let listed = keys(&up);
        let epochs = listed[0]["epochs"].as_array().unwrap();
        assert!(
            epochs.len() > index + 1 && epochs.iter().all(|e| e["certificate"].as_str().is_some()),
            "{point}: {listed}"
        );
        let live = epochs.iter().find(|e| e["state"] == "live").unwrap();
        let der =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, live["certificate"].as_str().unwrap());
        let pem = openssl::x509::X509::from_der(&der.unwrap()).unwrap().to_pem().unwrap();
        std::fs::write(&up.lab.group_cert, pem).unwrap();
        let mail = encrypt(&up.lab, &sender, point, &["-aes256"]);
        let until = Instant::now() + Duration::from_secs(20);
        // The exploder hears of the new key by a long poll.
        while !up.post(&sender, &mail).starts_with("250") {
            assert!(Instant::now() < until, "{point}: mail to the newest key is refused");
            std::thread::sleep(Duration::from_millis(100));
        }
        let copy = up.wait_copies(&sender, index + 1).pop().unwrap();
        assert_eq!(crate::support::decrypt(&up.lab.members[0], &copy).unwrap(), *point);
    }
}

/// What has to be so before the daemon starts, for the step to come.
fn prepare(up: &Up, point: &str) {
    if point.starts_with("groupsrv.rebuild.") {
        up.stop("groupsrv");
        std::fs::remove_dir_all(up.lab.state.groupsrv.join("index")).unwrap();
    }
    if point.starts_with("certsrv.revoke.") {
        enrol(up, &revoked(point));
    }
    crate::enrolment::prepare(up, point);
}

/// Whose certificate is revoked around a step.
fn revoked(point: &str) -> String {
    format!("{}@members.test", point.replace('.', "-"))
}

/// Makes the daemon pass the step; what is asked may be done, refused or cut off.
fn provoke(up: &Up, point: &str) {
    let step = point.rsplit_once('.').map_or(point, |(step, _)| step);
    let third = &up.lab.members[2];
    if crate::enrolment::provoke(up, step) {
        return;
    }
    match step {
        "groupsrv.roster" | "certsrv.commit" => {
            for verb in ["remove", "add"] {
                up.bin_briefly("certsrv", &["member", verb, &up.lab.list, &third.address]);
            }
        }
        "certsrv.join" | "certsrv.leave" => {
            up.twinseal(third, &["leave", &up.lab.list], b"");
            up.twinseal(third, &["join", &up.lab.list], b"");
        }
        "certsrv.request" => {
            up.bin_briefly("certsrv", &["group", "set", &up.lab.list, "--join", "approve"]);
            up.twinseal(third, &["leave", &up.lab.list], b"");
            up.twinseal(third, &["join", &up.lab.list], b"");
            let listed = up.bin_briefly("certsrv", &["--json", "request", "list"]).stdout;
            let waiting: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap_or_default();
            for request in waiting {
                up.bin_briefly("certsrv", &["request", "approve", request["id"].as_str().unwrap()]);
            }
            up.bin_briefly("certsrv", &["group", "set", &up.lab.list, "--join", "open"]);
        }
        "certsrv.revoke" => {
            let shown = up.bin("certsrv", &["--json", "account", "show", &revoked(point)]).stdout;
            let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
            let serial = shown["certificates"][0]["serial"].as_str().unwrap().to_owned();
            up.bin_briefly("certsrv", &["revoke", &serial, "--reason", "superseded"]);
            let shown = up.bin_briefly("certsrv", &["--json", "account", "show", &revoked(point)]).stdout;
            let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap_or_default();
            assert_ne!(shown["certificates"][0]["live"], true, "{point}: answered, and not revoked");
        }
        "certsrv.enrol" | "certsrv.issue" => enrol(up, &format!("{}@members.test", point.replace('.', "-"))),
        "certsrv.service" => {
            let token = up.dir.join("service.token").display().to_string();
            let _ = std::fs::remove_file(&token);
            up.bin_briefly("certsrv", &["service", "token", "exploder", "--out", &token]);
            let config = up.dir.join("second.toml");
            let second = up.dir.join("second");
            let text = std::fs::read_to_string(up.dir.join("exploder.toml")).unwrap();
            let state = up.lab.state.exploder.display().to_string();
            std::fs::write(&config, text.replace(&state, &second.display().to_string())).unwrap();
            let pins: serde_json::Value =
                serde_json::from_str(&up.run("exploder", &["--json", "pin", "list"])).unwrap();
            let _ = Command::new("timeout")
                .arg("5")
                .arg(Path::new(env!("CARGO_BIN_EXE_twinseal-lab")).with_file_name("twinseal-exploder"))
                .arg("--config")
                .arg(config)
                .args(["join", "--certsrv", &up.lab.certsrv, "--pin", pins["certsrv"].as_str().unwrap()])
                .args(["--token-file", &token, "--name", "127.0.0.1", "--root"])
                .arg(&up.lab.ca)
                .output();
        }
        "certsrv.group-certificate" => {
            let listed: serde_json::Value =
                serde_json::from_str(&up.run("groupsrv", &["--json", "key", "list"])).unwrap();
            up.bin_briefly("groupsrv", &["key", "create", listed[0]["group"].as_str().unwrap(), "--algorithm", "p256"]);
        }
        _ => {}
    }
}

/// Enrols `address` by the member tool, as far as certsrv lives.
fn enrol(up: &Up, address: &str) {
    let token = up.dir.join("enrol.token");
    up.bin_briefly("certsrv", &["account", "add", address]);
    let issued = up.bin_briefly("certsrv", &["account", "token", address]);
    std::fs::write(&token, issued.stdout).unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let _ = Command::new("timeout")
        .arg("5")
        .arg(up.lab.bin.join("twinseal"))
        .args(["enroll", address, "--certsrv", &up.lab.certsrv, "--key-type", "p256", "--token-file"])
        .arg(token)
        .arg("--root")
        .arg(&up.lab.ca)
        .env("TWINSEAL_HOME", up.dir.join(address))
        .output();
}

/// All three members belong to the list again, and everybody who enrolled has a certificate.
fn settle(up: &Up) {
    up.bin("certsrv", &["member", "add", &up.lab.list, &up.lab.members[2].address]);
    let listed: serde_json::Value =
        serde_json::from_str(&up.run("certsrv", &["--json", "member", "list", &up.lab.list])).unwrap();
    let active = listed.as_array().unwrap().iter().filter(|m| m["state"] == "active").count();
    assert_eq!(active, MEMBERS, "{listed}");
    let sequence = |daemon: &str| -> u64 {
        let status: serde_json::Value = serde_json::from_str(&up.run(daemon, &["--json", "status"])).unwrap();
        status["feed_sequence"].as_u64().unwrap()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while ["groupsrv", "exploder"].iter().any(|daemon| sequence(daemon) < sequence("certsrv")) {
        assert!(Instant::now() < until, "the feed is not followed");
        std::thread::sleep(Duration::from_millis(50));
    }
    for home in std::fs::read_dir(&up.dir).unwrap().map(|e| e.unwrap().path()) {
        if home.file_name().unwrap().to_string_lossy().starts_with("certsrv-") {
            assert!(home.join("cert.pem").exists(), "{}: enrolment was not finished", home.display());
        }
    }
}

fn wait_death(up: &Up, daemon: &str) -> bool {
    let pid = match daemon {
        "exploder" => up.lab.pids.exploder,
        "groupsrv" => up.lab.pids.groupsrv,
        _ => up.lab.pids.certsrv,
    };
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn random_deaths_under_load_lose_nothing() {
    let mut up = Up::new(&["--members", "3"]);
    let template = template(&up);
    let accepted = Accepted::default();
    let stop = Arc::new(AtomicBool::new(false));
    let loaders: Vec<_> = (0..2)
        .map(|n| {
            let (lab, template, accepted, stop) =
                (up.lab.clone(), template.clone(), Arc::clone(&accepted), Arc::clone(&stop));
            std::thread::spawn(move || load(&lab, &template, &format!("load{n}"), &accepted, &stop))
        })
        .collect();
    // A fixed sequence of pauses and victims: a failure comes again.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..RANDOM_KILLS {
        let daemon = ["exploder", "exploder", "groupsrv", "certsrv"][usize::try_from(next() % 4).unwrap()];
        std::thread::sleep(Duration::from_millis(next() % 120));
        kill(match daemon {
            "exploder" => up.lab.pids.exploder,
            "groupsrv" => up.lab.pids.groupsrv,
            _ => up.lab.pids.certsrv,
        });
        up.restart(daemon);
    }
    stop.store(true, Ordering::Relaxed);
    for loader in loaders {
        loader.join().unwrap();
    }
    let accepted = accepted.lock().unwrap().clone();
    let duplicates = all_delivered(&up, &accepted);
    let copies = accepted.len() * MEMBERS;
    println!("{RANDOM_KILLS} kills, {} messages accepted, {copies} copies, {duplicates} of them twice", accepted.len());
    assert!(accepted.len() > RANDOM_KILLS, "the load was too light to mean anything");
    // Only what was on the wire when the exploder died may come twice: at most one copy a connection and a kill.
    assert!(duplicates <= RANDOM_KILLS * 4, "{duplicates} duplicates");
    assert!(!up.run("groupsrv", &["audit", "verify"]).is_empty());
}
