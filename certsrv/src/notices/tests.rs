#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::compose::{Composed, compose, together};
use super::letter::Letter;
use super::sign::{ListSigner, sign};
use super::text::{self, Asked, Words};
use super::*;
use crate::cert::ca::Ca;
use crate::cert::good_key::KeyKind;
use crate::cert::profile::Profile;
use crate::cert::serial::Serial;
use crate::rows::{NoticeRow, Request, TokenPurpose, Wish};
use crate::tests::{address, ec_key, mail, now, rsa_key, signer};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::collections::BTreeSet;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole};
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{ContentPolicy, DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MemberNumber, RequestId};
use twinseal_svc::store::Store;

fn list() -> ListAddress {
    "team@lists.test".parse().unwrap()
}

fn group() -> GroupId {
    GroupId::from_random([9; 16])
}

fn token() -> twinseal_proto::secret::Token {
    twinseal_proto::secret::Token::presented("t".repeat(43))
}

/// Every template, with whether it may carry a token.
fn templates() -> Vec<(&'static str, Words, bool)> {
    let (mail, to, list, until) = (mail(), address("ann"), list(), now());
    let print = vec!["AB"; 32].join(":");
    let others: Vec<_> = (0..30).map(|n| (address(&format!("m{n}")), "5A".repeat(16))).collect();
    let changed: Vec<_> = others.iter().map(|(address, serial)| (address, serial.clone())).collect();
    vec![
        ("log-in", text::log_in(&mail, &to, &token(), until), true),
        ("confirm join", text::confirm(&mail, &Asked::Join(&list), &token(), until), true),
        ("confirm invitation", text::confirm(&mail, &Asked::Invitation(&list), &token(), until), true),
        ("confirm key", text::confirm(&mail, &Asked::Key, &token(), until), true),
        ("waiting", text::waiting(&mail, &list, 3), false),
        ("rejected", text::rejected(&mail, Some(&list)), false),
        ("rejected, no list", text::rejected(&mail, None), false),
        ("welcome", text::welcome(&mail, &list, Some(&print), true), false),
        ("welcome, unsigned", text::welcome(&mail, &list, None, false), false),
        ("goodbye", text::goodbye(&mail, &list), false),
        ("membership", text::membership(&mail, &[(&list, &to, true), (&list, &to, false)]), false),
        ("expiry", text::expiry(&mail, &"5A".repeat(16), until, 7), false),
        ("expiry, a day", text::expiry(&mail, &"5A".repeat(16), until, 1), false),
        ("key changed, own", text::key_changed(&mail, true, &changed[..1]), false),
        ("key changed, owner", text::key_changed(&mail, false, &changed), false),
    ]
}

fn letter<'a>(mail: &'a Mail, to: &'a MailAddress, words: &'a Words, list: Option<&'a ListAddress>) -> Letter<'a> {
    Letter {
        id: NoticeId::from_random([7; 16]),
        at: UnixTime(1_800_000_000),
        name: &mail.name,
        from: &mail.from,
        reply_to: mail.contact.as_ref(),
        to,
        list,
        domain: mail.from.domain(),
        subject: &words.subject,
        body: &words.body,
    }
}

/// The fields of a message, folded ones in one.
fn fields(message: &str) -> Vec<(String, String)> {
    let head = message.split_once("\r\n\r\n").unwrap().0.replace("\r\n ", " ");
    head.lines().map(|line| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap()).collect()
}

#[test]
fn every_template_has_the_fields_that_keep_programs_from_answering() {
    let (mail, to) = (mail(), address("ann"));
    for (name, words, carries) in templates() {
        let message = String::from_utf8(letter(&mail, &to, &words, None).plain()).unwrap();
        let fields = fields(&message);
        let one = |field: &str| {
            let found: Vec<_> = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(field)).collect();
            assert_eq!(found.len(), 1, "{name}: {field}");
            found[0].1.clone()
        };
        assert_eq!(one("Auto-Submitted"), "auto-generated", "{name}");
        assert_eq!(one("To"), "<ann@members.test>", "{name}");
        assert_eq!(one("From"), "\"Twinseal\" <noreply@lists.test>", "{name}");
        assert_eq!(one("Reply-To"), "<help@lists.test>", "{name}");
        assert_eq!(one("Message-ID"), format!("<{}@lists.test>", "07".repeat(16)), "{name}");
        assert!(one("Date").ends_with("+0000") && one("MIME-Version") == "1.0", "{name}");
        assert!(one("Subject").len() <= 78, "{name}: {}", words.subject);
        assert!(!fields.iter().any(|(n, _)| ["Bcc", "Cc", "List-Post", "Precedence"].contains(&n.as_str())), "{name}");
        assert!(message.is_ascii() && !message.replace("\r\n", "").contains(['\r', '\n']), "{name}");
        for line in message.split("\r\n") {
            assert!(line.len() <= 250 && !line.ends_with(' ') && !line.starts_with("From "), "{name}: {line:?}");
            assert!(!line.starts_with('.') && !line.starts_with("--"), "{name}: {line:?}");
        }
        // A token is in the mails that are for it, and nowhere else (spec P5, K14).
        assert_eq!(message.contains(token().expose()), carries, "{name}");
        if carries {
            assert!(message.len() <= 2048 && message.contains("report abuse"), "{name}: {} octets", message.len());
        }
    }
    let kinds: BTreeSet<_> = templates().iter().map(|(name, ..)| name.split([',', ' ']).next().unwrap()).collect();
    assert_eq!(kinds.len(), 9, "one for each kind at least: {kinds:?}");
}

#[test]
fn mails_that_strangers_ask_for_stay_small_whatever_the_names() {
    let long = |local: usize| format!("{}@{}.test", "l".repeat(local), vec!["d".repeat(60); 3].join("."));
    let (to, list): (MailAddress, ListAddress) = (long(64).parse().unwrap(), long(24).parse().unwrap());
    let mail = Mail { url: format!("https://{}", "h".repeat(100)), name: "N".repeat(40), ..mail() };
    for words in [
        text::log_in(&mail, &to, &token(), now()),
        text::confirm(&mail, &Asked::Join(&list), &token(), now()),
        text::confirm(&mail, &Asked::Invitation(&list), &token(), now()),
        text::confirm(&mail, &Asked::Key, &token(), now()),
    ] {
        let octets = letter(&mail, &to, &words, None).plain().len();
        assert!(octets <= 2048 && words.subject.len() <= 78, "{octets}: {}", words.subject);
    }
}

/// An index with the list `team`, its owner, and `ann`, whose key is `key`.
fn filled(store: &Store, key: &PKey<Private>) -> Tx<'static> {
    let store: &'static Store = Box::leak(Box::new(store.clone()));
    let mut tx = Tx::new(store);
    for name in ["owner", "ann"] {
        tx.push(Change::AccountAdded { address: address(name), password: None }).unwrap();
    }
    tx.push(Change::GroupCreated {
        group: group(),
        list: list(),
        owner: address("owner"),
        join: JoinPolicy::Open,
        mode: DeliveryMode::Expand,
        history: History::SinceJoin,
        settings: ListSettings::default(),
        signed: false,
    })
    .unwrap();
    let root = Ca::root(signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650).unwrap();
    let profile = Profile::member(&address("ann"), KeyKind::Ec);
    let serial = Serial::from_random([5; 16]);
    let spki = key.public_key_to_der().unwrap();
    let prepared = root.prepare(&profile, &spki, serial, now(), 20).unwrap();
    let (until, der) = (prepared.until, root.issue(prepared).unwrap());
    tx.push(Change::CertificateIssued {
        serial,
        holder: crate::rows::Holder::Member { address: address("ann") },
        certificate: B64(der),
        until,
        token: None,
        purpose: crate::rows::KeyUse::Both,
    })
    .unwrap();
    for (name, role, number) in [("owner", MemberRole::Owner, 1), ("ann", MemberRole::Member, 2)] {
        tx.push(Change::MemberAdded {
            group: group(),
            address: address(name),
            handle: Handle::from_random([u8::try_from(number).unwrap(); 16]),
            number: MemberNumber(number),
            role,
            serial: (name == "ann").then_some(serial),
        })
        .unwrap();
    }
    tx
}

#[test]
fn mailboxes_behind_which_no_person_reads_are_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("index")).unwrap().store;
    let tx = filled(&store, &ec_key());
    let table = [
        ("ann@members.test", false),
        ("postmaster@members.test", false),
        ("team@elsewhere.test", false),
        ("bob-owner@members.test", false),
        ("teams@lists.test", false),
        ("help@lists.test", false),
        ("noreply@lists.test", true),
        ("NoReply@Lists.test", true),
        ("team@lists.test", true),
        ("Team@LISTS.test", true),
        ("team-owner@lists.test", true),
        ("team-bounces@lists.test", true),
        ("team-request@lists.test", true),
        ("team-unsubscribe@lists.test", true),
        ("owner-team@elsewhere.test", true),
        ("things-request@elsewhere.test", true),
        ("things-bounces@elsewhere.test", true),
        ("MAILER-DAEMON@members.test", true),
        ("mailer-daemon@elsewhere.test", true),
        ("postmaster@lists.test", true),
        ("abuse@lists.test", true),
        ("b+token@lists.test", true),
    ];
    for (text, wanted) in table {
        assert_eq!(own::is_own(&tx, &mail(), &text.parse().unwrap()).unwrap(), wanted, "{text}");
    }
}

fn row(notice: Notice) -> NoticeRow {
    NoticeRow { id: NoticeId::from_random([7; 16]), notice, made: now() }
}

#[test]
fn what_is_no_longer_so_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("index")).unwrap().store;
    let mut tx = filled(&store, &ec_key());
    let key = TokenKey::open(&dir.path().join("mail")).unwrap();
    let says = |tx: &Tx<'_>, notice: &Notice| match compose(tx, &mail(), &key, &[row(notice.clone())], now()).unwrap() {
        Composed::Draft(_) => "draft",
        Composed::Gone => "gone",
        Composed::Later => "later",
    };
    let request = Request {
        id: RequestId::from_random([3; 16]),
        wish: Wish::Join { group: group(), address: address("bob") },
        made: now(),
        expires: now().plus(1000),
        confirmed: false,
        approved: Vec::new(),
        by_administrator: false,
    };
    let (ann, owner) = (address("ann"), address("owner"));
    let serial = Serial::from_random([5; 16]);
    let log_in = Notice::LogIn { to: ann.clone() };
    let confirm = Notice::Confirm { to: address("bob"), request: request.id };
    let waiting = |to: &MailAddress| Notice::Waiting { to: to.clone(), request: request.id, group: group() };
    let welcome = |to: &MailAddress| Notice::Welcome { to: to.clone(), group: group() };
    let goodbye = |to: &MailAddress| Notice::Goodbye { to: to.clone(), list: list() };
    let expiry = Notice::Expiry { to: ann.clone(), serial, days: 30 };
    let changed = |to: &MailAddress| Notice::KeyChanged { to: to.clone(), address: ann.clone(), serial };
    // Without tokens and requests, nothing is asked.
    for notice in [&log_in, &confirm, &waiting(&owner)] {
        assert_eq!(says(&tx, notice), "gone", "{notice:?}");
    }
    let id = NoticeId::from_random([7; 16]);
    for (token, purpose) in [
        (key.log_in(&id).unwrap(), TokenPurpose::Enrol { address: ann.clone() }),
        (key.confirm(&id).unwrap(), TokenPurpose::Confirm { request: request.id }),
    ] {
        let (digest, expires) = (token.digest(), now().plus(1000));
        tx.push(Change::TokenMade { digest, purpose, expires, made: now() }).unwrap();
    }
    tx.push(Change::RequestMade { request: request.clone() }).unwrap();
    for (notice, wanted) in [
        (log_in, "draft"),
        (confirm.clone(), "draft"),
        (waiting(&owner), "draft"),
        (waiting(&ann), "gone"),
        (welcome(&ann), "later"),
        (welcome(&owner), "gone"),
        (welcome(&address("bob")), "gone"),
        (goodbye(&ann), "gone"),
        (goodbye(&address("bob")), "draft"),
        (expiry.clone(), "draft"),
        (changed(&ann), "draft"),
        (changed(&owner), "draft"),
        (changed(&address("bob")), "gone"),
    ] {
        assert_eq!(says(&tx, &notice), wanted, "{notice:?}");
    }
    let token = key.confirm(&id).unwrap().digest();
    tx.push(Change::RequestConfirmed { request: request.id, token: Some(token) }).unwrap();
    tx.push(Change::CertificateEnded { serial }).unwrap();
    for notice in [confirm, expiry] {
        assert_eq!(says(&tx, &notice), "gone", "{notice:?}");
    }
    tx.push(Change::RequestApproved { request: request.id, group: Some(group()) }).unwrap();
    assert_eq!(says(&tx, &waiting(&owner)), "gone");
}

#[test]
fn owners_are_told_together() {
    let (owner, serial) = (address("owner"), Serial::from_random([5; 16]));
    let changed = |to: &MailAddress, whose| Notice::KeyChanged { to: to.clone(), address: address(whose), serial };
    assert_eq!(together(&changed(&owner, "ann")), together(&changed(&owner, "bob")));
    assert!(together(&changed(&owner, "ann")).is_some() && together(&changed(&owner, "owner")).is_none());
    let words = text::key_changed(&mail(), false, &[(&address("ann"), "5A".into()), (&address("bob"), "5B".into())]);
    assert!(words.body.contains("ann@members.test") && words.body.contains("bob@members.test"));
}

#[test]
fn a_welcome_is_signed_by_the_list_and_carries_its_certificate() {
    let root = Ca::root(signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650).unwrap();
    let issue = |profile: &Profile, key: &PKey<Private>, n: u8| {
        let spki = key.public_key_to_der().unwrap();
        root.issue(root.prepare(profile, &spki, Serial::from_random([n; 16]), now(), 90).unwrap()).unwrap()
    };
    let (key, group_key) = (rsa_key(2048), rsa_key(2048));
    let signer = ListSigner { certificate: issue(&Profile::list_signer(&list()), &key, 2), key };
    let certificate = issue(&Profile::group(&list(), KeyKind::Rsa), &group_key, 3);
    let (mail, to) = (mail(), address("ann"));
    let words = text::welcome(&mail, &list(), Some(&vec!["AB"; 32].join(":")), true);
    let team = list();
    let mut letter = letter(&mail, &to, &words, Some(&team));
    letter.from = team.address();
    let entity = letter.entity();
    let signed = |content| {
        let issuers: [&[u8]; 1] = [root.der()];
        sign(entity.as_bytes(), &signer, &issuers, std::slice::from_ref(&certificate), content, now()).unwrap()
    };
    let der = signed(ContentPolicy::CbcAllowed);
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(root.certificate().clone()).unwrap();
    let store = store.build();
    let verify = |data: &str| {
        let mut cms = CmsContentInfo::from_der(&der).unwrap();
        let flags = CMSOptions::BINARY | CMSOptions::DETACHED;
        let done = cms.verify(None, Some(&store), Some(data.as_bytes()), None, flags).is_ok();
        drop(openssl::error::ErrorStack::get());
        done
    };
    assert!(verify(&entity));
    assert!(!verify(&entity.replace("team", "mean")));
    // DER throughout: what OpenSSL read it writes again the same.
    assert_eq!(CmsContentInfo::from_der(&der).unwrap().to_der().unwrap(), der);
    let has = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
    assert!(has(&certificate) && has(&signer.certificate));
    assert_ne!(der, signed(ContentPolicy::AeadRequired));

    let message = String::from_utf8(letter.signed(&der)).unwrap();
    let named: Vec<_> = fields(&message);
    let value = |name: &str| named.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
    assert_eq!(value("From"), "\"Twinseal\" <team@lists.test>");
    assert_eq!(value("List-Id"), "<team.lists.test>");
    assert!(
        value("Content-Type").starts_with("multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256")
    );
    assert_eq!(message.matches(&entity).count(), 1, "what is signed is what is sent");
    assert!(message.is_ascii() && message.split("\r\n").all(|line| line.len() <= 250));
    assert_eq!(
        X509::from_der(&signer.certificate).unwrap().subject_alt_names().unwrap()[0].email(),
        Some("team@lists.test")
    );
}
