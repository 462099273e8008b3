use super::harness::{Running, basic, config, key_and_csr};
use crate::init::{self, InitError};
use crate::tests::{address, ec_key};
use twinseal_proto::api::admin::certsrv::JoinPolicy;
use twinseal_svc::audit;

const LIST: &str = "team@lists.test";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_made_anew_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = config(&dir).state;
    let certsrv = Running::new(&dir).await;
    certsrv.account("owner", Some(&ec_key())).await;
    certsrv.account("ann", None).await;
    certsrv.group(LIST, "owner", JoinPolicy::Closed).await;
    certsrv.put_in(LIST, &["ann"]).await;
    certsrv.enrol(&basic("ann"), &key_and_csr("ann").1).await.unwrap();
    let (members, head) = (certsrv.members(LIST).await, *certsrv.app.registry.head().borrow());
    certsrv.stop().await;

    std::fs::remove_dir_all(state.join("index")).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!((certsrv.members(LIST).await, *certsrv.app.registry.head().borrow()), (members.clone(), head));
    // The rebuilt index knows the next membership number too.
    certsrv.account("bob", Some(&ec_key())).await;
    certsrv.put_in(LIST, &["bob"]).await;
    let numbers: Vec<u32> = ["owner", "ann", "bob"]
        .iter()
        .map(|name| {
            let view = certsrv.app.registry.view();
            let group = view.group(&LIST.parse().unwrap()).unwrap().unwrap().group;
            view.member(&group, &address(name)).unwrap().unwrap().number.0
        })
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    certsrv.stop().await;

    // A torn end: the last commit's last line lost its line end.
    let log = state.join("feed/feed-000001.log");
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [whole.as_slice(), br#"{"header":"torn"#].concat()).unwrap();
    let certsrv = Running::start(&dir).await;
    assert_eq!(certsrv.members(LIST).await.len(), 3);
    certsrv.stop().await;
    assert_eq!(std::fs::read(&log).unwrap(), whole);
    assert!(audit::verify(&state.join("audit")).unwrap().records > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_entries_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    certsrv.account("bob", None).await;
    certsrv.stop().await;
    let log = config(&dir).state.join("feed/feed-000001.log");
    let text = std::fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    std::fs::write(&log, format!("{first}\n")).unwrap();
    let refused = crate::serve::open(config(&dir), Default::default()).await.err().unwrap();
    assert!(refused.to_string().contains("entries are lost"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_comes_first_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let refused = crate::serve::open(config.clone(), Default::default()).await.err().unwrap();
    assert!(refused.to_string().contains("init"), "{refused}");
    init::init(&config, config.ca_key_type).await.unwrap();
    assert!(matches!(init::init(&config, config.ca_key_type).await, Err(InitError::Already(_))));
    let certsrv = Running::start(&dir).await;
    assert!(matches!(init::init(&config, config.ca_key_type).await, Err(InitError::InUse(_))));
    certsrv.stop().await;
}
