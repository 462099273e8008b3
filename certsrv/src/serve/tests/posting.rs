use super::harness::{Running, call, key_and_csr};
use crate::tests::{address, ec_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, RevocationReason, Revoke, RevokeRequest};
use twinseal_proto::api::groups::{Leave, ListRequest};
use twinseal_proto::api::tokens::{
    ListPostingTokens, MakePostingToken, MakePostingTokenRequest, RevokePostingToken, RevokePostingTokenRequest,
};
use twinseal_proto::feed::{ExploderChange, View};

fn label(text: &str) -> MakePostingTokenRequest {
    MakePostingTokenRequest { label: text.into() }
}

/// What the exploder was told of posting tokens.
fn told(certsrv: &Running) -> (usize, usize) {
    let mut made = 0;
    let mut ended = 0;
    let entries = certsrv.app.registry.pages().read(0, u64::MAX, View::Exploder).unwrap().0;
    for entry in entries {
        match serde_json::from_str::<Option<ExploderChange>>(&entry.body).unwrap() {
            Some(ExploderChange::PostingToken { .. }) => made += 1,
            Some(ExploderChange::PostingTokenEnded { .. }) => ended += 1,
            _ => {}
        }
    }
    (made, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posting_token_is_its_members_and_opens_nothing_here() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    let (key, other) = (ec_key(), ec_key());
    let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
    let eves = certsrv.account("eve", Some(&other)).await.unwrap();
    let (ann, eve) = (certsrv.client(Some((&key, &certificate))), certsrv.client(Some((&other, &eves))));
    let nobody = call::<MakePostingToken>(&certsrv.client(None), &label("")).await.map(|_| ()).unwrap_err();
    assert_eq!(nobody.code, ProblemCode::NotAuthenticated);
    for bad in ["x".repeat(65), "a\r\nb".into()] {
        let refused = call::<MakePostingToken>(&ann, &label(&bad)).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, ProblemCode::BadRequest);
    }
    let made = call::<MakePostingToken>(&ann, &label("laptop")).await.unwrap();
    let shown = call::<ListPostingTokens>(&ann, &Nothing {}).await.unwrap();
    assert_eq!((shown.len(), shown[0].id, shown[0].label.as_str()), (1, made.id, "laptop"));
    assert!(call::<ListPostingTokens>(&eve, &Nothing {}).await.unwrap().is_empty());
    let revoke = RevokePostingTokenRequest { id: made.id };
    assert_eq!(call::<RevokePostingToken>(&eve, &revoke).await.unwrap_err().code, ProblemCode::NotFound);

    // As a token, as a password, for any name.
    let (_, request) = key_and_csr("ann");
    let basic = |name: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{}", made.token)));
    for credential in [format!("Bearer {}", made.token), basic("ann@members.test"), basic("x")] {
        assert_eq!(certsrv.enrol(&credential, &request).await.unwrap_err().code, ProblemCode::NotAuthenticated);
    }
    let body = format!("{{\"token\":\"{}\"}}", made.token);
    assert_eq!(certsrv.plain("POST", "/v1/confirm", "", &body).await.0, 401);

    assert_eq!(told(&certsrv), (1, 0));
    call::<RevokePostingToken>(&ann, &revoke).await.unwrap();
    assert_eq!(told(&certsrv), (1, 1));
    for n in 0..16 {
        call::<MakePostingToken>(&ann, &label(&n.to_string())).await.unwrap();
    }
    let refused = call::<MakePostingToken>(&ann, &label("one more")).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Conflict);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posting_tokens_end_with_the_certificate_and_with_the_last_membership() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", None).await;
    let (key, other) = (ec_key(), ec_key());
    let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
    let bobs = certsrv.account("bob", Some(&other)).await.unwrap();
    let (ann, bob) = (certsrv.client(Some((&key, &certificate))), certsrv.client(Some((&other, &bobs))));
    for list in ["one@lists.test", "two@lists.test"] {
        certsrv.group(list, "owner", JoinPolicy::Open).await;
        certsrv.put_in(list, &["ann", "bob"]).await;
    }
    for client in [&ann, &bob] {
        call::<MakePostingToken>(client, &label("")).await.unwrap();
    }
    let leave = |list: &str| ListRequest { list: list.parse().unwrap() };
    call::<Leave>(&ann, &leave("one@lists.test")).await.unwrap();
    assert_eq!(told(&certsrv), (2, 0));
    call::<Leave>(&ann, &leave("two@lists.test")).await.unwrap();
    assert_eq!(told(&certsrv), (2, 1));
    let current = certsrv.app.registry.view().account(&address("bob")).unwrap().unwrap().current.unwrap();
    let revoke = RevokeRequest { serial: current.to_string(), reason: RevocationReason::KeyCompromise };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(told(&certsrv), (2, 2));
    assert!(call::<MakePostingToken>(&bob, &label("")).await.is_err());
    certsrv.stop().await;
}
