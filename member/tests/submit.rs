//! `twinseal send` over STARTTLS to a server under the root, and not to one that is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Ca, Wish, text, twinseal};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use twinseal::home::{Submission, SubmissionTls};
use twinseal::identity::KeyType;

/// Says the replies, one for each line that comes; the last of them when data ends.
fn talk(stream: &mut (impl Read + Write), replies: &[&str]) -> String {
    let mut all = String::new();
    let mut reader = BufReader::new(stream);
    for reply in replies {
        let data = all.ends_with("DATA\r\n");
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return all;
            }
            all.push_str(&line);
            if !data || line == ".\r\n" {
                break;
            }
        }
        reader.get_mut().write_all(format!("{reply}\r\n").as_bytes()).unwrap();
    }
    all
}

fn server(ca: &Ca) -> (String, JoinHandle<Option<String>>) {
    let acceptor = ca.acceptor().build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 hi\r\n").unwrap();
        talk(&mut stream, &["250-mx\r\n250 STARTTLS", "220 go"]);
        let mut stream = acceptor.accept(stream).ok()?;
        Some(talk(&mut stream, &["250-mx\r\n250 SIZE", "250 ok", "250 ok", "354 go", "250 2.0.0 taken", "221 bye"]))
    });
    (address, thread)
}

#[test]
fn mail_goes_over_tls_to_the_right_server_only() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (home, dir) = ca.home(Wish::new("ann@members.test", KeyType::P256));
    let list = ca.issue(&Wish::new("team@lists.test", KeyType::P256));
    ca.learn(&home, "team@lists.test", &[&list]);
    let send = |server: String| {
        let mut settings = home.settings().unwrap();
        settings.submission = Some(Submission { server, tls: SubmissionTls::Required });
        home.save_settings(&settings).unwrap();
        twinseal(&dir, &["send"], b"To: team@lists.test\n\nsecret words\n")
    };
    let (address, thread) = server(&ca);
    let output = send(address);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output.stderr));
    let heard = thread.join().unwrap().unwrap();
    assert!(heard.contains("MAIL FROM:<ann@members.test> SIZE=") && heard.contains("RCPT TO:<team@lists.test>"));
    assert!(heard.contains("smime-type=enveloped-data") && !heard.contains("secret words"));

    let (address, thread) = server(&other);
    let output = send(address);
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("its certificate is not believed"));
    assert!(thread.join().unwrap().is_none());
}
