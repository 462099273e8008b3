//! What the mutations begin with.

use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspRequest};
use openssl::x509::X509;
use std::path::Path;
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::cms::labels::SHA1;

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
        r#"{"after":17,"snapshot":"0000000000000000000000000000000000000000000000000000000000000000","page":3}"#,
        r#"{"snapshot":{"header":"{}","signature":"AAAA","salt":"AAAA","rotations":[{"header":"{}","signature":"AA==","next_signature":"AA=="}]},"pages":1,"text":"[1,null]"}"#,
        r#"{"entries":[{"header":"{\"sequence\":1}","signature":"AAAA","salt":"AAAA","body":"null","next_signature":"AAAA"}],"heartbeat":{"text":"{}","signature":"AAAA"}}"#,
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

/// Questions as OpenSSL asks them, with both hashes, about one certificate and about two, with and without a nonce.
pub(crate) fn ocsp_requests() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys");
    let certificate = |name: &str| X509::from_pem(&std::fs::read(root.join(name)).unwrap()).unwrap();
    let (one, two) = (certificate("p256.pem"), certificate("rsa2048.pem"));
    let mut found = Vec::new();
    for digest in [MessageDigest::sha1(), MessageDigest::sha256()] {
        for asked in [&[&one][..], &[&two, &one]] {
            let mut request = OcspRequest::new().unwrap();
            for certificate in asked {
                request.add_id(OcspCertId::from_cert(digest, certificate, &two).unwrap()).unwrap();
            }
            found.push(request.to_der().unwrap());
        }
    }
    let algorithm = der::sequence(&[&der::object_id(SHA1), der::NULL]);
    let hash = der::octet_string(&[1; 20]);
    let id = der::sequence(&[&algorithm, &hash, &hash, &der::small(7)]);
    // id-pkix-ocsp-nonce (RFC 9654).
    let nonce = der::object_id(Oid::new(b"\x2b\x06\x01\x05\x05\x07\x30\x01\x02"));
    let extension = der::sequence(&[&der::sequence(&[&nonce, &der::octet_string(&der::octet_string(&[2; 32]))])]);
    let extensions = der::tlv(Tag::context_constructed(2), &[&extension]);
    let list = der::sequence(&[&der::sequence(&[&id])]);
    found.push(der::sequence(&[&der::sequence(&[&list, &extensions])]));
    assert!(
        found.iter().all(|seed| twinseal_certsrv::revocation::request::read(seed).is_ok()),
        "seeds are well-formed"
    );
    found
}
