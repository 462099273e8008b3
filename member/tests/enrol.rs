//! Enrolment, joining and export against a small TLS server that answers as certsrv does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Ca, Wish, openssl, text, twinseal};
use openssl::ssl::SslVerifyMode;
use openssl::x509::{X509, X509Req};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use twinseal::identity::KeyType;

const EST: &str = "/.well-known/est/smime";

/// What the server saw of a request.
#[derive(Clone, Default)]
struct Asked {
    line: String,
    authorization: String,
    client: Option<String>,
    body: Vec<u8>,
}

type Answer = Box<dyn Fn(&Asked) -> (u16, Vec<u8>) + Send>;

/// Serves until the test ends; every request is kept.
fn serve(ca: &Ca, answer: Answer) -> (String, Arc<Mutex<Vec<Asked>>>) {
    let mut builder = ca.acceptor();
    builder.cert_store_mut().add_cert(ca.root.clone()).unwrap();
    builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    let acceptor = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = log.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = acceptor.accept(stream.unwrap()) else { continue };
            let client = stream.ssl().peer_certificate().map(|found| twinseal::trust::name(&found));
            let mut reader = BufReader::new(stream);
            let mut asked = Asked { client, ..Asked::default() };
            reader.read_line(&mut asked.line).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                match name {
                    "Content-Length" => length = value.parse().unwrap(),
                    "Authorization" => asked.authorization = value.to_owned(),
                    _ => {}
                }
            }
            asked.body = vec![0; length];
            reader.read_exact(&mut asked.body).unwrap();
            let (status, body) = answer(&asked);
            kept.lock().unwrap().push(asked);
            let head = format!("HTTP/1.1 {status} x\r\nRetry-After: 60\r\nContent-Length: {}\r\n\r\n", body.len());
            let stream = reader.get_mut();
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
            let _ = stream.shutdown();
        }
    });
    (url, log)
}

/// A certs-only PKCS #7, in base64 with line ends.
fn certs_only(ca: &Ca, name: &str, certificates: &[&X509]) -> Vec<u8> {
    let path = ca.path(name);
    std::fs::write(&path, certificates.iter().flat_map(|found| found.to_pem().unwrap()).collect::<Vec<u8>>()).unwrap();
    let der = openssl(&["crl2pkcs7", "-nocrl", "-outform", "DER", "-certfile", &path.display().to_string()], b"");
    STANDARD.encode(der).as_bytes().chunks(64).flat_map(|line| [line, b"\r\n"].concat()).collect()
}

#[test]
fn enrolment_survives_refusals_and_keeps_its_key() {
    let ca = Arc::new(Ca::new());
    let root = ca.root_file();
    let (dir, token, password) = (ca.path("home"), ca.path("token"), ca.path("password"));
    std::fs::write(&token, "t0ken\n").unwrap();
    std::fs::write(&password, "pa ss\n").unwrap();
    let state = Arc::new(Mutex::new(0_u32));
    let (server_ca, server_state) = (ca.clone(), state.clone());
    let (url, log) = serve(
        &ca,
        Box::new(move |asked| {
            if asked.line.starts_with(&format!("GET {EST}/cacerts ")) {
                return (200, certs_only(&server_ca, "cacerts", &[&server_ca.root, &server_ca.sub]));
            }
            assert!(asked.line.starts_with(&format!("POST {EST}/simpleenroll ")), "{}", asked.line);
            let request = X509Req::from_der(&STANDARD.decode(&asked.body).unwrap()).unwrap();
            let key = request.public_key().unwrap();
            assert!(request.verify(&key).unwrap());
            *server_state.lock().unwrap() += 1;
            match *server_state.lock().unwrap() {
            1 => (401, br#"{"type":"not-authenticated","title":"Who are you?","status":401,"detail":"that token is used up"}"#.to_vec()),
            2 => (202, Vec::new()),
            3 => {
                // A certificate of somebody else's key.
                let other = Wish::new("ann@members.test", KeyType::P256);
                (200, certs_only(&server_ca, "other", &[&server_ca.issue(&other)]))
            }
            _ => {
                // openssl signs for the key in the request.
                let wish = Wish::new("ann@members.test", KeyType::P256);
                let (pem, secret) = server_ca.files("sub", &server_ca.sub, server_ca.sub_key());
                let (csr, ext) = (server_ca.path("csr"), server_ca.path("ext"));
                std::fs::write(&csr, request.to_pem().unwrap()).unwrap();
                std::fs::write(&ext, format!("subjectAltName=email:{}\nkeyUsage=critical,digitalSignature,keyAgreement\n", wish.address)).unwrap();
                let made = openssl(&["x509", "-req", "-in", csr.to_str().unwrap(), "-CA", &pem, "-CAkey", &secret, "-set_serial", "9",
                                     "-days", "9", "-extfile", ext.to_str().unwrap()], b"");
                (200, certs_only(&server_ca, "made", &[&X509::from_pem(&made).unwrap()]))
            }
        }
        }),
    );
    let enroll = |credential: [&str; 2]| {
        let arguments = [
            "enroll",
            "ann@members.test",
            "--certsrv",
            &url,
            "--root",
            &root,
            "--key-type",
            "p256",
            "--submission",
            "127.0.0.1:25",
            "--submission-tls",
            "none",
            credential[0],
            credential[1],
        ];
        let output = twinseal(&dir, &arguments, b"");
        (output.status.code().unwrap(), text(&output.stderr), std::fs::read(dir.join("key.pem")).unwrap_or_default())
    };
    let by_token = ["--token-file", token.to_str().unwrap()];
    let (code, message, key) = enroll(by_token);
    assert!(code == 77 && message.contains("that token is used up"), "{message}");
    assert!(!key.is_empty());
    assert!(text(&twinseal(&dir, &["status"], b"").stdout).contains("enrolment is not finished"));
    assert_eq!(enroll(by_token).0, 75);
    let (code, message, _) = enroll(by_token);
    assert!(code == 69 && message.contains("no certificate for ann@members.test"), "{message}");
    let (code, message, after) = enroll(["--password-file", password.to_str().unwrap()]);
    assert_eq!(code, 0, "{message}");
    assert_eq!(after, key);
    let (code, message, _) = enroll(by_token);
    assert!(code == 78 && message.contains("has a certificate already"), "{message}");

    let seen: Vec<String> =
        log.lock().unwrap().iter().map(|asked| asked.authorization.clone()).filter(|field| !field.is_empty()).collect();
    assert_eq!(
        seen,
        [
            "Bearer t0ken",
            "Bearer t0ken",
            "Bearer t0ken",
            &format!("Basic {}", STANDARD.encode("ann@members.test:pa ss"))
        ]
    );
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.join(name)).unwrap().permissions()) & 0o777
    };
    assert_eq!((mode("key.pem"), mode("home.toml"), mode("")), (0o600, 0o600, 0o700));
    assert_eq!(X509::stack_from_pem(&std::fs::read(dir.join("cert.pem")).unwrap()).unwrap().len(), 2);
    let status: serde_json::Value = serde_json::from_slice(&twinseal(&dir, &["status", "--json"], b"").stdout).unwrap();
    assert_eq!(
        (status["address"].as_str(), status["certificate"]["live"].as_bool()),
        (Some("ann@members.test"), Some(true))
    );
}

#[test]
fn a_server_that_is_not_under_the_root_learns_nothing() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (root, token) = (other.root_file(), ca.path("token"));
    std::fs::write(&token, "t0ken").unwrap();
    let (url, log) = serve(&ca, Box::new(|_| (200, Vec::new())));
    let arguments =
        ["enroll", "ann@members.test", "--certsrv", &url, "--root", &root, "--token-file", token.to_str().unwrap()];
    let output = twinseal(&ca.path("home"), &arguments, b"");
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("its certificate is not believed"), "{}", text(&output.stderr));
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn joining_shows_the_certificate_and_keeps_the_lists() {
    let ca = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let list = ca.issue(&Wish::new("team@lists.test", KeyType::P256));
    let wrong = ca.issue(&Wish::new("evil@lists.test", KeyType::P256));
    let pem = |found: &X509| text(&found.to_pem().unwrap());
    let (live, chain, swapped) = (pem(&list), [pem(&ca.sub), pem(&ca.root)], pem(&wrong));
    let (url, log) = serve(
        &ca,
        Box::new(move |asked| {
            let name = |address: &str| {
                serde_json::from_slice::<serde_json::Value>(&asked.body).unwrap() == json!({ "list": address })
            };
            let answer = |member: bool| {
                (
                    200,
                    json!({"list": "team@lists.test", "address": "ann@members.test", "member": member})
                        .to_string()
                        .into_bytes(),
                )
            };
            match asked.line.split(' ').nth(1).unwrap() {
                "/v1/groups/join" => answer(true),
                "/v1/groups/leave" => answer(false),
                "/v1/groups/certificates" if name("team@lists.test") => {
                    (200, json!({"live": [live], "chain": chain}).to_string().into_bytes())
                }
                "/v1/groups/certificates" if name("swap@lists.test") => {
                    (200, json!({"live": [swapped], "chain": chain}).to_string().into_bytes())
                }
                _ => {
                    (404, br#"{"type":"not-found","title":"Not found","status":404,"detail":"no such list"}"#.to_vec())
                }
            }
        }),
    );
    let mut settings = home.settings().unwrap();
    settings.certsrv = url;
    home.save_settings(&settings).unwrap();

    let output = twinseal(&dir, &["join", "Team@lists.test"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&twinseal::trust::fingerprint(&list).to_string()));
    let clients: Vec<Option<String>> = log.lock().unwrap().iter().map(|asked| asked.client.clone()).collect();
    assert_eq!(clients, [Some("ann@members.test".to_owned()), None]);
    assert!(text(&twinseal(&dir, &["status"], b"").stdout).contains("team@lists.test: good until"));
    let sent = twinseal(&dir, &["send", "--stdout", "team@lists.test"], b"hi\n");
    assert!(sent.status.success() && log.lock().unwrap().len() == 2);
    // A list that is not known yet is asked for; one that does not exist, or whose certificate is another's, is refused.
    std::fs::remove_file(home.lists().join("team@lists.test.pem")).unwrap();
    assert!(twinseal(&dir, &["send", "--stdout", "team@lists.test"], b"hi\n").status.success());
    let unknown = twinseal(&dir, &["send", "--stdout", "nobody@lists.test"], b"hi\n");
    assert_eq!(unknown.status.code(), Some(67), "{}", text(&unknown.stderr));
    assert!(text(&unknown.stderr).contains("nobody@lists.test is no list"));
    let swapped = twinseal(&dir, &["send", "--stdout", "swap@lists.test"], b"hi\n");
    assert_eq!(swapped.status.code(), Some(65), "{}", text(&swapped.stderr));
    assert!(text(&swapped.stderr).contains("it is for evil@lists.test"));
    let left: serde_json::Value =
        serde_json::from_slice(&twinseal(&dir, &["leave", "team@lists.test", "--json"], b"").stdout).unwrap();
    assert_eq!(left["member"].as_bool(), Some(false));
}

#[test]
fn the_export_opens_without_the_legacy_provider() {
    for key_type in [KeyType::Rsa2048, KeyType::P256] {
        let ca = Ca::new();
        let (_, dir) = ca.home(Wish::new("ann@members.test", key_type));
        let (file, password) = (ca.path("out.p12"), ca.path("password"));
        std::fs::write(&password, "p\u{e4}ss\n").unwrap();
        let arguments = ["export", "--p12", file.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
        let output = twinseal(&dir, &arguments, b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let passin = format!("file:{}", password.display());
        let shown = text(&openssl(&["pkcs12", "-in", file.to_str().unwrap(), "-passin", &passin, "-nodes"], b""));
        assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 3);
        assert!(shown.contains("BEGIN PRIVATE KEY") && shown.contains("friendlyName: ann@members.test"));
    }
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let ca = Ca::new();
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    std::fs::set_permissions(home.key(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let output = twinseal(&dir, &["read"], b"From: a@x\n\n");
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("try: chmod 600"));
    assert_eq!(twinseal(&dir, &["send", "--bogus"], b"").status.code(), Some(64));
    assert!(text(&twinseal(&dir, &["--help"], b"").stdout).contains("Exit codes:"));
}
