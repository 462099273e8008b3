//! Revocation as stock tools see it: asked over OCSP, looked up in the CRL, at once and after a restart (P6).

use crate::support::Up;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use twinseal_tests::describe::Member;

/// Runs a stock tool; what it printed on both channels, and whether it was content.
fn tool(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("timeout").arg("20").arg(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a relying party has: root and issuer.
struct Relying<'a> {
    up: &'a Up,
    issuer: PathBuf,
    anchors: PathBuf,
}

impl<'a> Relying<'a> {
    fn new(up: &'a Up) -> Self {
        let (issuer, anchors) = (up.dir.join("issuer.pem"), up.dir.join("anchors.pem"));
        let base = up.lab.ocsp.strip_suffix("/ocsp/members").unwrap();
        let got = tool("curl", &["-sSf", "-o", text(&up.dir.join("issuer.cer")), &format!("{base}/ca/members.cer")]);
        assert!(got.0, "{}", got.1);
        let cer = up.dir.join("issuer.cer");
        let (done, said) = tool("openssl", &["x509", "-inform", "DER", "-in", text(&cer), "-out", text(&issuer)]);
        assert!(done, "{said}");
        std::fs::write(&anchors, [std::fs::read(&up.lab.ca).unwrap(), std::fs::read(&issuer).unwrap()].concat())
            .unwrap();
        Self { up, issuer, anchors }
    }

    /// `openssl ocsp` about a certificate; the answer was verified.
    fn ocsp(&self, certificate: &[&str], digest: &str) -> String {
        let mut arguments = vec!["ocsp", digest, "-issuer", text(&self.issuer)];
        arguments.extend(certificate);
        arguments.extend(["-url", &self.up.lab.ocsp, "-CAfile", text(&self.anchors), "-no_nonce"]);
        tool("openssl", &arguments).1
    }

    fn status(&self, member: &Member, digest: &str) -> String {
        let said = self.ocsp(&["-cert", text(&member.cert)], digest);
        assert!(said.contains("Response verify OK"), "{said}");
        said
    }

    /// The CRL that the certificates point at, as PEM.
    fn crl(&self) -> PathBuf {
        let (der, pem) = (self.up.dir.join("members.crl"), self.up.dir.join("members.crl.pem"));
        let (done, said) = tool("curl", &["-sSf", "-o", text(&der), &self.up.lab.crl]);
        assert!(done, "{said}");
        let (done, said) = tool("openssl", &["crl", "-inform", "DER", "-in", text(&der), "-out", text(&pem)]);
        assert!(done, "{said}");
        pem
    }

    /// `openssl verify` with the CRL; what it said.
    fn verify(&self, member: &Member) -> (bool, String) {
        let crl = self.crl();
        let arguments =
            ["verify", "-x509_strict", "-crl_check", "-CAfile", text(&self.anchors), "-CRLfile", text(&crl)];
        tool("openssl", &[&arguments[..], &[text(&member.cert)]].concat())
    }
}

/// The serial number of a member's certificate as `openssl x509 -serial` prints it.
fn serial(member: &Member) -> String {
    let (_, said) = tool("openssl", &["x509", "-noout", "-serial", "-in", text(&member.cert)]);
    said.trim().strip_prefix("serial=").unwrap().to_owned()
}

#[test]
fn a_revocation_is_seen_by_stock_tools_at_once_and_after_a_restart() {
    let mut up = Up::new(&["--members", "2", "--member-alg", "rsa2048,p256"]);
    let [one, two] = &up.lab.members.clone()[..] else { panic!("two members") };
    let certificate = tool("openssl", &["x509", "-noout", "-text", "-in", text(&one.cert)]).1;
    assert!(certificate.contains(&format!("OCSP - URI:{}", up.lab.ocsp)), "{certificate}");
    assert!(certificate.contains(&format!("URI:{}", up.lab.crl)), "{certificate}");

    let relying = Relying::new(&up);
    for member in [one, two] {
        for digest in ["-sha1", "-sha256"] {
            assert!(relying.status(member, digest).contains(": good"));
        }
        let (fine, said) = relying.verify(member);
        assert!(fine, "{said}");
    }
    for digest in ["-sha1", "-sha256"] {
        let said = relying.ocsp(&["-serial", "0x7fffffffffffffffffffffffffffffff"], digest);
        assert!(said.contains("unauthorized") && !said.contains("good"), "{said}");
    }

    let revoked = Instant::now();
    up.run("certsrv", &["revoke", &serial(one), "--reason", "keyCompromise"]);
    let said = relying.status(one, "-sha1");
    assert!(revoked.elapsed() < Duration::from_secs(5), "{:?}", revoked.elapsed());
    assert!(said.contains(": revoked") && said.contains("Reason: keyCompromise"), "{said}");
    drop(relying);
    for _ in 0..2 {
        let relying = Relying::new(&up);
        for digest in ["-sha1", "-sha256"] {
            let said = relying.status(one, digest);
            assert!(said.contains(": revoked") && said.contains("Reason: keyCompromise"), "{said}");
            assert!(relying.status(two, digest).contains(": good"));
        }
        let (fine, said) = relying.verify(one);
        assert!(!fine && said.contains("certificate revoked"), "{said}");
        let (fine, said) = relying.verify(two);
        assert!(fine, "{said}");
        drop(relying);
        up.restart("certsrv");
    }
}

#[test]
fn ocsp_by_get_and_the_lists_certificates_are_fetched_with_curl() {
    let up = Up::new(&["--members", "1"]);
    let relying = Relying::new(&up);
    let [request, answer] = ["request.der", "answer.der"].map(|name| up.dir.join(name));
    let member = &up.lab.members[0];
    let ask = ["ocsp", "-issuer", text(&relying.issuer), "-cert", text(&member.cert), "-no_nonce"];
    let (done, said) = tool("openssl", &[&ask[..], &["-reqout", text(&request)]].concat());
    assert!(done, "{said}");
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, std::fs::read(&request).unwrap());
    let escaped = base64.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    for path in [base64, escaped] {
        let (done, head) = tool("curl", &["-sSf", "-D", "-", "-o", text(&answer), &format!("{}/{path}", up.lab.ocsp)]);
        assert!(done, "{head}");
        let head = head.to_lowercase();
        for field in ["content-type: application/ocsp-response", "cache-control: max-age=", "etag: ", "expires: "] {
            assert!(head.contains(field), "{field}: {head}");
        }
        let read = ["-respin", text(&answer), "-CAfile", text(&relying.anchors)];
        let (_, said) = tool("openssl", &[&ask[..], &read].concat());
        assert!(said.contains("Response verify OK") && said.contains(": good"), "{said}");
    }
    let base = up.lab.ocsp.strip_suffix("/ocsp/members").unwrap();
    let p7c = up.dir.join("list.p7c");
    let (done, said) = tool("curl", &["-sSf", "-o", text(&p7c), &format!("{base}/lists/{}.p7c", up.lab.list)]);
    assert!(done, "{said}");
    let (done, said) = tool("openssl", &["pkcs7", "-inform", "DER", "-in", text(&p7c), "-print_certs"]);
    assert!(done && said.contains(&format!("CN = {}", up.lab.list)), "{said}");
    let pem = tool("curl", &["-sSf", &format!("{base}/lists/{}.pem", up.lab.list)]).1;
    let own = std::fs::read_to_string(&up.lab.group_cert).unwrap();
    assert!(pem.contains(own.trim()), "the same certificate as groupsrv has");
}
