use super::harness::{Running, basic, call, certificates, config, group_request, key_and_csr, key_digest, serial};
use crate::app::{HASHING, LOGGING_IN};
use crate::audit::Actor;
use crate::authn::basic::Basic;
use crate::authn::password::{Password, PasswordHash};
use crate::authn::{Credentials, authenticate};
use crate::change::Change;
use crate::rows::TokenPurpose;
use crate::tests::{address, csr, ec_key, rsa_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509VerifyResult;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberState, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::enrol::{CA_CERTS, SIMPLE_ENROLL};
use twinseal_proto::api::groups::{Join, ListRequest};
use twinseal_proto::api::services::{JoinService, JoinServiceRequest};
use twinseal_proto::cert::mail_addresses;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use zeroize::Zeroizing;

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_enrols_a_first_key_and_not_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let (status, _, body) = certsrv.plain("GET", CA_CERTS, "", "").await;
    assert_eq!((status, certificates(&body).len()), (200, 2));

    let (key, request) = key_and_csr("ann");
    let certificate = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    assert!(certificate.public_key().unwrap().public_eq(&key));
    assert_eq!(mail_addresses(&certificate), ["ann@members.test"]);
    assert_eq!(certsrv.app.members_ca.certificate().issued(&certificate), X509VerifyResult::OK);

    certsrv.enrol(&basic("ann"), &request).await.unwrap();
    let (_, other) = key_and_csr("ann");
    let (status, head, _) = certsrv.est("POST", "smime/simpleenroll", &basic("ann"), &other).await;
    assert_eq!(status, 202);
    assert!(head.contains("retry-after: 300"), "{head}");
    let (serial, current) = (serial(&certificate), certsrv.current("ann"));
    assert!(current.is_some_and(|current| current.key == key_digest(&key)), "{serial} stays the live one");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_work_once_and_for_their_account() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    certsrv.account("bob", None).await;
    let token = format!("Bearer {}", certsrv.enrol_token("ann").await);
    let (_, bobs) = key_and_csr("bob");
    assert_eq!(certsrv.enrol(&token, &bobs).await.unwrap_err().code, ProblemCode::NotAuthorised);
    let (_, anns) = key_and_csr("ann");
    // Two at once, each with a key of its own: one of them has it.
    let (_, others) = key_and_csr("ann");
    let (one, two) = tokio::join!(certsrv.enrol(&token, &anns), certsrv.enrol(&token, &others));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    let (_, third) = key_and_csr("ann");
    assert_eq!(certsrv.enrol(&token, &third).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_given_again_for_the_same_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let token = certsrv.enrol_token("ann").await;
    let bearer = format!("Bearer {token}");
    let (key, request) = key_and_csr("ann");
    let (first, second) = tokio::join!(certsrv.enrol(&bearer, &request), certsrv.enrol(&bearer, &request));
    let (first, second) = (first.unwrap().to_der().unwrap(), second.unwrap().to_der().unwrap());
    assert_eq!(first, second, "two at once with one key");
    let head = *certsrv.app.registry.head().borrow();
    let row = |certsrv: &Running| {
        let digest = twinseal_proto::secret::Token::presented(token.clone()).digest();
        certsrv.app.registry.view().token(&digest).unwrap()
    };
    let used = row(&certsrv);
    assert!(used.as_ref().is_some_and(|row| row.used.is_some()));
    certsrv.stop().await;

    // After a restart on an index that is made anew, and with another request for the key.
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!(row(&certsrv), used);
    let again = certsrv.enrol(&bearer, &csr(&key, &["email:ann@members.test"])).await.unwrap();
    assert_eq!(again.to_der().unwrap(), first);
    assert_eq!(*certsrv.app.registry.head().borrow(), head, "nothing new is issued");

    let unknown = certsrv.enrol("Bearer guess", &request).await.unwrap_err();
    let mut forged = request.clone();
    *forged.last_mut().unwrap() ^= 1;
    for other in [key_and_csr("ann").1, key_and_csr("bob").1, forged, b"rubbish".to_vec()] {
        assert_eq!(certsrv.enrol(&bearer, &other).await.unwrap_err(), unknown);
    }
    // Enrolling is not joining.
    let join = JoinServiceRequest { token: token.clone(), csr: B64(request.clone()) };
    let refused = call::<JoinService>(&certsrv.client(None), &join).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    let serial = again.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let reason = RevocationReason::CessationOfOperation;
    certsrv.admin::<Revoke>(&RevokeRequest { serial, reason }).await.unwrap();
    assert_eq!(certsrv.enrol(&bearer, &request).await.unwrap_err(), unknown);
    certsrv.stop().await;

    let text: String = std::fs::read_dir(config(&dir).state.join("audit"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(text.matches("certificate-issued").count(), 1);
    assert_eq!(text.matches("certificate-given-again").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_are_forgotten_when_the_next_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let left = |certsrv: &Running| {
        let view = certsrv.app.registry.view();
        [1, 2, 3].map(|n| view.token(&Digest([n; 32])).unwrap().is_some())
    };
    for (n, made, expires, wanted) in
        [(1, 10, 20, [true, false, false]), (2, 19, 29, [true, true, false]), (3, 20, 30, [false, true, true])]
    {
        let purpose = TokenPurpose::Enrol { address: address("ann") };
        let (made, expires) = (UnixTime(made), UnixTime(expires));
        let change = Change::TokenMade { digest: Digest([n; 32]), purpose, expires, made };
        certsrv.app.registry.commit(Actor::Administrator, move |tx| Ok(tx.push(change)?)).await.unwrap();
        assert_eq!(left(&certsrv), wanted);
    }
    certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!(left(&certsrv), [false, true, true], "the log tells the same");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_and_strangers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let ann = ["email:ann@members.test"];
    let good = csr(&ec_key(), &ann);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let wrong_password = format!("Basic {}", STANDARD.encode("ann@members.test:guess"));
    let (unknown, not_an_address) = (basic("nobody"), format!("Basic {}", STANDARD.encode("ann:password of ann")));
    let table = [
        (basic("ann"), csr(&rsa_key(1024), &ann), ProblemCode::BadRequest),
        (basic("ann"), csr(&ec_key(), &[]), ProblemCode::BadRequest),
        (basic("ann"), csr(&ec_key(), &["email:eve@members.test"]), ProblemCode::NotAuthorised),
        (basic("ann"), csr(&ec_key(), &["email:ann@members.test", "DNS:members.test"]), ProblemCode::NotAuthorised),
        (basic("ann"), forged, ProblemCode::BadRequest),
        (basic("ann"), b"rubbish".to_vec(), ProblemCode::BadRequest),
        (wrong_password, good.clone(), ProblemCode::NotAuthenticated),
        (unknown, good.clone(), ProblemCode::NotAuthenticated),
        (not_an_address, good.clone(), ProblemCode::NotAuthenticated),
        ("Bearer guess".into(), good.clone(), ProblemCode::NotAuthenticated),
        ("Digest x".into(), good.clone(), ProblemCode::NotAuthenticated),
    ];
    let mut texts = Vec::new();
    for (authorization, request, wanted) in table {
        let refused = certsrv.enrol(&authorization, &request).await.unwrap_err();
        assert_eq!(refused.code, wanted, "{}", refused.detail);
        texts.push(refused.detail);
    }
    assert!(texts[6] == texts[7] && texts[7] == texts[8], "one answer to every wrong log-in");
    let (status, head, _) = certsrv.plain("POST", SIMPLE_ENROLL, "", "").await;
    assert_eq!(status, 401);
    assert!(head.contains("www-authenticate: basic"), "{head}");
    let auth = format!("Authorization: {}\r\n", basic("ann"));
    assert_eq!(certsrv.plain("POST", SIMPLE_ENROLL, &auth, "not base64!").await.0, 400);
    assert_eq!(certsrv.plain("POST", SIMPLE_ENROLL, &auth, &"A".repeat(20_000)).await.0, 413);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_key_is_not_certified_again() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let (_, request) = key_and_csr("ann");
    let certificate = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    let serial = certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let revoke = RevokeRequest { serial, reason: RevocationReason::KeyCompromise };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(certsrv.enrol(&basic("ann"), &request).await.unwrap_err().code, ProblemCode::Conflict);
    let (_, other) = key_and_csr("ann");
    certsrv.enrol(&basic("ann"), &other).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_request_does_not_touch_the_connections_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let mut forged = csr(&ec_key(), &["email:ann@members.test"]);
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..20 {
        assert_eq!(certsrv.enrol(&basic("ann"), &forged).await.unwrap_err().code, ProblemCode::BadRequest);
        assert_eq!(certsrv.plain("GET", CA_CERTS, "", "").await.0, 200);
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_lost_in_all_its_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await;
    let join = ListRequest { list: "team@lists.test".parse().unwrap() };
    // The older of two certificates is reported as compromised; the newer one of two is revoked for another reason.
    for (name, newer, reason) in
        [("ann", false, RevocationReason::KeyCompromise), ("bob", true, RevocationReason::PrivilegeWithdrawn)]
    {
        certsrv.account(name, None).await;
        let (key, request) = key_and_csr(name);
        let first = certsrv.enrol(&basic(name), &request).await.unwrap();
        let second = certsrv.enrol(&basic(name), &request).await.unwrap();
        let clients = [&first, &second].map(|certificate| certsrv.client(Some((&key, certificate))));
        for client in &clients {
            assert!(call::<Join>(client, &join).await.unwrap().member, "{name}: both let in while the key is live");
        }
        let serial = serial(if newer { &second } else { &first });
        certsrv.admin::<Revoke>(&RevokeRequest { serial, reason }).await.unwrap();
        for client in &clients {
            assert_eq!(call::<Join>(client, &join).await.unwrap_err().code, ProblemCode::NotAuthenticated, "{name}");
        }
        let members = certsrv.members("team@lists.test").await;
        let state = members.iter().find(|member| member.address == address(name)).unwrap().state;
        assert_eq!(state, MemberState::Suspended, "{name}");
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_frees_no_memory_for_another_password_hash() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let app = Arc::clone(&certsrv.app);
    let password = || Password::new(Zeroizing::new("sesame".to_owned()));
    // Long enough to be still at work when its caller has gone.
    let hash = PasswordHash::new(&password(), [1; 16], 65_536).unwrap();
    let added = Change::AccountAdded { address: address("slow"), password: Some(hash) };
    app.registry.commit(Actor::Administrator, move |tx| Ok(tx.push(added)?)).await.unwrap();
    let at = Arc::clone(&app);
    let basic = Basic { address: "slow@members.test".into(), password: password(), peer: None };
    let credentials = Credentials::Password(basic);
    let call = tokio::spawn(async move { authenticate(&at, credentials).await.map(|_| ()) });
    while app.hashing.available_permits() == HASHING {
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(app.hashing.available_permits(), HASHING - 1, "the hash is still being computed");
    while app.hashing.available_permits() < HASHING {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_log_ins_is_told_to_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let crowd = certsrv.app.logging_in.try_acquire_many(u32::try_from(LOGGING_IN).unwrap()).unwrap();
    let (_, request) = key_and_csr("ann");
    assert_eq!(certsrv.enrol(&basic("ann"), &request).await.unwrap_err().code, ProblemCode::RateLimited);
    drop(crowd);
    certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_accounts_share_no_address() {
    use twinseal_proto::api::admin::certsrv::{AddAccounts, AddAccountsRequest, CreateGroup, NewAccount};
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    let group = |list: &str| group_request(list, "owner", JoinPolicy::Open);
    certsrv.admin::<CreateGroup>(&group("team@members.test")).await.unwrap();
    let account = NewAccount { address: "Team@members.test".parse().unwrap(), password: None, public_key: None };
    let refused = certsrv.admin::<AddAccounts>(&AddAccountsRequest { accounts: vec![account] }).await.unwrap_err();
    assert!(refused.contains("a list's address"), "{refused}");
    let refused = certsrv.admin::<CreateGroup>(&group("owner@members.test")).await.unwrap_err();
    assert!(refused.contains("an account's address"), "{refused}");
    let refused = certsrv.admin::<CreateGroup>(&group("team@δ.test")).await.unwrap_err();
    assert!(refused.contains("cannot be certified"), "{refused}");
    certsrv.stop().await;
}
