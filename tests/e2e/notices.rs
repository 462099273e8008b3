//! certsrv's own mail: tokens by mail, warnings, welcomes; and posting tokens.

use crate::support::{Up, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A mail's text, with its line ends as line feeds.
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

/// The word of 43 characters on a line of its own.
fn token(mail: &str) -> String {
    mail.lines().map(str::trim).find(|line| line.len() == 43).unwrap_or_else(|| panic!("no token: {mail}")).to_owned()
}

/// `curl` to certsrv: status and body.
fn curl(up: &Up, path: &str, arguments: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"]).arg(&up.lab.ca).args(arguments);
    let output = pipe(command.arg(format!("{}{path}", up.lab.certsrv)), b"");
    let all = String::from_utf8(output.stdout).unwrap();
    let (body, status) = all.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn ask(up: &Up, address: &str) -> (u16, String) {
    curl(up, "/v1/login/mail", &["-d", &format!("{{\"address\":\"{address}\"}}")])
}

/// Enrols with a token from a file, by the member tool.
fn enrol(up: &Up, address: &str, token: &str) -> (PathBuf, bool) {
    let (home, file) = (up.dir.join(format!("home-{address}")), up.dir.join("token"));
    std::fs::write(&file, token).unwrap();
    let done = Command::new(up.lab.bin.join("twinseal"))
        .args(["enroll", address, "--certsrv", &up.lab.certsrv, "--key-type", "p256", "--token-file"])
        .arg(file)
        .arg("--root")
        .arg(&up.lab.ca)
        .env("TWINSEAL_HOME", &home)
        .output()
        .unwrap();
    (home, done.status.success())
}

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Whether `word` stands in any file below `dir`.
fn stands_in(dir: &Path, word: &str) -> bool {
    let output = Command::new("grep").args(["-r", "-F", "-l", "--", word]).arg(dir).output().unwrap();
    output.status.success()
}

/// Waits until certsrv owes no mail.
fn sent(up: &Up) {
    let until = Instant::now() + Duration::from_secs(60);
    while up.run("certsrv", &["--json", "notice", "list"]).trim() != "[]" {
        assert!(Instant::now() < until, "mail waits: {}", up.run("certsrv", &["notice", "list"]));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_mailbox_becomes_a_member_who_is_welcomed_with_the_lists_certificate() {
    let up = Up::new(&["--members", "1", "--mail"]);
    // A thousand questions for one victim, known or not: one mail.
    let victim = "new@members.test";
    let (status, first) = ask(&up, victim);
    assert_eq!(status, 200);
    let many = format!("{}/v1/login/mail?[1-1000]", up.lab.certsrv);
    let mut command = Command::new("curl");
    command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}\n", "--cacert"]).arg(&up.lab.ca);
    let output = pipe(command.args(["-d", &format!("{{\"address\":\"{victim}\"}}"), &many]), b"");
    let answers = String::from_utf8(output.stdout).unwrap();
    let count = |status: &str| answers.lines().filter(|line| *line == status).count();
    assert_eq!((count("200"), count("429")), (19, 981));
    let mail = text(&up.wait_copies(victim, 1)[0]);
    sent(&up);
    assert_eq!(up.copies(victim).len(), 1);
    assert!(mail.contains("\nAuto-Submitted: auto-generated\n") && mail.contains("\nMessage-ID: <"), "{mail}");
    let envelope = std::fs::read_to_string(up.lab.sink_dir.join(victim).join("1.json")).unwrap();
    assert!(envelope.contains("\"mail_from\":\"\""), "{envelope}");
    assert!(first.contains("if this address can log in"), "{first}");

    // The token is nobody else's, is nowhere on certsrv's disk, and works once.
    let word = token(&mail);
    assert!(!stands_in(&up.lab.state.certsrv, &word) && !stands_in(&up.dir.join("certsrv.log"), &word));
    assert!(stands_in(&up.lab.state.certsrv.join("feed"), victim), "the search finds what is there");
    assert!(!enrol(&up, "other@members.test", &word).1);
    let (home, enrolled) = enrol(&up, victim, &word);
    assert!(enrolled);
    let bearer = format!("Authorization: Bearer {word}");
    let (status, _) = curl(&up, "/.well-known/est/smime/simpleenroll", &["-H", &bearer, "-d", "MAA="]);
    assert!(status == 401 || status == 400, "{status}");
    let (status, _) = curl(&up, "/v1/confirm", &["-d", &format!("{{\"token\":\"{word}\"}}")]);
    assert_eq!(status, 401);

    // Joining: the welcome is signed in the list's name, with the list's certificate inside.
    let joined = Command::new(up.lab.bin.join("twinseal"))
        .args(["join", &up.lab.list])
        .env("TWINSEAL_HOME", &home)
        .output()
        .unwrap();
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    let path = up.wait_copies(victim, 2)[1].clone();
    let welcome = text(&path);
    assert!(welcome.contains(&format!("<{}>", up.lab.list)) && welcome.contains("List-Id: <team.lists.test>"));
    let (file, ca) = (path.display().to_string(), up.lab.ca.display().to_string());
    let (signers, certs) = (up.dir.join("signer.pem"), up.dir.join("certs.pem"));
    let (signers, certs) = (signers.display().to_string(), certs.display().to_string());
    let verify = ["cms", "-verify", "-in", &file, "-CAfile", &ca, "-signer", &signers, "-certsout", &certs];
    let (good, said) = openssl(&verify);
    assert!(good && said.contains("CMS Verification successful"), "{said}");
    let (_, signer) = openssl(&["x509", "-in", &signers, "-noout", "-ext", "keyUsage,subjectAltName"]);
    assert!(signer.contains("email:team@lists.test") && signer.contains("Digital Signature\n"), "{signer}");
    let pem = |path: &Path| std::fs::read_to_string(path).unwrap().replace(['\r', '\n'], "");
    let own = pem(&up.lab.group_cert);
    assert!(pem(Path::new(&certs)).contains(own.split("-----").nth(2).unwrap()), "the list's certificate is in it");
    let (_, printed) = openssl(&["cms", "-cmsout", "-print", "-noout", "-in", &file]);
    assert!(printed.contains("id-smime-aa-encrypKeyPref") && printed.contains("S/MIME Capabilities"), "{printed}");
    let group = up.lab.group_cert.display().to_string();
    let (_, print) = openssl(&["x509", "-in", &group, "-noout", "-fingerprint", "-sha256"]);
    let print = print.trim().rsplit('=').next().unwrap().to_owned();
    assert!(welcome.replace(['\n', ' '], "").contains(&print), "{print}: {welcome}");
    // Changed on its way, it does not verify.
    let forged = up.dir.join("forged.eml");
    std::fs::write(&forged, std::fs::read_to_string(&path).unwrap().replace("You are a member", "You are no member"))
        .unwrap();
    assert!(!openssl(&["cms", "-verify", "-in", &forged.display().to_string(), "-CAfile", &ca]).0);
}

#[test]
fn what_is_owed_is_sent_after_a_death_between_owing_and_sending() {
    let mut up = Up::new(&["--members", "1", "--mail"]);
    sent(&up);
    for (index, point) in twinseal_certsrv::NOTICE_FAILPOINTS.iter().enumerate() {
        let address = format!("mailbox{index}@members.test");
        up.restart_to_die("certsrv", point);
        let _ = ask(&up, &address);
        let until = Instant::now() + Duration::from_secs(10);
        let stat = format!("/proc/{}/stat", up.lab.pids.certsrv);
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(Instant::now() < until, "{point} was not reached");
            std::thread::sleep(Duration::from_millis(20));
        }
        up.restart("certsrv");
        let mails = up.wait_copies(&address, 1);
        sent(&up);
        // Between the smarthost's answer and the log it may go twice: the same mail, with the same token.
        let mails = if *point == "certsrv.notice.after-send" { up.wait_copies(&address, 2) } else { mails };
        let ids: Vec<String> = mails
            .iter()
            .map(|path| text(path).lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned())
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
        assert!(mails.windows(2).all(|pair| token(&text(&pair[0])) == token(&text(&pair[1]))));
        assert!(enrol(&up, &address, &token(&text(&mails[0]))).1);
    }
}

#[test]
fn a_smarthost_that_is_away_is_waited_for_and_a_short_life_is_warned_of() {
    let mut up = Up::new(&["--members", "1", "--mail"]);
    sent(&up);
    up.run("sink", &["defer"]);
    let config = up.dir.join("certsrv.toml");
    let short = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("member_days = 1\n{short}")).unwrap();
    up.restart("certsrv");
    let address = "brief@members.test";
    assert_eq!(ask(&up, address).0, 200);
    let status = || -> serde_json::Value { serde_json::from_str(&up.run("certsrv", &["--json", "status"])).unwrap() };
    let until = Instant::now() + Duration::from_secs(10);
    while status()["mails_waiting"] != 1 {
        assert!(Instant::now() < until, "{}", status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(up.run("certsrv", &["notice", "list"]).contains(&format!("log-in\t{address}")));
    up.run("sink", &["accept"]);
    let mail = text(&up.wait_copies(address, 1)[0]);
    assert!(enrol(&up, address, &token(&mail)).1);
    // It is looked for certificates that soon end at each start.
    up.restart("certsrv");
    let warning = text(&up.wait_copies(address, 2)[1]);
    assert!(warning.contains("ends within a day") && warning.contains("\n    twinseal renew\n"), "{warning}");
    sent(&up);
    up.restart("certsrv");
    sent(&up);
    assert_eq!(up.copies(address).len(), 2, "warned once");
}

#[test]
fn a_posting_token_is_shown_once_and_good_for_nothing_at_the_key_holders() {
    let up = Up::new(&["--members", "2"]);
    let member = &up.lab.members[0];
    let made = up.twinseal(member, &["posting-token", "make", "--label", "laptop", "--json"], b"");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let list = |up: &Up| String::from_utf8(up.twinseal(member, &["posting-token", "list"], b"").stdout).unwrap();
    assert!(list(&up).contains(id) && list(&up).contains("laptop") && !list(&up).contains(token));
    // The digest reached the exploder; the token is on no service's disk.
    for dir in [&up.lab.state.certsrv, &up.lab.state.groupsrv, &up.lab.state.exploder] {
        assert!(!stands_in(dir, token), "{}", dir.display());
    }
    assert!(!stands_in(&up.lab.state.groupsrv, id));
    let bearer = format!("Authorization: Bearer {token}");
    let basic = format!("{}:{token}", member.address);
    let est = "/.well-known/est/smime/simpleenroll";
    for credential in [["-H", &bearer], ["-u", &basic]] {
        assert_eq!(curl(&up, est, &[credential[0], credential[1], "-d", "MAA="]).0, 401);
        let mut command = Command::new("curl");
        command.args(["-s", "-k", "--max-time", "20", "-w", "%{http_code}", "-d", "{}"]).args(credential);
        let output = pipe(command.arg(format!("{}/v1/expand", up.lab.groupsrv)), b"");
        // groupsrv ends the handshake with whoever has no certificate: there is not even an answer.
        assert_eq!(String::from_utf8_lossy(&output.stdout), "000");
    }
    assert!(up.twinseal(member, &["posting-token", "revoke", id], b"").status.success());
    assert!(list(&up).is_empty());
    assert!(!up.twinseal(member, &["posting-token", "revoke", id], b"").status.success());
}
