//! Enrolment by stock clients: `curl` and `openssl req`, nothing of ours. And the steps of it at which certsrv may die.

use crate::support::{Up, encrypt, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place for the files of one account, with a password.
pub(crate) struct Person {
    address: String,
    password: String,
    dir: PathBuf,
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The certificate in a certs-only answer, in PEM.
    fn certificate(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        assert!(self.head.contains("content-type: application/pkcs7-mime; smime-type=certs-only"), "{}", self.head);
        certificates(&self.body)
    }
}

/// `openssl pkcs7 -print_certs` of a base64 answer.
fn certificates(body: &str) -> String {
    let pem = format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", body.trim());
    openssl(&["pkcs7", "-print_certs"], pem.as_bytes())
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let output = pipe(Command::new("openssl").args(arguments), input);
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Person {
    /// Makes the account, where it is not there.
    pub(crate) fn new(up: &Up, address: &str) -> Self {
        let dir = up.dir.join(format!("stock-{address}"));
        std::fs::create_dir_all(&dir).unwrap();
        let (password, file) = ("correct horse".to_owned(), dir.join("password"));
        std::fs::write(&file, &password).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        up.bin_briefly("certsrv", &["account", "add", address, "--password-file", file.to_str().unwrap()]);
        Self { address: address.to_owned(), password, dir }
    }

    /// A member of the lab, with its own certificate and key.
    fn member(up: &Up, index: usize) -> Self {
        let member = &up.lab.members[index];
        let dir = up.dir.join(format!("stock-{}", member.address));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(&member.cert, dir.join("own.pem")).unwrap();
        std::fs::copy(&member.key, dir.join("own.key")).unwrap();
        Self { address: member.address.clone(), password: member.password.clone().unwrap(), dir }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// `openssl req`: a request in base64 for the key in `NAME.key`, which is made unless it is there.
    fn request(&self, name: &str, options: &[&str]) -> String {
        let key = self.file(&format!("{name}.key"));
        if !Path::new(&key).exists() {
            openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key], b"");
        }
        let subject = format!("/CN={}", self.address);
        let mut all = vec!["req", "-new", "-key", &key, "-subj", &subject];
        let names = format!("subjectAltName=email:{}", self.address);
        all.extend(if options.is_empty() { vec!["-addext", &names] } else { options.to_vec() });
        let pem = openssl(&all, b"");
        pem.lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().join("\n")
    }

    /// `curl` with name and password.
    fn by_password(&self, up: &Up, path: &str, body: Option<&str>) -> Answer {
        let user = format!("{}:{}", self.address, self.password);
        self.curl(up, path, body, &["--user", &user])
    }

    /// `curl` with the certificate in `NAME.pem`.
    fn by_certificate(&self, up: &Up, name: &str, path: &str, body: Option<&str>) -> Answer {
        let (pem, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        self.curl(up, path, body, &["--cert", &pem, "--key", &key])
    }

    fn curl(&self, up: &Up, path: &str, body: Option<&str>, options: &[&str]) -> Answer {
        let (head, url) = (self.file("head"), format!("{}{path}", up.lab.certsrv));
        let _ = std::fs::remove_file(&head);
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--dump-header", &head, "--cacert"]);
        command.arg(&up.lab.ca).args(options).arg(&url);
        if body.is_some() {
            command.args(["--header", "Content-Type: application/pkcs10", "--data-binary", "@-"]);
        }
        let output = pipe(&mut command, body.unwrap_or_default().as_bytes());
        let head = std::fs::read_to_string(&head).unwrap_or_default().to_lowercase();
        let status = head.lines().next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_default();
        Answer { status, head, body: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// Keeps a certificate as `NAME.pem`.
    fn keep(&self, name: &str, pem: &str) {
        std::fs::write(self.dir.join(format!("{name}.pem")), pem).unwrap();
    }
}

fn est(operation: &str) -> String {
    format!("/.well-known/est/smime/{operation}")
}

fn sequence(up: &Up) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&up.run("certsrv", &["--json", "status"])).unwrap();
    status["feed_sequence"].as_u64().unwrap()
}

/// Serial number that copies for this member are made for.
fn serial(up: &Up, address: &str) -> String {
    let listed: serde_json::Value =
        serde_json::from_str(&up.run("certsrv", &["--json", "member", "list", &up.lab.list])).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["address"] == address).unwrap();
    row["serial"].as_str().unwrap().to_owned()
}

fn group(up: &Up) -> String {
    let listed: serde_json::Value = serde_json::from_str(&up.run("certsrv", &["--json", "group", "list"])).unwrap();
    listed[0]["group"].as_str().unwrap().to_owned()
}

#[test]
fn a_stock_client_enrols_renews_and_takes_another_key() {
    let up = Up::new(&["--members", "1"]);
    let ann = Person::new(&up, "ann@members.test");
    let issuers = certificates(&ann.curl(&up, &est("cacerts"), None, &[]).body);
    assert_eq!(issuers.matches("BEGIN CERTIFICATE").count(), 2);
    ann.keep("issuers", &issuers);
    let enrolled = ann.by_password(&up, &est("simpleenroll"), Some(&ann.request("one", &[]))).certificate();
    ann.keep("one", &enrolled);
    let verify = |pem: &str| {
        let (ca, issuers) = (up.lab.ca.display().to_string(), ann.file("issuers.pem"));
        openssl(
            &["verify", "-x509_strict", "-purpose", "smimesign", "-CAfile", &ca, "-untrusted", &issuers],
            pem.as_bytes(),
        )
    };
    verify(&enrolled);
    assert!(openssl(&["x509", "-noout", "-ext", "subjectAltName"], enrolled.as_bytes()).contains("ann@members.test"));

    let public = |pem: &str| openssl(&["x509", "-noout", "-pubkey"], pem.as_bytes());
    let same = ann.by_certificate(&up, "one", &est("simplereenroll"), Some(&ann.request("one", &[]))).certificate();
    assert!(public(&same) == public(&enrolled) && same != enrolled);
    let renamed = ["-addext", "subjectAltName=email:eve@members.test"];
    let refused = ann.by_certificate(&up, "one", &est("simplereenroll"), Some(&ann.request("two", &renamed)));
    assert_eq!(refused.status, 403, "{}", refused.body);
    let other = ann.by_certificate(&up, "one", &est("simplereenroll"), Some(&ann.request("two", &[]))).certificate();
    ann.keep("two", &other);
    verify(&other);
    assert_ne!(public(&other), public(&enrolled));
    let back = ann.by_certificate(&up, "one", &est("simplereenroll"), Some(&ann.request("one", &[])));
    assert_eq!(back.status, 401, "{}", back.body);
    assert!(back.head.contains("www-authenticate: basic"), "{}", back.head);
    ann.by_certificate(&up, "two", &est("simplereenroll"), Some(&ann.request("two", &[]))).certificate();
}

#[test]
fn attributes_are_told_and_unknown_labels_are_not_found() {
    let up = Up::new(&["--members", "1"]);
    let m1 = Person::member(&up, 0);
    let parsed = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.head.contains("content-type: application/csrattrs"), "{}", answer.head);
        let der = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            answer.body.split_whitespace().collect::<String>(),
        );
        openssl(&["asn1parse", "-inform", "DER"], &der.unwrap())
    };
    let anybody = parsed(&m1.curl(&up, &est("csrattrs"), None, &[]));
    for wanted in ["rsaEncryption", "1.2.840.113549.1.9.16.2.61", "1.2.840.113549.1.9.16.2.62", "commonName"] {
        assert!(anybody.contains(wanted), "{wanted} in {anybody}");
    }
    assert!(anybody.contains("X509v3 Subject Alternative Name") && !anybody.contains("Extension Request"), "{anybody}");
    let own = parsed(&m1.by_password(&up, &est("csrattrs"), None));
    let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "x");
    assert!(own.contains("Extension Request") && !value.is_empty(), "{own}");
    let hex: String = m1.address.bytes().map(|octet| format!("{octet:02X}")).collect();
    assert_eq!(own.matches(&hex).count(), 2, "the very name, in both forms: {own}");

    for (path, status) in [
        ("/.well-known/est/nothing/cacerts".to_owned(), 404),
        ("/.well-known/est/nothing/csrattrs".to_owned(), 404),
        (format!("/.well-known/est/member-{}/csrattrs", group(&up)), 204),
    ] {
        assert_eq!(m1.curl(&up, &path, None, &[]).status, status, "{path}");
    }
    let asked = m1.curl(&up, &est("simpleenroll"), Some(&m1.request("other", &[])), &[]);
    assert_eq!(asked.status, 401);
    assert!(asked.head.contains("www-authenticate: basic"), "{}", asked.head);
}

#[test]
fn another_key_by_a_password_waits_and_copies_go_on() {
    let up = Up::new(&["--members", "2", "--member-alg", "p256"]);
    let m1 = Person::member(&up, 0);
    let (before, feed) = (serial(&up, &m1.address), sequence(&up));
    let request = m1.request("other", &[]);
    let waiting = m1.by_password(&up, &est("simpleenroll"), Some(&request));
    assert_eq!(waiting.status, 202, "{}", waiting.body);
    assert!(waiting.head.contains("retry-after: 300"), "{}", waiting.head);
    assert_eq!(sequence(&up), feed + 1, "the request alone");
    let token = up.run("certsrv", &["account", "token", &m1.address]);
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let waiting = m1.curl(&up, &est("simpleenroll"), Some(&request), &["--header", &bearer]);
    assert_eq!(waiting.status, 202, "{}", waiting.body);
    assert_eq!(serial(&up, &m1.address), before, "nothing changed");
    let mail = encrypt(&up.lab, &m1.address, "To the live key.", &["-aes256"]);
    assert!(up.post(&m1.address, &mail).starts_with("250"));
    let copy = up.wait_copies(&m1.address, 1).remove(0);
    assert_eq!(crate::support::decrypt(&up.lab.members[0], &copy).unwrap(), "To the live key.");
    // The holder needs nobody.
    m1.by_certificate(&up, "own", &est("simplereenroll"), Some(&m1.request("other", &[]))).certificate();
    assert_ne!(serial(&up, &m1.address), before);
}

#[test]
fn what_is_malformed_weak_or_anothers_changes_nothing() {
    let up = Up::new(&["--members", "2", "--member-alg", "p256"]);
    let ann = Person::new(&up, "ann@members.test");
    let m2 = Person::member(&up, 1);
    let key = |name: &str, options: &[&str]| {
        let file = ann.file(&format!("{name}.key"));
        openssl(&[&["genpkey", "-out", &file], options].concat(), b"");
    };
    key("weak", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    key("three", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"]);
    key("p224", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"]);
    key("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    key("edwards", &["-algorithm", "ED25519"]);
    std::fs::copy(m2.file("own.key"), ann.file("theirs.key")).unwrap();
    let good = ann.request("good", &[]);
    let mut forged: Vec<char> = good.chars().collect();
    let last = forged.iter().rposition(|c| c.is_ascii_alphanumeric()).unwrap() - 8;
    forged[last] = if forged[last] == 'A' { 'B' } else { 'A' };
    let extra = ["-addext", "subjectAltName=email:ann@members.test,email:eve@members.test"];
    let feed = sequence(&up);
    for (what, body, status) in [
        ("not base64", "no, not base64".to_owned(), 400),
        ("no request", "cnViYmlzaA==".to_owned(), 400),
        ("cut", good[..good.len() / 2 / 4 * 4].to_owned(), 400),
        ("forged", forged.into_iter().collect(), 400),
        ("no name", ann.request("good", &["-addext", "keyUsage=digitalSignature"]), 400),
        ("another name too", ann.request("good", &extra), 403),
        ("a URI", ann.request("good", &["-addext", "subjectAltName=URI:urn:x"]), 400),
        ("RSA-1024", ann.request("weak", &[]), 400),
        ("e = 3", ann.request("three", &[]), 400),
        ("P-224", ann.request("p224", &[]), 400),
        ("P-521", ann.request("p521", &[]), 400),
        ("Ed25519", ann.request("edwards", &[]), 400),
        ("another member's key", ann.request("theirs", &[]), 409),
    ] {
        let answer = ann.by_password(&up, &est("simpleenroll"), Some(&body));
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert!(answer.head.contains("application/problem+json"), "{what}: {}", answer.head);
    }
    assert_eq!(sequence(&up), feed, "nothing changed");
    ann.by_password(&up, &est("simpleenroll"), Some(&good)).certificate();
}

#[test]
fn the_server_makes_a_key_pair_where_that_is_allowed() {
    let mut up = Up::new(&["--members", "1"]);
    let ann = Person::new(&up, "ann@members.test");
    let request = ann.request("placeholder", &[]);
    let refused = ann.by_password(&up, &est("serverkeygen"), Some(&request));
    assert_eq!(refused.status, 404, "{}", refused.body);
    assert!(refused.body.contains("server_keygen"), "{}", refused.body);
    allow_keygen(&up);
    up.restart("certsrv");
    let made = ann.by_password(&up, &est("serverkeygen"), Some(&request));
    assert_eq!(made.status, 200, "{}", made.body);
    let (_, boundary) = made.head.split_once("multipart/mixed; boundary=").unwrap();
    let boundary = boundary.lines().next().unwrap();
    let parts: Vec<&str> = made.body.split(&format!("--{boundary}")).collect();
    let content = |part: &str| part.split_once("\r\n\r\n").unwrap().1.trim().to_owned();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", content(parts[1]));
    let public = openssl(&["pkey", "-pubout"], key.as_bytes());
    assert_eq!(openssl(&["x509", "-noout", "-pubkey"], certificates(&content(parts[2])).as_bytes()), public);
    // Nothing of it was kept.
    let secret: String = content(parts[1]).split_whitespace().collect();
    let kept = Command::new("grep").args(["-rqF", &secret[40..80]]).arg(&up.lab.state.certsrv).status().unwrap();
    assert!(!kept.success(), "the key is in certsrv's state");
}

#[test]
fn a_member_gets_membership_certificates_and_renews_with_the_tool() {
    let up = Up::new(&["--members", "2", "--member-alg", "p256"]);
    let m1 = Person::member(&up, 0);
    let label = |pseudonym: &str| format!("/.well-known/est/member-{}{pseudonym}/simpleenroll", group(&up));
    let bare = ["-addext", "keyUsage=digitalSignature"];
    let own = m1.by_certificate(&up, "own", &label(""), Some(&m1.request("handle", &bare))).certificate();
    let hidden =
        m1.by_certificate(&up, "own", &label("-pseudonym"), Some(&m1.request("pseudonym", &bare))).certificate();
    for pem in [&own, &hidden] {
        let text = openssl(&["x509", "-noout", "-text"], pem.as_bytes());
        assert!(text.contains("urn:twinseal:member:") && !text.contains("members.test"), "{text}");
        assert!(text.contains("TLS Web Client Authentication"), "{text}");
    }
    let subject = |pem: &str| openssl(&["x509", "-noout", "-subject"], pem.as_bytes());
    assert_ne!(subject(&own), subject(&hidden));
    let refused = m1.by_password(&up, &label(""), Some(&m1.request("third", &bare)));
    assert_eq!(refused.status, 403, "{}", refused.body);

    let before = serial(&up, &m1.address);
    let renewed = up.twinseal(&up.lab.members[0], &["renew"], b"");
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    assert_ne!(serial(&up, &m1.address), before);
    let mail = encrypt(&up.lab, &m1.address, "After the renewal.", &["-aes256"]);
    assert!(up.post(&m1.address, &mail).starts_with("250"));
    let copy = up.wait_copies(&m1.address, 1).remove(0);
    let read = up.twinseal(&up.lab.members[0], &["read", "--accept-unsigned"], &std::fs::read(copy).unwrap());
    assert!(String::from_utf8_lossy(&read.stdout).contains("After the renewal."), "{read:?}");
}

#[test]
fn administrators_lock_unlock_and_end_accounts() {
    let up = Up::new(&["--members", "1"]);
    let ann = Person::new(&up, "ann@members.test");
    let request = ann.request("one", &[]);
    let status = |authorised: &Person| authorised.by_password(&up, &est("simpleenroll"), Some(&request)).status;
    let certsrv = |arguments: &[&str]| up.run("certsrv", arguments);
    certsrv(&["account", "lock", &ann.address]);
    assert_eq!(status(&ann), 401);
    certsrv(&["account", "unlock", &ann.address]);
    assert_eq!(status(&ann), 200);
    let shown = certsrv(&["account", "show", &ann.address]);
    assert!(shown.contains("secure") && shown.contains("both") && shown.contains("live"), "{shown}");
    let number = shown.lines().nth(1).unwrap().split('\t').next().unwrap().to_owned();
    certsrv(&["revoke", &number, "--reason", "keyCompromise", "--lock-account"]);
    assert_eq!(status(&ann), 401);
    assert!(certsrv(&["account", "list"]).contains("ann@members.test\tno certificate\tlocked"));
    certsrv(&["account", "unlock", &ann.address]);
    certsrv(&["account", "password", &ann.address]);
    assert_eq!(status(&ann), 401);
    certsrv(&["account", "remove", &ann.address]);
    assert!(!certsrv(&["account", "list"]).contains("ann@members.test"));
}

fn allow_keygen(up: &Up) {
    configure(up, "server_keygen", "true");
}

fn configure(up: &Up, name: &str, value: &str) {
    let config = up.dir.join("certsrv.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    if !text.contains(name) {
        std::fs::write(&config, format!("{name} = {value}\n{text}")).unwrap();
    }
}

/// What has to be so before certsrv starts, for the step to come.
pub(crate) fn prepare(up: &Up, point: &str) {
    if point.starts_with("certsrv.keygen.") {
        allow_keygen(up);
    }
    if point.starts_with("certsrv.import.") {
        let elsewhere = up.dir.join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        let file = |name: &str| elsewhere.join(name).display().to_string();
        if !elsewhere.join("root.pem").exists() {
            let (key, root) = (file("root.key"), file("root.pem"));
            let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
            let names = ["-subj", "/CN=Elsewhere", "-keyout", &key, "-out", &root, "-days", "9"];
            openssl(&[request.as_slice(), names.as_slice()].concat(), b"");
        }
        configure(up, "import_roots", &format!("{:?}", file("root.pem")));
    }
}

/// Makes certsrv pass a step of enrolment; false where the step is none of these.
pub(crate) fn provoke(up: &Up, step: &str) -> bool {
    match step {
        "certsrv.key-request" => {
            let m3 = Person::member(up, 2);
            m3.by_password(up, &est("simpleenroll"), Some(&m3.request("other", &[])));
        }
        "certsrv.membership" => {
            let m3 = Person::member(up, 2);
            let name = format!("membership-{}", std::fs::read_dir(&m3.dir).unwrap().count());
            let request = m3.request(&name, &["-addext", "keyUsage=digitalSignature"]);
            // The group's name is asked for on the admin socket, where a dead certsrv does not answer.
            let Some(group) = group_briefly(up) else { return true };
            m3.by_certificate(up, "own", &format!("/.well-known/est/member-{group}/simpleenroll"), Some(&request));
        }
        "certsrv.keygen" => {
            let carl = Person::new(up, "keygen@members.test");
            carl.by_password(up, &est("serverkeygen"), Some(&carl.request("placeholder", &[])));
        }
        "certsrv.import" => import(up),
        "certsrv.account" => {
            Person::new(up, "locked@members.test");
            for verb in ["lock", "unlock"] {
                up.bin_briefly("certsrv", &["account", verb, "locked@members.test"]);
            }
        }
        _ => return false,
    }
    true
}

fn group_briefly(up: &Up) -> Option<String> {
    let listed = up.bin_briefly("certsrv", &["--json", "group", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
    Some(listed[0]["group"].as_str()?.to_owned())
}

/// Brings a certificate of another CA, as far as certsrv lives.
fn import(up: &Up) {
    let dora = Person::new(up, "import@members.test");
    let elsewhere = up.dir.join("elsewhere");
    let file = |name: &str| elsewhere.join(name).display().to_string();
    let (der, pem) = (dora.file("brought.der"), dora.file("brought.pem"));
    if !Path::new(&der).exists() {
        dora.request("brought", &[]);
        let key = dora.file("brought.key");
        let (csr, extensions) = (dora.file("brought.csr"), dora.file("brought.ext"));
        openssl(&["req", "-new", "-key", &key, "-subj", "/CN=Dora", "-out", &csr], b"");
        let text = format!(
            "subjectAltName=email:{}\nkeyUsage=critical,digitalSignature,keyAgreement\nextendedKeyUsage=emailProtection\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
            dora.address
        );
        std::fs::write(&extensions, text).unwrap();
        let (root, secret) = (file("root.pem"), file("root.key"));
        let sign = ["x509", "-req", "-in", &csr, "-CA", &root, "-CAkey", &secret, "-days", "5", "-set_serial", "7"];
        openssl(&[sign.as_slice(), &["-extfile", &extensions, "-out", &pem]].concat(), b"");
        openssl(&["x509", "-in", &pem, "-outform", "DER", "-out", &der], b"");
    }
    let encode = |octets: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets);
    let chain = [encode(&std::fs::read(&der).unwrap())];
    let ask = serde_json::json!({ "chain": chain }).to_string();
    let answer = dora.by_password(up, "/v1/certificates/import", Some(&ask));
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(&answer.body) else { return };
    let Some(text) = answer["challenge"]["to_sign"].as_str() else { return };
    let (key, signed) = (dora.file("brought.key"), dora.file("signed"));
    let sign = ["cms", "-sign", "-binary", "-nodetach", "-signer", &pem, "-inkey", &key];
    openssl(&[sign.as_slice(), &["-outform", "DER", "-out", &signed]].concat(), text.as_bytes());
    let proof = serde_json::json!({
        "chain": chain,
        "proof": {
            "challenge": answer["challenge"]["name"],
            "answer": { "signed": encode(&std::fs::read(signed).unwrap()) }
        }
    });
    dora.by_password(up, "/v1/certificates/import", Some(&proof.to_string()));
}

/// `account show` of whoever enrolled at a step where certsrv died.
pub(crate) fn settled(up: &Up, point: &str) {
    let address = match point.rsplit_once('.').map_or(point, |(step, _)| step) {
        "certsrv.keygen" => "keygen@members.test",
        "certsrv.import" => "import@members.test",
        _ => return,
    };
    let shown: Output = up.bin("certsrv", &["account", "show", address]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("secure"), "{point}: {text}");
}
