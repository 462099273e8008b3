//! What the mutations begin with.

use std::path::Path;

/// The CMS vectors: every file below tests/vectors, as octets.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut found = Vec::new();
    for folder in ["wellformed", "malformed"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            found.push(octets(&text));
        }
    }
    assert!(found.len() > 50, "the vectors are missing");
    found
}

/// The body of a vector file: hexadecimal or base64, comments after `#`.
fn octets(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or(("", text));
    let body: String = body.lines().map(|l| l.split('#').next().unwrap()).flat_map(str::split_whitespace).collect();
    if head.contains("encoding: hex") {
        let digits: Vec<u8> = body.bytes().filter_map(|b| u8::try_from(char::from(b).to_digit(16)?).ok()).collect();
        return digits.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d)).collect();
    }
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap_or_default()
}

pub(crate) fn recipient_infos() -> Vec<Vec<u8>> {
    let limits = twinseal_proto::cms::frame::Limits::default();
    let scanned = |m: &Vec<u8>| twinseal_proto::cms::frame::scan(m.as_slice(), &limits).ok();
    let found: Vec<_> = messages().iter().filter_map(scanned).flat_map(|frame| frame.recipient_infos).collect();
    assert!(found.len() > 20);
    found
}

pub(crate) fn sessions() -> Vec<Vec<u8>> {
    [
        "EHLO a.test\r\nMAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<team@lists.test>\r\nDATA\r\nSubject: x\r\n\r\n..dots\r\n.\r\nQUIT\r\n",
        "HELO [127.0.0.1]\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nRSET\r\nVRFY x\r\nEXPN y\r\nNOOP\r\nHELP\r\n",
        "EHLO x\r\nMAIL FROM:<\"a b\"@[IPv6:::1]>\r\nRCPT TO:<@a,@b:team@lists.test>\r\nDATA\r\n.\r\n",
        "ehlo x\r\nmail from:<a@b>\r\nrcpt to:<a@b>\r\ndata\r\nx\n.\ny\r.\r\r\n.\r\n",
        "\r\n\0\r\nSTARTTLS\r\nAUTH PLAIN AAA\r\nBDAT 10 LAST\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

pub(crate) fn mails() -> Vec<Vec<u8>> {
    let message = &messages()[0];
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message);
    [
        format!(
            "From: \"A (b) c\" <m1@members.test>\r\nTo: team@lists.test\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <x@y>\r\n\
             MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
        ),
        format!("From: a@b\r\nContent-Type: application/octet-stream; name*0=smi; name*1=me.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}"),
        "From: =?utf-8?q?=41?= <a@b>, c@d\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n\r\ny\r\n--x--\r\n".to_owned(),
        "Received: a\r\nReceived: b\r\nList-Id: <team.lists.test>\r\nX-Loop: team@lists.test\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n".to_owned(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

pub(crate) fn calls() -> Vec<Vec<u8>> {
    [
        r#"{"after":17,"wait":20}"#,
        r#"{"group":"00112233445566778899aabbccddeeff","recipient_info":"MAA=","content_algorithm":"aes-256-cbc","handles":["00112233445566778899aabbccddeeff"]}"#,
        r#"{"feed":"00112233445566778899aabbccddeeff","generation":1,"sequence":1,"previous":"00","issued":1}"#,
        r#"{"kind":"member-joined","group":"00112233445566778899aabbccddeeff","handle":"00","number":1,"address":"a@b"}"#,
        r#"{"kind":"removal","group":"00112233445566778899aabbccddeeff","handle":"00112233445566778899aabbccddeeff","sequence":7}"#,
        r#"{"kind":"head","group":"00112233445566778899aabbccddeeff","sequence":7,"digest":"00","issued":1}"#,
        "\"Team.One@Lists.Test\"",
        "MAIL FROM:<a@b>",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
