//! Revocation status as relying parties see it: OCSP, CRLs and certificates over plain HTTP.

use super::harness::{Running, config};
use crate::rows::Published;
use crate::tests::{csr, ec_key, rsa_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::ocsp::{
    OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus, OcspRevokedStatus,
};
use openssl::pkcs7::Pkcs7;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{CrlStatus, X509, X509Crl, X509Ref};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::Epoch;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit;
use twinseal_svc::store::{Batch, Store, Table};

const REQUEST: &str = "Content-Type: application/ocsp-request\r\n";

/// What came back: status, header section in lower case, body.
struct Got(u16, String, Vec<u8>);

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Running {
    /// A request to the plain HTTP listener.
    async fn http(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Got {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
            body.len()
        );
        let (address, octets) = (self.http.clone(), [head.as_bytes(), body].concat());
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&octets).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        Got(head[9..12].parse().unwrap(), head.to_ascii_lowercase(), answer[end + 4..].to_vec())
    }

    async fn get(&self, path: &str) -> Got {
        self.http("GET", path, "", b"").await
    }

    async fn ocsp(&self, ca: &str, request: &[u8]) -> Got {
        let got = self.http("POST", &format!("/ocsp/{ca}"), REQUEST, request).await;
        assert_eq!((got.0, got.field("content-type")), (200, Some("application/ocsp-response")));
        got
    }

    async fn status(&self, certificate: &X509Ref) -> Said {
        let id =
            || OcspCertId::from_cert(MessageDigest::sha1(), certificate, self.app.members_ca.certificate()).unwrap();
        self.read(&self.ocsp("members", &request(id())).await.2, &id())
    }

    /// What a verified answer says about the certificate.
    fn read(&self, der: &[u8], id: &OcspCertId) -> Said {
        let response = OcspResponse::from_der(der).unwrap();
        if response.status() != OcspResponseStatus::SUCCESSFUL {
            return Said::Refused(response.status());
        }
        let basic = response.basic().unwrap();
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.app.root.clone()).unwrap();
        let mut issuers = Stack::new().unwrap();
        issuers.push(self.app.members_ca.certificate().clone()).unwrap();
        issuers.push(self.app.services_ca.certificate().clone()).unwrap();
        basic.verify(&issuers, &store.build(), OcspFlag::empty()).unwrap();
        let status = basic.find_status(id).expect("the certificate that was asked about");
        status.check_validity(5, Some(5)).unwrap();
        match status.status {
            OcspCertStatus::GOOD => Said::Good,
            OcspCertStatus::REVOKED => Said::Revoked(status.reason, status.revocation_time.unwrap().to_string()),
            _ => panic!("neither good nor revoked"),
        }
    }

    async fn crl(&self, name: &str, issuer: &X509Ref) -> X509Crl {
        let got = self.get(&format!("/crl/{name}.crl")).await;
        assert_eq!((got.0, got.field("content-type")), (200, Some("application/pkix-crl")));
        let crl = X509Crl::from_der(&got.2).unwrap();
        assert!(crl.verify(&issuer.public_key().unwrap()).unwrap());
        crl
    }

    async fn revoke(&self, certificate: &X509Ref, reason: RevocationReason) {
        self.admin::<Revoke>(&RevokeRequest { serial: serial(certificate), reason }).await.unwrap();
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Good,
    Revoked(OcspRevokedStatus, String),
    Refused(OcspResponseStatus),
}

fn serial(certificate: &X509Ref) -> String {
    certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string()
}

fn request(id: OcspCertId) -> Vec<u8> {
    let mut request = OcspRequest::new().unwrap();
    request.add_id(id).unwrap();
    request.to_der().unwrap()
}

fn is_listed(crl: &X509Crl, certificate: &X509Ref) -> bool {
    matches!(crl.get_by_serial(certificate.serial_number()), CrlStatus::Revoked(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn ocsp_answers_every_form_of_question_and_never_good_about_a_stranger() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let ann = certsrv.account("ann", Some(&ec_key())).await.unwrap();
    let service = certsrv.join(ServiceRole::Exploder).await;
    let pin = certsrv.app.registry.view().pin(&service.pin).unwrap().unwrap();
    let row = certsrv.app.registry.view().certificate(&pin.serial).unwrap().unwrap();
    let service = X509::from_der(row.certificate.as_ref()).unwrap();
    let (members, services) =
        (certsrv.app.members_ca.certificate().to_owned(), certsrv.app.services_ca.certificate().to_owned());
    let stranger = crate::tests::self_signed("stranger");
    let unauthorized = || Said::Refused(OcspResponseStatus::UNAUTHORIZED);
    for digest in [MessageDigest::sha1, MessageDigest::sha256] {
        let table = [
            ("members", &ann, &members, Said::Good),
            ("services", &service, &services, Said::Good),
            // Another CA's question, an issuer that is not the certificate's, and numbers that were never given out.
            ("services", &ann, &members, unauthorized()),
            ("members", &service, &services, unauthorized()),
            ("members", &service, &members, unauthorized()),
            ("members", &ann, &certsrv.app.root, unauthorized()),
            ("members", &stranger, &members, unauthorized()),
            ("members", &members, &certsrv.app.root, unauthorized()),
        ];
        for (ca, certificate, issuer, wanted) in table {
            let id = || OcspCertId::from_cert(digest(), certificate, issuer).unwrap();
            let der = request(id());
            let got = certsrv.ocsp(ca, &der).await;
            assert!(got.field("cache-control").is_none(), "a POST is not kept");
            assert_eq!(certsrv.read(&got.2, &id()), wanted, "{ca} {:?}", certificate.subject_name());
            // The same by GET: as RFC 6960 appendix A.1 writes it, and as many clients do, with slashes as they are.
            let text = STANDARD.encode(&der);
            let escaped = text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
            for path in [format!("/ocsp/{ca}/{escaped}"), format!("/ocsp/{ca}/{text}")] {
                let got = certsrv.get(&path).await;
                assert_eq!((got.0, certsrv.read(&got.2, &id())), (200, wanted.clone()), "{path}");
                let kept = got.field("cache-control").is_some();
                assert_eq!(kept, wanted == Said::Good, "what is not signed is not kept");
            }
        }
    }
    let other = OcspCertId::from_cert(MessageDigest::sha512(), &ann, &members).unwrap();
    let got = certsrv.ocsp("members", &request(other)).await;
    assert_eq!(OcspResponse::from_der(&got.2).unwrap().status(), OcspResponseStatus::UNAUTHORIZED);

    for rubbish in [&b""[..], b"rubbish", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30; 4000]] {
        let got = certsrv.ocsp("members", rubbish).await;
        assert_eq!(OcspResponse::from_der(&got.2).unwrap().status(), OcspResponseStatus::MALFORMED_REQUEST);
    }
    let got = certsrv.get("/ocsp/members/!!!").await;
    assert_eq!(OcspResponse::from_der(&got.2).unwrap().status(), OcspResponseStatus::MALFORMED_REQUEST);
    assert_eq!(certsrv.http("POST", "/ocsp/members", REQUEST, &[0x30; 5000]).await.0, 413);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_shows_in_the_next_answer_and_the_next_crl_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = config(&dir).state;
    let mut certsrv = Running::new(&dir).await;
    let ann = certsrv.account("ann", Some(&rsa_key(2048))).await.unwrap();
    let bob = certsrv.account("bob", Some(&ec_key())).await.unwrap();
    let members = certsrv.app.members_ca.certificate().to_owned();
    assert_eq!(certsrv.status(&ann).await, Said::Good);
    let before = certsrv.crl("members", &members).await;
    assert!(!is_listed(&before, &ann));
    assert_eq!(certsrv.crl("members", &members).await.to_der().unwrap(), before.to_der().unwrap(), "not signed anew");

    let now = UnixTime::now();
    certsrv.revoke(&ann, RevocationReason::Superseded).await;
    let Said::Revoked(reason, at) = certsrv.status(&ann).await else { panic!("not revoked") };
    assert_eq!(reason, OcspRevokedStatus::STATUS_SUPERSEDED);
    let times: Vec<String> = (now.0..now.0 + 5).map(|t| Asn1Time::from_unix(t as i64).unwrap().to_string()).collect();
    assert!(times.contains(&at), "{at}");
    let after = certsrv.crl("members", &members).await;
    assert!(is_listed(&after, &ann) && !is_listed(&after, &bob));
    assert_eq!(certsrv.status(&bob).await, Said::Good);
    let services = certsrv.app.services_ca.certificate().to_owned();
    assert!(!is_listed(&certsrv.crl("services", &services).await, &ann), "each CA has its own list");

    // Worse news of the same certificate: another reason, the same date.
    certsrv.revoke(&ann, RevocationReason::KeyCompromise).await;
    let wanted = Said::Revoked(OcspRevokedStatus::KEY_COMPROMISE, at);
    assert_eq!(certsrv.status(&ann).await, wanted);
    let worse = certsrv.crl("members", &members).await;
    assert_ne!(worse.to_der().unwrap(), after.to_der().unwrap());
    certsrv.stop().await;

    // A restart; one with an index of an older version; one with index and list lost.
    for start in 0..3 {
        match start {
            0 => {}
            1 => age_index(&state.join("index")),
            _ => {
                for part in ["index", "crl"] {
                    std::fs::remove_dir_all(state.join(part)).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
        }
        certsrv = Running::start(&dir).await;
        assert_eq!(certsrv.status(&ann).await, wanted);
        assert_eq!(certsrv.status(&bob).await, Said::Good);
        assert!(is_listed(&certsrv.crl("members", &members).await, &ann));
        certsrv.stop().await;
    }
    let mut numbers = Vec::new();
    audit::each(&state.join("audit"), |text| {
        let record: serde_json::Value = serde_json::from_str(text).unwrap();
        if record["event"] == "signing-crl" && record["ca"] == "members" {
            numbers.push((record["number"].as_u64().unwrap(), record["revoked"].as_u64().unwrap()));
        }
    })
    .unwrap();
    assert_eq!(numbers.iter().map(|(_, revoked)| *revoked).collect::<Vec<_>>(), [0, 1, 1, 1], "each list, once");
    assert!(numbers.windows(2).all(|pair| pair[0].0 < pair[1].0), "{numbers:?}");
}

/// Makes the index what it was before revocations were kept in it.
fn age_index(path: &Path) {
    let store = Store::open(path).unwrap().store;
    let mut applied: serde_json::Value = store.get(Table(0), &[]).unwrap().unwrap();
    applied.as_object_mut().unwrap().remove("version").unwrap();
    let mut batch = Batch::default();
    batch.put(Table(0), &[], &applied).unwrap();
    for table in [Table(31), Table(32)] {
        let keys: Vec<(Vec<u8>, serde_json::Value)> = store.scan(table, &[]).collect::<Result<_, _>>().unwrap();
        assert!(!keys.is_empty());
        keys.iter().for_each(|(key, _)| batch.delete(table, key));
    }
    store.commit(batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_signed_before_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let ann = certsrv.account("ann", Some(&ec_key())).await.unwrap();
    let bob = certsrv.account("bob", Some(&ec_key())).await.unwrap();
    let publisher = tokio::spawn(crate::revocation::publish(std::sync::Arc::clone(&certsrv.app)));
    let id = |certificate: &X509| {
        let issuer = certsrv.app.members_ca.certificate();
        OcspCertId::from_cert(MessageDigest::sha256(), certificate, issuer).unwrap()
    };
    // Once an answer is there it stays the same one: its date is from before the question.
    let signed_at = async |certificate: &X509| {
        let path = format!("/ocsp/members/{}", STANDARD.encode(request(id(certificate))));
        let got = certsrv.get(&path).await;
        assert!(got.field("etag").is_some() && got.field("expires").is_some());
        got.field("last-modified").unwrap().to_owned()
    };
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let asked = crate::tests::now();
    for certificate in [&ann, &bob] {
        let at = openssl_time(&signed_at(certificate).await);
        assert!(at + 1 < asked.0, "{at} {asked:?}");
    }
    certsrv.revoke(&ann, RevocationReason::Unspecified).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let asked = crate::tests::now();
    let at = openssl_time(&signed_at(&ann).await);
    assert!(at + 1 < asked.0, "signed anew when it was revoked, not when it was asked for");
    assert!(matches!(certsrv.status(&ann).await, Said::Revoked(OcspRevokedStatus::NO_STATUS, _)));
    certsrv.stop().await;
    publisher.await.unwrap();
}

/// Seconds since 1970 of an HTTP date of this month, read by its parts.
fn openssl_time(text: &str) -> u64 {
    let parts: Vec<&str> = text.split([' ', ':', ',']).filter(|part| !part.is_empty()).collect();
    let number = |at: usize| parts[at].parse::<u64>().unwrap();
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let month = months.iter().position(|month| *month == parts[2]).unwrap() + 1;
    let text = format!("{:04}{month:02}{:02}{:02}{:02}{:02}Z", number(3), number(1), number(4), number(5), number(6));
    let span = Asn1Time::from_unix(0).unwrap().diff(&Asn1Time::from_str(&text).unwrap()).unwrap();
    u64::try_from(i64::from(span.days) * 86_400 + i64::from(span.secs)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_point_at_what_is_served_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let ann = certsrv.account("ann", Some(&ec_key())).await.unwrap();
    assert_eq!(ann.ocsp_responders().unwrap()[0].to_string(), "http://pki.test/ocsp/members");
    let (root, members) = (certsrv.app.root.clone(), certsrv.app.members_ca.certificate().to_owned());
    for (certificate, issuer, name) in [(&ann, &members, "members"), (&members, &root, "root")] {
        let points = certificate.crl_distribution_points().unwrap();
        let uri = points[0].distpoint().unwrap().fullname().unwrap()[0].uri().unwrap().to_owned();
        assert_eq!(uri, format!("http://pki.test/crl/{name}.crl"));
        assert!(!is_listed(&certsrv.crl(name, issuer).await, certificate));
        let got = certsrv.get(&format!("/ca/{name}.cer")).await;
        assert_eq!((got.0, got.field("content-type")), (200, Some("application/pkix-cert")));
        assert_eq!(got.2, issuer.to_der().unwrap());
    }
    assert!(members.ocsp_responders().is_err(), "the root's key is offline");
    assert!(certsrv.crl("root", &root).await.next_update().unwrap() >= members.not_after());
    let nothing = [
        "/",
        "/ocsp/root",
        "/ocsp/memberships/x",
        "/crl/memberships.crl",
        "/crl/root.pem",
        "/ca/root.key",
        "/metrics",
        "/ca/..%2froot.key",
        "/.well-known/est/smime/cacerts",
        "/v1/feed",
        "/healthz",
    ];
    for path in nothing {
        assert_eq!(certsrv.get(path).await.0, if path == "/ocsp/root" { 405 } else { 404 }, "{path}");
    }
    assert_eq!(certsrv.http("POST", "/ocsp/root", REQUEST, b"x").await.0, 404);
    assert_eq!(certsrv.http("POST", "/v1/feed", "", b"{}").await.0, 404);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_find_a_lists_certificates_as_pem_and_p7c_on_both_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    let group = certsrv.group("team@lists.test", "owner", JoinPolicy::Closed).await.group;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    let missing = [certsrv.get("/lists/team@lists.test.pem").await, certsrv.get("/lists/none@lists.test.pem").await];
    let texts = missing.map(|got| {
        assert_eq!(got.0, 404);
        String::from_utf8(got.2).unwrap().replace("none", "team")
    });
    assert_eq!(texts[0], texts[1], "whether there is such a list is not told");

    let ask = GroupCertificateRequest { group, epoch: Epoch(1), csr: B64(csr(&ec_key(), &[])) };
    let made = super::harness::call::<GroupCertificate>(&groupsrv.client, &ask).await.unwrap();
    let pem = certsrv.get("/lists/team@lists.test.pem").await;
    assert_eq!(X509::stack_from_pem(&pem.2).unwrap().len(), 3);
    let p7c = certsrv.get("/lists/team@lists.test.p7c").await;
    assert_eq!(p7c.field("content-type"), Some("application/pkcs7-mime; smime-type=certs-only"));
    let message = Pkcs7::from_der(&p7c.2).unwrap();
    let found: Vec<Vec<u8>> =
        message.signed().unwrap().certificates().unwrap().iter().map(|one| one.to_der().unwrap()).collect();
    assert!(found.len() == 3 && found.contains(&made.certificate.0));
    assert_eq!(certsrv.plain("GET", "/lists/team@lists.test.pem", "", "").await.2.as_bytes(), pem.2);

    // The list's certificate is a member's CA's too.
    let certificate = X509::from_der(made.certificate.as_ref()).unwrap();
    assert_eq!(certsrv.status(&certificate).await, Said::Good);
    certsrv.revoke(&certificate, RevocationReason::CessationOfOperation).await;
    assert!(matches!(certsrv.status(&certificate).await, Said::Revoked(..)));
    assert_eq!(certsrv.get("/lists/team@lists.test.p7c").await.0, 404);
    assert_eq!(certsrv.app.registry.view().revoked(Published::Members).unwrap().len(), 1);
    certsrv.stop().await;
}
