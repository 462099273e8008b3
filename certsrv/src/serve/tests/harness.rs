//! A running certsrv in a temporary directory, and those who call it.

use crate::app::App;
use crate::config::Config;
use crate::rows::Certificate;
use crate::serve::{clients, open};
use crate::tests::ec_key;
use crate::{init, notices, router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkcs7::Pkcs7;
use openssl::pkey::{PKey, Private, Public};
use openssl::x509::X509;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, AddMembers, CreateGroup, CreateGroupRequest, EnrolToken, EnrolTokenRequest, Group,
    JoinPolicy, ListMembers, ListMembersRequest, Member, MembersRequest, NewAccount, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Endpoint, Problem};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{EntryHeader, View};
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::join::{FeedTrust, JoinArgs, join};
use twinseal_svc::tls::{Identity, acceptor, connector};
use twinseal_svc::{admin, durable, http};

/// A certsrv that runs.
pub(super) struct Running {
    pub(super) app: Arc<App>,
    pub(super) url: String,
    /// Address of the plain HTTP listener.
    pub(super) http: String,
    admin: PathBuf,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _lock: std::fs::File,
}

/// A service that joined.
pub(super) struct Joined {
    pub(super) client: Client,
    pub(super) trust: FeedTrust,
    pub(super) pin: Digest,
    pub(super) identity: Identity,
    pub(super) _dir: TempDir,
}

impl Joined {
    pub(super) fn feed_key(&self) -> PKey<Public> {
        self.trust.key().unwrap()
    }
}

pub(super) fn config(dir: &TempDir) -> Config {
    Config {
        state: dir.path().join("state"),
        admin_socket: dir.path().join("admin.sock"),
        names: vec!["127.0.0.1".into(), "certsrv.test".into()],
        evaluation: true,
        public_url: "http://pki.test".into(),
        password_memory_kib: 64,
        ..Config::default()
    }
}

impl Running {
    /// Initialises and starts one in `dir`.
    pub(super) async fn new(dir: &TempDir) -> Self {
        let config = config(dir);
        init::init(&config, config.ca_key_type).await.unwrap();
        Self::start(dir).await
    }

    /// Starts the one that is in `dir`.
    pub(super) async fn start(dir: &TempDir) -> Self {
        Self::start_with(dir, config(dir)).await
    }

    /// Starts the one that is in `dir` with this configuration; its own mail is sent where there is a way for it.
    pub(super) async fn start_with(dir: &TempDir, config: Config) -> Self {
        let stop = CancellationToken::new();
        let (app, identity, lock) = open(config, stop.clone()).await.unwrap();
        let smarthost = app.config.mail.as_ref().map(|mail| notices::Smarthost::new(mail).unwrap());
        let tls = acceptor(&identity, clients(&app)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = plain.local_addr().unwrap().to_string();
        let admin = dir.path().join("admin.sock");
        let _ = std::fs::remove_file(&admin);
        let socket = tokio::net::UnixListener::bind(&admin).unwrap();
        let tasks = vec![
            tokio::spawn(notices::run(Arc::clone(&app), smarthost)),
            tokio::spawn(http::serve_tls(listener, tls, router::https(&app), stop.clone())),
            tokio::spawn(http::serve_plain(plain, router::plain(&app), stop.clone())),
            tokio::spawn(admin::serve(socket, router::admin(&app), stop.clone())),
        ];
        Self { app, url, http: at, admin, stop, tasks, _lock: lock }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        // The index is locked until its last holder has gone.
        let app = Arc::downgrade(&self.app);
        drop(self.app);
        for _ in 0..300 {
            if app.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An administrator's call.
    pub(super) async fn admin<E: Endpoint>(&self, request: &E::Request) -> Result<E::Response, String> {
        admin::call::<E>(&self.admin, request).await.map_err(|e| e.to_string())
    }

    /// Makes an account; with a key, it is certified at once.
    pub(super) async fn account(&self, name: &str, key: Option<&PKey<Private>>) -> Option<X509> {
        let account = NewAccount {
            address: crate::tests::address(name),
            password: Some(format!("password of {name}")),
            public_key: key.map(|key| B64(key.public_key_to_der().unwrap())),
        };
        let mut added = self.admin::<AddAccounts>(&AddAccountsRequest { accounts: vec![account] }).await.unwrap();
        added.certificates.remove(0).map(|der| X509::from_der(der.as_ref()).unwrap())
    }

    /// Makes an account with a key, and gives somebody who calls with it.
    pub(super) async fn caller(&self, name: &str) -> Client {
        let key = ec_key();
        let certificate = self.account(name, Some(&key)).await.unwrap();
        self.client(Some((&key, &certificate)))
    }

    pub(super) async fn group(&self, list: &str, owner: &str, policy: JoinPolicy) -> Group {
        self.admin::<CreateGroup>(&group_request(list, owner, policy)).await.unwrap()
    }

    pub(super) async fn put_in(&self, list: &str, names: &[&str]) {
        let addresses: Vec<MailAddress> = names.iter().map(|name| crate::tests::address(name)).collect();
        self.admin::<AddMembers>(&MembersRequest { list: list.parse().unwrap(), addresses }).await.unwrap();
    }

    pub(super) async fn members(&self, list: &str) -> Vec<Member> {
        let list: ListAddress = list.parse().unwrap();
        self.admin::<ListMembers>(&ListMembersRequest { list }).await.unwrap()
    }

    pub(super) async fn enrol_token(&self, name: &str) -> String {
        let request = EnrolTokenRequest { address: crate::tests::address(name) };
        self.admin::<EnrolToken>(&request).await.unwrap().token
    }

    /// Lets a service join, as it would itself.
    pub(super) async fn join(&self, role: ServiceRole) -> Joined {
        let dir = tempfile::tempdir().unwrap();
        let args = self.join_args(&dir, role).await;
        let state = dir.path().join("state");
        let pin = join(&state, &args).await.unwrap();
        let identity = Identity::load(&state.join("tls")).unwrap();
        let client = Client::pinned(&self.url, &self.app.root, self.app.pin, Some(&identity)).unwrap();
        Joined { client, trust: FeedTrust::load(&state).unwrap(), pin, identity, _dir: dir }
    }

    /// What a service needs to join once.
    pub(super) async fn join_args(&self, dir: &TempDir, role: ServiceRole) -> JoinArgs {
        let issued = self.admin::<ServiceToken>(&ServiceTokenRequest { role }).await.unwrap();
        let (token_file, root) = (dir.path().join("token"), dir.path().join("root.pem"));
        durable::replace(&token_file, issued.token.as_bytes()).unwrap();
        durable::replace(&root, issued.root.as_bytes()).unwrap();
        JoinArgs {
            certsrv: self.url.clone(),
            pin: issued.certsrv_pin,
            root,
            token_file,
            names: vec!["127.0.0.1".into()],
        }
    }

    /// A caller with this certificate, or with none.
    pub(super) fn client(&self, own: Option<(&PKey<Private>, &X509)>) -> Client {
        let identity =
            own.map(|(key, certificate)| Identity::new(key.clone(), vec![certificate.clone()], self.app.root.clone()));
        Client::pinned(&self.url, &self.app.root, self.app.pin, identity.as_ref()).unwrap()
    }

    /// A plain HTTP/1.1 request as a stock client sends it: status, header section, body.
    pub(super) async fn plain(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, String, String) {
        self.plain_as(None, method, path, fields, body).await
    }

    /// The same, from the holder of a certificate.
    pub(super) async fn plain_as(
        &self,
        own: Option<(&PKey<Private>, &X509)>,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> (u16, String, String) {
        let identity = own.map(|(key, own)| Identity::new(key.clone(), vec![own.clone()], self.app.root.clone()));
        let tls = connector(&self.app.root, self.app.pin, identity.as_ref()).unwrap();
        let address = self.url.trim_start_matches("https://").to_owned();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        );
        let text = tokio::task::spawn_blocking(move || {
            let tcp = TcpStream::connect(address).unwrap();
            let tls = tls.configure().unwrap().use_server_name_indication(false).verify_hostname(false);
            let mut stream = tls.connect("x", tcp).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = Vec::new();
            stream.read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        })
        .await
        .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    /// A call of EST with base64 in its body: status, header section, body.
    pub(super) async fn est(&self, method: &str, path: &str, authorization: &str, csr: &[u8]) -> (u16, String, String) {
        let fields = format!("Authorization: {authorization}\r\nContent-Type: application/pkcs10\r\n");
        self.plain(method, &format!("/.well-known/est/{path}"), &fields, &STANDARD.encode(csr)).await
    }

    /// Posts a request for a certificate as the holder of one.
    pub(super) async fn post_as(
        &self,
        own: Option<(&PKey<Private>, &X509)>,
        path: &str,
        csr: &[u8],
    ) -> Result<X509, Problem> {
        let (status, _, body) = self.plain_as(own, "POST", path, "", &STANDARD.encode(csr)).await;
        if status == 200 { Ok(certificates(&body).remove(0)) } else { Err(serde_json::from_str(&body).unwrap()) }
    }

    /// The certificate that copies for an account are made for.
    pub(super) fn current(&self, name: &str) -> Option<Certificate> {
        let view = self.app.registry.view();
        let current = view.account(&crate::tests::address(name)).unwrap().unwrap().current;
        current.and_then(|serial| view.certificate(&serial).unwrap())
    }

    /// Enrols over EST; the certificate, or the problem.
    pub(super) async fn enrol(&self, authorization: &str, csr: &[u8]) -> Result<X509, Problem> {
        let fields = format!("Authorization: {authorization}\r\nContent-Type: application/pkcs10\r\n");
        let path = twinseal_proto::api::enrol::SIMPLE_ENROLL;
        let (status, head, body) = self.plain("POST", path, &fields, &STANDARD.encode(csr)).await;
        if status != 200 {
            return Err(serde_json::from_str(&body).unwrap());
        }
        assert!(head.contains("content-type: application/pkcs7-mime; smime-type=certs-only"), "{head}");
        let mut found = certificates(&body);
        assert_eq!(found.len(), 1);
        Ok(found.remove(0))
    }
}

/// What groupsrv is told, with the place in the feed: the kind and the whole.
pub(super) fn groupsrv_changes(certsrv: &Running) -> Vec<(u64, String, serde_json::Value)> {
    let entries = certsrv.app.registry.pages().read(0, u64::MAX, View::Groupsrv).unwrap().0;
    let read = |entry: &twinseal_proto::feed::SignedEntry| {
        let header: EntryHeader = serde_json::from_str(&entry.header).unwrap();
        let body: serde_json::Value = serde_json::from_str(&entry.body).unwrap();
        let kind = body.get("kind")?.as_str()?.to_owned();
        Some((header.sequence, kind, body))
    };
    entries.iter().filter_map(read).collect()
}

/// The certificates in a base64 certs-only message.
pub(super) fn certificates(body: &str) -> Vec<X509> {
    let text: String = body.split_whitespace().collect();
    let message = Pkcs7::from_der(&STANDARD.decode(text).unwrap()).unwrap();
    message.signed().unwrap().certificates().unwrap().iter().map(|c| c.to_owned()).collect()
}

/// SHA-256 of a key's SubjectPublicKeyInfo.
pub(super) fn key_digest(key: &PKey<Private>) -> Digest {
    Digest::of(&key.public_key_to_der().unwrap())
}

/// A serial number as administrators write it.
pub(super) fn serial(certificate: &X509) -> String {
    certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string()
}

pub(super) fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}@members.test:password of {name}")))
}

/// A call that should answer soon.
pub(super) async fn call<E: Endpoint>(client: &Client, request: &E::Request) -> Result<E::Response, Problem> {
    client.call::<E>(request, Duration::from_secs(20)).await.map_err(|error| match error {
        CallError::Refused(problem) => problem,
        CallError::Away(why) => panic!("{why}"),
    })
}

/// A key with a request for this member.
pub(super) fn key_and_csr(name: &str) -> (PKey<Private>, Vec<u8>) {
    let key = ec_key();
    let csr = crate::tests::csr(&key, &[&format!("email:{name}@members.test")]);
    (key, csr)
}

pub(super) fn group_request(list: &str, owner: &str, policy: JoinPolicy) -> CreateGroupRequest {
    CreateGroupRequest {
        signed: false,
        list: list.parse().unwrap(),
        owner: crate::tests::address(owner),
        mode: Default::default(),
        history: Default::default(),
        join: policy,
        settings: Default::default(),
    }
}
