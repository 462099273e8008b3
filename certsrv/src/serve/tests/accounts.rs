//! Log-in: guesses, locks, and what becomes of accounts.

use super::harness::{Running, basic, call, key_and_csr, serial};
use crate::tests::{address, csr, ec_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::accounts::{
    AccountRequest, ListAccounts, LockAccount, RemoveAccount, SetPassword, SetPasswordRequest, ShowAccount,
    UnlockAccount, Whose,
};
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, JoinPolicy, NewAccount, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::groups::{Join, ListRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::B64;

const ENROLL: &str = "smime/simpleenroll";

fn with_password(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}@members.test:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_counted_alike_for_accounts_that_are_there_and_not() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    for name in ["ann", "locked", "right"] {
        certsrv.account(name, None).await;
    }
    certsrv.admin::<LockAccount>(&Whose::Address(address("locked"))).await.unwrap();
    let (_, request) = key_and_csr("ann");
    let mut seen: Vec<Vec<(u16, String)>> = Vec::new();
    for (name, password) in [("ann", "guess"), ("nobody", "guess"), ("locked", "password of locked")] {
        let before = certsrv.app.metrics.passwords_hashed();
        let mut answers = Vec::new();
        for _ in 0..12 {
            let (status, head, body) = certsrv.est("POST", ENROLL, &with_password(name, password), &request).await;
            let problem: Problem = serde_json::from_str(&body).unwrap();
            assert_eq!(head.contains("retry-after:"), status == 429, "{head}");
            assert_eq!(problem.retry_after.is_some(), status == 429);
            // Seconds pass while this runs.
            let digits = |c: char| c.is_ascii_digit();
            answers.push((status, problem.detail.replace(digits, "")));
        }
        assert_eq!(certsrv.app.metrics.passwords_hashed() - before, 10, "{name}: the same work");
        seen.push(answers);
    }
    assert_eq!(seen[0][9].0, 401);
    assert_eq!(seen[0][10].0, 429);
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "{seen:?}");
    // Who is known by the right password does not wait, however often; the token is another way in.
    for _ in 0..30 {
        let (status, ..) = certsrv.est("POST", ENROLL, &basic("right"), b"rubbish").await;
        assert_eq!(status, 400);
    }
    let token = certsrv.enrol_token("ann").await;
    certsrv.enrol(&format!("Bearer {token}"), &request).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_account_is_entered_by_no_way_and_keeps_its_memberships() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await;
    let key = ec_key();
    let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
    certsrv.put_in("team@lists.test", &["ann"]).await;
    let token = certsrv.enrol_token("ann").await;
    certsrv.admin::<LockAccount>(&Whose::Serial(serial(&certificate))).await.unwrap();
    let request = csr(&key, &["email:ann@members.test"]);
    let client = certsrv.client(Some((&key, &certificate)));
    let join = ListRequest { list: "team@lists.test".parse().unwrap() };
    assert_eq!(call::<Join>(&client, &join).await.unwrap_err().code, ProblemCode::NotAuthorised);
    for authorization in [basic("ann"), format!("Bearer {token}")] {
        assert_eq!(certsrv.enrol(&authorization, &request).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    }
    assert_eq!(certsrv.members("team@lists.test").await.len(), 2);
    assert!(certsrv.admin::<ListAccounts>(&Nothing {}).await.unwrap()[0].locked);
    certsrv.admin::<UnlockAccount>(&AccountRequest { address: address("ann") }).await.unwrap();
    assert!(call::<Join>(&client, &join).await.unwrap().member);
    certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_die_with_a_compromised_key() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    for (reason, dead) in [(RevocationReason::Superseded, false), (RevocationReason::KeyCompromise, true)] {
        let name = if dead { "ann" } else { "bob" };
        let certificate = certsrv.account(name, Some(&ec_key())).await.unwrap();
        let token = format!("Bearer {}", certsrv.enrol_token(name).await);
        certsrv.admin::<Revoke>(&RevokeRequest { serial: serial(&certificate), reason }).await.unwrap();
        let (_, request) = key_and_csr(name);
        assert_eq!(certsrv.enrol(&token, &request).await.is_err(), dead, "{reason:?}");
    }
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_certifies_no_lost_key() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let key = ec_key();
    let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
    let reason = RevocationReason::KeyCompromise;
    certsrv.admin::<Revoke>(&RevokeRequest { serial: serial(&certificate), reason }).await.unwrap();
    let public_key = Some(B64(key.public_key_to_der().unwrap()));
    let accounts = vec![NewAccount { address: address("bob"), password: None, public_key }];
    let refused = certsrv.admin::<AddAccounts>(&AddAccountsRequest { accounts }).await.unwrap_err();
    assert!(refused.contains("compromised"), "{refused}");
    assert_eq!(certsrv.admin::<ListAccounts>(&Nothing {}).await.unwrap().len(), 1, "all or none");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_change_and_accounts_end() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await;
    certsrv.account("ann", None).await;
    let (key, request) = key_and_csr("ann");
    let certificate = certsrv.enrol(&basic("ann"), &request).await.unwrap();
    certsrv.put_in("team@lists.test", &["ann"]).await;
    let set =
        |password: Option<&str>| SetPasswordRequest { address: address("ann"), password: password.map(str::to_owned) };
    certsrv.admin::<SetPassword>(&set(Some("another"))).await.unwrap();
    assert!(certsrv.enrol(&basic("ann"), &request).await.is_err());
    certsrv.enrol(&with_password("ann", "another"), &request).await.unwrap();
    certsrv.admin::<SetPassword>(&set(None)).await.unwrap();
    assert!(certsrv.enrol(&with_password("ann", "another"), &request).await.is_err());
    assert!(certsrv.admin::<SetPassword>(&set(Some(""))).await.is_err());
    let shown = certsrv.admin::<ShowAccount>(&AccountRequest { address: address("ann") }).await.unwrap();
    assert_eq!((shown.account.password, shown.certificates.len()), (false, 2));
    assert!(shown.account.encryption.is_some() && shown.certificates.iter().all(|one| one.live));

    let owner = certsrv.admin::<RemoveAccount>(&AccountRequest { address: address("owner") }).await.unwrap_err();
    assert!(owner.contains("last owner"), "{owner}");
    let token = certsrv.enrol_token("ann").await;
    certsrv.admin::<RemoveAccount>(&AccountRequest { address: address("ann") }).await.unwrap();
    assert_eq!(certsrv.members("team@lists.test").await.len(), 1);
    let join = ListRequest { list: "team@lists.test".parse().unwrap() };
    let refused = call::<Join>(&certsrv.client(Some((&key, &certificate))), &join).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthenticated);
    // Whoever has the address next gets nothing of it.
    certsrv.account("ann", None).await;
    assert!(certsrv.enrol(&format!("Bearer {token}"), &request).await.is_err());
    assert!(certsrv.current("ann").is_none());
    certsrv.stop().await;
}
