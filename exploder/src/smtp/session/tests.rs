#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]
use super::*;
use proptest::prelude::*;

/// What a session did, with the message octets joined.
#[derive(Debug, PartialEq, Eq, Default, Clone)]
struct Seen {
    replies: String,
    messages: Vec<Vec<u8>>,
    closed: bool,
}

/// A session with a small world around it: lists `team` and `news` at lists.test, everything else unknown.
struct Pair {
    session: Session<String>,
    unread: Vec<u8>,
    message: Option<Vec<u8>>,
    seen: Seen,
}

fn resolve(path: &ForwardPath) -> Result<String, Reply> {
    match path.to_string().to_lowercase().as_str() {
        "<team@lists.test>" | "<news@lists.test>" => Ok(path.to_string().to_lowercase()),
        "<postmaster>" => Ok("postmaster".to_owned()),
        "<gone@lists.test>" => Err(Reply::fixed(421, "4.3.2", "gone")),
        _ => Err(Reply::fixed(550, "5.1.1", "no such list")),
    }
}

impl Pair {
    fn new() -> Self {
        let settings = Settings { max_size: 1000, max_recipients: 100, ..Settings::new("mx.test") };
        Self { session: Session::new(settings), unread: Vec::new(), message: None, seen: Seen::default() }
    }

    /// Hands over octets and carries out what the session wants.
    fn say(&mut self, octets: &[u8]) {
        self.unread.extend_from_slice(octets);
        loop {
            let input = std::mem::take(&mut self.unread);
            let (used, action) = self.session.receive(&input);
            let rest = input[used..].to_vec();
            let more = match action {
                Action::Read => {
                    assert!(rest.is_empty());
                    false
                }
                Action::Recipient(_, path) => {
                    self.session.recipient(resolve(&path));
                    true
                }
                Action::Begin(envelope) => {
                    assert!(!envelope.recipients.is_empty());
                    self.message = Some(Vec::new());
                    self.session.ready(Ok(()), !rest.is_empty());
                    true
                }
                Action::Chunk(octets) => {
                    self.message.as_mut().unwrap().extend_from_slice(octets);
                    true
                }
                Action::Abort => {
                    self.message = None;
                    true
                }
                Action::Finish => {
                    self.seen.messages.push(self.message.take().unwrap());
                    self.session.finished(&Reply::fixed(250, "2.0.0", "kept"));
                    true
                }
                Action::Wait => panic!("nothing was asked"),
                Action::Close => {
                    self.seen.closed = true;
                    false
                }
            };
            self.unread = rest;
            if !more {
                break;
            }
        }
        let replies = std::mem::take(self.session.replies());
        self.seen.replies.push_str(std::str::from_utf8(&replies).unwrap());
    }

    /// Says `octets` and gives the codes of the replies, one a reply.
    fn codes(&mut self, octets: &[u8]) -> Vec<String> {
        let before = self.seen.replies.len();
        self.say(octets);
        let final_line = |l: &&str| l.as_bytes().get(3) == Some(&b' ');
        self.seen.replies[before..].lines().filter(final_line).map(|l| l[..3].to_owned()).collect()
    }

    fn open() -> Self {
        let mut pair = Self::new();
        assert_eq!(pair.codes(b"EHLO c.test\r\n"), ["220", "250"]);
        pair
    }

    /// Up to and with the 354.
    fn in_data() -> Self {
        let mut pair = Self::open();
        let batch = b"MAIL FROM:<ann@x.test>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\n";
        assert_eq!(pair.codes(batch), ["250", "250", "354"]);
        pair
    }
}

/// Plays `C: ` lines and compares the replies with the `S: ` lines (a prefix is enough); `X` is the end of the connection.
fn dialogue(text: &str) {
    let mut pair = Pair::new();
    let mut said = 0;
    pair.say(b"");
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(words) = line.strip_prefix("C:") {
            assert_eq!(said, pair.seen.replies.len(), "before {line}: unexpected {}", &pair.seen.replies[said..]);
            pair.say(format!("{}\r\n", words.trim_start()).as_bytes());
        } else if let Some(words) = line.strip_prefix("S: ") {
            let got = pair.seen.replies[said..].lines().next().unwrap_or("nothing").to_owned();
            assert!(got.starts_with(words), "wanted {words}, got {got}");
            said += got.len() + 2;
        } else {
            assert_eq!(line, "X");
            assert!(pair.seen.closed, "{text}");
        }
    }
    assert_eq!(&pair.seen.replies[said..], "", "{text}");
}

#[test]
fn a_message_is_taken() {
    dialogue(
        "S: 220 mx.test ESMTP
         C: EHLO client.test
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250 ENHANCEDSTATUSCODES
         C: MAIL FROM:<ann@x.test> SIZE=100 BODY=8BITMIME
         S: 250 2.1.0
         C: RCPT TO:<team@lists.test>
         S: 250 2.1.5
         C: DATA
         S: 354 end
         C: Subject: x
         C:
         C: ..
         C: .
         S: 250 2.0.0 kept
         C: QUIT
         S: 221 2.0.0
         X",
    );
}

#[test]
fn order_is_kept() {
    dialogue(
        "S: 220 mx.test ESMTP
         C: MAIL FROM:<a@x>
         S: 503 5.5.1
         C: RCPT TO:<team@lists.test>
         S: 503 5.5.1
         C: DATA
         S: 503 5.5.1
         C: NOOP
         S: 250 2.0.0
         C: HELO c
         S: 250 mx.test
         C: DATA
         S: 503 5.5.1
         C: MAIL FROM:<a@x> SIZE=1
         S: 555 5.5.4
         C: MAIL FROM:<a@x>
         S: 250 2.1.0
         C: MAIL FROM:<b@x>
         S: 503 5.5.1
         C: DATA
         S: 503 5.5.1
         C: RCPT TO:<nobody@lists.test>
         S: 550 5.1.1
         C: DATA
         S: 554 5.5.1
         C: RCPT TO:<team@lists.test>
         S: 250 2.1.5
         C: EHLO c
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250 ENHANCEDSTATUSCODES
         C: DATA
         S: 503 5.5.1
         C: MAIL FROM:<a@x>
         S: 250 2.1.0
         C: RSET
         S: 250 2.0.0
         C: RCPT TO:<team@lists.test>
         S: 503 5.5.1
         C: VRFY m1@members.test
         S: 252 2.5.2
         C: VRFY nobody@members.test
         S: 252 2.5.2
         C: EXPN team
         S: 502 5.5.1
         C: STARTTLS
         S: 502 5.5.1
         C: HELP
         S: 214 2.0.0
         C: FOO
         S: 500 5.5.2",
    );
}

#[test]
fn a_transaction_is_for_one_list() {
    dialogue(
        "S: 220
         C: EHLO c
         S: 250-
         S: 250-
         S: 250-
         S: 250-
         S: 250 
         C: MAIL FROM:<a@x> SIZE=10000000000
         S: 552 5.3.4
         C: MAIL FROM:<>
         S: 250
         C: RCPT TO:<team@lists.test>
         S: 250 2.1.5
         C: RCPT TO:<news@lists.test>
         S: 452 4.5.3
         C: RCPT TO:<@relay.test:TEAM@lists.test>
         S: 250 2.1.5
         C: RSET
         S: 250
         C: MAIL FROM:<a@x>
         S: 250
         C: rcpt to:<Postmaster>
         S: 250 2.1.5
         C: RSET
         S: 250
         C: MAIL FROM:<a@x>
         S: 250
         C: RCPT TO:<gone@lists.test>
         S: 421 4.3.2 gone
         X",
    );
}

#[test]
fn the_open_relay_tricks_resolve_to_nothing() {
    let mut pair = Pair::open();
    for path in [
        "a@other.test",
        "a%other.test@lists.test",
        "other.test!a@lists.test",
        "\"a@other.test\"@lists.test",
        "@lists.test:a@other.test",
        "team@lists.test@other.test",
        "team@[192.0.2.1]",
        "team",
    ] {
        let codes = pair.codes(format!("MAIL FROM:<a@x>\r\nRCPT TO:<{path}>\r\nRSET\r\n").as_bytes());
        assert!(codes[1].starts_with('5'), "{path}: {codes:?}");
    }
}

#[test]
fn a_pipelined_batch_is_answered_in_order() {
    let mut pair = Pair::open();
    let batch =
        b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\n";
    assert_eq!(pair.codes(batch), ["250", "250", "550", "250", "354"]);
    // The next transaction may follow the final dot at once.
    let next = b"x: y\r\n\r\n.\r\nMAIL FROM:<a@x>\r\nRCPT TO:<nobody@x>\r\nDATA\r\n";
    assert_eq!(pair.codes(next), ["250", "250", "550", "554"]);
    assert_eq!(pair.seen.messages, [b"x: y\r\n\r\n"]);
}

#[test]
fn whoever_does_not_wait_is_cut_off() {
    let mut pair = Pair::open();
    let all = b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\nx: y\r\n\r\n.\r\n";
    assert_eq!(pair.codes(all), ["250", "250", "554"]);
    assert!(pair.seen.closed && pair.seen.messages.is_empty());

    let mut pair = Pair::new();
    assert_eq!(pair.codes(b"EHLO c\r\nMAIL FROM:<a@x>\r\n"), ["220", "554"]);
    let mut pair = Pair::new();
    assert_eq!(pair.codes(b"HELO c\r\n"), ["220", "250"]);
    assert_eq!(pair.codes(b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\n"), ["554"]);

    let mut pair = Pair::new();
    pair.session.spoke_early();
    pair.say(b"");
    assert!(pair.seen.replies.starts_with("554 5.5.0"));
    assert!(pair.seen.closed);
}

#[test]
fn recipients_are_limited_one_by_one() {
    let mut pair = Pair::open();
    let mut batch = b"MAIL FROM:<a@x>\r\n".to_vec();
    batch.extend(b"RCPT TO:<team@lists.test>\r\n".repeat(150));
    let codes = pair.codes(&batch);
    assert_eq!(codes.iter().filter(|c| *c == "250").count(), 101);
    assert_eq!(codes.iter().filter(|c| *c == "452").count(), 50);
    assert_eq!(pair.codes(b"DATA\r\n"), ["354"]);
}

#[test]
fn too_many_errors_end_the_connection_and_a_message_forgives() {
    let mut pair = Pair::open();
    assert_eq!(pair.codes(&b"FOO\r\n".repeat(19)), ["500"; 19]);
    assert_eq!(pair.codes(b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\n").last().unwrap(), "354");
    assert_eq!(pair.codes(b".\r\n"), ["250"]);
    let codes = pair.codes(&b"FOO\r\n".repeat(30));
    assert_eq!((codes.len(), codes.last().unwrap().as_str()), (20, "421"));
    assert!(pair.seen.closed);
}

#[test]
fn lines_have_limits() {
    let mut pair = Pair::open();
    let long = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(600));
    assert_eq!(pair.codes(long.as_bytes()), ["500", "250"]);
    assert_eq!(pair.codes("x".repeat(1_000_000).as_bytes()), ["500"]);
    assert!(pair.seen.closed);
    for bad in [&b"NOOP\n"[..], b"NO\rOP\r\n", b"NOOP\0\r\n"] {
        let mut pair = Pair::open();
        assert_eq!(pair.codes(bad), ["521"]);
        assert!(pair.seen.closed);
    }
}

#[test]
fn a_message_above_the_size_is_read_to_its_end_and_refused() {
    let mut pair = Pair::in_data();
    let mut message = b"x".repeat(1500);
    message.extend_from_slice(b"\r\n.\r\nNOOP\r\n");
    assert_eq!(pair.codes(&message), ["552", "250"]);
    assert!(pair.seen.messages.is_empty() && !pair.seen.closed);

    let mut pair = Pair::in_data();
    assert_eq!(pair.codes(&b"x".repeat(2500)), ["552"]);
    assert!(pair.seen.closed, "a client that lies is cut off");
}

#[test]
fn a_refusing_sink_is_told_at_the_end() {
    let mut pair = Pair::in_data();
    pair.session.refuse(Reply::fixed(452, "4.3.1", "disk"));
    assert_eq!(pair.codes(b"x: y\r\n\r\nbody\r\n.\r\nNOOP\r\n"), ["452", "250"]);
    assert!(pair.seen.messages.is_empty());
}

#[test]
fn nothing_is_smuggled() {
    const SECOND: &[u8] =
        b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\nSubject: SMUGGLED\r\n\r\nx\r\n.\r\n";
    for end in [
        &b"\n.\n"[..],
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\n.\r",
        b"\r.\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\r\n.\r\n",
        b"\r\n.\r\r\n",
        b"\r\n..\r\n",
    ] {
        let mut message = b"From: <a@x>\r\nSubject: first\r\n\r\nbody".to_vec();
        message.extend_from_slice(end);
        message.extend_from_slice(SECOND);
        for chunk in [1, 3, message.len()] {
            let mut pair = Pair::in_data();
            let mut codes = Vec::new();
            for part in message.chunks(chunk) {
                if !pair.seen.closed {
                    codes.extend(pair.codes(part));
                }
            }
            if end == b"\r\n..\r\n" {
                // Well-formed: a line with one dot, inside one message.
                assert_eq!((codes, pair.seen.messages.len()), (vec!["250".to_owned()], 1));
            } else {
                assert_eq!(codes, ["550"], "{end:?}");
                assert!(pair.seen.closed && pair.seen.messages.is_empty(), "{end:?}");
            }
        }
    }
}

#[test]
fn the_end_of_the_service_lets_a_message_finish() {
    let mut pair = Pair::open();
    pair.session.shut_down();
    assert_eq!(pair.codes(b"NOOP\r\n"), ["421"]);
    assert!(pair.seen.closed);

    let mut pair = Pair::in_data();
    pair.session.shut_down();
    assert_eq!(pair.codes(b"x: y\r\n\r\n.\r\n"), ["250", "421"]);
    assert!(pair.seen.closed);

    let mut pair = Pair::in_data();
    pair.session.time_out();
    assert_eq!(pair.codes(b"."), ["421"]);
    assert!(pair.seen.messages.is_empty());
}

#[test]
fn a_connection_has_a_last_message() {
    let settings = Settings { max_messages: 1, ..Settings::new("mx.test") };
    let mut pair = Pair { session: Session::new(settings), ..Pair::new() };
    pair.say(b"EHLO c\r\n");
    pair.say(b"MAIL FROM:<a@x>\r\nRCPT TO:<team@lists.test>\r\nDATA\r\n");
    assert_eq!(pair.codes(b".\r\n"), ["250"]);
    assert_eq!(pair.codes(b"MAIL FROM:<a@x>\r\n"), ["421"]);
}

/// Every reply but the greeting, the answers to EHLO and HELO, and 354 has an enhanced code of the same class.
#[test]
fn replies_carry_enhanced_codes() {
    let mut pair = Pair::in_data();
    pair.say(b"x\r\n.\r\nFOO\r\nMAIL\r\nRCPT\r\nVRFY a\r\nEXPN a\r\nRSET\r\nHELP\r\nDATA x\r\nQUIT\r\n");
    for line in pair.seen.replies.lines().skip(6) {
        if line.starts_with("354") {
            continue;
        }
        let (code, rest) = line.split_at(4);
        let enhanced: Vec<&str> = rest.split(' ').next().unwrap().split('.').collect();
        assert_eq!(enhanced.len(), 3, "{line}");
        assert_eq!(enhanced[0], &code[..1], "{line}");
    }
}

fn cut(input: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c % (input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| input[w[0]..w[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn cuts_in_the_input_change_nothing(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            "MAIL FROM:<a@x>", "RCPT TO:<team@lists.test>", "RCPT TO:<no@x>", "RSET", "NOOP", "FOO", "VRFY a", "",
        ]), 0..8),
        body in proptest::collection::vec(proptest::sample::select(vec![".", "..", ".x", "x", "", "\r", "\n.", "\0"]), 0..8),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let batch: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
        let body: String = body.iter().map(|l| format!("{l}\r\n")).collect::<String>() + "\r\n.\r\nNOOP\r\n";
        let run = |cuts: &[usize]| {
            let mut pair = Pair::open();
            for part in cut(batch.as_bytes(), cuts) {
                pair.say(&part);
            }
            pair.say(b"DATA\r\n");
            for part in cut(body.as_bytes(), cuts) {
                if !pair.seen.closed {
                    pair.say(&part);
                }
            }
            pair.seen
        };
        prop_assert_eq!(run(&cuts), run(&[]));
    }

    #[test]
    fn no_octets_make_it_panic(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        tame in "([A-Z]{4}( FROM:<a@x>| TO:<team@lists.test>)?\r\n|\\.\r\n|x\r\n){0,12}",
        cuts in proptest::collection::vec(any::<usize>(), 0..5),
    ) {
        for start in [Pair::new as fn() -> Pair, Pair::in_data] {
            for input in [&input[..], tame.as_bytes()] {
                let mut pair = start();
                for part in cut(input, &cuts) {
                    pair.say(&part);
                }
            }
        }
    }
}
