//! One function a parser: it must not panic, and what it takes it must take consistently.

use openssl::pkey::PKey;
use twinseal_certsrv::revocation::request;
use twinseal_exploder::intake::Intake;
use twinseal_exploder::smtp::reply::Reply;
use twinseal_exploder::smtp::session::{Action, Session, Settings};
use twinseal_proto::api::expand::ExpandRequest;
use twinseal_proto::api::feed::{FeedPage, FeedRequest, SnapshotPage, SnapshotRequest};
use twinseal_proto::cms::assemble::CopyShape;
use twinseal_proto::cms::choose::choose;
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{Cursor, EntryHeader, ExploderChange, GroupsrvChange, SignedEntry, View};
use twinseal_proto::ids::{FeedId, GroupId, ListAddress, MailAddress};
use twinseal_proto::roster::{OwnerRoster, SignedStatement, Statement};

/// A frame that is found describes the octets that are there.
pub(crate) fn frame(octets: &[u8]) {
    let Ok(frame) = scan(octets, &Limits::default()) else { return };
    assert_eq!(frame.total, octets.len() as u64);
    assert!(
        frame.ri_start <= frame.ri_end
            && frame.ri_end <= frame.eci_end
            && frame.eci_end <= frame.end
            && frame.end <= frame.total
    );
    let _ = choose(&frame.recipient_infos, |id| Some(id.clone()));
    if let Some(first) = frame.recipient_infos.first() {
        let _ = CopyShape::of(&frame).head(first, [0, 0]);
    }
}

/// What is decoded is encoded to something that decodes to the same.
pub(crate) fn recipient_info(octets: &[u8]) {
    let Ok(info) = RecipientInfo::decode_bounded(octets) else { return };
    let again = info.encode();
    assert!(RecipientInfo::decode(&again).unwrap() == info, "not the same after encoding");
}

/// The session takes any octets, in one piece or one at a time, and no message begins without a recipient. (The two may
/// differ: octets that come before they are allowed to end the session.)
pub(crate) fn session(octets: &[u8]) {
    for step in [1, octets.len().max(1)] {
        let seen = drive(octets, step);
        let count = |what: &str| seen.iter().filter(|name| name.starts_with(what)).count();
        assert!(count("finish") <= count("begin") && count("begin") <= count("recipient"), "{seen:?}");
    }
}

fn drive(octets: &[u8], step: usize) -> Vec<String> {
    let mut session: Session<String> = Session::new(Settings::new("lists.test"));
    let mut seen = Vec::new();
    let mut chunk = Vec::new();
    for piece in octets.chunks(step) {
        let mut rest = piece;
        loop {
            let (used, action) = session.receive(rest);
            let name = match action {
                Action::Read => String::new(),
                Action::Chunk(data) => {
                    chunk.extend_from_slice(data);
                    String::from("more")
                }
                Action::Recipient(_, path) => format!("recipient {path:?}"),
                Action::Begin(envelope) => format!("begin {:?}", envelope.recipients),
                Action::Abort => String::from("abort"),
                Action::Finish => format!("finish {} octets", std::mem::take(&mut chunk).len()),
                Action::Wait => String::from("wait"),
                Action::Close => return seen,
            };
            rest = &rest[used..];
            match name.split(' ').next().unwrap() {
                "recipient" => session.recipient(Ok("team".into())),
                "begin" => session.ready(Ok(()), false),
                "finish" => session.finished(&Reply::fixed(250, "2.0.0", "ok")),
                "" if rest.is_empty() => break,
                _ => {}
            }
            if !matches!(name.as_str(), "" | "more" | "abort") {
                seen.push(name);
            }
        }
    }
    seen
}

/// The intake takes any octets, in one piece or in small ones, with the same result.
pub(crate) fn intake(octets: &[u8]) {
    let list: ListAddress = "team@lists.test".parse().unwrap();
    let take = |step: usize| {
        let mut intake = Intake::new(list.clone(), 1 << 20, Vec::new());
        for piece in octets.chunks(step) {
            if intake.push(piece).is_err() {
                break;
            }
        }
        intake.finish().map(|(_, body)| body).map_err(|e| e.to_string())
    };
    assert_eq!(take(7), take(octets.len().max(1)));
}

/// What is asked lies in the request, in an INTEGER and in OCTET STRINGs as it was written.
pub(crate) fn ocsp_request(octets: &[u8]) {
    let Ok(asked) = request::read(octets) else { return };
    assert!(octets.len() <= request::MAX_REQUEST && !asked.serial.is_empty());
    for field in [asked.issuer_name, asked.issuer_key, asked.serial] {
        let within = octets.as_ptr_range();
        assert!(field.is_empty() || within.contains(&field.as_ptr()), "not of the request");
    }
    assert_eq!(request::read(octets), Ok(asked));
    assert!(request::read(&[octets, &[0]].concat()).is_err(), "octets after the end");
}

/// Bodies of calls, feed entries and identifiers.
pub(crate) fn calls(octets: &[u8]) {
    let _ = serde_json::from_slice::<FeedRequest>(octets);
    let _ = serde_json::from_slice::<SnapshotRequest>(octets);
    let _ = serde_json::from_slice::<SnapshotPage>(octets);
    if let Ok(page) = serde_json::from_slice::<FeedPage>(octets) {
        page.entries.iter().for_each(unsigned);
    }
    let _ = serde_json::from_slice::<ExpandRequest>(octets);
    let _ = serde_json::from_slice::<EntryHeader>(octets);
    let _ = serde_json::from_slice::<GroupsrvChange>(octets);
    let _ = serde_json::from_slice::<ExploderChange>(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        let (signature, key) = (B64(octets.to_vec()), B64(octets.to_vec()));
        let statement = SignedStatement { text: text.to_owned(), signature, key };
        assert!(OwnerRoster::pin(GroupId::from_random([0; 16]), statement.signer()).accept(&statement).is_err());
        if let Ok(read) = statement.read() {
            assert_eq!(serde_json::from_str::<Statement>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
        }
        if let Ok(address) = text.parse::<MailAddress>() {
            assert_eq!(address.as_str().parse::<MailAddress>().unwrap(), address);
            assert!(!address.as_str().contains(['\r', '\n', '\0']));
        }
        let _ = text.parse::<ListAddress>();
    }
}

/// No entry is taken that the feed key did not sign.
fn unsigned(entry: &SignedEntry) {
    let key = PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
    let mut at = Cursor::start(FeedId::from_random([0; 16]), 1).accepting(u64::MAX);
    let before = at.clone();
    let taken = at.accept::<GroupsrvChange>(entry, View::Groupsrv, &PKey::public_key_from_der(&key).unwrap());
    assert!(taken.is_err() && at == before);
}
