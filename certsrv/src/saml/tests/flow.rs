//! The whole way in this process: from a client's link to a certificate, and what changes nothing.

use super::super::code::redeem;
use super::super::{begin, consume, unbind};
use super::idp::{Answer, TestIdp};
use super::{SamlConfig, settings};
use crate::app::App;
use crate::audit::Actor;
use crate::authn::Credentials;
use crate::change::Change;
use crate::config::Config;
use crate::enrol::{Enrolled, enrol};
use crate::rows::KeyUse;
use crate::serve::open;
use crate::tests::{address, csr, ec_key};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::UnbindAccountRequest;
use twinseal_proto::api::login::{LoginCodeRequest, LoginSession};
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// An open certsrv with one account, without listeners.
struct Open {
    app: Arc<App>,
    _lock: std::fs::File,
    _dir: TempDir,
}

/// A browser on its way: what it carries to the identity provider and back.
struct Browser {
    cookie: String,
    relay: String,
    request: String,
}

impl Open {
    async fn new(change: impl FnOnce(&mut SamlConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("idp.xml");
        std::fs::write(&path, TestIdp::trusted().metadata()).unwrap();
        let mut saml = SamlConfig { idp_metadata: path, ..settings() };
        change(&mut saml);
        let config = Config {
            state: dir.path().join("state"),
            names: vec!["127.0.0.1".into()],
            password_memory_kib: 64,
            saml: Some(saml),
            ..Config::default()
        };
        crate::init::init(&config, config.ca_key_type).await.unwrap();
        let (app, _, lock) = open(config, CancellationToken::new()).await.unwrap();
        let ann = Change::AccountAdded { address: address("ann"), password: None };
        app.registry.commit(Actor::Administrator, move |tx| Ok(tx.push(ann)?)).await.unwrap();
        Self { app, _lock: lock, _dir: dir }
    }

    /// A client opens a browser.
    async fn begin(&self) -> Browser {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let query = format!("/saml/login?port=4711&challenge={challenge}");
        let response = begin(State(Arc::clone(&self.app)), Request::get(query).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let field = |name| response.headers()[name].to_str().unwrap().to_owned();
        let (location, cookie) = (field(header::LOCATION), field(header::SET_COOKIE));
        assert!(location.starts_with("https://idp.test/sso?a=b&SAMLRequest="), "{location}");
        assert!(cookie.starts_with("__Host-twinseal-saml="), "{cookie}");
        for wanted in ["; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=None"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        let relay = location.split_once("&RelayState=").unwrap().1.to_owned();
        // What the identity provider reads in the request.
        let (saml, now) = (self.app.saml.as_ref().unwrap(), UnixTime::now());
        let key = Token::presented(relay.clone()).digest();
        let pending = saml.pending.take(now, &key).unwrap();
        let request = pending.request.clone();
        saml.pending.put(now, key, pending);
        Browser { cookie: cookie.split(';').next().unwrap().to_owned(), relay, request }
    }

    /// The browser brings `response`: status, header, body.
    async fn bring(&self, browser: &Browser, response: &str) -> (StatusCode, HeaderMap, String) {
        let field = |text: &str| text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D");
        let form = format!("SAMLResponse={}&RelayState={}", field(&STANDARD.encode(response)), field(&browser.relay));
        self.post(&browser.cookie, form).await
    }

    async fn post(&self, cookie: &str, form: String) -> (StatusCode, HeaderMap, String) {
        let request = Request::post("/saml/acs")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, cookie)
            .body(Body::from(form))
            .unwrap();
        let (head, body) = consume(State(Arc::clone(&self.app)), request).await.into_parts();
        let body = to_bytes(body, 65_536).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Logs in from end to end; the code, or `None` when the log-in was refused.
    async fn log_in(&self, answer: &Answer) -> Option<String> {
        let browser = self.begin().await;
        let response = TestIdp::trusted().assertion_signed(&to(answer, &browser));
        let (status, head, _) = self.bring(&browser, &response).await;
        (status == StatusCode::SEE_OTHER).then(|| code(&head))
    }

    async fn redeem(&self, code: &str, verifier: &str) -> Result<LoginSession, ProblemCode> {
        let request = LoginCodeRequest { code: code.into(), verifier: verifier.into() };
        redeem(Arc::clone(&self.app), Caller::Anonymous, request).await.map_err(|problem| problem.code)
    }

    fn sequence(&self) -> u64 {
        self.app.registry.head().borrow().sequence
    }
}

/// `answer` to this browser's request, with an ID of its own.
fn to(answer: &Answer, browser: &Browser) -> Answer {
    let id = format!("_a{}", browser.request);
    Answer { request: browser.request.clone(), confirmed_request: browser.request.clone(), id, ..answer.clone() }
}

fn code(head: &HeaderMap) -> String {
    let location = head[header::LOCATION].to_str().unwrap();
    location.strip_prefix("http://127.0.0.1:4711/?code=").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_gives_a_session_and_the_session_a_certificate() {
    let certsrv = Open::new(|_| ()).await;
    let code = certsrv.log_in(&Answer::default()).await.unwrap();
    let session = certsrv.redeem(&code, VERIFIER).await.unwrap();
    assert_eq!(session.address, address("ann"));
    assert_eq!(certsrv.redeem(&code, VERIFIER).await.err(), Some(ProblemCode::NotAuthenticated), "works once");
    let enrol = async |name: &str| {
        let token = Credentials::Token(Token::presented(session.token.clone()));
        let request = csr(&ec_key(), &[&format!("email:{name}@members.test")]);
        match enrol(&certsrv.app, token, KeyUse::Both, &request).await {
            Ok(Enrolled::Certificate(der)) => Some(der),
            _ => None,
        }
    };
    assert!(enrol("bob").await.is_none(), "for its own account only");
    let certificate = openssl::x509::X509::from_der(&enrol("ann").await.unwrap()).unwrap();
    assert_eq!(twinseal_proto::cert::mail_addresses(&certificate), ["ann@members.test"]);
    let audit: String = std::fs::read_dir(certsrv.app.config.state.join("audit"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!((audit.matches("\"account-bound\"").count(), audit.matches("\"logged-in\"").count()), (1, 1));
    assert!(!audit.contains("subject-7"), "the name at the identity provider is nobody's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_worth_nothing_without_the_verifier() {
    let certsrv = Open::new(|_| ()).await;
    let code = certsrv.log_in(&Answer::default()).await.unwrap();
    let guess = "x".repeat(43);
    for verifier in [guess.as_str(), VERIFIER] {
        let refused = certsrv.redeem(&code, verifier).await.err();
        assert_eq!(refused, Some(ProblemCode::NotAuthenticated), "the first attempt used it up");
    }
    assert_eq!(certsrv.redeem("guess", VERIFIER).await.err(), Some(ProblemCode::NotAuthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_good_once_and_in_its_own_browser() {
    let certsrv = Open::new(|_| ()).await;
    let idp = TestIdp::trusted();
    let (one, other) = (certsrv.begin().await, certsrv.begin().await);
    let response = idp.assertion_signed(&to(&Answer::default(), &one));

    // Another browser's cookie, and none: the request is used up too.
    let stolen = Browser { cookie: other.cookie.clone(), relay: one.relay.clone(), request: one.request.clone() };
    let before = certsrv.sequence();
    for browser in [&stolen, &one] {
        let (status, head, page) = certsrv.bring(browser, &response).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(head[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        assert_eq!(head[header::CACHE_CONTROL], "no-store");
        assert!(page.contains("The log-in failed") && !page.contains("ann") && !page.contains("browser."), "{page}");
    }
    // A response to another request of another browser.
    assert_eq!(certsrv.bring(&other, &response).await.0, StatusCode::FORBIDDEN);

    let third = certsrv.begin().await;
    let good = idp.assertion_signed(&to(&Answer::default(), &third));
    assert_eq!(certsrv.sequence(), before, "nothing changed");
    assert_eq!(certsrv.bring(&third, &good).await.0, StatusCode::SEE_OTHER);
    assert_eq!(certsrv.bring(&third, &good).await.0, StatusCode::FORBIDDEN, "replayed");
    // The same assertion ID in a response to another request, as a careless identity provider might make it.
    let fourth = certsrv.begin().await;
    let again = Answer { id: to(&Answer::default(), &third).id, ..to(&Answer::default(), &fourth) };
    assert_eq!(certsrv.bring(&fourth, &idp.assertion_signed(&again)).await.0, StatusCode::FORBIDDEN, "same ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_belongs_to_its_first_subject() {
    let certsrv = Open::new(|_| ()).await;
    let eve = Answer { name_id: "subject-eve".into(), ..Answer::default() };
    let bob = Answer { mail: "bob@members.test".into(), ..eve.clone() };
    let before = certsrv.sequence();
    assert!(certsrv.log_in(&bob).await.is_none(), "no account");
    assert_eq!(certsrv.sequence(), before);
    assert!(certsrv.log_in(&Answer::default()).await.is_some());
    let bound = certsrv.sequence();
    assert_eq!(bound, before + 1);
    assert!(certsrv.log_in(&eve).await.is_none(), "another subject with the same address");
    let shout = Answer { mail: "Ann@Members.TEST".into(), ..Answer::default() };
    assert!(certsrv.log_in(&shout).await.is_some(), "the same one again");
    assert_eq!(certsrv.sequence(), bound);
    let unbind = async |name| {
        let request = UnbindAccountRequest { address: address(name) };
        unbind(Arc::clone(&certsrv.app), Caller::Administrator, request).await.map_err(|problem| problem.code)
    };
    assert_eq!(unbind("bob").await.err(), Some(ProblemCode::NotFound));
    assert_eq!(unbind("ann").await.unwrap().sequence, bound + 1);
    assert!(certsrv.log_in(&eve).await.is_some(), "after an administrator's word");
    assert!(certsrv.log_in(&Answer::default()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_where_that_is_configured() {
    let certsrv = Open::new(|saml| saml.create_accounts = true).await;
    let bob = Answer { mail: "bob@members.test".into(), ..Answer::default() };
    assert!(certsrv.log_in(&bob).await.is_some());
    assert!(certsrv.app.registry.view().account(&address("bob")).unwrap().unwrap().bound.is_some());
    let before = certsrv.sequence();
    let foreign = Answer { mail: "eve@elsewhere.test".into(), name_id: "eve".into(), ..Answer::default() };
    assert!(certsrv.log_in(&foreign).await.is_none());
    assert_eq!(certsrv.sequence(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_forms_change_nothing_and_use_nothing_up() {
    let certsrv = Open::new(|_| ()).await;
    let browser = certsrv.begin().await;
    let before = certsrv.sequence();
    for form in [
        String::new(),
        format!("RelayState={}", browser.relay),
        format!("SAMLResponse=a&SAMLResponse=b&RelayState={}", browser.relay),
        "SAMLResponse=a&RelayState=guess".into(),
        format!("SAMLResponse={}&RelayState={}", "A".repeat(256 * 1024), browser.relay),
    ] {
        assert_eq!(certsrv.post(&browser.cookie, form).await.0, StatusCode::FORBIDDEN);
    }
    let good = TestIdp::trusted().assertion_signed(&to(&Answer::default(), &browser));
    let crowd = certsrv.app.saml.as_ref().unwrap().arriving.try_acquire_many(64).unwrap();
    assert_eq!(certsrv.bring(&browser, &good).await.0, StatusCode::FORBIDDEN, "too many at once");
    drop(crowd);
    assert_eq!(certsrv.bring(&browser, &good).await.0, StatusCode::SEE_OTHER);
    assert_eq!(certsrv.sequence(), before + 1);
    let request = Request::get("/saml/login?port=80&challenge=%3Cb%3E").body(Body::empty());
    let refused = begin(State(Arc::clone(&certsrv.app)), request.unwrap()).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = String::from_utf8(to_bytes(refused.into_body(), 65_536).await.unwrap().to_vec()).unwrap();
    assert!(!page.contains("<b>") && !page.contains("%3C"), "{page}");
}
