#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::foreign::elsewhere::{Held, Says, Web, certify, crl};
use crate::tests::{ec_key, now};
use openssl::nid::Nid;

fn day(days: i64) -> UnixTime {
    UnixTime(now().0.checked_add_signed(days * 86_400).unwrap())
}

fn chain(web: Option<&Web>) -> (Held, Held, Held) {
    let point = |says, path: &str| match web {
        Some(web) => Says::with(says, Nid::CRL_DISTRIBUTION_POINTS, &format!("URI:{}{path}", web.url)),
        None => says,
    };
    let root = certify(ec_key(), &Says::ca("Elsewhere root", now(), ""), None);
    let issuing = certify(ec_key(), &point(Says::ca("Elsewhere issuing", now(), ""), "/root.crl"), Some(&root));
    let leaf = certify(ec_key(), &point(Says::mail("ann@members.test", now()), "/issuing.crl"), Some(&issuing));
    (leaf, issuing, root)
}

#[test]
fn a_crl_says_something_when_it_is_the_issuers_and_in_time() {
    let (leaf, issuing, root) = chain(None);
    let says = |crl: &X509Crl| crl_says(&crl.to_der().unwrap(), &leaf.certificate, &issuing.certificate, now());
    let revoked = crl(&issuing, &[&leaf.certificate], day(-1), day(6));
    let told = says(&revoked).unwrap();
    assert!(told.revoked && !told.lost && told.next.unwrap().0.abs_diff(day(6).0) < 5);
    assert!(!says(&crl(&issuing, &[&issuing.certificate], day(-1), day(6))).unwrap().revoked);
    for (what, crl) in [
        ("old", crl(&issuing, &[&leaf.certificate], day(-9), day(-2))),
        ("to come", crl(&issuing, &[&leaf.certificate], day(1), day(2))),
        ("another's", crl(&root, &[&leaf.certificate], day(-1), day(6))),
    ] {
        assert_eq!(says(&crl), None, "{what}");
    }
    let mut forged = revoked.to_der().unwrap();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(crl_says(&forged, &leaf.certificate, &issuing.certificate, now()), None);
    assert_eq!(crl_says(b"rubbish", &leaf.certificate, &issuing.certificate, now()), None);
    assert!(ErrorStack::get().errors().is_empty());
}

#[tokio::test]
async fn the_whole_path_is_asked_about() {
    let web = Web::start().await;
    let (leaf, issuing, root) = chain(Some(&web));
    let path: Vec<X509> = [&leaf, &issuing, &root].map(|held| held.certificate.clone()).to_vec();
    let own = || Fetcher::new(true);
    let answer = ask(&path, &[], &mut own(), now()).await;
    assert_eq!((answer.revoked, answer.silent.len()), (None, 2), "no CRL is there");
    web.put("/issuing.crl", crl(&issuing, &[], day(-1), day(6)).to_der().unwrap());
    web.put("/root.crl", crl(&root, &[], day(-1), day(3)).to_pem().unwrap());
    let mut once = own();
    let answer = ask(&path, &[], &mut once, now()).await;
    assert!(answer.revoked.is_none() && answer.silent.is_empty());
    assert!(answer.next.unwrap().0.abs_diff(day(3).0) < 5, "the first to have news");
    let away = ask(&path, &[], &mut Fetcher::new(false), now()).await;
    assert_eq!(away.silent.len(), 2, "loopback is not asked where that is not allowed");
    web.put("/root.crl", crl(&root, &[&issuing.certificate], day(-1), day(3)).to_der().unwrap());
    assert!(ask(&path, &[], &mut once, now()).await.revoked.is_none(), "what was fetched is used again");
    let answer = ask(&path, &[], &mut own(), now()).await;
    assert!(answer.revoked.unwrap().contains("Elsewhere issuing"), "an issuer that was revoked takes all with it");
}

#[test]
fn an_ocsp_answer_says_something_when_it_is_the_issuers() {
    let (leaf, issuing, root) = chain(None);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let request = ocsp_request(&leaf.certificate, &issuing.certificate).unwrap();
    std::fs::write(file("request"), request).unwrap();
    let number = leaf.certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let other = certify(ec_key(), &Says::ca("Elsewhere other", now(), ""), None);
    let path: Vec<X509> = [&leaf, &issuing, &root].map(|held| held.certificate.clone()).to_vec();
    for (what, entry, signer, wanted) in [
        ("good", format!("V\t400101000000Z\t\t{number}\tunknown\t/CN=ann\n"), &issuing, Some(false)),
        ("revoked", format!("R\t400101000000Z\t200101000000Z\t{number}\tunknown\t/CN=ann\n"), &issuing, Some(true)),
        (
            "lost",
            format!("R\t400101000000Z\t200101000000Z,keyCompromise\t{number}\tunknown\t/CN=ann\n"),
            &issuing,
            Some(true),
        ),
        ("unknown", String::new(), &issuing, None),
        ("signed by another", format!("V\t400101000000Z\t\t{number}\tunknown\t/CN=ann\n"), &other, None),
    ] {
        std::fs::write(file("index"), entry).unwrap();
        std::fs::write(file("ca.pem"), issuing.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(file("signer.pem"), signer.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(file("signer.key"), signer.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let made = std::process::Command::new("openssl")
            .args(["ocsp", "-index", &file("index"), "-CA", &file("ca.pem"), "-ndays", "1"])
            .args(["-rsigner", &file("signer.pem"), "-rkey", &file("signer.key")])
            .args(["-reqin", &file("request"), "-respout", &file("response")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let response = std::fs::read(file("response")).unwrap();
        let told = ocsp_says(&response, &path);
        assert_eq!(told.map(|says| says.revoked), wanted, "{what}");
        assert_eq!(told.is_some_and(|says| says.lost), what == "lost");
    }
    assert_eq!(ocsp_says(b"rubbish", &path), None);
    assert!(ErrorStack::get().errors().is_empty());
}

#[test]
fn a_crl_says_that_a_key_is_lost() {
    let (leaf, issuing, _) = chain(None);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let number = leaf.certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    std::fs::write(file("ca.pem"), issuing.certificate.to_pem().unwrap()).unwrap();
    std::fs::write(file("ca.key"), issuing.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let config = format!("[ca]\ndefault_ca=d\n[d]\ndatabase={}\ndefault_md=sha256\n", file("index"));
    std::fs::write(file("config"), config).unwrap();
    for (reason, lost) in [("", false), (",superseded", false), (",keyCompromise", true)] {
        let entry = format!("R\t400101000000Z\t200101000000Z{reason}\t{number}\tunknown\t/CN=ann\n");
        std::fs::write(file("index"), entry).unwrap();
        let made = std::process::Command::new("openssl")
            .args(["ca", "-config", &file("config"), "-gencrl", "-crldays", "5"])
            .args(["-cert", &file("ca.pem"), "-keyfile", &file("ca.key"), "-out", &file("crl")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let crl = std::fs::read(file("crl")).unwrap();
        let told = crl_says(&crl, &leaf.certificate, &issuing.certificate, now()).unwrap();
        assert_eq!((told.revoked, told.lost), (true, lost), "{reason}");
    }
}
