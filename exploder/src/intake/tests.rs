#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

fn list() -> ListAddress {
    "team@lists.test".parse().unwrap()
}

/// A message with these header lines, and this body.
fn message(header: &[&str], body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", header.join("\r\n")).into_bytes()
}

const FROM: &str = "From: Ann <ann@members.test>";
const CMS: &str = "Content-Type: application/pkcs7-mime; name=smime.p7m; smime-type=enveloped-data";
const BASE64: &str = "Content-Transfer-Encoding: base64";

/// Takes the message in chunks; the decoded body and the header, or the refusal.
fn take(message: &[u8], chunk: usize) -> Result<(Head, Vec<u8>), Refusal> {
    let refusal = |error| match error {
        IntakeError::Refused(refusal) => refusal,
        IntakeError::Spool(error) => panic!("{error}"),
    };
    let mut intake = Intake::new(list(), 1_000_000, Vec::new());
    for part in message.chunks(chunk) {
        intake.push(part).map_err(refusal)?;
    }
    intake.finish().map_err(refusal)
}

/// The same result, whatever the chunks.
fn taken(message: &[u8]) -> Result<(Head, Vec<u8>), Refusal> {
    let whole = take(message, message.len().max(1));
    for chunk in [1, 2, 3, 7, 64] {
        assert_eq!(take(message, chunk), whole);
    }
    whole
}

fn refused(header: &[&str], body: &str) -> Refusal {
    taken(&message(header, body)).unwrap_err()
}

#[test]
fn an_encrypted_message_is_decoded_on_the_way() {
    let cms: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
    let lines = |width: usize, end: &str| {
        let text = STANDARD.encode(&cms);
        text.as_bytes().chunks(width).map(|l| String::from_utf8_lossy(l).into_owned() + end).collect::<String>()
    };
    let header = ["Received: from a by b", FROM, "Message-ID: <1@x>", "Subject: [...]", CMS, BASE64, "X-Mailer: M"];
    for body in
        [lines(76, "\r\n"), lines(64, "\r\n"), lines(5, " \r\n"), lines(100_000, ""), lines(76, "\r\n") + "\r\n\r\n"]
    {
        let (head, decoded) = taken(&message(&header, &body)).unwrap();
        assert_eq!(decoded, cms);
        assert_eq!(head.from, ["ann@members.test".parse().unwrap()]);
        assert_eq!(head.message_id.as_deref(), Some("<1@x>"));
        assert_eq!((head.has_date, head.has_mime_version), (false, false));
        assert_eq!(head.kept, format!("{FROM}\r\nMessage-ID: <1@x>\r\nSubject: [...]\r\n{CMS}\r\n"));
        let json = serde_json::to_string(&head).unwrap();
        assert_eq!(serde_json::from_str::<Head>(&json).unwrap(), head);
    }
}

#[test]
fn the_header_is_known_before_the_body() {
    let mut intake = Intake::new(list(), 1000, Vec::new());
    intake.push(format!("{FROM}\r\n{CMS}\r\n{BASE64}\r\n\r").as_bytes()).unwrap();
    assert!(intake.head().is_none());
    intake.push(b"\n").unwrap();
    assert_eq!(intake.head().unwrap().from.len(), 1);
}

#[test]
fn whatever_is_not_encrypted_is_refused_with_what_to_do() {
    let content = |value: &str| format!("Content-Type: {value}");
    for (value, refusal) in [
        ("text/plain", Refusal::NotEncrypted),
        ("text/html; charset=utf-8", Refusal::NotEncrypted),
        ("application/pdf", Refusal::NotEncrypted),
        ("application/octet-stream", Refusal::NotEncrypted),
        ("multipart/mixed; boundary=b", Refusal::Multipart),
        ("multipart/alternative; boundary=b", Refusal::Multipart),
        ("multipart/signed; boundary=b; protocol=\"application/pkcs7-signature\"", Refusal::OnlySigned),
        ("application/pkcs7-mime; smime-type=signed-data", Refusal::OnlySigned),
        ("multipart/encrypted; boundary=b; protocol=\"application/pgp-encrypted\"", Refusal::OpenPgp),
        ("application/pkcs7-mime; smime-type", Refusal::ContentType),
        ("", Refusal::ContentType),
    ] {
        assert_eq!(refused(&[FROM, &content(value), BASE64], "AAAA"), refusal, "{value}");
    }
    assert_eq!(refused(&[FROM], "hello"), Refusal::NotEncrypted);
    assert_eq!(refused(&[FROM], ""), Refusal::NotEncrypted);
    assert_eq!(refused(&[FROM], &"long ".repeat(1000)), Refusal::NotEncrypted);
    assert_eq!(refused(&[FROM], "Hi\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQ\r\n"), Refusal::OpenPgp);
}

#[test]
fn a_body_that_is_not_base64_is_refused() {
    for encoding in ["7bit", "binary", "8bit", "quoted-printable"] {
        let line = format!("Content-Transfer-Encoding: {encoding}");
        assert_eq!(refused(&[FROM, CMS, &line], "AAAA"), Refusal::NotBase64);
    }
    assert_eq!(refused(&[FROM, CMS], "AAAA"), Refusal::NotBase64);
    assert!(taken(&message(&[FROM, CMS, "Content-Transfer-Encoding: BASE64 (c)"], "AAA=\r\n")).is_ok());
    for body in
        ["AAA", "A===", "AA=A", "AAA=\r\nAAAA", "AAAA\r\n-- \r\nfooter!", "AA*A", "AAAA\r\n\tAAAA", "AAAA\0", "AAB="]
    {
        assert_eq!(refused(&[FROM, CMS, BASE64], body), Refusal::BadBase64, "{body:?}");
    }
    // A padding in the middle is found wherever the blocks of the decoder end.
    let body = "AAAA".repeat(8 * 1024 - 1) + "AAA=" + "AAAA";
    assert_eq!(take(&message(&[FROM, CMS, BASE64], &body), 4096).unwrap_err(), Refusal::BadBase64);
}

#[test]
fn ambiguous_and_malformed_headers_are_refused() {
    for name in ["From", "Sender", "Reply-To", "To", "Cc", "Message-ID", "Subject", "Date", "Content-Type"] {
        let twice = [format!("{name}: a@x"), format!("{}: b@x", name.to_lowercase())];
        assert_eq!(refused(&[&twice[0], &twice[1]], ""), Refusal::Duplicate(name));
    }
    assert_eq!(refused(&["Subject: x", CMS, BASE64], "AAAA"), Refusal::NoAuthor);
    assert_eq!(refused(&["From: Team: a@x;", CMS, BASE64], "AAAA"), Refusal::NoAuthor);
    assert_eq!(refused(&["From: ", CMS, BASE64], "AAAA"), Refusal::NoAuthor);
    assert_eq!(taken(b"\r\nAAAA").unwrap_err(), Refusal::NoAuthor);
    assert_eq!(taken(b"").unwrap_err(), Refusal::NoAuthor);
    assert!(matches!(
        refused(&[FROM, "Subject: \u{e9}", CMS], ""),
        Refusal::Header(crate::mime::HeaderFault::NotAscii)
    ));
    assert!(matches!(refused(&["nonsense", FROM], ""), Refusal::Header(_)));
    let (head, _) = taken(&message(&["From: a@x, b@x", CMS, BASE64, "Message-ID:"], "AAAA")).unwrap();
    assert_eq!((head.from.len(), head.message_id), (2, None));
    assert!(!head.kept.contains("Message-ID"));
}

#[test]
fn headers_are_bounded() {
    let filler = format!("X: {}\r\n", "y".repeat(995)); // 1000 octets
    let header = |octets: usize| {
        let mut header = format!("{FROM}\r\n{CMS}\r\n{BASE64}\r\n");
        while octets - header.len() > 1000 + 10 {
            header.push_str(&filler);
        }
        let rest = octets - header.len() - 5;
        if rest > 990 {
            header.push_str("X: y\r\n");
        }
        let rest = octets - header.len() - 5;
        header + &format!("Z: {}\r\n\r\nAAAA", "y".repeat(rest))
    };
    for chunk in [1000, 1_000_000, 3] {
        assert!(take(header(MAX_HEADER).as_bytes(), chunk).is_ok());
        assert_eq!(take(header(MAX_HEADER + 1).as_bytes(), chunk).unwrap_err(), Refusal::LongHeader);
    }
    let endless = "X: y\r\n".repeat(500_000);
    assert_eq!(
        Intake::new(list(), u64::MAX, Vec::new()).push(endless.as_bytes()).unwrap_err().to_string(),
        Refusal::LongHeader.to_string()
    );
    assert!(matches!(refused(&["X: y"; 1001], ""), Refusal::Header(crate::mime::HeaderFault::TooMany)));
}

#[test]
fn loops_are_cut() {
    let received = |n: usize| vec!["Received: from a by b"; n];
    let rest = [FROM, CMS, BASE64];
    assert!(taken(&message(&[&received(100)[..], &rest].concat(), "AAAA")).is_ok());
    assert_eq!(refused(&[&received(101)[..], &rest].concat(), "AAAA"), Refusal::TooManyHops);
    for ours in ["List-Id: Our team <Team.Lists.Test>", "list-id: team.lists.test", "X-Loop: TEAM@lists.test"] {
        assert_eq!(refused(&[&[ours], &rest[..]].concat(), "AAAA"), Refusal::Loop, "{ours}");
    }
    for other in ["List-Id: <other.lists.test>", "X-Loop: other@lists.test"] {
        assert!(taken(&message(&[&[other], &rest[..]].concat(), "AAAA")).is_ok());
    }
    assert_eq!(
        refused(&[&["Auto-Submitted: auto-replied (vacation)"], &rest[..]].concat(), "AAAA"),
        Refusal::AutomaticReply
    );
    assert!(taken(&message(&[&["Auto-Submitted: auto-generated"], &rest[..]].concat(), "AAAA")).is_ok());
}

#[test]
fn a_message_above_the_size_of_the_list_is_refused() {
    let mut intake = Intake::new(list(), 100, Vec::new());
    let mut octets = message(&[FROM], "");
    octets.resize(101, b'x');
    for _ in 0..2 {
        let IntakeError::Refused(refusal) = intake.push(&octets).unwrap_err() else { panic!() };
        assert_eq!(refusal, Refusal::TooLarge { limit: 100 });
    }
}

#[test]
fn a_full_spool_is_told_apart_from_a_refusal() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut intake = Intake::new(list(), 1000, Full);
    intake.push(&message(&[FROM, CMS, BASE64], "AAAA")).unwrap();
    assert!(matches!(intake.finish(), Err(IntakeError::Spool(_))));
}

proptest! {
    #[test]
    fn cuts_change_nothing_and_no_octets_make_it_panic(
        header in "(From: a@x\r\n|[A-Z]: [a-z]{0,3}\r\n|X\r\n| y\r\n){0,3}",
        body in "[A-D=\r\n \t]{0,60}",
        noise in proptest::collection::vec(any::<u8>(), 0..100),
        chunk in 1_usize..20,
    ) {
        let plain = format!("{header}\r\n{body}").into_bytes();
        let cms = format!("{FROM}\r\n{CMS}\r\n{BASE64}\r\n{header}\r\n{body}").into_bytes();
        for message in [plain, cms, noise] {
            prop_assert_eq!(take(&message, chunk), take(&message, message.len().max(1)));
        }
    }

    #[test]
    fn encoded_bodies_come_back(octets in proptest::collection::vec(any::<u8>(), 0..400), width in 1_usize..100, chunk in 1_usize..50) {
        let text = STANDARD.encode(&octets);
        let body: String =
            text.as_bytes().chunks(width).map(|l| String::from_utf8_lossy(l).into_owned() + "\r\n").collect();
        let (_, decoded) = take(&message(&[FROM, CMS, BASE64], &body), chunk).unwrap();
        prop_assert_eq!(decoded, octets);
    }
}

/// Every `.eml` below `dir`.
fn mails(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mails(&path, found);
        } else if path.extension().is_some_and(|e| e == "eml") {
            found.push(path);
        }
    }
}

/// Mail that others made: each is taken or refused, alike in every cut; the encrypted ones reach the scan.
#[test]
fn mail_made_by_others_is_taken_or_refused() {
    let Some(corpus) = std::env::var_os("TWINSEAL_CORPUS") else {
        eprintln!("skipped: TWINSEAL_CORPUS is not set");
        return;
    };
    let mut paths = Vec::new();
    mails(std::path::Path::new(&corpus), &mut paths);
    let mut enveloped = 0;
    for path in &paths {
        let raw = std::fs::read(path).unwrap();
        let mut mail = Vec::new();
        for line in raw.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
            mail.extend_from_slice(line);
            mail.extend_from_slice(b"\r\n");
        }
        let whole = take(&mail, mail.len());
        assert_eq!(take(&mail, 61), whole, "{}", path.display());
        let named = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Ok((head, cms)) = &whole {
            assert!(head.kept.is_ascii());
            enveloped += u32::from(twinseal_proto::cms::frame::scan(&cms[..], &Default::default()).is_ok());
        } else if named.ends_with(".env.eml") {
            eprintln!("{named}: {}", whole.unwrap_err());
        }
    }
    eprintln!("{} mails, {enveloped} encrypted", paths.len());
    assert!(enveloped > 0);
}
