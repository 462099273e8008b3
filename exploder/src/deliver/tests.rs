#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
//! Against a scripted SMTP server in this process.

pub(crate) mod server;

use super::connect::{ConnectError, Smarthost};
use super::session::{Buffers, Message, Sent, Session};
use super::*;
use crate::assemble::Text;
use crate::config::{Config, SmarthostTls};
use server::{Script, Server};
use std::io::Write as _;
use std::sync::Arc;
use twinseal_proto::ids::MailAddress;

const HEADER: &[u8] = b"Subject: x\r\n..dots\r\n\r\n";
const HEAD: &[u8] = b"AAAA\r\n";

fn config(server: &Server) -> Config {
    let smarthost = format!("localhost:{}", server.port);
    Config { hostname: "lists.test".into(), smarthost, tls: SmarthostTls::None, ..Config::default() }
}

async fn connect(server: &Server) -> Session {
    Smarthost::new(&config(server)).unwrap().connect().await.unwrap()
}

async fn send(session: &mut Session, to: &str, tail: &Text) -> Sent {
    let recipient: MailAddress = to.parse().unwrap();
    let sender = format!("b+{}@lists.test", recipient.parts().0);
    let message = Message { sender: sender.as_bytes(), recipient: &recipient, header: HEADER, head: HEAD, tail };
    session.send(&message, &mut Buffers::default()).await
}

async fn outcome(session: &mut Session, to: &str) -> Outcome {
    match send(session, to, &Text::Memory("BBBB\r\n".into())).await {
        Sent::Outcome(outcome) => outcome,
        Sent::Stale => panic!("stale"),
        Sent::Turned(reason) => panic!("turned away: {reason}"),
    }
}

fn reply(code: u16, class: u16, subject: u16, detail: u16) -> Reason {
    Reason::Reply(code, Some(Enhanced(class, subject, detail)))
}

fn scripts() -> [Script; 4] {
    [(true, false), (false, false), (true, true), (false, true)].map(|(pipelining, dripping)| Script {
        pipelining,
        dripping,
        ..Script::default()
    })
}

#[tokio::test]
async fn copies_arrive_whole_on_one_connection() {
    for script in scripts() {
        let server = Server::start(script).await;
        let mut session = connect(&server).await;
        for n in 0..3 {
            assert_eq!(outcome(&mut session, &format!("m{n}@members.test")).await, Outcome::Sent);
        }
        session.quit().await;
        let taken = server.taken();
        assert_eq!((taken.len(), server.connections()), (3, 1));
        assert_eq!(taken[2].envelope, ("b+m2@lists.test".to_owned(), "m2@members.test".to_owned()));
        assert_eq!(taken[0].data, b"Subject: x\r\n.dots\r\n\r\nAAAA\r\nBBBB\r\n");
    }
}

#[tokio::test]
async fn refusals_end_one_copy_and_not_the_connection() {
    for script in scripts() {
        let server = Server::start(script).await;
        let mut session = connect(&server).await;
        for (to, expected) in [
            ("mail-450@x.test", Outcome::Defer(reply(450, 4, 7, 1))),
            ("mail-553@x.test", Outcome::Fail(reply(553, 5, 1, 8))),
            ("mail-530@x.test", Outcome::Defer(reply(530, 5, 7, 0))),
            ("rcpt-450@x.test", Outcome::Defer(reply(450, 4, 2, 0))),
            ("rcpt-550@x.test", Outcome::Fail(reply(550, 5, 1, 1))),
            ("rcpt-550-data-354@x.test", Outcome::Fail(reply(550, 5, 1, 1))),
            ("data-451@x.test", Outcome::Defer(Reason::Reply(451, None))),
            ("dot-452@x.test", Outcome::Defer(reply(452, 4, 3, 1))),
            ("dot-554@x.test", Outcome::Fail(reply(554, 5, 6, 0))),
            ("fine@x.test", Outcome::Sent),
        ] {
            assert_eq!(outcome(&mut session, to).await, expected, "{to}");
            assert!(session.is_usable(), "{to}");
        }
        assert_eq!((server.taken().len(), server.connections()), (1, 1));
    }
}

#[tokio::test]
async fn a_lost_connection_is_a_failed_try_only_when_something_was_tried() {
    for script in scripts() {
        let server = Server::start(script).await;
        for (to, expected) in [
            ("rcpt-drop@x.test", Reason::Lost),
            ("dot-drop@x.test", Reason::Lost),
            ("rcpt-421@x.test", reply(421, 4, 3, 2)),
        ] {
            let mut session = connect(&server).await;
            assert_eq!(outcome(&mut session, to).await, Outcome::Defer(expected), "{to}");
            assert!(!session.is_usable(), "{to}");
        }
        // Kept, and closed by the smarthost meanwhile: whether it says so or not.
        for to in ["mail-drop@x.test", "mail-421@x.test"] {
            let mut kept = connect(&server).await;
            assert_eq!(outcome(&mut kept, "fine@x.test").await, Outcome::Sent);
            assert!(matches!(send(&mut kept, to, &Text::Memory("B\r\n".into())).await, Sent::Stale), "{to}");
            assert!(!kept.is_usable());
        }
        let mut new = connect(&server).await;
        assert!(matches!(send(&mut new, "mail-421@x.test", &Text::Memory("B\r\n".into())).await, Sent::Turned(_)));
    }
}

#[tokio::test]
async fn a_long_tail_goes_from_its_file() {
    let mut file = tempfile::tempfile().unwrap();
    let line = [b"Q".repeat(76), b"\r\n".to_vec()].concat();
    let text = line.repeat(40_000);
    file.write_all(&text).unwrap();
    let tail = Text::File(Arc::new(file), text.len() as u64);
    let server = Server::start(Script::default()).await;
    let mut session = connect(&server).await;
    for _ in 0..2 {
        assert!(matches!(send(&mut session, "m@x.test", &tail).await, Sent::Outcome(Outcome::Sent)));
    }
    let taken = server.taken();
    assert!(
        taken.iter().all(|t| t.data.ends_with(&text) && t.data.len() == text.len() + HEADER.len() - 1 + HEAD.len())
    );
    let short = Text::File(Arc::new(tempfile::tempfile().unwrap()), 5);
    assert!(matches!(send(&mut session, "m@x.test", &short).await, Sent::Outcome(Outcome::Defer(Reason::Lost))));
    assert_eq!(server.taken().len(), 2, "half a message is never ended with a dot");
}

#[tokio::test]
async fn addresses_beyond_ascii_need_smtputf8() {
    let server = Server::start(Script::default()).await;
    let mut session = connect(&server).await;
    assert_eq!(outcome(&mut session, "δοκιμή@x.test").await, Outcome::Fail(Reason::NoSmtpUtf8));
    let server = Server::start(Script { smtp_utf8: true, ..Script::default() }).await;
    assert_eq!(outcome(&mut connect(&server).await, "δοκιμή@x.test").await, Outcome::Sent);
}

#[tokio::test]
async fn tls_is_required_and_the_name_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Server::start(Script::default()).await;
    let tls = |server: &Server| Config { tls: SmarthostTls::Required, ..config(server) };
    let refused = Smarthost::new(&tls(&plain)).unwrap().connect().await;
    assert!(matches!(refused, Err(ConnectError::NoStartTls)));

    for (name, fine) in [("localhost", true), ("elsewhere.test", false)] {
        let server = Server::start(Script { tls: Some(server::identity(name)), ..Script::default() }).await;
        let ca = dir.path().join(name);
        std::fs::write(&ca, server.certificate().unwrap()).unwrap();
        assert!(
            matches!(Smarthost::new(&tls(&server)).unwrap().connect().await, Err(ConnectError::Tls(_))),
            "unknown CA"
        );
        let config = Config { smarthost_ca: Some(ca), ..tls(&server) };
        match Smarthost::new(&config).unwrap().connect().await {
            Ok(mut session) => {
                assert!(fine);
                for _ in 0..2 {
                    assert_eq!(outcome(&mut session, "m@x.test").await, Outcome::Sent);
                }
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&b"QQQQ\r\n".repeat(100_000)).unwrap();
                let long = Text::File(Arc::new(file), 600_000);
                assert!(matches!(send(&mut session, "m@x.test", &long).await, Sent::Outcome(Outcome::Sent)));
                assert_eq!(server.taken().iter().map(|t| t.data.len()).collect::<Vec<_>>(), [33, 33, 600_027]);
            }
            Err(error) => assert!(!fine, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_smarthost_that_is_not_there_is_told() {
    let server = Server::start(Script { greeting: "554 5.3.2 no mail today", ..Script::default() }).await;
    assert!(matches!(Smarthost::new(&config(&server)).unwrap().connect().await, Err(ConnectError::Smtp(_))));
    let gone = Config { smarthost: "127.0.0.1:1".into(), ..config(&server) };
    assert!(matches!(Smarthost::new(&gone).unwrap().connect().await, Err(ConnectError::Network(_))));
}

#[tokio::test]
async fn a_reply_without_end_is_not_read_to_its_end() {
    for pipelining in [true, false] {
        let server = Server::start(Script { pipelining, ..Script::default() }).await;
        let mut session = connect(&server).await;
        assert_eq!(outcome(&mut session, "rcpt-endless@x.test").await, Outcome::Defer(Reason::Lost));
        assert!(!session.is_usable());
    }
}
