#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::exit::{Exit, Explain as _, Failure};
use openssl::ssl::SslMethod;
use std::net::TcpListener;
use std::thread::JoinHandle;

/// A server that follows a script: `S` lines are said, `C` lines are expected; `DATA` reads up to the final dot.
/// It gives back what came as data.
fn server(script: &'static str) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        let mut data = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut read = || {
                let mut line = Vec::new();
                reader.read_until(b'\n', &mut line).unwrap();
                line
            };
            if let Some(said) = line.strip_prefix("S ") {
                writer.write_all(format!("{said}\r\n").as_bytes()).unwrap();
            } else if let Some(wanted) = line.strip_prefix("C ") {
                assert_eq!(String::from_utf8(read()).unwrap().trim_end(), wanted);
            } else {
                while !data.ends_with(b"\r\n.\r\n") {
                    data.extend(read());
                }
            }
        }
        data
    });
    (address, thread)
}

fn send(server: &str, mode: SubmissionTls, message: &[u8]) -> Result<Reply, SmtpError> {
    let connector = SslConnector::builder(SslMethod::tls_client()).unwrap().build();
    let (from, to) =
        ("m@members.test".parse().unwrap(), ["a@lists.test".parse().unwrap(), "c@lists.test".parse().unwrap()]);
    submit(server, mode, &connector, &Envelope { from: &from, to: &to, message })
}

#[test]
fn a_message_goes_out_dot_stuffed_and_whole() {
    let (address, thread) = server(
        "S 220-mx.test\nS 220 ready\nC EHLO [127.0.0.1]\nS 250-mx.test\nS 250-SIZE 1000\nS 250 PIPELINING
         C MAIL FROM:<m@members.test> SIZE=23\nS 250 2.1.0 ok\nC RCPT TO:<a@lists.test>\nS 250 ok\nC RCPT TO:<c@lists.test>\nS 251 ok
         C DATA\nS 354 go\nDATA\nS 250 2.0.0 queued as 7\nC QUIT\nS 221 bye",
    );
    let reply = send(&address, SubmissionTls::None, b"a: b\r\n\r\n.\r\n..x\r\nno end.").unwrap();
    assert_eq!(reply.lines, ["2.0.0 queued as 7"]);
    assert_eq!(thread.join().unwrap(), b"a: b\r\n\r\n..\r\n...x\r\nno end.\r\n.\r\n");
}

#[test]
fn refusals_are_told_in_full_with_the_right_code() {
    let open = "S 220 hi\nC EHLO [127.0.0.1]\nS 250 mx\n";
    let mail = "C MAIL FROM:<m@members.test>\nS 250 ok\nC RCPT TO:<a@lists.test>\n";
    let cases: [(&'static str, Exit, &str); 7] = [
        ("S 421 4.3.2 too busy", Exit::TemporaryFailure, "421 4.3.2 too busy"),
        ("S 554 no service", Exit::Refused, "554 no service"),
        (
            Box::leak(format!("{open}C MAIL FROM:<m@members.test>\nS 530 5.7.0 log in").into_boxed_str()),
            Exit::NotAllowed,
            "530 5.7.0",
        ),
        (
            Box::leak(format!("{open}{mail}S 550-5.7.5 wrong key\nS 550 5.7.5 fetch it anew").into_boxed_str()),
            Exit::NotAllowed,
            "550 5.7.5 wrong key / 5.7.5 fetch it anew",
        ),
        (
            Box::leak(format!("{open}{mail}S 451 4.3.2 later").into_boxed_str()),
            Exit::TemporaryFailure,
            "RCPT TO:<a@lists.test>",
        ),
        (Box::leak(format!("{open}{mail}S 550 5.1.1 unknown").into_boxed_str()), Exit::Refused, "5.1.1"),
        (Box::leak(format!("{open}{mail}S bad").into_boxed_str()), Exit::TemporaryFailure, "not an SMTP reply"),
    ];
    for (script, exit, words) in cases {
        let (address, thread) = server(script);
        let failure = Failure::from(send(&address, SubmissionTls::None, b"a: b\r\n\r\n").unwrap_err());
        assert_eq!(failure.exit(), exit, "{script}");
        assert!(failure.to_string().contains(words) && failure.to_string().contains("\ntry: "), "{failure}");
        thread.join().unwrap();
    }
}

#[test]
fn what_is_needed_and_not_offered_ends_the_session() {
    let (address, thread) = server("S 220 hi\nC EHLO [127.0.0.1]\nS 250-mx\nS 250 SIZE");
    let error = send(&address, SubmissionTls::Required, b"a: b\r\n\r\n").unwrap_err();
    assert!(matches!(error, SmtpError::Lacks { extension: "STARTTLS", .. }));
    thread.join().unwrap();
    let (address, thread) = server("S 220 hi\nC EHLO [127.0.0.1]\nS 250 mx");
    let error = send(&address, SubmissionTls::None, "a: \u{e9}\r\n\r\n".as_bytes()).unwrap_err();
    assert!(matches!(error, SmtpError::Lacks { extension: "SMTPUTF8", .. }));
    thread.join().unwrap();
}

#[test]
fn a_server_that_is_away_is_a_matter_for_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_eq!(send(&address, SubmissionTls::None, b"").unwrap_err().exit(), Exit::TemporaryFailure);
    assert_eq!(send("nowhere", SubmissionTls::None, b"").unwrap_err().exit(), Exit::Setup);
    let (address, thread) = server("S 220 hi\nC EHLO [127.0.0.1]");
    assert_eq!(send(&address, SubmissionTls::None, b"").unwrap_err().exit(), Exit::TemporaryFailure);
    thread.join().unwrap();
}
