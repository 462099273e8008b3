#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::smtp::path::ForwardPath;
use crate::smtp::session::{Envelope, Mail};
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

/// Keeps what it is given.
#[derive(Default)]
struct Keep {
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct KeepSink {
    octets: Vec<u8>,
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Backend for Keep {
    type Mailbox = String;
    type Sink = KeepSink;

    async fn rcpt(&self, _: &Client, _: &Mail, to: &ForwardPath) -> Result<String, Reply> {
        Ok(to.to_string())
    }

    async fn begin(&self, _: &Client, _: Envelope<String>) -> Result<KeepSink, Reply> {
        Ok(KeepSink { octets: Vec::new(), messages: Arc::clone(&self.messages) })
    }
}

impl Sink for KeepSink {
    async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    async fn finish(self) -> Reply {
        self.messages.lock().unwrap().push(self.octets);
        Reply::fixed(250, "2.0.0", "kept")
    }
}

struct Server {
    port: u16,
    backend: Arc<Keep>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn server(deadlines: Deadlines, max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (backend, stop) = (Arc::new(Keep::default()), CancellationToken::new());
    let listening = Arc::new(Listening { settings: Settings::new("mx.test"), deadlines });
    let connections = Connections::new(max, max);
    let task = tokio::spawn(listen(listener, Arc::clone(&backend), listening, connections, stop.clone()));
    Server { port, backend, stop, task }
}

struct Talk(BufReader<TcpStream>);

impl Talk {
    async fn connect(server: &Server) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap()))
    }

    /// The next reply's last line; empty at the end of the connection.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.reply().await
    }

    async fn begin_data(&mut self) {
        assert!(self.reply().await.starts_with("220 mx.test ESMTP"));
        assert!(self.ask("EHLO c\r\n").await.starts_with("250 "));
        assert!(self.ask("MAIL FROM:<a@x>\r\nRCPT TO:<team@x>\r\n").await.starts_with("250 2.1.0"));
        assert!(self.reply().await.starts_with("250 2.1.5"));
        assert!(self.ask("DATA\r\n").await.starts_with("354 "));
    }
}

fn short() -> Deadlines {
    Deadlines { command: Duration::from_millis(200), data_block: Duration::from_millis(200), ..Deadlines::default() }
}

#[tokio::test]
async fn messages_come_through_a_socket() {
    let server = server(Deadlines::default(), 10).await;
    let mut talk = Talk::connect(&server).await;
    talk.begin_data().await;
    let big = "y".repeat(76) + "\r\n";
    talk.say(&format!("x: y\r\n\r\n..dot\r\n{}", big.repeat(5000))).await;
    assert!(talk.ask(".\r\n").await.starts_with("250 2.0.0 kept"));
    assert!(talk.ask("QUIT\r\n").await.starts_with("221 "));
    assert_eq!(talk.reply().await, "");
    let kept = server.backend.messages.lock().unwrap().clone();
    assert_eq!(kept, [format!("x: y\r\n\r\n.dot\r\n{}", big.repeat(5000)).into_bytes()]);
}

#[tokio::test]
async fn early_talkers_and_surplus_connections_are_turned_away() {
    let slow = Deadlines { greet_pause: Duration::from_millis(500), ..Deadlines::default() };
    let server = server(slow, 1).await;
    let mut talk = Talk::connect(&server).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(Talk::connect(&server).await.reply().await.starts_with("421 4.7.0"));
    assert!(talk.ask("EHLO c\r\n").await.starts_with("554 5.5.0"));
    assert_eq!(talk.reply().await, "");
}

#[tokio::test]
async fn the_last_reply_is_not_lost_to_a_reset() {
    let server = server(Deadlines::default(), 10).await;
    let mut talk = Talk::connect(&server).await;
    talk.begin_data().await;
    // The connection is closed while much is still unread.
    talk.say(&format!("a\r\r\n.\r\n{}", "NOOP\r\n".repeat(20_000))).await;
    assert!(talk.reply().await.starts_with("550 5.5.2 bare <CR>"));
    assert_eq!(talk.reply().await, "");
    assert!(server.backend.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn deadlines_cut_idle_and_dripping_clients() {
    let server = server(short(), 10).await;
    let mut talk = Talk::connect(&server).await;
    assert!(talk.reply().await.starts_with("220"));
    assert!(talk.reply().await.starts_with("421 4.4.2"));
    let mut talk = Talk::connect(&server).await;
    talk.begin_data().await;
    assert!(talk.reply().await.starts_with("421 4.4.2"));

    let drip = Deadlines { data: Duration::from_millis(300), ..Deadlines::default() };
    let server = self::server(drip, 10).await;
    let mut talk = Talk::connect(&server).await;
    talk.begin_data().await;
    for _ in 0..8 {
        let _ = talk.0.get_mut().write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(talk.reply().await.starts_with("421 4.4.2"));
}

#[tokio::test]
async fn stopping_finishes_the_running_message_only() {
    let server = server(Deadlines::default(), 10).await;
    let mut idle = Talk::connect(&server).await;
    assert!(idle.reply().await.starts_with("220"));
    let mut busy = Talk::connect(&server).await;
    busy.begin_data().await;
    server.stop.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    assert!(busy.ask("x: y\r\n\r\n.\r\n").await.starts_with("250 2.0.0 kept"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    drop((idle, busy));
    server.task.await.unwrap();
    assert_eq!(server.backend.messages.lock().unwrap().len(), 1);

    let drained = Deadlines { drain: Duration::from_millis(100), ..Deadlines::default() };
    let server = self::server(drained, 10).await;
    let mut stuck = Talk::connect(&server).await;
    stuck.begin_data().await;
    server.stop.cancel();
    assert!(stuck.reply().await.starts_with("421 4.4.2"));
    drop(stuck);
    server.task.await.unwrap();
    assert!(server.backend.messages.lock().unwrap().is_empty());
}
