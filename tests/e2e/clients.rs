//! Stock clients other than openssl read the copies: gpgsm, and Thunderbird with its own NSS.

use crate::support::{Up, encrypt, pipe};
use std::process::Command;

#[test]
fn gpgsm_reads_a_copy() {
    let up = Up::new(&["--members", "1"]);
    let member = &up.lab.members[0];
    let mail = encrypt(&up.lab, &member.address, "gpgsm reads this.", &["-aes256"]);
    assert!(up.post(&member.address, &mail).starts_with("250"));
    let copy = up.wait_copies(&member.address, 1).remove(0);
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(home.path().join("gpg-agent.conf"), "allow-loopback-pinentry\n").unwrap();
    let (password, p12) = (home.path().join("password"), home.path().join("member.p12"));
    std::fs::write(&password, "export\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let exported = up.twinseal(
        member,
        &["export", "--p12", p12.to_str().unwrap(), "--password-file", password.to_str().unwrap()],
        b"",
    );
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let gpgsm = |arguments: &[&str], input: &[u8]| {
        let mut command = Command::new("gpgsm");
        command.arg("--homedir").arg(home.path()).args(["--batch", "--no-tty", "--pinentry-mode", "loopback"]);
        pipe(command.args(["--passphrase-fd", "0", "--disable-crl-checks"]).args(arguments), input)
    };
    let imported = gpgsm(&["--import", p12.to_str().unwrap()], b"export\n");
    assert!(
        String::from_utf8_lossy(&imported.stderr).contains("imported: 1"),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let cms = home.path().join("copy.p7m");
    std::fs::write(&cms, crate::support::cms_of(&std::fs::read(copy).unwrap())).unwrap();
    let read = gpgsm(&["--decrypt", cms.to_str().unwrap()], b"export\n");
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(text.contains("gpgsm reads this."), "{text}{}", String::from_utf8_lossy(&read.stderr));
    let _ = Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).status();
}

#[test]
fn thunderbird_reads_rsa_and_ec_copies_and_its_own_way_of_sending_is_taken() {
    if Command::new("thunderbird").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "Thunderbird is not installed");
        println!("SKIPPED: Thunderbird is not installed");
        return;
    }
    let up = Up::new(&["--members", "2", "--member-alg", "rsa2048,p256"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/thunderbird.py");
    let done = pipe(Command::new("python3").arg(script).arg(&up.dir), b"");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn thunderbird_learns_from_the_welcome_mail_how_to_write_to_the_list() {
    if Command::new("thunderbird").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "Thunderbird is not installed");
        println!("SKIPPED: Thunderbird is not installed");
        return;
    }
    let up = Up::new(&["--members", "1", "--mail"]);
    up.wait_copies(&up.lab.members[0].address, 1);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/welcome.py");
    let done = pipe(Command::new("python3").arg(script).arg(&up.dir), b"");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    println!("{said}");
}
