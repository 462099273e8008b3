//! An SMTP server that does what the recipient's address says, and the sender's behind `b+`: `rcpt-450@x.test` is refused with 450 at RCPT,
//! `dot-drop@x.test` loses the connection after the final dot.

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;

/// How the server behaves.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) pipelining: bool,
    /// Replies come one octet at a time.
    pub(crate) dripping: bool,
    pub(crate) smtp_utf8: bool,
    pub(crate) greeting: &'static str,
    /// Connections at a time; more are turned away.
    pub(crate) limit: usize,
    pub(crate) tls: Option<(PKey<Private>, X509)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            pipelining: true,
            dripping: false,
            smtp_utf8: false,
            greeting: "220 sink.test",
            limit: usize::MAX,
            tls: None,
        }
    }
}

/// A message that was taken.
#[derive(Clone)]
pub(crate) struct Taken {
    /// Sender and recipient.
    pub(crate) envelope: (String, String),
    /// The text, without dot-stuffing.
    pub(crate) data: Vec<u8>,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    script: Script,
    taken: Mutex<Vec<Taken>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            script,
            taken: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.script.limit {
                        shared.say(&mut BufReader::new(stream), "421 4.7.0 too many connections").await;
                    } else if let Some(stream) = shared.serve_plain(stream).await {
                        shared.serve_tls(stream).await;
                    }
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { port, inner }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.inner.taken.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        self.inner.script.tls.as_ref().map(|(_, certificate)| certificate.to_pem().unwrap())
    }
}

/// A key and a certificate for `name`, signed with itself.
pub(crate) fn identity(name: &str) -> (PKey<Private>, X509) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (key, builder.build())
}

enum End {
    Closed,
    StartTls,
}

impl Inner {
    async fn serve_plain(&self, stream: TcpStream) -> Option<TcpStream> {
        let mut stream = BufReader::new(stream);
        match self.serve(&mut stream, Some(self.script.greeting), self.script.tls.is_some()).await {
            End::StartTls => Some(stream.into_inner()),
            End::Closed => None,
        }
    }

    async fn serve_tls(&self, stream: TcpStream) {
        let (key, certificate) = self.script.tls.as_ref().unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(key).unwrap();
        acceptor.set_certificate(certificate).unwrap();
        let mut tls = SslStream::new(Ssl::new(acceptor.build().context()).unwrap(), stream).unwrap();
        if Pin::new(&mut tls).accept().await.is_ok() {
            self.serve(&mut BufReader::new(tls), None, false).await;
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        greeting: Option<&str>,
        start_tls: bool,
    ) -> End {
        if let Some(greeting) = greeting {
            self.say(stream, greeting).await;
        }
        let (mut sender, mut recipient) = (None, None);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return End::Closed;
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            let argument = || line.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned();
            match verb.as_str() {
                "EHLO" => {
                    let mut reply = "250-sink.test".to_owned();
                    for (keyword, on) in [
                        ("PIPELINING", self.script.pipelining),
                        ("SMTPUTF8", self.script.smtp_utf8),
                        ("STARTTLS", start_tls),
                    ] {
                        if on {
                            reply.push_str(&format!("\r\n250-{keyword}"));
                        }
                    }
                    self.say(stream, &format!("{reply}\r\n250 8BITMIME")).await;
                }
                "STARTTLS" => {
                    self.say(stream, "220 2.0.0 go").await;
                    return End::StartTls;
                }
                "MAIL" => {
                    assert!(sender.is_none(), "MAIL inside a transaction");
                    let from = argument();
                    match from.strip_prefix("b+").filter(|rest| rest.starts_with("mail-")) {
                        Some(wanted) => {
                            if self.refuse(stream, wanted).await.is_none() {
                                return End::Closed;
                            }
                        }
                        None => {
                            sender = Some(from);
                            self.say(stream, "250 2.1.0 ok").await;
                        }
                    }
                }
                "RCPT" => {
                    let to = argument();
                    if sender.is_none() {
                        self.say(stream, "503 5.5.1 MAIL first").await;
                    } else if to.starts_with("rcpt-") {
                        recipient = to.ends_with("data-354@x.test").then(String::new);
                        if self.refuse(stream, &to).await.is_none() {
                            return End::Closed;
                        }
                    } else {
                        recipient = Some(to);
                        self.say(stream, "250 2.1.5 ok").await;
                    }
                }
                "DATA" => match recipient.take() {
                    None => self.say(stream, "503 5.5.1 RCPT first").await,
                    Some(to) if to.starts_with("data-") => {
                        if self.refuse(stream, &to).await.is_none() {
                            return End::Closed;
                        }
                    }
                    Some(to) => {
                        self.say(stream, "354 go").await;
                        let Some(data) = read_data(stream).await else { return End::Closed };
                        let from = sender.take().unwrap();
                        if to.is_empty() {
                            assert!(data.is_empty());
                            self.say(stream, "554 5.5.1 no valid recipients").await;
                        } else if to.starts_with("dot-") {
                            if self.refuse(stream, &to).await.is_none() {
                                return End::Closed;
                            }
                        } else {
                            self.taken.lock().unwrap().push(Taken { envelope: (from, to), data });
                            self.say(stream, "250 2.0.0 taken").await;
                        }
                    }
                },
                "RSET" => {
                    (sender, recipient) = (None, None);
                    self.say(stream, "250 2.0.0 reset").await;
                }
                "QUIT" => {
                    self.say(stream, "221 2.0.0 bye").await;
                    return End::Closed;
                }
                _ => self.say(stream, "500 5.5.2 what").await,
            }
        }
    }

    /// The reply that an address such as `rcpt-450@x.test` asks for. `None`: the connection ends.
    async fn refuse<S: AsyncWrite + Unpin>(&self, stream: &mut S, address: &str) -> Option<()> {
        let what = address.split(['-', '@']).nth(1).unwrap();
        let reply = match (address.split('-').next().unwrap(), what) {
            (_, "drop") => return None,
            (_, "endless") => {
                while stream.write_all(b"250-and so on\r\n").await.is_ok() {}
                return None;
            }
            (_, "421") => "421 4.3.2 closing",
            ("mail", "450") => "450 4.7.1 not now",
            ("mail", "553") => "553 5.1.8 bad sender",
            ("mail", "530") => "530 5.7.0 TLS first",
            ("rcpt", "450") => "450-4.2.0 <member@x.test>\r\n450 4.2.0 greylisted",
            ("rcpt", "550") => "550 5.1.1 unknown",
            ("data", "451") => "451 local error",
            ("dot", "452") => "452 4.3.1 full",
            ("dot", "554") => "554 5.6.0 no",
            other => panic!("{other:?}"),
        };
        self.say(stream, reply).await;
        (what != "421").then_some(())
    }

    async fn say<S: AsyncWrite + Unpin>(&self, stream: &mut S, reply: &str) {
        let reply = format!("{reply}\r\n").into_bytes();
        let step = if self.script.dripping { 1 } else { reply.len() };
        for part in reply.chunks(step) {
            // The client may have gone: its test says whether it should.
            let _ = stream.write_all(part).await;
            let _ = stream.flush().await;
        }
    }
}

async fn read_data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        assert!(line.ends_with(b"\r\n") && line.len() <= 1000);
        match line.as_slice() {
            b".\r\n" => return Some(data),
            [b'.', rest @ ..] => data.extend_from_slice(rest),
            line => data.extend_from_slice(line),
        }
    }
}
