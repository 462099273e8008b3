#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::intake::head::{Verdict, examine};
use crate::mime;
use proptest::prelude::*;

fn list() -> ListAddress {
    "team@lists.test".parse().unwrap()
}

fn head_of(lines: &[&str]) -> Head {
    let mut header = lines.join("\r\n");
    header
        .push_str("\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: BASE64\r\n");
    match examine(header.as_bytes(), &list()).unwrap() {
        Verdict::Cms(head) => head,
        Verdict::Text => unreachable!(),
    }
}

fn copy(head: &Head, description: &str) -> String {
    let list = list();
    let posting = Posting {
        list: &list,
        description,
        host: "mx.lists.test",
        post: PostId(255),
        accepted: UnixTime(1_795_341_296),
        protocol: "ESMTP",
    };
    String::from_utf8(copy_header(head, &posting)).unwrap()
}

#[test]
fn a_copy_keeps_the_authors_fields_and_adds_the_lists() {
    let head = head_of(&[
        "From: Ann <ann@members.test>",
        "To: team@lists.test",
        "Subject: =?utf-8?Q?caf=C3=A9?=",
        " folded",
        "Date: Sun, 22 Nov 2026 07:00:00 +0100",
        "Message-ID: <1@members.test>",
        "References: <0@members.test>",
        "MIME-Version: 1.0",
    ]);
    assert_eq!(
        copy(&head, "Our \"team\""),
        "Received: by mx.lists.test with ESMTP id 0000000000ff; Sun, 22 Nov 2026 09:54:56 +0000\r\n\
         From: Ann <ann@members.test>\r\n\
         To: team@lists.test\r\n\
         Subject: =?utf-8?Q?caf=C3=A9?=\r\n folded\r\n\
         Date: Sun, 22 Nov 2026 07:00:00 +0100\r\n\
         Message-ID: <1@members.test>\r\n\
         References: <0@members.test>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\
         Content-Transfer-Encoding: base64\r\n\
         List-Id: \"Our \\\"team\\\"\"\r\n <team.lists.test>\r\n\
         List-Post: <mailto:team@lists.test>\r\n\
         List-Help: <mailto:team-request@lists.test?subject=help>\r\n\
         List-Owner: <mailto:team-owner@lists.test>\r\n\
         List-Unsubscribe: <mailto:team-leave@lists.test>\r\n\
         Precedence: list\r\n\
         X-Loop: team@lists.test\r\n\
         \r\n"
    );
}

#[test]
fn missing_fields_are_made() {
    let made = copy(&head_of(&["From: ann@members.test"]), "");
    assert!(made.contains("\r\nMessage-ID: <0000000000ff.6b02bbf0@lists.test>\r\n"), "{made}");
    assert!(made.contains("\r\nDate: Sun, 22 Nov 2026 09:54:56 +0000\r\n"));
    assert!(made.contains("\r\nMIME-Version: 1.0\r\n"));
    assert!(made.contains("\r\nList-Id: <team.lists.test>\r\n"));
}

#[test]
fn traces_receipts_and_foreign_list_fields_are_removed() {
    let removed = [
        "List-Unsubscribe: <https://evil.test/>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "LIST-ID: <other.test>",
        "List-Archive: <https://evil.test/>",
        "Return-Path: <x@y>",
        "Delivered-To: x@y",
        "X-Original-To: x@y",
        "Envelope-To: x@y",
        "Errors-To: x@y",
        "Return-Receipt-To: x@y",
        "Disposition-Notification-To: x@y",
        "X-Confirm-Reading-To: x@y",
        "X-PMRQC: 1",
        "Generate-Delivery-Report: x",
        "Bcc: secret@y",
        "Approved: password",
        "X-Approved: password",
        "Precedence: bulk",
        "X-Spam-Status: No",
        "Authentication-Results: lists.test; dmarc=pass",
        "Received: from [192.0.2.1] by x",
        "X-Originating-IP: [192.0.2.1]",
        "X-Sender-IP: 192.0.2.1",
        "User-Agent: M",
        "X-Mailer: M",
        "X-MS-Exchange-X: y",
        "Thread-Index: x",
        "Thread-Topic: x",
        "X-Forwarded-For: 192.0.2.1",
        "Autocrypt: addr=a",
        "DKIM-Signature: v=1",
        "ARC-Seal: i=1",
        "X-Brand-New: by 192.0.2.1.",
        "X-Brand-Newer: [IPv6:2001:db8::1]",
    ];
    let kept = ["X-Priority: 1", "X-Loop: other@lists.test", "Keywords: 10:20:30", "In-Reply-To: <0@x>"];
    let mut lines = vec!["From: ann@members.test"];
    lines.extend(removed);
    lines.extend(kept);
    let made = copy(&head_of(&lines), "");
    let header = made.strip_suffix("\r\n").unwrap();
    let fields = mime::fields(header.as_bytes()).unwrap();
    for line in removed {
        assert!(!made.contains(line), "{line}");
    }
    for line in kept {
        assert!(made.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    for name in [
        "List-Id",
        "List-Post",
        "List-Help",
        "List-Owner",
        "List-Unsubscribe",
        "Precedence",
        "Received",
        "Date",
        "Message-ID",
        "Content-Type",
        "Content-Transfer-Encoding",
    ] {
        assert_eq!(fields.iter().filter(|f| f.is(name)).count(), 1, "{name}");
    }
    assert!(!made.contains("192.0.2.1") && !made.contains("2001:db8"));
}

#[test]
fn a_copy_that_comes_back_is_a_loop() {
    let made = copy(&head_of(&["From: ann@members.test"]), "Team");
    let header = made.strip_suffix("\r\n").unwrap().as_bytes();
    assert_eq!(examine(header, &list()), Err(crate::policy::Refusal::Loop));
    assert!(examine(header, &"other@lists.test".parse().unwrap()).is_ok());
}

#[test]
fn descriptions_cannot_break_the_header() {
    let head = head_of(&["From: ann@members.test"]);
    let id = |description: &str| {
        let made = copy(&head, description);
        let header = made.strip_suffix("\r\n").unwrap();
        let fields = mime::fields(header.as_bytes()).unwrap();
        fields.iter().find(|f| f.is("List-Id")).unwrap().value().into_owned()
    };
    assert_eq!(id("x\r\nBcc: v@e"), "<team.lists.test>");
    assert_eq!(id("Caf\u{e9}"), "=?utf-8?B?Q2Fmw6k=?= <team.lists.test>");
    let long = id(&"\u{e9}".repeat(1000));
    assert!(long.len() <= 255 && long.matches("=?utf-8?B?").count() > 1, "{long}");
    assert!(long.split(' ').all(|word| word.len() <= 75));
    assert!(id(&"x".repeat(1000)).len() <= 255);
}

proptest! {
    #[test]
    fn headers_are_always_clean(subject in "[ -~]{0,80}", description in any::<String>()) {
        let made = copy(&head_of(&["From: ann@members.test", &format!("Subject: x{subject}")]), &description);
        prop_assert!(made.is_ascii());
        prop_assert!(made.ends_with("\r\n\r\n"));
        let header = made.strip_suffix("\r\n").unwrap();
        let fields = mime::fields(header.as_bytes()).unwrap();
        prop_assert_eq!(fields.iter().filter(|f| f.is("List-Id")).count(), 1);
        prop_assert_eq!(fields.len(), 15);
    }
}
