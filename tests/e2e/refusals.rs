//! What the exploder refuses, with which code, and what the sender is told (spec mail A15).

use crate::support::{Smtp, Up, cms_of, encrypt, entity, pipe, post};
use std::process::Command;

fn envelope(reply_to: &[&str], server: &str) -> String {
    let mut smtp = Smtp::connect(server).unwrap();
    reply_to.iter().map(|line| smtp.command(line).unwrap()).last().unwrap()
}

#[test]
fn every_refusal_has_its_code_and_says_what_to_do() {
    let up = Up::new(&["--members", "2"]);
    let server = &up.lab.smtp;
    let sender = up.lab.members[0].address.clone();
    let good = encrypt(&up.lab, &sender, "fine", &["-aes256"]);
    let check = |what: &str, reply: &str, code: &str, hint: &str| {
        assert!(reply.replacen('-', " ", 1).starts_with(code), "{what}: {code} wanted, got {reply}");
        assert!(reply.to_lowercase().contains(hint), "{what}: no {hint:?} in {reply}");
    };
    let refused = |what: &str, from: &str, message: &[u8], code: &str, hint: &str| {
        check(what, &post(server, from, &up.lab.list, message).unwrap(), code, hint);
    };
    let hello = ["EHLO x.test", "MAIL FROM:<m1@members.test>"];
    check("unknown list", &envelope(&[hello[0], hello[1], "RCPT TO:<nobody@lists.test>"], server), "550 5.1.1", "list");
    check("relay", &envelope(&[hello[0], hello[1], "RCPT TO:<x@elsewhere.test>"], server), "550 5.7.1", "relay");
    check(
        "too big, announced",
        &envelope(&[hello[0], "MAIL FROM:<a@b.test> SIZE=9999999999"], server),
        "552 5.3.4",
        "large",
    );
    refused("not a member", "stranger@x.test", &replace(&good, &sender, "stranger@x.test"), "550 5.7.2", "member");
    refused("null sender", "", &good, "550 5.7.2", "");
    let plain = format!("From: {sender}\nTo: {}\nSubject: s\nContent-Type: text/plain\n\nhello\n", up.lab.list);
    refused("plaintext", &sender, plain.as_bytes(), "550 5.7.1", "encrypt");
    let mixed = format!(
        "From: {sender}\nTo: {}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b--\n",
        up.lab.list
    );
    refused("mixed", &sender, mixed.as_bytes(), "550 5.7.1", "encrypt");
    let pgp = format!(
        "From: {sender}\nMIME-Version: 1.0\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n--b--\n"
    );
    refused("OpenPGP", &sender, pgp.as_bytes(), "550 5.7.1", "s/mime");
    let other = up.lab.members[1].cert.display().to_string();
    let astray = encrypt(&up.lab, &sender, "for another key", &["-aes256", "-recip", &other]);
    refused("not for the group", &sender, &astray, "550 5.7.5", "certificate");
    refused("weak cipher", &sender, &encrypt(&up.lab, &sender, "x", &["-des3"]), "550 5.7.6", "-aes256");
    let mut cut = cms_of(&good);
    cut.truncate(cut.len() - 40);
    refused("cut off", &sender, &wrap(&sender, &up.lab.list, &cut), "550 5.6.0", "");
    let mut long = cms_of(&good);
    long.extend_from_slice(b"more");
    refused("octets after the end", &sender, &wrap(&sender, &up.lab.list, &long), "550 5.6.0", "");
    let signed = pipe(
        Command::new("openssl")
            .args(["cms", "-sign", "-nodetach", "-from", &sender, "-to", &up.lab.list, "-subject", "s", "-signer"])
            .arg(&up.lab.members[0].cert)
            .arg("-inkey")
            .arg(&up.lab.members[0].key),
        &entity("signed only"),
    );
    refused("signed, not encrypted", &sender, &signed.stdout, "550 5.7.1", "encrypt");
    let quoted = String::from_utf8_lossy(&good)
        .replace("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable");
    refused("not base64", &sender, quoted.as_bytes(), "550 5.6.1", "base64");
    let twice = format!("From: {sender}\n{}", String::from_utf8_lossy(&good));
    refused("two From fields", &sender, twice.as_bytes(), "550 5.6.0", "from");
    let again = format!("List-Id: <team.lists.test>\n{}", String::from_utf8_lossy(&good));
    refused("loop", &sender, again.as_bytes(), "554 5.4.6", "loop");
    assert!(up.post(&sender, &good).starts_with("250"), "and the good one is taken");
    up.wait_copies(&sender, 1);
    up.drained();
    assert_eq!(up.sink().delivered, 2, "nothing that was refused went out");
}

fn replace(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(message).replace(from, to).into_bytes()
}

fn wrap(from: &str, to: &str, cms: &[u8]) -> Vec<u8> {
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, cms);
    let lines: Vec<&str> = body.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!(
        "From: {from}\nTo: {to}\nSubject: s\nMIME-Version: 1.0\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\
         Content-Transfer-Encoding: base64\n\n{}\n",
        lines.join("\n")
    )
    .into_bytes()
}
