//! Another key in place of a live one, certificates for one use, renewal, and keys that are not certified.

use super::harness::{Running, basic, call, certificates, config, groupsrv_changes, key_and_csr, key_digest, serial};
use crate::audit::Actor;
use crate::change::Change;
use crate::rows::{Notice, Wish};
use crate::tests::{address, csr, ec_key, rsa_key};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509KeyUsage};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberState, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::enrol::{SIMPLE_REENROLL, path};
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest};
use twinseal_proto::api::groups::{Join, ListRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::{Epoch, RequestId};

const LIST: &str = "team@lists.test";
const ENROLL: &str = "smime/simpleenroll";

/// A certsrv that would send mail, with ann in a list of owner's.
async fn with_ann(dir: &tempfile::TempDir) -> (Running, PKey<openssl::pkey::Private>, X509) {
    let mut settings = config(dir);
    settings.mail = Some(crate::tests::mail());
    crate::init::init(&settings, settings.ca_key_type).await.unwrap();
    let certsrv = Running::start_with(dir, settings).await;
    certsrv.account("owner", None).await;
    certsrv.account("ann", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    let (key, request) = key_and_csr("ann");
    let certificate = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.put_in(LIST, &["ann"]).await;
    (certsrv, key, certificate)
}

fn waiting(certsrv: &Running) -> Vec<RequestId> {
    let found = certsrv.app.registry.view().requests_of(&address("ann")).unwrap();
    found.into_iter().filter(|request| matches!(request.wish, Wish::Key { .. })).map(|request| request.id).collect()
}

/// Who is told of another key, and who is asked about one.
fn told(certsrv: &Running) -> (Vec<String>, Vec<String>) {
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    for row in certsrv.app.registry.view().notices().unwrap() {
        match row.notice {
            Notice::KeyChanged { to, address: whose, .. } if whose == address("ann") => told.push(to.to_string()),
            Notice::Waiting { to, .. } => asked.push(to.to_string()),
            _ => {}
        }
    }
    told.sort();
    (told, asked)
}

async fn approve(certsrv: &Running, request: RequestId, by_owner: bool) {
    let view = certsrv.app.registry.view();
    let group = by_owner.then(|| view.group(&LIST.parse().unwrap()).unwrap().unwrap().group);
    let change = Change::RequestApproved { request, group };
    certsrv.app.registry.commit(Actor::Administrator, move |tx| Ok(tx.push(change)?)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_waits_for_an_owner_or_an_administrator() {
    for by_owner in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (certsrv, old, certificate) = with_ann(&dir).await;
        let (key, request) = key_and_csr("ann");
        let token = format!("Bearer {}", certsrv.enrol_token("ann").await);
        for authorization in [&basic("ann"), &token] {
            let (status, head, _) = certsrv.est("POST", ENROLL, authorization, &request).await;
            assert_eq!(status, 202);
            assert!(head.contains("retry-after: 300"), "{head}");
        }
        assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&old), "nothing changed");
        let members = certsrv.members(LIST).await;
        assert_eq!(members[0].serial.as_deref(), Some(serial(&certificate).as_str()));
        let requests = waiting(&certsrv);
        assert_eq!((requests.len(), told(&certsrv)), (1, (vec![], vec!["owner@members.test".to_owned()])));

        approve(&certsrv, requests[0], by_owner).await;
        let replaced = certsrv.enrol(&token, &request).await.unwrap();
        assert!(replaced.public_key().unwrap().public_eq(&key));
        assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&key));
        assert_eq!(certsrv.members(LIST).await[0].serial.as_deref(), Some(serial(&replaced).as_str()));
        assert!(waiting(&certsrv).is_empty());
        assert_eq!(told(&certsrv).0, ["ann@members.test", "owner@members.test"]);
        // The old certificate is not revoked, and logs nobody in.
        let view = certsrv.app.registry.view();
        let row = view.certificate(&serial(&certificate).parse().unwrap()).unwrap().unwrap();
        assert_eq!(row.revoked, None);
        let join = ListRequest { list: LIST.parse().unwrap() };
        let refused = call::<Join>(&certsrv.client(Some((&old, &certificate))), &join).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::NotAuthenticated);
        // The approval was for one change: the old key does not come back with a password.
        let back = csr(&old, &["email:ann@members.test"]);
        assert_eq!(certsrv.est("POST", ENROLL, &basic("ann"), &back).await.0, 202);
        certsrv.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_makes_owners_decide_about_a_few_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, ..) = with_ann(&dir).await;
    for n in 0..6 {
        let (_, request) = key_and_csr("ann");
        let (status, ..) = certsrv.est("POST", ENROLL, &basic("ann"), &request).await;
        assert_eq!(status, if n < 4 { 202 } else { 409 });
    }
    assert_eq!(waiting(&certsrv).len(), 4);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_group_only_an_administrator_replaces_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", Some(&ec_key())).await;
    let (_, request) = key_and_csr("ann");
    assert_eq!(certsrv.est("POST", ENROLL, &basic("ann"), &request).await.0, 202);
    assert_eq!(certsrv.est("POST", ENROLL, &basic("ann"), &request).await.0, 202, "no owner is no approval");
    approve(&certsrv, waiting(&certsrv)[0], false).await;
    certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_certificate_renews_it_with_the_same_key_or_another() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, old, certificate) = with_ann(&dir).await;
    let request = |key: &PKey<_>, name: &str, mail: &str| crate::tests::csr_of(key, name, &[&format!("email:{mail}")]);
    let ann = "ann@members.test";
    let own = Some((&old, &certificate));
    let same = certsrv.post_as(own, SIMPLE_REENROLL, &request(&old, ann, ann)).await.unwrap();
    assert_ne!(serial(&same), serial(&certificate));
    assert!(told(&certsrv).0.is_empty(), "renewal is no key change");
    assert_eq!(certsrv.members(LIST).await[0].serial.as_deref(), Some(serial(&same).as_str()));

    let new = rsa_key(2048);
    for (name, mail, code) in
        [("eve@members.test", ann, ProblemCode::BadRequest), (ann, "eve@members.test", ProblemCode::NotAuthorised)]
    {
        let refused = certsrv.post_as(own, SIMPLE_REENROLL, &request(&new, name, mail)).await.unwrap_err();
        assert_eq!(refused.code, code);
    }
    let at = path("smime-sign", "simplereenroll");
    let refused = certsrv.post_as(own, &at, &request(&new, ann, ann)).await.unwrap_err();
    assert!(refused.detail.contains("another use"), "{}", refused.detail);
    let refused = certsrv.post_as(None, SIMPLE_REENROLL, &request(&new, ann, ann)).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&old));

    let replaced = certsrv.post_as(own, SIMPLE_REENROLL, &request(&new, ann, ann)).await.unwrap();
    assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&new));
    assert_eq!(certsrv.members(LIST).await[0].serial.as_deref(), Some(serial(&replaced).as_str()));
    assert_eq!(told(&certsrv).0, ["ann@members.test", "owner@members.test"]);
    let again = certsrv.post_as(own, SIMPLE_REENROLL, &request(&old, ann, ann)).await.unwrap_err();
    assert_eq!(again.code, ProblemCode::NotAuthenticated, "the old key authorises nothing more");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_and_encryption_have_certificates_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.account("ann", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Open).await;
    certsrv.put_in(LIST, &["ann"]).await;
    let (signs, request) = key_and_csr("ann");
    let (status, _, body) = certsrv.est("POST", "smime-sign/simpleenroll", &basic("ann"), &request).await;
    assert_eq!(status, 200);
    let signing = certificates(&body).remove(0);
    assert_eq!(signing.key_usage(), Some(X509KeyUsage::DIGITAL_SIGNATURE));
    assert!(certsrv.current("ann").is_none(), "nobody encrypts to it");
    assert_eq!(certsrv.members(LIST).await[0].state, MemberState::Pending);

    // The second key is not a first one: the first one vouches for it.
    let (encrypts, request) = key_and_csr("ann");
    let at = path("smime-encrypt", "simpleenroll");
    assert_eq!(certsrv.est("POST", "smime-encrypt/simpleenroll", &basic("ann"), &request).await.0, 202);
    let encryption = certsrv.post_as(Some((&signs, &signing)), &at, &request).await.unwrap();
    assert_eq!(encryption.key_usage(), Some(X509KeyUsage::KEY_AGREEMENT));
    assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&encrypts));
    let member = &certsrv.members(LIST).await[0];
    assert_eq!((member.state, member.serial.as_deref()), (MemberState::Active, Some(serial(&encryption).as_str())));

    // Each key has its use.
    for (label, key) in [("smime-encrypt", &signs), ("smime", &encrypts), ("smime-sign", &encrypts)] {
        let request = csr(key, &["email:ann@members.test"]);
        let at = path(label, "simpleenroll");
        let refused = certsrv.post_as(Some((&signs, &signing)), &at, &request).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::Conflict, "{label}");
    }
    // Without the one, the other stays.
    let revoke = RevokeRequest { serial: serial(&signing), reason: RevocationReason::Superseded };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(certsrv.members(LIST).await[0].state, MemberState::Active);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_weak_keys_and_lost_ones_are_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    let bobs = ec_key();
    certsrv.account("bob", Some(&bobs)).await;
    certsrv.account("ann", None).await;
    let group = certsrv.group(LIST, "owner", JoinPolicy::Open).await.group;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    let lists = ec_key();
    let request = GroupCertificateRequest { group, epoch: Epoch(1), csr: B64(csr(&lists, &[])) };
    call::<GroupCertificate>(&groupsrv.client, &request).await.unwrap();
    let lost = ec_key();
    certsrv.account("carl", Some(&lost)).await;
    let reason = RevocationReason::KeyCompromise;
    let revoke = RevokeRequest { serial: certsrv.current("carl").unwrap().serial.to_string(), reason };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();

    let curve = |nid| PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap()).unwrap();
    let three = {
        let e = openssl::bn::BigNum::from_u32(3).unwrap();
        PKey::from_rsa(openssl::rsa::Rsa::generate_with_e(2048, &e).unwrap()).unwrap()
    };
    let head = *certsrv.app.registry.head().borrow();
    let table = [
        ("another account's", bobs, ProblemCode::Conflict),
        ("a list's", lists, ProblemCode::Conflict),
        ("compromised", lost, ProblemCode::Conflict),
        ("RSA-1024", rsa_key(1024), ProblemCode::BadRequest),
        ("e = 3", three, ProblemCode::BadRequest),
        ("P-224", curve(Nid::SECP224R1), ProblemCode::BadRequest),
        ("P-521", curve(Nid::SECP521R1), ProblemCode::BadRequest),
    ];
    for (what, key, code) in table {
        for label in ["smime", "smime-sign", "smime-encrypt"] {
            let request = csr(&key, &["email:ann@members.test"]);
            let (status, _, body) =
                certsrv.est("POST", &format!("{label}/simpleenroll"), &basic("ann"), &request).await;
            let problem: twinseal_proto::api::Problem = serde_json::from_str(&body).unwrap();
            assert_eq!((status, problem.code), (code.status(), code), "{what} {label}: {}", problem.detail);
        }
    }
    assert_eq!(*certsrv.app.registry.head().borrow(), head, "nothing changed");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uses_and_the_places_of_certificates_are_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, key, certificate) = with_ann(&dir).await;
    let at = path("smime-sign", "simpleenroll");
    let (_, request) = key_and_csr("ann");
    certsrv.post_as(Some((&key, &certificate)), &at, &request).await.unwrap();
    let known = |certsrv: &Running| {
        let view = certsrv.app.registry.view();
        let account = view.account(&address("ann")).unwrap().unwrap();
        let group = view.group(&LIST.parse().unwrap()).unwrap().unwrap().group;
        let joined = view.members(&group).unwrap().iter().map(|m| m.joined).collect::<Vec<_>>();
        let all = view.certificates_of(&address("ann")).unwrap();
        (account.current, account.signing, joined, all.len())
    };
    let before = known(&certsrv);
    assert!(
        before.1.is_some() && before.2.contains(&0) && before.2.iter().filter(|at| **at > 0).count() == 1,
        "{before:?}"
    );
    // The place is that of the entry that told the consumers.
    let told = groupsrv_changes(&certsrv);
    let entry = told.iter().find(|(_, kind, _)| kind == "member-joined").unwrap().0;
    assert!(before.2.contains(&entry));
    certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!(known(&certsrv), before);
    certsrv.stop().await;
}
