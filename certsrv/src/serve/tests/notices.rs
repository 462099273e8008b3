use super::harness::{Running, call, config, key_and_csr};
use super::smarthost::Smarthost;
use crate::audit::Actor;
use crate::config::Config;
use crate::rows::{Notice, NoticeEnd, Wish};
use crate::tests::address;
use crate::tokens::login;
use crate::{init, notices, requests};
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{
    JoinPolicy, MembersRequest, RemoveMembers, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::admin::notices::{DropNotice, DropNoticeRequest, ListNotices};
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest};
use twinseal_proto::api::groups::{Join, Leave, ListRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{ProblemCode, tokens::Confirmed};
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::{Epoch, GroupId};
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;

const ASK: &str = "/v1/login/mail";
const CONFIRM: &str = "/v1/confirm";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

async fn with_mail(dir: &tempfile::TempDir) -> (Running, Smarthost) {
    let smarthost = Smarthost::new().await;
    let config = smarthost.config(dir);
    init::init(&config, config.ca_key_type).await.unwrap();
    (Running::start_with(dir, config).await, smarthost)
}

fn asks(name: &str) -> String {
    format!("{{\"address\":\"{name}@members.test\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_logs_in_and_enrols_once() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("ann", None).await;
    let (status, _, _) = certsrv.plain("POST", ASK, "", &asks("ann")).await;
    assert_eq!(status, 200);
    let mail = smarthost.wait(1).await.remove(0);
    assert_eq!((mail.sender.as_str(), mail.to.as_str()), ("<>", "ann@members.test"));
    assert_eq!(mail.field("Auto-Submitted"), Some("auto-generated"));
    let token = mail.token();
    // Neither log nor index nor audit has it.
    let files = files(&config(&dir).state);
    assert!(files.iter().any(|file| file.ends_with("mail/token.key")));
    for file in files {
        let octets = std::fs::read(&file).unwrap();
        assert!(!octets.windows(token.len()).any(|window| window == token.as_bytes()), "{}", file.display());
    }
    let bearer = format!("Bearer {token}");
    let (_, bobs) = key_and_csr("bob");
    assert_eq!(certsrv.enrol(&bearer, &bobs).await.unwrap_err().code, ProblemCode::NotAuthorised);
    let (_, request) = key_and_csr("ann");
    certsrv.enrol(&bearer, &request).await.unwrap();
    let (_, other) = key_and_csr("ann");
    assert_eq!(certsrv.enrol(&bearer, &other).await.unwrap_err().code, ProblemCode::NotAuthenticated, "used");
    // It confirms nothing.
    let (status, ..) = certsrv.plain("POST", CONFIRM, "", &format!("{{\"token\":\"{token}\"}}")).await;
    assert_eq!(status, 401);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_of_a_domain_that_registers_makes_its_account() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.group("team@members.test", "owner", JoinPolicy::Open).await;
    let others = ["eve@elsewhere.test", "team@members.test", "team-owner@members.test", "MAILER-DAEMON@members.test"];
    for known in others.into_iter().chain(["new@members.test"]) {
        let now = UnixTime::now();
        let queued = login::queue(&certsrv.app, known.parse().unwrap(), now).await.unwrap();
        assert_eq!(queued, known == "new@members.test", "{known}");
    }
    let bearer = format!("Bearer {}", smarthost.wait(1).await[0].token());
    assert!(certsrv.app.registry.view().account(&address("new")).unwrap().is_none(), "not before the token is used");
    let (_, request) = key_and_csr("new");
    certsrv.enrol(&bearer, &request).await.unwrap();
    assert!(certsrv.app.registry.view().account(&address("new")).unwrap().is_some());
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_questions_are_one_mail_and_all_answers_are_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("ann", None).await;
    let (head, known) = ask(&certsrv, "ann@members.test").await;
    for other in ["nobody@elsewhere.test", "MAILER-DAEMON@members.test", "ann@members.test"] {
        assert_eq!(ask(&certsrv, other).await, (head.clone(), known.clone()), "{other}");
    }
    // Nothing is looked up before the answer: it does not wait for whoever holds the index.
    let app = Arc::clone(&certsrv.app);
    let holding = tokio::spawn(async move {
        let hold = |_: &mut crate::store::Tx<'_>| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        };
        app.registry.commit(Actor::Clock, hold).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for address in ["ann@members.test", "nobody@elsewhere.test"] {
        assert_eq!(ask(&certsrv, address).await, (head.clone(), known.clone()));
    }
    assert!(!holding.is_finished());
    holding.await.unwrap().unwrap();
    for _ in 0..10_000 {
        login::queue(&certsrv.app, address("ann"), UnixTime::now()).await.unwrap();
    }
    let last = certsrv.app.registry.head().borrow().sequence;
    let mails = smarthost.wait(1).await;
    assert_eq!(mails.len(), 1);
    // A day later there is one more.
    let later = UnixTime::now().plus(86_400);
    assert!(login::queue(&certsrv.app, address("ann"), later).await.unwrap());
    assert!(!login::queue(&certsrv.app, address("ann"), later.plus(1)).await.unwrap());
    assert!(certsrv.app.registry.head().borrow().sequence <= last + 4, "the log does not grow by questions");
    // One source asks twenty times an hour; six were above.
    let mut refused = 0;
    for _ in 0..20 {
        let (status, _, body) = certsrv.plain("POST", ASK, "", &asks("ann")).await;
        refused += usize::from(status == 429 && body.contains("rate-limited"));
    }
    assert_eq!(refused, 6);
    certsrv.stop().await;
}

async fn ask(certsrv: &Running, address: &str) -> (String, String) {
    let (status, head, body) = certsrv.plain("POST", ASK, "", &format!("{{\"address\":\"{address}\"}}")).await;
    assert_eq!(status, 200, "{body}");
    let head = head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
    (head, body)
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// `name` asks to join, and the mailbox is to confirm it.
async fn wants_to_join(certsrv: &Running, group: GroupId, name: &str, now: UnixTime) {
    let (app, wish) = (Arc::clone(&certsrv.app), Wish::Join { group, address: address(name) });
    let decide = move |tx: &mut crate::store::Tx<'_>| {
        let to = wish.address().clone();
        let request = requests::make(tx, now, wish, false)?;
        notices::queue(&app, tx, now, Notice::Confirm { to, request: request.id })
    };
    assert!(certsrv.app.registry.commit(Actor::Account(address(name)), decide).await.unwrap().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_the_page_confirms_nothing_and_posting_does_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    for name in ["owner", "ann", "bob", "cas"] {
        certsrv.account(name, None).await;
    }
    let open = certsrv.group("open@lists.test", "owner", JoinPolicy::Open).await.group;
    let closed = certsrv.group("closed@lists.test", "owner", JoinPolicy::Closed).await.group;
    let mut tokens = Vec::new();
    let today = UnixTime::now();
    // The last asks again a day later: another mail for the same request.
    let all = [(open, "ann", 0), (open, "bob", 0), (closed, "cas", 0), (closed, "cas", 86_400)];
    for (group, name, later) in all {
        wants_to_join(&certsrv, group, name, today.plus(later)).await;
        let mail = smarthost.wait(1).await.remove(0);
        assert_eq!(mail.to, format!("{name}@members.test"));
        assert!(mail.text.len() <= 2048);
        let token = mail.token();
        assert!(mail.text.contains(&format!("https://127.0.0.1:1/confirm?token={token}")));
        tokens.push(token);
    }
    let members = async |list: &str| certsrv.members(list).await.len();
    let path = format!("/confirm?token={}&msg=%3Cb%3Ehello", tokens[0]);
    for _ in 0..10 {
        let (status, head, body) = certsrv.plain("GET", &path, "", "").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-security-policy: default-src 'none'; form-action 'self'"), "{head}");
        assert!(head.contains("referrer-policy: no-referrer") && head.contains("cache-control: no-store"));
        assert!(body.contains(&tokens[0]) && !body.contains("hello") && !body.contains("<script"));
    }
    let (status, ..) = certsrv.plain("GET", CONFIRM, "", "").await;
    assert_eq!((status, members("open@lists.test").await), (405, 1));

    let (status, _, body) = certsrv.plain("POST", CONFIRM, FORM, &format!("token={}", tokens[0])).await;
    assert_eq!((status, body.contains("It is done")), (200, true), "{body}");
    assert_eq!(members("open@lists.test").await, 2);
    // A second time, by both ways, and with what was never given out.
    for token in [tokens[0].clone(), "A".repeat(43)] {
        let (status, _, body) = certsrv.plain("POST", CONFIRM, FORM, &format!("token={token}")).await;
        assert_eq!((status, body.contains("not confirmed")), (401, true), "{body}");
        let (status, ..) = certsrv.plain("POST", CONFIRM, "", &format!("{{\"token\":\"{token}\"}}")).await;
        assert_eq!(status, 401);
    }
    // As a program does it; a closed list's owner has the last word.
    for (token, done, list) in [(&tokens[1], true, "open@lists.test"), (&tokens[2], false, "closed@lists.test")] {
        let (status, _, body) = certsrv.plain("POST", CONFIRM, "", &format!("{{\"token\":\"{token}\"}}")).await;
        assert_eq!(status, 200, "{body}");
        let wanted = Confirmed { list: Some(list.parse().unwrap()), done };
        assert_eq!(serde_json::from_str::<Confirmed>(&body).unwrap(), wanted);
    }
    assert_eq!((members("open@lists.test").await, members("closed@lists.test").await), (3, 1));
    let (status, ..) = certsrv.plain("POST", CONFIRM, "", &format!("{{\"token\":\"{}\"}}", tokens[3])).await;
    assert_eq!(status, 401, "confirmed already, with the other mail's token");
    // No token of these logs in.
    let (_, request) = key_and_csr("cas");
    assert!(certsrv.enrol(&format!("Bearer {}", tokens[2]), &request).await.is_err());
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_welcomed_and_seen_off() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("owner", None).await;
    certsrv.account("bob", None).await;
    certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await;
    let key = crate::tests::ec_key();
    let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
    let ann = certsrv.client(Some((&key, &certificate)));
    let list = ListRequest { list: "team@lists.test".parse().unwrap() };
    // Pending members are welcomed when they have a key.
    certsrv.put_in("team@lists.test", &["bob"]).await;
    call::<Join>(&ann, &list).await.unwrap();
    call::<Leave>(&ann, &list).await.unwrap();
    let goodbye = smarthost.wait(1).await.remove(0);
    assert!(goodbye.to == "ann@members.test" && goodbye.text.contains("no member of the list"), "{}", goodbye.text);
    let waiting = certsrv.admin::<ListNotices>(&Nothing {}).await.unwrap();
    assert!(waiting.iter().all(|one| one.to != address("bob")), "{waiting:?}");
    let bearer = format!("Bearer {}", certsrv.enrol_token("bob").await);
    certsrv.enrol(&bearer, &key_and_csr("bob").1).await.unwrap();
    // The list has no certificate yet: the welcome waits for it, and can be dropped.
    // What owners are told of members who come and go is gathered for an hour.
    let waits = async || {
        let mut all = certsrv.admin::<ListNotices>(&Nothing {}).await.unwrap();
        all.retain(|one| one.kind != "membership");
        all
    };
    for _ in 0..500 {
        if waits().await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waiting = waits().await;
    assert_eq!((waiting.len(), waiting[0].kind.as_str(), &waiting[0].to), (1, "welcome", &address("bob")));
    certsrv.admin::<DropNotice>(&DropNoticeRequest { id: waiting[0].id }).await.unwrap();
    assert!(waits().await.is_empty());
    let refused = certsrv.admin::<DropNotice>(&DropNoticeRequest { id: waiting[0].id }).await.unwrap_err();
    assert!(refused.contains("no mail"), "{refused}");
    // Leaving again within the hour says nothing new.
    call::<Join>(&ann, &list).await.unwrap();
    let members = MembersRequest { list: list.list, addresses: vec![address("ann")] };
    certsrv.admin::<RemoveMembers>(&members).await.unwrap();
    assert!(waits().await.is_empty());
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smarthost_that_says_later_is_asked_again_and_never_is_taken_at_its_word() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    for name in ["ann", "bob", "cas"] {
        certsrv.account(name, None).await;
    }
    smarthost.replies.lock().unwrap().extend(["451 4.3.0 later\r\n", "421 4.3.2 closing\r\n"]);
    login::queue(&certsrv.app, address("ann"), UnixTime::now()).await.unwrap();
    assert_eq!(smarthost.wait(1).await[0].to, "ann@members.test");
    smarthost.replies.lock().unwrap().push("550 5.1.1 no such mailbox\r\n");
    login::queue(&certsrv.app, address("bob"), UnixTime::now()).await.unwrap();
    while !certsrv.app.registry.view().notices().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    login::queue(&certsrv.app, address("cas"), UnixTime::now()).await.unwrap();
    assert_eq!(smarthost.wait(1).await[0].to, "cas@members.test", "nothing came for bob");
    certsrv.stop().await;
    let audit = std::fs::read_dir(config(&dir).state.join("audit")).unwrap();
    let audit: String = audit.map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap_or_default()).collect();
    assert!(audit.contains("\"end\":\"refused\"") && audit.contains("\"by\":\"anybody\""), "{audit}");
    assert_eq!(serde_json::to_string(&NoticeEnd::Refused).unwrap(), "\"refused\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_owed_outlasts_the_process_with_the_same_token() {
    let dir = tempfile::tempdir().unwrap();
    let smarthost = Smarthost::new().await;
    let config: Config = smarthost.config(&dir);
    init::init(&config, config.ca_key_type).await.unwrap();
    let away = Config {
        mail: config.mail.clone().map(|mail| crate::config::Mail { smarthost: "127.0.0.1:1".into(), ..mail }),
        ..config.clone()
    };
    let certsrv = Running::start_with(&dir, away).await;
    certsrv.account("ann", None).await;
    login::queue(&certsrv.app, address("ann"), UnixTime::now()).await.unwrap();
    let owed = certsrv.app.registry.view().notices().unwrap();
    certsrv.stop().await;
    std::fs::remove_dir_all(config.state.join("index")).unwrap();
    let certsrv = Running::start_with(&dir, config).await;
    let mail = smarthost.wait(1).await.remove(0);
    assert!(mail.field("Message-ID").unwrap().contains(&owed[0].id.to_string()));
    let digest = Token::presented(mail.token()).digest();
    assert!(certsrv.app.registry.view().token(&digest).unwrap().is_some());
    assert!(!login::queue(&certsrv.app, address("ann"), UnixTime::now()).await.unwrap(), "the limit outlasts it too");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_soon_ends_is_told_of_once_for_each_step() {
    let dir = tempfile::tempdir().unwrap();
    let smarthost = Smarthost::new().await;
    let config = Config { member_days: 20, ..smarthost.config(&dir) };
    init::init(&config, config.ca_key_type).await.unwrap();
    let certsrv = Running::start_with(&dir, config).await;
    let key = crate::tests::ec_key();
    certsrv.account("ann", Some(&key)).await;
    let queued = async |days: u64| {
        let before = certsrv.app.registry.view().notices().unwrap().len();
        notices::warn(&certsrv.app, UnixTime::now().plus(days * 86_400)).await.unwrap();
        certsrv.app.registry.view().notices().unwrap().len() - before
    };
    assert_eq!(queued(0).await, 1);
    let mail = smarthost.wait(1).await.remove(0);
    assert!(mail.field("Subject").unwrap().ends_with("ends within 30 days"), "{}", mail.text);
    assert!(mail.text.contains("twinseal renew"));
    while !certsrv.app.registry.view().notices().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(queued(1).await, 0, "the same step");
    assert_eq!(queued(14).await, 1);
    assert_eq!(queued(14).await, 0);
    // Who has another certificate, or none, is not concerned.
    let current = certsrv.app.registry.view().account(&address("ann")).unwrap().unwrap().current.unwrap();
    let revoke = RevokeRequest { serial: current.to_string(), reason: RevocationReason::Superseded };
    certsrv.admin::<Revoke>(&revoke).await.unwrap();
    assert_eq!(queued(19).await, 0);
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_of_what_waits_once_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("owner", None).await;
    let group = certsrv.group("team@lists.test", "owner", JoinPolicy::Closed).await.group;
    let asks = async |names: Vec<String>| {
        let app = Arc::clone(&certsrv.app);
        let decide = move |tx: &mut crate::store::Tx<'_>| {
            for name in names {
                let now = UnixTime::now();
                let request = requests::make(tx, now, Wish::Join { group, address: address(&name) }, true)?.id;
                assert!(notices::queue(&app, tx, now, Notice::Waiting { to: address("owner"), request, group })?);
            }
            Ok(())
        };
        certsrv.app.registry.commit(Actor::Administrator, decide).await.unwrap();
    };
    asks((0..99).map(|n| format!("m{n}")).collect()).await;
    let mail = smarthost.wait(1).await.remove(0);
    assert_eq!(mail.to, "owner@members.test");
    assert!(mail.text.contains("Waiting since the last such mail: 99."), "{}", mail.text);
    assert!(!mail.text.contains("m7@members.test"), "who asks does not write to owners");
    asks(vec!["late".into()]).await;
    // A mail to somebody else shows that the outbox went over it.
    login::queue(&certsrv.app, address("owner"), UnixTime::now()).await.unwrap();
    assert!(smarthost.wait(1).await[0].text.contains("your token for logging in"));
    assert_eq!(certsrv.app.registry.view().notices().unwrap().len(), 1, "the late one waits for the hour");
    certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_signs_with_a_key_that_is_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (certsrv, smarthost) = with_mail(&dir).await;
    certsrv.account("owner", None).await;
    let group = certsrv.group("team@lists.test", "owner", JoinPolicy::Open).await.group;
    let groupsrv = certsrv.join(ServiceRole::Groupsrv).await;
    let csr = B64(crate::tests::csr(&crate::tests::rsa_key(2048), &[]));
    let request = GroupCertificateRequest { group, epoch: Epoch(1), csr };
    call::<GroupCertificate>(&groupsrv.client, &request).await.unwrap();
    let signer = || certsrv.app.registry.view().list_signer(&group).unwrap().map(|serial| serial.to_string());
    let file = config(&dir).state.join(format!("signing/{group}.pem"));
    let mut keys = Vec::new();
    for (name, reason) in [("ann", Some(RevocationReason::Superseded)), ("bob", None), ("cas", None)] {
        certsrv.account(name, Some(&crate::tests::ec_key())).await;
        certsrv.put_in("team@lists.test", &[name]).await;
        let mail = smarthost.wait(1).await.remove(0);
        assert!(mail.text.contains("application/pkcs7-signature") && mail.to.starts_with(name), "{}", mail.text);
        keys.push((signer().unwrap(), std::fs::read(&file).unwrap()));
        if let Some(reason) = reason {
            certsrv.admin::<Revoke>(&RevokeRequest { serial: signer().unwrap(), reason }).await.unwrap();
        }
    }
    assert!(keys[0].0 != keys[1].0 && keys[0].1 != keys[1].1, "a revoked certificate's key is not used again");
    assert_eq!(keys[1], keys[2]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    certsrv.stop().await;
}
