//! Certificates of other CAs (P2): brought, used, and revoked elsewhere.

use super::harness::{Running, basic, call, config};
use crate::foreign::elsewhere::{Held, Says, Web, certify, crl};
use crate::foreign::watch;
use crate::tests::{address, ec_key, now, rsa_key};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::nid::Nid;
use openssl::x509::X509;
use std::collections::HashMap;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberState, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::enrol::{Challenge, IMPORT, ImportRequest, ImportResponse, Proof, ProofAnswer};
use twinseal_proto::api::groups::{Join, ListRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;
use twinseal_svc::tls::Identity;

const LIST: &str = "team@lists.test";

struct Elsewhere {
    web: Web,
    root: Held,
    issuing: Held,
}

impl Elsewhere {
    async fn new() -> Self {
        let web = Web::start().await;
        let root = certify(ec_key(), &Says::ca("Elsewhere root", now(), ""), None);
        let says = Says::ca("Elsewhere issuing", now(), ",pathlen:0");
        let says = says.with(Nid::CRL_DISTRIBUTION_POINTS, &format!("URI:{}/root.crl", web.url));
        let issuing = certify(ec_key(), &says, Some(&root));
        let elsewhere = Self { web, root, issuing };
        elsewhere.revoke(&[], false);
        elsewhere
    }

    fn member(&self, key: openssl::pkey::PKey<openssl::pkey::Private>, name: &str, usage: &str) -> Held {
        let mail = format!("{name}@members.test");
        let says = Says::mail(&mail, now()).with(Nid::KEY_USAGE, usage);
        let says = says.with(Nid::CRL_DISTRIBUTION_POINTS, &format!("URI:{}/issuing.crl", self.web.url));
        certify(key, &says, Some(&self.issuing))
    }

    /// Publishes CRLs with these members' certificates, and with the issuing CA's where it is lost.
    fn revoke(&self, members: &[&X509], issuing: bool) {
        let (from, until) = (UnixTime(now().0 - 60), now().plus(6 * 86_400));
        self.web.put("/issuing.crl", crl(&self.issuing, members, from, until).to_der().unwrap());
        let lost: &[&X509] = if issuing { &[&self.issuing.certificate] } else { &[] };
        self.web.put("/root.crl", crl(&self.root, lost, from, until).to_der().unwrap());
    }

    async fn certsrv(&self, dir: &tempfile::TempDir) -> Running {
        let mut settings = config(dir);
        let roots = dir.path().join("roots.pem");
        std::fs::write(&roots, self.root.certificate.to_pem().unwrap()).unwrap();
        settings.import_roots = Some(roots);
        crate::init::init(&settings, settings.ca_key_type).await.unwrap();
        let certsrv = Running::start_with(dir, settings).await;
        certsrv.account("owner", None).await;
        certsrv.group(LIST, "owner", JoinPolicy::Open).await;
        certsrv.account("ann", None).await;
        certsrv.put_in(LIST, &["ann"]).await;
        certsrv
    }

    fn request(&self, held: &Held, proof: Option<Proof>) -> ImportRequest {
        let chain = [held, &self.issuing].map(|held| B64(held.certificate.to_der().unwrap())).to_vec();
        ImportRequest { chain, proof }
    }
}

async fn post(certsrv: &Running, name: &str, request: &ImportRequest) -> Result<(u16, ImportResponse), Problem> {
    post_as(certsrv, &basic(name), request).await
}

async fn post_as(
    certsrv: &Running,
    authorization: &str,
    request: &ImportRequest,
) -> Result<(u16, ImportResponse), Problem> {
    let fields = format!("Authorization: {authorization}\r\n");
    let body = serde_json::to_string(request).unwrap();
    let (status, _, body) = certsrv.plain("POST", IMPORT, &fields, &body).await;
    match status {
        200 | 202 => Ok((status, serde_json::from_str(&body).unwrap())),
        _ => Err(serde_json::from_str(&body).unwrap()),
    }
}

fn answer(held: &Held, challenge: &Challenge) -> Proof {
    let answer = match (&challenge.to_sign, &challenge.to_decrypt) {
        (Some(text), None) => {
            let (own, key) = (Some(&*held.certificate), Some(&*held.key));
            let signed = CmsContentInfo::sign(own, key, None, Some(text.as_bytes()), CMSOptions::BINARY).unwrap();
            ProofAnswer::Signed(B64(signed.to_der().unwrap()))
        }
        (None, Some(message)) => {
            let message = CmsContentInfo::from_der(message.as_ref()).unwrap();
            ProofAnswer::Decrypted(B64(message.decrypt(&held.key, &held.certificate).unwrap()))
        }
        other => panic!("{other:?}"),
    };
    Proof { challenge: challenge.name.clone(), answer }
}

/// Both calls of an import.
async fn bring(
    elsewhere: &Elsewhere,
    certsrv: &Running,
    name: &str,
    held: &Held,
) -> Result<(u16, ImportResponse), Problem> {
    match post(certsrv, name, &elsewhere.request(held, None)).await? {
        (200, ImportResponse::Challenge(challenge)) => {
            post(certsrv, name, &elsewhere.request(held, Some(answer(held, &challenge)))).await
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_brought_used_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new().await;
    let certsrv = elsewhere.certsrv(&dir).await;
    let both = "critical,digitalSignature,keyEncipherment";
    let own = elsewhere.member(rsa_key(2048), "ann", both);
    let (status, imported) = bring(&elsewhere, &certsrv, "ann", &own).await.unwrap();
    let ImportResponse::Imported { name } = imported else { panic!("{imported:?}") };
    assert_eq!(status, 200);
    let head = *certsrv.app.registry.head().borrow();
    let again = bring(&elsewhere, &certsrv, "ann", &own).await.unwrap().1;
    assert_eq!(again, ImportResponse::Imported { name: name.clone() }, "an answer that was lost");
    assert_eq!(*certsrv.app.registry.head().borrow(), head);

    // Copies are made for it: groupsrv is told its own issuer and number.
    let told = super::harness::groupsrv_changes(&certsrv);
    let (_, _, joined) = told.iter().find(|(_, kind, _)| kind == "member-joined").unwrap();
    let issuer = B64(own.certificate.issuer_name().to_der().unwrap());
    assert_eq!(joined["recipient"]["issuer"], serde_json::to_value(issuer).unwrap());
    // It logs its holder in.
    let chain = vec![own.certificate.clone(), elsewhere.issuing.certificate.clone()];
    let identity = Identity::new(own.key.clone(), chain, certsrv.app.root.clone());
    let client = Client::pinned(&certsrv.url, &certsrv.app.root, certsrv.app.pin, Some(&identity)).unwrap();
    let join = ListRequest { list: LIST.parse().unwrap() };
    assert!(call::<Join>(&client, &join).await.unwrap().member);

    // Another key waits, as one of ours would.
    let other = elsewhere.member(ec_key(), "ann", "critical,digitalSignature,keyAgreement");
    let (status, waiting) = bring(&elsewhere, &certsrv, "ann", &other).await.unwrap();
    assert_eq!((status, waiting), (202, ImportResponse::Waiting { retry_after: 300 }));

    // Revoked elsewhere: the watch finds it, and the member is out.
    let mut due = HashMap::new();
    watch::turn(&certsrv.app, &mut due, now()).await.unwrap();
    let member = |members: Vec<twinseal_proto::api::admin::certsrv::Member>| {
        members.into_iter().find(|m| m.address == address("ann")).unwrap()
    };
    assert_eq!(member(certsrv.members(LIST).await).state, MemberState::Active);
    elsewhere.revoke(&[&own.certificate], false);
    watch::turn(&certsrv.app, &mut due, now()).await.unwrap();
    assert_eq!(member(certsrv.members(LIST).await).state, MemberState::Active, "not due before tomorrow");
    watch::turn(&certsrv.app, &mut due, now().plus(86_401)).await.unwrap();
    assert_eq!(member(certsrv.members(LIST).await).state, MemberState::Suspended);
    assert_eq!(call::<Join>(&client, &join).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    assert!(certsrv.app.registry.view().foreign().unwrap().is_empty());
    let refused = bring(&elsewhere, &certsrv, "ann", &own).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Conflict);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new().await;
    let certsrv = elsewhere.certsrv(&dir).await;
    let usage = "critical,digitalSignature,keyAgreement";
    let bobs_key = ec_key();
    certsrv.account("bob", Some(&bobs_key)).await;
    let lost_key = ec_key();
    certsrv.account("carl", Some(&lost_key)).await;
    let serial = certsrv.current("carl").unwrap().serial.to_string();
    let reason = RevocationReason::KeyCompromise;
    certsrv.admin::<Revoke>(&RevokeRequest { serial, reason }).await.unwrap();
    let head = *certsrv.app.registry.head().borrow();
    for (what, held, code) in [
        ("another's address", elsewhere.member(ec_key(), "eve", usage), ProblemCode::BadRequest),
        ("another account's key", elsewhere.member(bobs_key, "ann", usage), ProblemCode::Conflict),
        ("a compromised key", elsewhere.member(lost_key, "ann", usage), ProblemCode::Conflict),
        ("a weak key", elsewhere.member(rsa_key(1024), "ann", usage), ProblemCode::BadRequest),
    ] {
        let refused = bring(&elsewhere, &certsrv, "ann", &held).await.unwrap_err();
        assert_eq!(refused.code, code, "{what}: {}", refused.detail);
    }
    let good = elsewhere.member(ec_key(), "ann", usage);
    let ImportResponse::Challenge(challenge) = post(&certsrv, "ann", &elsewhere.request(&good, None)).await.unwrap().1
    else {
        panic!("no challenge")
    };
    let thief = Held { key: ec_key(), ..elsewhere.member(ec_key(), "ann", usage) };
    let forged = certify(thief.key.clone(), &Says::mail("ann@members.test", now()), None);
    let refused =
        post(&certsrv, "ann", &elsewhere.request(&good, Some(answer(&forged, &challenge)))).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthorised, "{}", refused.detail);
    elsewhere.revoke(&[&good.certificate], false);
    let refused = post(&certsrv, "ann", &elsewhere.request(&good, Some(answer(&good, &challenge)))).await.unwrap_err();
    assert!(refused.detail.contains("revoked"), "{}", refused.detail);
    elsewhere.revoke(&[], true);
    let refused = post(&certsrv, "ann", &elsewhere.request(&good, Some(answer(&good, &challenge)))).await.unwrap_err();
    assert!(refused.detail.contains("Elsewhere issuing"), "{}", refused.detail);
    assert!(
        matches!(post(&certsrv, "ann", &ImportRequest { chain: vec![], proof: None }).await, Err(p) if p.status == 400)
    );
    assert_eq!(certsrv.plain("POST", IMPORT, "", "{}").await.0, 401);
    assert_eq!(*certsrv.app.registry.head().borrow(), head, "nothing changed");
    // An issuer that does not answer keeps nobody out.
    elsewhere.web.put("/root.crl", b"rubbish".to_vec());
    elsewhere.web.put("/issuing.crl", b"rubbish".to_vec());
    post(&certsrv, "ann", &elsewhere.request(&good, Some(answer(&good, &challenge)))).await.unwrap();
    certsrv.stop().await;

    // Off without roots.
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let refused = post(&certsrv, "ann", &elsewhere.request(&good, None)).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotFound);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_brings_one_certificate_and_its_answer_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new().await;
    let certsrv = elsewhere.certsrv(&dir).await;
    let own = elsewhere.member(ec_key(), "ann", "critical,digitalSignature,keyAgreement");
    let token = format!("Bearer {}", certsrv.enrol_token("ann").await);
    let asked = post_as(&certsrv, &token, &elsewhere.request(&own, None)).await.unwrap().1;
    let ImportResponse::Challenge(challenge) = asked else { panic!("{asked:?}") };
    let request = elsewhere.request(&own, Some(answer(&own, &challenge)));
    let first = post_as(&certsrv, &token, &request).await.unwrap();
    let head = *certsrv.app.registry.head().borrow();
    assert_eq!(post_as(&certsrv, &token, &request).await.unwrap(), first);
    let other = elsewhere.member(ec_key(), "ann", "critical,digitalSignature,keyAgreement");
    let refused = post_as(&certsrv, &token, &elsewhere.request(&other, None)).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    assert_eq!(*certsrv.app.registry.head().borrow(), head);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_certificates_is_brought_each_with_its_proof() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new().await;
    let certsrv = elsewhere.certsrv(&dir).await;
    let encrypts = elsewhere.member(rsa_key(2048), "ann", "critical,keyEncipherment");
    bring(&elsewhere, &certsrv, "ann", &encrypts).await.unwrap();
    assert_eq!(certsrv.current("ann").unwrap().key, Digest::of(&encrypts.key.public_key_to_der().unwrap()));
    let signs = elsewhere.member(ec_key(), "ann", "critical,digitalSignature");
    assert_eq!(bring(&elsewhere, &certsrv, "ann", &signs).await.unwrap().0, 202, "not by a password alone");
    certsrv.stop().await;

    // The log has it all.
    let before = certsrv_index(&dir, &elsewhere).await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    assert_eq!(certsrv_index(&dir, &elsewhere).await, before);
    assert_eq!(before.0.len(), 1);
}

/// What the index knows after a start.
async fn certsrv_index(dir: &tempfile::TempDir, elsewhere: &Elsewhere) -> (Vec<String>, String) {
    let mut settings = config(dir);
    settings.import_roots = Some(dir.path().join("roots.pem"));
    assert!(!elsewhere.web.url.is_empty());
    let certsrv = Running::start_with(dir, settings).await;
    let view = certsrv.app.registry.view();
    let names = view.foreign().unwrap().iter().map(ToString::to_string).collect();
    let account = view.account(&address("ann")).unwrap().unwrap();
    let row = view.certificate(&account.current.unwrap()).unwrap().unwrap();
    let known = (names, format!("{:?}", row.foreign));
    drop(view);
    certsrv.stop().await;
    known
}
