//! Responses that must be refused, each for its own reason.

use super::super::refused::Refused;
use super::super::structure;
use super::idp::{Answer, ENTITY, EXCLUSIVE, REQUEST, TestIdp};
use super::{saml, verify};
use twinseal_proto::time::UnixTime;

fn changed(change: impl FnOnce(&mut Answer)) -> Answer {
    let mut answer = Answer::default();
    change(&mut answer);
    answer
}

#[test]
fn what_is_signed_and_not_for_us_now_is_refused() {
    let idp = TestIdp::trusted();
    let saml = saml(idp);
    let table: Vec<(&str, Answer, Refused)> = vec![
        ("wrong destination", changed(|a| a.destination = "https://other.test/acs".into()), Refused::Destination),
        ("wrong recipient", changed(|a| a.recipient = "https://other.test/acs".into()), Refused::Destination),
        ("wrong audience", changed(|a| a.audience = "https://other.test/sp".into()), Refused::Audience),
        ("another request", changed(|a| a.request = "_other".into()), Refused::InResponseTo),
        ("another request confirmed", changed(|a| a.confirmed_request = "_other".into()), Refused::InResponseTo),
        ("wrong issuer", changed(|a| a.issuer = "https://evil.test".into()), Refused::Issuer),
        ("wrong response issuer", changed(|a| a.response_issuer = "https://evil.test".into()), Refused::Issuer),
        ("failed", changed(|a| a.status = "Requester".into()), Refused::Status),
        ("old response", changed(|a| a.response_issued = -95), Refused::IssueInstant),
        ("response from the future", changed(|a| a.response_issued = 75), Refused::IssueInstant),
        ("old assertion", changed(|a| a.issued = -95), Refused::IssueInstant),
        ("assertion from the future", changed(|a| a.issued = 75), Refused::IssueInstant),
        ("not yet valid", changed(|a| a.start = 75), Refused::Time),
        ("expired", changed(|a| a.end = -65), Refused::Time),
        ("confirmation expired", changed(|a| a.confirmed_until = -65), Refused::Time),
        ("transient name", changed(|a| a.format = a.format.replace("persistent", "transient")), Refused::NameId),
        ("empty name", changed(|a| a.name_id = String::new()), Refused::Structure),
        ("long name", changed(|a| a.name_id = "n".repeat(257)), Refused::NameId),
        ("no mail attribute", changed(|a| a.attribute = "other".into()), Refused::MailAttribute),
        ("no mail address", changed(|a| a.mail = "ann".into()), Refused::MailAttribute),
        (
            "two values",
            changed(|a| a.mail += "</saml:AttributeValue><saml:AttributeValue>b@members.test"),
            Refused::MailAttribute,
        ),
        ("foreign domain", changed(|a| a.mail = "ann@elsewhere.test".into()), Refused::MailDomain),
        ("domain below ours", changed(|a| a.mail = "ann@a.members.test".into()), Refused::MailDomain),
        ("comment in the name", changed(|a| a.name_id = "subject<!-- -->-7".into()), Refused::Comment),
        ("comment in the address", changed(|a| a.mail = "ann@members.test<!---->.evil.test".into()), Refused::Comment),
        ("CDATA", changed(|a| a.name_id = "<![CDATA[subject-7]]>".into()), Refused::Comment),
        ("instruction", changed(|a| a.name_id = "subject<?x y?>-7".into()), Refused::Comment),
        (
            "element in the name",
            changed(|a| a.name_id = "s<saml:Audience>x</saml:Audience>".into()),
            Refused::Structure,
        ),
        (
            "SHA-1 signature",
            changed(|a| a.method = "http://www.w3.org/2000/09/xmldsig#rsa-sha1".into()),
            Refused::Algorithm,
        ),
        ("SHA-1 digest", changed(|a| a.digest = "http://www.w3.org/2000/09/xmldsig#sha1".into()), Refused::Algorithm),
        ("SHA-224", changed(|a| a.method = a.method.replace("256", "224")), Refused::Algorithm),
        (
            "another transform",
            changed(|a| a.transforms.insert(1, "http://www.w3.org/2000/09/xmldsig#base64".into())),
            Refused::Algorithm,
        ),
        ("a transform too few", changed(|a| a.transforms.truncate(1)), Refused::Algorithm),
        ("comments kept", changed(|a| a.transforms[1] = format!("{EXCLUSIVE}WithComments")), Refused::Algorithm),
        ("whole document", changed(|a| a.uri = "#xpointer(/)".into()), Refused::Reference),
    ];
    for (name, answer, wanted) in table {
        let unsigned = answer.response("", &answer.assertion(&answer.template(&answer.id)));
        // What xmlsec itself does not sign is as good unsigned: it is refused before.
        let response = if wanted == Refused::Algorithm { unsigned } else { idp.assertion_signed(&answer) };
        assert_eq!(verify(&saml, &response), Err(wanted), "{name}");
    }
    let unconfirmed = idp.assertion_signed(&Answer::default());
    assert!(verify(&saml, &unconfirmed).is_ok(), "the table's responses differ from this in one thing each");
}

#[test]
fn what_is_not_signed_by_the_pinned_key_is_refused() {
    let (idp, stranger) = (TestIdp::trusted(), TestIdp::stranger());
    let saml = saml(idp);
    let answer = Answer::default();
    let good = idp.assertion_signed(&answer);
    let table = [
        ("unsigned", answer.response("", &answer.assertion("")), Refused::Unsigned),
        // Its certificate is in the document: it is not asked.
        ("wrong key", stranger.assertion_signed(&answer), Refused::Signature),
        ("wrong key on the response", stranger.both_signed(&answer), Refused::Signature),
        ("tampered name", good.replace("subject-7", "subject-8"), Refused::Signature),
        ("tampered address", good.replace("ann@members.test", "eve@members.test"), Refused::Signature),
        (
            "signature of nothing",
            answer.response("", &answer.assertion(&answer.template("_assertion"))),
            Refused::Signature,
        ),
    ];
    for (name, response, wanted) in table {
        assert_eq!(verify(&saml, &response), Err(wanted), "{name}");
        assert!(openssl::error::ErrorStack::get().errors().is_empty(), "{name}: left for the next caller");
    }
    // The response tampered with, the assertion in it sound.
    let both = idp.both_signed(&answer);
    let consent = both.replacen(" Destination=", " Consent=\"x\" Destination=", 1);
    assert_eq!((verify(&saml, &both).is_ok(), verify(&saml, &consent)), (true, Err(Refused::Signature)));
}

#[test]
fn what_is_more_or_less_than_one_plain_response_is_refused() {
    let idp = TestIdp::trusted();
    let saml = saml(idp);
    let answer = Answer::default();
    let good = idp.assertion_signed(&answer);
    let inner = idp.signed_assertion(&answer);
    let second = idp.signed_assertion(&Answer { id: "_second".into(), ..Answer::default() });
    let billion = "<!DOCTYPE lolz [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]>";
    let padding = " ".repeat(1000);
    let deep = format!("{}{}", "<saml:Advice>".repeat(100_000), "</saml:Advice>".repeat(100_000));
    let many: String = (0..1000).map(|n| format!(" a{n}=\"\"")).collect();
    let table = [
        ("two assertions", answer.response("", &format!("{inner}{second}")), Refused::Assertions),
        ("no assertion", answer.response("", ""), Refused::Assertions),
        ("document type", format!("<!DOCTYPE x>{good}"), Refused::Doctype),
        ("billion laughs", format!("{billion}{}", good.replace("subject-7", "&c;")), Refused::Doctype),
        ("unknown entity", good.replace("subject-7", "&xxe;"), Refused::NotXml),
        (
            "encrypted assertion",
            answer.response("", "<saml:EncryptedAssertion><saml:Audience/></saml:EncryptedAssertion>"),
            Refused::Encrypted,
        ),
        ("encrypted name", good.replace("saml:NameID", "saml:EncryptedID"), Refused::Encrypted),
        ("same ID twice", good.replace("_response", "_assertion"), Refused::Identifiers),
        ("no ID", good.replace("ID=\"_response\"", ""), Refused::Identifiers),
        ("another ID", good.replace("<saml:Subject>", "<saml:Subject ID=\"_x\">"), Refused::Identifiers),
        ("an xml:id", good.replace("<saml:Subject>", "<saml:Subject xml:id=\"_assertion\">"), Refused::Identifiers),
        ("an Id", good.replace("<saml:Subject>", "<saml:Subject Id=\"_x\">"), Refused::Identifiers),
        ("other vocabulary", good.replace("<saml:Subject>", "<x xmlns=\"urn:x\"/><saml:Subject>"), Refused::Structure),
        ("advice", good.replace("<saml:Subject>", "<saml:Advice/><saml:Subject>"), Refused::Structure),
        ("text between", good.replace("<samlp:Status>", "x<samlp:Status>"), Refused::Structure),
        ("not a response", inner.clone(), Refused::Structure),
        ("unbound prefix", good.replace("<saml:Subject>", "<u:Subject/><saml:Subject>"), Refused::Structure),
        ("cut off", good[..good.len() - 4].to_owned(), Refused::NotXml),
        ("more behind", format!("{good}<x/>"), Refused::NotXml),
        ("comment behind", format!("{good}<!-- x -->"), Refused::Comment),
        ("control character", good.replace("subject-7", "subject\u{1}-7"), Refused::NotXml),
        ("its reference", good.replace("subject-7", "subject&#1;-7"), Refused::NotXml),
        ("UTF-16 claimed", format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?>{good}"), Refused::NotXml),
        ("space before", format!("{padding}{good}"), Refused::NotXml),
        ("deep", good.replace("<saml:Subject>", &format!("{deep}<saml:Subject>")), Refused::NotXml),
        ("many attributes", good.replace("<saml:Subject>", &format!("<saml:Subject{many}>")), Refused::NotXml),
        ("an attribute twice", good.replace("<saml:Subject>", "<saml:Subject a=\"1\" a=\"2\">"), Refused::NotXml),
        (
            "many elements",
            good.replace("<samlp:Status>", &format!("{}<samlp:Status>", "<samlp:X/>".repeat(2001))),
            Refused::NotXml,
        ),
        ("empty", String::new(), Refused::NotXml),
    ];
    for (name, response, wanted) in table {
        assert_eq!(verify(&saml, &response), Err(wanted), "{name}");
    }
    let rubbish = super::verify_blocking(&saml, "no base64!", REQUEST, UnixTime::now());
    assert_eq!(rubbish, Err(Refused::NotXml));
}

/// Each octet of a sound response changed: the reader before samael does not panic, and nothing else comes out of it.
#[test]
fn the_reader_takes_any_octets() {
    let idp = TestIdp::trusted();
    let good = idp.both_signed(&Answer::default());
    let expected = structure::Expected { acs: "https://certsrv.test/saml/acs", idp: ENTITY, request: REQUEST };
    let now = UnixTime::now();
    let sound = structure::check(&good, &expected, now).unwrap();
    for place in 0..good.len() {
        for octet in *b"<&\"\0" {
            let mut octets = good.clone().into_bytes();
            octets[place] = octet;
            let text = String::from_utf8(octets).unwrap();
            if let Ok(shape) = structure::check(&text, &expected, now) {
                assert!(shape == sound || place < good.rfind("</saml:NameID>").unwrap(), "{place}");
            }
        }
        let _ = structure::check(&good[..place], &expected, now);
    }
}
