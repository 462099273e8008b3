#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::mime::HeaderFault;
use crate::smtp::ForwardPath;
use crate::smtp::command::MailParameters;
use crate::smtp::session::Hello;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509Name};
use std::sync::LazyLock;
use twinseal_proto::api::keys::{EpochKey, EpochState, GroupKeys, KeyAlgorithm};
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{Epoch, GroupId, ListAddress};

static KEY: LazyLock<PKey<Private>> = LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());

fn certificate(serial: u32) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "sub-CA").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    builder.set_pubkey(&KEY).unwrap();
    builder.sign(&KEY, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// Epoch 1 has been left, epoch 2 is live; the serial numbers are those of the epochs.
fn keys() -> GroupKeyIds {
    let epoch = |n: u32, state| EpochKey {
        epoch: Epoch(n),
        algorithm: KeyAlgorithm::Rsa3072,
        state,
        certificate: certificate(n).to_der().unwrap().into(),
    };
    let epochs = vec![epoch(2, EpochState::Live), epoch(1, EpochState::Retained)];
    GroupKeyIds::read(&GroupKeys { group: GroupId::from_random([1; 16]), epochs }).unwrap()
}

fn encrypt(serials: &[u32], cipher: Cipher) -> Vec<u8> {
    let mut recipients = Stack::new().unwrap();
    for &serial in serials {
        recipients.push(certificate(serial)).unwrap();
    }
    let cms =
        CmsContentInfo::encrypt(&recipients, b"Subject: x\r\n\r\nsecret\r\n", cipher, CMSOptions::BINARY).unwrap();
    cms.to_der().unwrap()
}

fn hint() -> KeyHint {
    keys().hint(&"team@lists.test".parse::<ListAddress>().unwrap(), "https://certs.test/")
}

fn head() -> Head {
    Head {
        from: vec!["ann@members.test".parse().unwrap()],
        message_id: None,
        has_date: true,
        has_mime_version: true,
        kept: "From: ann@members.test\r\n".to_owned(),
    }
}

fn decide(settings: &ListSettings, keys: &GroupKeyIds, cms: &[u8]) -> Result<Accepted, Refusal> {
    accept(settings, keys, hint, head(), scan(cms, &Limits::default()))
}

fn refused(cms: &[u8]) -> Refusal {
    decide(&ListSettings::default(), &keys(), cms).unwrap_err()
}

#[test]
fn a_message_for_the_live_key_is_taken() {
    // The sender's own RecipientInfo and one of a former epoch stand beside it, as Thunderbird does it.
    let cms = encrypt(&[77, 1, 2], Cipher::aes_256_cbc());
    let accepted = decide(&ListSettings::default(), &keys(), &cms).unwrap();
    assert_eq!((accepted.epoch, accepted.key), (Epoch(2), KeyAlgorithm::Rsa3072));
    assert_eq!(accepted.frame.content_algorithm, ContentAlgorithm::Aes256Cbc);
    let frame = scan(&cms[..], &Limits::default()).unwrap();
    assert!(frame.recipient_infos.contains(&accepted.recipient_info.0));
    assert_eq!(accepted.frame.tail(), frame.ri_end..frame.end);
    let shape = twinseal_proto::cms::assemble::CopyShape::of(&frame);
    assert_eq!(accepted.frame.shape(), shape);
    let json = serde_json::to_string(&accepted).unwrap();
    assert_eq!(serde_json::from_str::<Accepted>(&json).unwrap(), accepted);
}

#[test]
fn messages_for_other_keys_are_refused_with_the_present_certificate() {
    let refusal = refused(&encrypt(&[77], Cipher::aes_256_cbc()));
    assert_eq!(refusal, Refusal::NotForGroup(hint()));
    let pairs: Vec<String> =
        Digest::of(&certificate(2).to_der().unwrap()).0.iter().map(|o| format!("{o:02X}")).collect();
    let text = refusal.to_string();
    assert!(text.starts_with("550 5.7.5 ") && text.contains("https://certs.test/lists/team@lists.test.pem"), "{text}");
    assert!(hint().fingerprints.len() == 1 && pairs.len() == 32);
    assert_eq!(refused(&encrypt(&[77, 1], Cipher::aes_256_cbc())), Refusal::FormerKey(hint()));
    let none = decide(&ListSettings::default(), &GroupKeyIds::default(), &encrypt(&[2], Cipher::aes_256_cbc()));
    assert_eq!(none.unwrap_err(), Refusal::NoKeys);
}

#[test]
fn two_wrapped_keys_for_one_key_are_refused() {
    assert_eq!(refused(&encrypt(&[2, 2], Cipher::aes_256_cbc())), Refusal::ConflictingRecipients);
}

#[test]
fn content_encryption_follows_the_lists_policy() {
    let strict = ListSettings { content: ContentPolicy::AeadRequired, ..ListSettings::default() };
    let lax = ListSettings { legacy_3des: true, ..ListSettings::default() };
    let plain = ListSettings::default();
    let (cbc, gcm, des) = (
        encrypt(&[2], Cipher::aes_128_cbc()),
        encrypt(&[2], Cipher::aes_256_gcm()),
        encrypt(&[2], Cipher::des_ede3_cbc()),
    );
    for (settings, cms, refusal) in [
        (&plain, &cbc, None),
        (&plain, &gcm, None),
        (&plain, &des, Some(Refusal::TripleDes)),
        (&lax, &des, None),
        (&strict, &gcm, None),
        (&strict, &cbc, Some(Refusal::AeadRequired(ContentAlgorithm::Aes128Cbc))),
        (&strict, &des, Some(Refusal::AeadRequired(ContentAlgorithm::DesEde3Cbc))),
    ] {
        assert_eq!(decide(settings, &keys(), cms).err(), refusal);
    }
    assert!(Refusal::TripleDes.to_string().contains("-aes256"));
    let rc2 = ContentAlgorithm::Other("1.2.840.113549.3.2".to_owned());
    assert!(matches!(content(&lax, &rc2), Err(Refusal::Algorithm(what)) if what.contains("1.2.840.113549.3.2")));
}

#[test]
fn malformed_and_other_cms_is_refused() {
    let cms = encrypt(&[2], Cipher::aes_256_cbc());
    for broken in [&cms[..cms.len() - 1], b"", b"hello", &[&cms[..], b"x"].concat()] {
        let refusal = refused(broken);
        assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal}");
    }
    assert!(refused(&[&cms[..], b"x"].concat()).to_string().contains("octets follow the message"));
    let signed = CmsContentInfo::sign(Some(&certificate(2)), Some(&KEY), None, Some(b"x"), CMSOptions::BINARY).unwrap();
    assert_eq!(refused(&signed.to_der().unwrap()), Refusal::OnlySigned);
    // ContentInfo of id-data, empty.
    let data = [0x30, 0x0f, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0xa0, 0x02, 0x04, 0x00];
    assert_eq!(refused(&data), Refusal::NotEnveloped("Data".to_owned()));
    let failed = FrameError::Io(std::io::ErrorKind::Other.into());
    assert_eq!(of_frame(failed), Refusal::Storage);
}

#[test]
fn at_rcpt_the_transaction_is_looked_at() {
    let mail = |from: &str, size: Option<u64>| Mail {
        hello: Hello { name: "c".to_owned(), extended: true },
        reverse_path: ReversePath::parse(from).unwrap().0,
        parameters: MailParameters { size, body: None },
    };
    let open = ListSettings { post: PostLevel::From, ..ListSettings::default() };
    assert_eq!(may_address(&open, &mail("<a@x>", Some(1000))), Ok(()));
    assert_eq!(may_address(&open, &mail("<>", None)), Err(Refusal::NullReversePath));
    let limit = open.max_size;
    assert_eq!(may_address(&open, &mail("<a@x>", Some(limit + 1))), Err(Refusal::TooLarge { limit }));
    assert_eq!(may_address(&ListSettings::default(), &mail("<a@x>", None)), Err(Refusal::SubmissionOnly));
    assert!(ForwardPath::parse("<team@lists.test>").is_some());
}

#[test]
fn the_author_has_to_be_one_member() {
    let open = ListSettings { post: PostLevel::From, ..ListSettings::default() };
    let member: MailAddress = "ann@members.test".parse().unwrap();
    let is_member = |address: &MailAddress| *address == member;
    let from = |list: &str| crate::mime::mailboxes(list).unwrap();
    assert_eq!(may_post(&open, &from("Ann <ANN@Members.Test>"), is_member), Ok(()));
    for bad in ["bob@members.test", "ann@members.test, bob@members.test", "ann@members.test, ann@members.test"] {
        assert_eq!(may_post(&open, &from(bad), is_member), Err(Refusal::NotAMember), "{bad}");
    }
    assert_eq!(may_post(&open, &[], is_member), Err(Refusal::NotAMember));
    assert_eq!(may_post(&ListSettings::default(), &from("ann@members.test"), is_member), Err(Refusal::SubmissionOnly));
}

#[test]
fn every_row_of_the_table() {
    use Refusal::{
        AeadRequired, Algorithm, AutomaticReply, BadBase64, ConflictingRecipients, ContentType, Duplicate, FormerKey,
        Header, LongHeader, Loop, Malformed, Multipart, NoAuthor, NoKeys, NoRoster, NotAMember, NotBase64,
        NotEncrypted, NotEnveloped, NotForGroup, NullReversePath, OnlySigned, OpenPgp, RecipientAlgorithm, Relay,
        Storage, SubmissionOnly, TooLarge, TooManyHops, TripleDes, UnknownMailbox,
    };
    for (refusal, codes, words) in [
        (AeadRequired(ContentAlgorithm::Aes128Cbc), "550 5.7.6", "-aes-256-gcm"),
        (Algorithm("oid:1.2".into()), "550 5.7.6", "oid:1.2"),
        (AutomaticReply, "550 5.7.1", "automatic"),
        (BadBase64, "550 5.6.0", "base64"),
        (ConflictingRecipients, "550 5.6.0", "RecipientInfos"),
        (ContentType, "550 5.6.0", "Content-Type"),
        (Duplicate("From"), "550 5.6.0", "From"),
        (FormerKey(hint()), "550 5.7.5", "SHA-256 fingerprint"),
        (Header(HeaderFault::NotAscii), "550 5.6.7", "RFC 2047"),
        (Header(HeaderFault::TooMany), "550 5.6.0", "1000 header fields"),
        (LongHeader, "550 5.6.0", "header"),
        (Loop, "554 5.4.6", "loop"),
        (Malformed("x".into()), "550 5.6.0", "well-formed: x"),
        (Multipart, "550 5.7.1", "S/MIME"),
        (NoAuthor, "550 5.6.0", "From"),
        (NoKeys, "451 4.3.2", "later"),
        (NoRoster, "451 4.3.2", "later"),
        (NotAMember, "550 5.7.2", "only members"),
        (NotBase64, "550 5.6.1", "base64"),
        (NotEncrypted, "550 5.7.1", "S/MIME"),
        (NotEnveloped("Data".into()), "550 5.7.1", "Data"),
        (NotForGroup(hint()), "550 5.7.5", "https://certs.test/lists/team@lists.test.pem"),
        (NullReversePath, "550 5.7.2", "notifications"),
        (OnlySigned, "550 5.7.1", "encrypt"),
        (OpenPgp, "550 5.7.1", "S/MIME"),
        (RecipientAlgorithm, "550 5.7.6", "RSA"),
        (Relay, "550 5.7.1", "relaying"),
        (Storage, "452 4.3.1", "later"),
        (SubmissionOnly, "550 5.7.2", "submission port with a posting token"),
        (TooLarge { limit: 5 }, "552 5.3.4", "5 octets"),
        (TooManyHops, "554 5.4.6", "hops"),
        (TripleDes, "550 5.7.6", "-aes256"),
        (UnknownMailbox, "550 5.1.1", "no such list"),
    ] {
        let text = refusal.to_string();
        assert!(text.starts_with(codes) && text.contains(words), "{text}");
        let mut wire = Vec::new();
        refusal.reply().write_to(&mut wire);
        assert!(wire.is_ascii() && !wire.contains(&b'?'), "{text}");
        assert!(wire.split(|b| *b == b'\n').all(|line| line.len() < 512), "{text}");
    }
}
