use super::harness::{Running, call};
use crate::tests::{csr, ec_key, rsa_key};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{
    JoinPolicy, ListPins, RevocationReason, Revoke, RevokeRequest, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::feed::{Feed, FeedRequest};
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest};
use twinseal_proto::api::groups::{ListCertificates, ListRequest};
use twinseal_proto::api::services::{JoinService, JoinServiceRequest, ServiceRole};
use twinseal_proto::cert::mail_addresses;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{Epoch, GroupId};
use twinseal_svc::durable;
use twinseal_svc::join::{JoinArgs, JoinError, join};
use twinseal_svc::tls::Identity;

const LIST: &str = "team@lists.test";

#[tokio::test(flavor = "multi_thread")]
async fn groupsrv_has_group_keys_certified_and_senders_find_them() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    let group = certsrv.group(LIST, "owner", JoinPolicy::Closed).await.group;
    let second = certsrv.group("other@lists.test", "owner", JoinPolicy::Closed).await.group;
    let (groupsrv, exploder) = (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
    let list = ListRequest { list: LIST.parse().unwrap() };
    let sender = certsrv.client(None);
    assert_eq!(call::<ListCertificates>(&sender, &list).await.unwrap_err().code, ProblemCode::NotFound);

    let (ec, rsa) = (ec_key(), rsa_key(3072));
    let request = |group, epoch, key| GroupCertificateRequest { group, epoch: Epoch(epoch), csr: B64(csr(key, &[])) };
    let first = call::<GroupCertificate>(&groupsrv.client, &request(group, 1, &ec)).await.unwrap();
    let again = call::<GroupCertificate>(&groupsrv.client, &request(group, 1, &ec)).await.unwrap();
    assert_eq!(first, again, "an answer that was lost is given again");
    let certificate = X509::from_der(first.certificate.as_ref()).unwrap();
    assert_eq!(mail_addresses(&certificate), [LIST]);
    call::<GroupCertificate>(&groupsrv.client, &request(group, 1, &rsa)).await.unwrap();
    for (group, epoch) in [(second, 1), (group, 2)] {
        let refused = call::<GroupCertificate>(&groupsrv.client, &request(group, epoch, &ec)).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::Conflict);
    }
    let nowhere = request(GroupId::from_random([9; 16]), 1, &ec);
    assert_eq!(call::<GroupCertificate>(&groupsrv.client, &nowhere).await.unwrap_err().code, ProblemCode::NotFound);
    let refused = call::<GroupCertificate>(&exploder.client, &request(group, 1, &ec)).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthorised);

    let found = call::<ListCertificates>(&sender, &list).await.unwrap();
    assert_eq!((found.live.len(), found.chain.len()), (2, 2));
    let (status, _, pem) = certsrv.plain("GET", "/lists/team@lists.test.pem", "", "").await;
    let all = X509::stack_from_pem(pem.as_bytes()).unwrap();
    assert_eq!((status, all.len()), (200, 4));
    assert!(all[0].public_key().unwrap().public_eq(&rsa), "RSA first: every sender can use it");
    assert_eq!(certsrv.plain("GET", "/lists/none@lists.test.pem", "", "").await.0, 404);
    assert_eq!(certsrv.plain("GET", "/lists/..%2f..%2fca%2froot.key", "", "").await.0, 404);

    let serial = all[0].serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let revoke = RevokeRequest { serial, reason: RevocationReason::KeyCompromise };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(call::<ListCertificates>(&sender, &list).await.unwrap().live.len(), 1);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_known_by_their_keys_until_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let old = certsrv.join(ServiceRole::Groupsrv).await;
    let (one, two) = (certsrv.join(ServiceRole::Exploder).await, certsrv.join(ServiceRole::Exploder).await);
    let new = certsrv.join(ServiceRole::Groupsrv).await;
    let pins = certsrv.admin::<ListPins>(&Nothing {}).await.unwrap();
    let mut known: Vec<_> = pins.iter().map(|pin| pin.pin).collect();
    let mut wanted = vec![one.pin, two.pin, new.pin];
    known.sort();
    wanted.sort();
    assert_eq!(known, wanted, "one groupsrv, the newest; many exploders");
    let ask = FeedRequest { after: 0, wait: 0 };
    assert_eq!(call::<Feed>(&old.client, &ask).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    let serial = certsrv.app.registry.view().pin(&one.pin).unwrap().unwrap().serial.to_string();
    let revoke = RevokeRequest { serial, reason: RevocationReason::CessationOfOperation };
    assert!(call::<Feed>(&one.client, &ask).await.is_ok());
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(call::<Feed>(&one.client, &ask).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    assert!(call::<Feed>(&two.client, &ask).await.is_ok());

    // A key that was lost does not come back with a new token.
    let key = ec_key();
    for allowed in [true, false] {
        let ask = ServiceTokenRequest { role: ServiceRole::Exploder };
        let token = certsrv.admin::<ServiceToken>(&ask).await.unwrap().token;
        let request = JoinServiceRequest { token, csr: B64(csr(&key, &["IP:127.0.0.1"])) };
        let joined = call::<JoinService>(&certsrv.client(None), &request).await;
        assert_eq!(joined.as_ref().err().map(|problem| problem.code), (!allowed).then_some(ProblemCode::Conflict));
        let Ok(joined) = joined else { continue };
        let certificate = X509::from_der(joined.certificate.as_ref()).unwrap();
        let serial = certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
        let revoke = RevokeRequest { serial, reason: RevocationReason::KeyCompromise };
        certsrv.admin::<Revoke>(&revoke).await.unwrap();
    }

    let guess = JoinServiceRequest { token: "guess".into(), csr: B64(csr(&ec_key(), &["IP:127.0.0.1"])) };
    let refused = call::<JoinService>(&certsrv.client(None), &guess).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_answer_was_lost_joins_with_the_same_token() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let place = tempfile::tempdir().unwrap();
    let args = certsrv.join_args(&place, ServiceRole::Groupsrv).await;
    let state = place.path().join("state");
    let away =
        JoinArgs { certsrv: "https://127.0.0.1:1".into(), ..certsrv.join_args(&place, ServiceRole::Groupsrv).await };
    assert!(matches!(join(&state, &away).await, Err(JoinError::Call(_))));
    // The key waits; what it is asked with is known here, and the answer is lost.
    let unfinished = state.join("tls/key.new.pem");
    let key = PKey::private_key_from_pem(&durable::read_secret(&unfinished).unwrap()).unwrap();
    let token = String::from_utf8(durable::read_secret(&args.token_file).unwrap().to_vec()).unwrap();
    let ask = |key: &PKey<Private>, token: &str| JoinServiceRequest {
        token: token.into(),
        csr: B64(csr(key, &["IP:127.0.0.1"])),
    };
    let lost = call::<JoinService>(&certsrv.client(None), &ask(&key, &token)).await.unwrap();
    let head = *certsrv.app.registry.head().borrow();

    let unknown = call::<JoinService>(&certsrv.client(None), &ask(&key, "guess")).await.unwrap_err();
    let other = call::<JoinService>(&certsrv.client(None), &ask(&ec_key(), &token)).await.unwrap_err();
    assert_eq!(other, unknown);
    assert_eq!(
        certsrv.enrol(&format!("Bearer {token}"), &ask(&key, &token).csr.0).await.unwrap_err().code,
        unknown.code
    );
    for _ in 0..2 {
        assert_eq!(call::<JoinService>(&certsrv.client(None), &ask(&key, &token)).await.unwrap(), lost);
    }
    let pin = join(&state, &args).await.unwrap();
    assert_eq!(pin, Digest::of(&key.public_key_to_der().unwrap()));
    assert!(!unfinished.exists());
    assert_eq!(Identity::load(&state.join("tls")).unwrap().pin().unwrap(), pin);
    assert_eq!(*certsrv.app.registry.head().borrow(), head, "nothing new is issued");

    // Another groupsrv took the place.
    certsrv.join(ServiceRole::Groupsrv).await;
    assert_eq!(call::<JoinService>(&certsrv.client(None), &ask(&key, &token)).await.unwrap_err(), unknown);

    // A key that is refused for good is not kept for the next try.
    durable::replace(&unfinished, &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let reason = RevocationReason::KeyCompromise;
    let serial = X509::from_der(lost.certificate.as_ref()).unwrap().serial_number().to_bn().unwrap();
    certsrv.admin::<Revoke>(&RevokeRequest { serial: serial.to_hex_str().unwrap().to_string(), reason }).await.unwrap();
    let args = certsrv.join_args(&place, ServiceRole::Groupsrv).await;
    assert!(matches!(join(&state, &args).await, Err(JoinError::Call(_))));
    assert!(!unfinished.exists());
    assert_ne!(join(&state, &args).await.unwrap(), pin);
    certsrv.stop().await;
}
