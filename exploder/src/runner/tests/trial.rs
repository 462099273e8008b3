//! One exploder with its peers.

use super::peers::{FeedSource, Groupsrv, group, handle, recipient_info, serve};
use crate::config::{Config, SmarthostTls};
use crate::deliver::connect::Smarthost;
use crate::deliver::tests::server::{Script, Server};
use crate::engine::{Engine, Parts};
use crate::groupkeys::GroupKeys;
use crate::metrics::Metrics;
use crate::owners::ListPins;
use crate::queue::Queue;
use crate::receive::Receiver;
use crate::roster::Roster;
use crate::smtp::caps::Connections;
use crate::smtp::listen::{Deadlines, Listening, listen};
use crate::smtp::session::Settings;
use crate::spool::Spool;
use crate::spool::post::SpooledPost;
use crate::verp::VerpKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::feed::{DeliveryOptions, ExploderChange, ListSettings, PostLevel};
use twinseal_proto::ids::MemberNumber;
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;
use twinseal_svc::follow::trust::Followed;
use twinseal_svc::follow::{Lease, follow};
use twinseal_svc::store::Store;

pub(super) struct Trial {
    pub(super) dir: TempDir,
    engine: Option<Arc<Engine>>,
    pub(super) sink: Server,
    pub(super) feed: Arc<FeedSource>,
    pub(super) groupsrv: Arc<Groupsrv>,
    certificate: X509,
    smtp: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// The tail of the message that was posted last.
    tail: Mutex<Vec<u8>>,
}

impl Trial {
    pub(super) async fn start(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sink = Server::start(script).await;
        let feed = FeedSource::new();
        let (groupsrv, certificate) = Groupsrv::new();
        serve(&dir.path().join("peers.sock"), Arc::clone(&feed), Arc::clone(&groupsrv));
        let (engine, smtp, stop, tasks) = exploder(&dir, &sink, &feed).await;
        Self { dir, engine: Some(engine), sink, feed, groupsrv, certificate, smtp, stop, tasks, tail: Mutex::default() }
    }

    /// Stops the exploder in order and starts it on the same state.
    pub(super) async fn restart(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        // The index is closed when the last of its users is gone.
        let gone = self.engine.take().map(|engine| Arc::downgrade(&engine)).unwrap();
        while gone.upgrade().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (engine, smtp, stop, tasks) = exploder(&self.dir, &self.sink, &self.feed).await;
        (self.engine, self.smtp, self.stop, self.tasks) = (Some(engine), smtp, stop, tasks);
    }

    pub(super) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// Makes the list, with members `m1@members.test` and so on.
    pub(super) async fn members(&self, numbers: RangeInclusive<u32>) {
        let settings = ListSettings { post: PostLevel::From, ..ListSettings::default() };
        self.feed.add(&ExploderChange::GroupCreated {
            group: group(),
            list: "team@lists.test".parse().unwrap(),
            settings,
            signed: false,
        });
        for number in numbers {
            self.add(number, &format!("m{number}@members.test"));
        }
        self.followed().await;
    }

    pub(super) async fn join(&self, number: u32, address: &str) {
        self.add(number, address);
        self.followed().await;
    }

    fn add(&self, number: u32, address: &str) {
        let (handle, number, address) = (handle(number), MemberNumber(number), address.parse().unwrap());
        self.feed.add(&ExploderChange::MemberJoined {
            group: group(),
            handle,
            number,
            address,
            salt: None,
            signed: None,
        });
    }

    pub(super) async fn leave(&self, number: u32) {
        self.feed.add(&ExploderChange::MemberLeft { group: group(), handle: handle(number) });
        self.followed().await;
    }

    pub(super) async fn choose(&self, number: u32, options: DeliveryOptions) {
        self.feed.add(&ExploderChange::MemberOptions { group: group(), handle: handle(number), options });
        self.followed().await;
    }

    async fn followed(&self) {
        let wanted = self.feed.length();
        self.until(|_| self.engine().roster.sequence() == wanted && self.engine().lease.live()).await;
    }

    /// Waits until the queue is as wanted, at most ten seconds.
    pub(super) async fn until(&self, wanted: impl Fn(&Queue) -> bool) {
        for _ in 0..1000 {
            if wanted(&self.engine().queue()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {:?}", self.engine().queue().list(|_| 0));
    }

    pub(super) async fn until_empty(&self) {
        self.until(|queue| queue.len() == 0).await;
    }

    /// Posts a message with `size` octets of text; the last reply.
    pub(super) async fn post(&self, from: &str, size: usize) -> String {
        self.post_to("team@lists.test", from, size).await
    }

    pub(super) async fn post_to(&self, to: &str, from: &str, size: usize) -> String {
        let mut recipients = Stack::new().unwrap();
        recipients.push(self.certificate.clone()).unwrap();
        let text = "x".repeat(size);
        let cms = CmsContentInfo::encrypt(&recipients, text.as_bytes(), Cipher::aes_256_cbc(), CMSOptions::BINARY);
        let der = cms.unwrap().to_der().unwrap();
        let frame = scan(der.as_slice(), &Limits::default()).unwrap();
        *self.tail.lock().unwrap() = der[frame.ri_end as usize..frame.end as usize].to_vec();
        let lines: Vec<String> =
            STANDARD.encode(&der).as_bytes().chunks(76).map(|l| String::from_utf8(l.to_vec()).unwrap()).collect();
        let message = format!(
            "From: {from}\r\nTo: {to}\r\nSubject: ...\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\
             Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n{}\r\n",
            lines.join("\r\n")
        );
        let mut stream = TcpStream::connect(self.smtp).await.unwrap();
        reply(&mut stream).await;
        for command in
            ["EHLO me.test".to_owned(), format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".to_owned()]
        {
            stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
            let answer = reply(&mut stream).await;
            if answer.starts_with(['4', '5']) {
                return answer;
            }
        }
        stream.write_all(format!("{message}.\r\n").as_bytes()).await.unwrap();
        reply(&mut stream).await
    }

    /// A copy has the member's RecipientInfo alone and the tail as it was posted.
    pub(super) fn assert_copy(&self, data: &[u8], number: u32) {
        let text = String::from_utf8(data.to_vec()).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.contains("List-Id:") && header.contains("Subject: ..."));
        let der = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        let frame = scan(der.as_slice(), &Limits::default()).unwrap();
        assert_eq!(frame.recipient_infos, [recipient_info(number)]);
        assert!(der[frame.ri_end as usize..frame.end as usize] == **self.tail.lock().unwrap());
    }
}

async fn reply(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        text.push(stream.read_u8().await.unwrap());
        if text.ends_with(b"\r\n") {
            let last = text.len() - 2;
            let line = text[..last].rsplit(|b| *b == b'\n').next().unwrap();
            if line.get(3) != Some(&b'-') {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}

async fn exploder(
    dir: &TempDir,
    sink: &Server,
    feed: &FeedSource,
) -> (Arc<Engine>, SocketAddr, CancellationToken, JoinSet<()>) {
    let state = dir.path();
    let socket = state.join("peers.sock");
    let config = Config {
        hostname: "lists.test".into(),
        smarthost: format!("localhost:{}", sink.port),
        tls: SmarthostTls::None,
        retry_first_seconds: 1,
        retry_max_seconds: 2,
        lifetime_seconds: 600,
        ..Config::default()
    };
    let stop = CancellationToken::new();
    let store = Store::open(&state.join("index")).unwrap().store;
    let roster = Arc::new(Roster::open(store.clone(), &feed.trust(), ListPins::load(dir.path()).unwrap()).unwrap());
    let keys = Arc::new(GroupKeys::open(store).unwrap());
    let (spool, recovered) = Spool::open(state, SpooledPost::read_summary).unwrap();
    let lease = Lease::default();
    let parts = Parts {
        spool,
        queue: Queue::rebuilt(recovered),
        roster: Arc::clone(&roster),
        lease: lease.clone(),
        groupsrv: Client::unix(socket.clone()),
        smarthost: Smarthost::new(&config).unwrap(),
        verp: VerpKeys::load(state, UnixTime::now()).unwrap(),
        metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
    };
    let engine = Arc::new(Engine::new(&config, parts, stop.clone()));
    let mut tasks = JoinSet::new();
    let news = {
        let engine = Arc::clone(&engine);
        move || engine.changed.notify_one()
    };
    let followed = Followed::new(state, feed.trust(), "feed_alarm").unwrap();
    tasks.spawn(follow(roster, Client::unix(socket.clone()), followed, lease, news, stop.clone()));
    tasks.spawn(Arc::clone(&keys).follow(Client::unix(socket), || {}, stop.clone()));
    tasks.spawn(super::super::run(Arc::clone(&engine), 2));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver =
        Receiver::new(Arc::clone(&engine), Arc::clone(&keys), "lists.test".into(), "https://certs.test".into());
    let listening = Listening { settings: Settings::new("lists.test"), deadlines: Deadlines::default() };
    tasks.spawn(listen(
        listener,
        Arc::new(Arc::new(receiver)),
        Arc::new(listening),
        Connections::new(50, 50),
        stop.clone(),
    ));
    while !keys.known() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (engine, address, stop, tasks)
}
