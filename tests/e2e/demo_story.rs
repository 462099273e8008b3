//! The main story: a member enrols and joins by the tool, mail goes both ways of sending, a member leaves.

use crate::support::{Up, decrypt, encrypt, pipe};
use std::process::Command;

#[test]
fn one_encrypted_mail_in_and_every_member_reads_it() {
    let up = Up::new(&["--members", "3", "--member-alg", "rsa2048,p256,rsa3072"]);
    let sender = up.lab.members[0].address.clone();
    let mail = encrypt(&up.lab, &sender, "Meet at noon.", &["-aes256"]);
    assert!(up.post(&sender, &mail).starts_with("250 2."), "accepted");
    for member in &up.lab.members {
        let copies = up.wait_copies(&member.address, 1);
        assert_eq!(decrypt(member, &copies[0]).unwrap(), "Meet at noon.");
        let copy = String::from_utf8(std::fs::read(&copies[0]).unwrap()).unwrap();
        assert!(copy.contains("<team.lists.test>\r\n") && copy.contains("\r\nList-Id: "), "{copy}");
        assert!(copy.contains("\r\nPrecedence: list\r\n"));
        let envelope = std::fs::read_to_string(copies[0].with_extension("json")).unwrap();
        assert!(envelope.contains("\"mail_from\":\"b+") && envelope.contains("@lists.test\""), "{envelope}");
    }
    up.drained();
}

#[test]
fn the_member_tool_enrols_joins_sends_reads_and_leaves() {
    let up = Up::new(&["--members", "2", "--member-alg", "p256"]);
    let home = up.dir.join("newcomer");
    let address = "new@members.test";
    up.run("certsrv", &["account", "add", address]);
    let token = up.dir.join("token");
    std::fs::write(&token, up.run("certsrv", &["account", "token", address])).unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let tool = |arguments: &[&str], input: &[u8]| {
        let output = pipe(Command::new(up.lab.bin.join("twinseal")).args(arguments).env("TWINSEAL_HOME", &home), input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let root = up.lab.ca.display().to_string();
    let token = token.display().to_string();
    tool(
        &[
            "enroll",
            address,
            "--certsrv",
            &up.lab.certsrv,
            "--root",
            &root,
            "--token-file",
            &token,
            "--key-type",
            "rsa2048",
            "--submission",
            &up.lab.submission,
            "--submission-tls",
            "none",
        ],
        b"",
    );
    tool(&["join", &up.lab.list], b"");
    // The exploder hears of it by the feed within a moment.
    let message = format!("From: New <{address}>\nTo: {}\nSubject: hello\n\nI am new here.\n", up.lab.list);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let sent = pipe(
            Command::new(up.lab.bin.join("twinseal")).args(["send", &up.lab.list]).env("TWINSEAL_HOME", &home),
            message.as_bytes(),
        );
        if sent.status.success() {
            break;
        }
        assert!(std::time::Instant::now() < until, "{}", String::from_utf8_lossy(&sent.stderr));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for member in &up.lab.members {
        let copies = up.wait_copies(&member.address, 1);
        let read = up.twinseal(member, &["read", copies[0].to_str().unwrap()], b"");
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), "I am new here.");
        let status = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(status.starts_with(&format!("signed by {address} (certificate fingerprint ")), "{status}");
    }
    let own = up.wait_copies(address, 1);
    let (text, _) = tool(&["read", own[0].to_str().unwrap()], b"");
    assert_eq!(text.trim(), "I am new here.");
    up.drained();
    tool(&["leave", &up.lab.list], b"");
    let sender = up.lab.members[0].address.clone();
    let after = encrypt(&up.lab, &sender, "Without the newcomer.", &["-aes128"]);
    assert!(up.post(&sender, &after).starts_with("250"));
    for member in &up.lab.members {
        up.wait_copies(&member.address, 2);
    }
    up.drained();
    assert_eq!(up.copies(address).len(), 1, "who left gets nothing");
    assert!(!up.run("groupsrv", &["audit", "verify"]).is_empty());
}

#[test]
fn a_member_removed_by_an_administrator_gets_nothing_more() {
    let up = Up::new(&["--members", "3"]);
    let gone = up.lab.members[2].address.clone();
    up.run("certsrv", &["member", "remove", &up.lab.list, &gone]);
    let sender = up.lab.members[0].address.clone();
    let mail = encrypt(&up.lab, &sender, "Only two of us.", &["-aes256"]);
    assert!(up.post(&sender, &mail).starts_with("250"));
    up.wait_copies(&up.lab.members[0].address, 1);
    up.wait_copies(&up.lab.members[1].address, 1);
    up.drained();
    assert!(up.copies(&gone).is_empty());
    assert!(up.post(&gone, &encrypt(&up.lab, &gone, "Let me in.", &["-aes256"])).starts_with("550 5.7.2"));
}

#[test]
fn a_large_message_goes_through_files() {
    let up = Up::new(&["--members", "2", "--member-alg", "rsa2048,p256"]);
    let sender = up.lab.members[0].address.clone();
    let text: String =
        (0..600_000).map(|n| format!("line {n} of a large message, 52 octets in each of them\r\n")).collect();
    let mail = encrypt(&up.lab, &sender, text.trim_end(), &["-aes256", "-stream"]);
    assert!(mail.len() > 40_000_000);
    assert!(up.post(&sender, &mail).starts_with("250"));
    for member in &up.lab.members {
        let copies = up.wait_copies(&member.address, 1);
        assert!(decrypt(member, &copies[0]).unwrap() == text.trim_end(), "{}: not what was sent", member.address);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.lab.pids.exploder)).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak: u64 = peak.parse().unwrap();
    assert!(peak < 80_000, "the body was in memory: {peak} kB at most, for a message of {} octets", mail.len());
    up.drained();
    assert!(
        std::fs::read_dir(up.lab.state.exploder.join("spool/bodies")).unwrap().next().is_none(),
        "the body is gone"
    );
}
