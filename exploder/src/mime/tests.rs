#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

#[test]
fn a_header_is_cut_into_fields() {
    let header = b"From: a@x\r\nSubject: one\r\n two\r\n\tthree\r\nX-Empty:\r\n";
    let fields = fields(header).unwrap();
    let read: Vec<(&str, String)> = fields.iter().map(|f| (f.name, f.value().into_owned())).collect();
    assert_eq!(read, [("From", "a@x".into()), ("Subject", "one two\tthree".to_owned()), ("X-Empty", String::new())]);
    assert_eq!(fields[1].raw, "Subject: one\r\n two\r\n\tthree\r\n");
    assert_eq!(fields.iter().map(|f| f.raw).collect::<String>().as_bytes(), header);
}

#[test]
fn headers_that_can_be_read_in_two_ways_are_refused() {
    for (header, fault) in [
        (&b"From a@x\r\n"[..], HeaderFault::NotAField),
        (b" folded: first\r\n", HeaderFault::NotAField),
        (b"From : a@x\r\n", HeaderFault::NotAField),
        (b": a@x\r\n", HeaderFault::NotAField),
        (b"From: a@x", HeaderFault::NotAField),
        (b"From: a@x\r\n \r\nTo: b\r\n", HeaderFault::NotAField),
        (b"From: a@x\nTo: b\r\n", HeaderFault::Control),
        (b"From: a@x\rTo: b\r\n", HeaderFault::Control),
        (b"From: a\0@x\r\n", HeaderFault::Control),
        (b"Subject: \xc3\xa9\r\n", HeaderFault::NotAscii),
    ] {
        assert_eq!(fields(header), Err(fault), "{}", header.escape_ascii());
    }
    let long = |n: usize| format!("X: {}\r\n", "y".repeat(n - 3)).into_bytes();
    assert!(fields(&long(998)).is_ok());
    assert_eq!(fields(&long(999)), Err(HeaderFault::LongLine));
    assert_eq!(fields(&b"X: y\r\n".repeat(1000)).unwrap().len(), 1000);
    assert_eq!(fields(&b"X: y\r\n".repeat(1001)), Err(HeaderFault::TooMany));
}

#[test]
fn content_types_are_recognised() {
    use Announced::{Cms, Multipart, OpenPgp, Other, Signed, Text};
    for (value, disposition, kind) in [
        ("application/pkcs7-mime; name=smime.p7m; smime-type=enveloped-data", None, Cms),
        ("application/pkcs7-mime; name=\"smime.p7m\"; smime-type=authEnveloped-data", None, Cms),
        ("APPLICATION/X-PKCS7-MIME", None, Cms),
        ("application/pkcs7-mime;\tsmime-type = \"Enveloped-Data\" (c) ;", None, Cms),
        ("application/octet-stream; name=smime.P7M", None, Cms),
        ("application/octet-stream", Some("attachment; filename=\"smime.p7m\""), Cms),
        ("application/octet-stream", Some("attachment; filename*=utf-8''smime.p7m"), Cms),
        ("application/octet-stream; name=a.bin", None, Other),
        ("application/pkcs7-mime; smime-type=signed-data", None, Signed),
        ("application/pkcs7-mime; smime-type=compressed-data", None, Other),
        ("multipart/signed; boundary=x; protocol=\"application/pkcs7-signature\"", None, Signed),
        ("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x", None, OpenPgp),
        ("multipart/mixed; boundary=x", None, Multipart),
        ("text/plain; charset=utf-8", None, Text),
    ] {
        let disposition = disposition.map(|d| Typed::parse(d).unwrap());
        assert_eq!(announced(&Typed::parse(value).unwrap(), disposition.as_ref()), kind, "{value}");
    }
    let many: String = (0..65).map(|i| format!("; p{i}=v")).collect();
    for bad in
        ["", "text/", "text/plain; x", "text/plain; =y", "text/plain; x=\"y", "text/plain x", &format!("a/b{many}")]
    {
        assert_eq!(Typed::parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(header in proptest::collection::vec(any::<u8>(), 0..200), tame in "[a: \r\n\t]{0,60}") {
        let _ = fields(&header);
        if let Ok(found) = fields(tame.as_bytes()) {
            for field in found {
                let _ = field.value();
            }
        }
    }
}
