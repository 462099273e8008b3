//! The rules for what was signed, on their own: without samael's, and at any time.

use super::super::judge::{Rules, judge};
use super::super::refused::Refused;
use super::super::structure::{Expected, Shape};
use super::idp::{Answer, ENTITY, REQUEST};
use samael::schema::Assertion;
use twinseal_proto::time::UnixTime;

/// What comes of `assertion` so many seconds from now.
fn judged(assertion: &str, later: i64) -> Result<UnixTime, Refused> {
    let domains = ["members.test".to_owned()];
    let rules = Rules {
        expected: Expected { acs: "https://certsrv.test/saml/acs", idp: ENTITY, request: REQUEST },
        audience: "https://certsrv.test/sp",
        mail_attribute: "mail",
        mail_domains: &domains,
    };
    let shape = Shape { assertion: "_assertion".into(), name_id: "subject-7".into() };
    let assertion: Assertion = assertion.parse().unwrap();
    let now = UnixTime(UnixTime::now().0.checked_add_signed(later).unwrap());
    judge(&assertion, &shape, &rules, now).map(|verified| verified.until)
}

#[test]
fn each_rule_stands_by_itself() {
    let good = Answer::default();
    let text = good.assertion("");
    assert!(judged(&text, 0).is_ok());
    let of = |change: fn(&mut Answer)| {
        let mut answer = good.clone();
        change(&mut answer);
        answer.assertion("")
    };
    let audience =
        "<saml:AudienceRestriction><saml:Audience>https://certsrv.test/sp</saml:Audience></saml:AudienceRestriction>";
    let other = audience.replace("certsrv.test", "other.test");
    let confirmation = &text[text.find("<saml:SubjectConfirmation ").unwrap()..text.find("</saml:Subject>").unwrap()];
    let attribute = &text[text.find("<saml:Attribute ").unwrap()..text.find("</saml:AttributeStatement>").unwrap()];
    let table = [
        ("issuer", of(|a| a.issuer = "https://evil.test".into()), Refused::Issuer),
        ("another assertion than was seen", of(|a| a.id = "_other".into()), Refused::Structure),
        ("version", text.replace("Version=\"2.0\"", "Version=\"1.1\""), Refused::Structure),
        ("audience", of(|a| a.audience = "https://other.test/sp".into()), Refused::Audience),
        ("no restriction", text.replace(audience, ""), Refused::Audience),
        ("a second restriction", text.replace(audience, &format!("{audience}{other}")), Refused::Audience),
        ("recipient", of(|a| a.recipient = "https://other.test/acs".into()), Refused::Destination),
        ("request", of(|a| a.confirmed_request = "_other".into()), Refused::InResponseTo),
        ("holder of key", text.replace("cm:bearer", "cm:holder-of-key"), Refused::Confirmation),
        ("two confirmations", text.replace(confirmation, &confirmation.repeat(2)), Refused::Confirmation),
        ("no end", text.replace("Data NotOnOrAfter", "Data Address"), Refused::Confirmation),
        ("nobody logged in", text.replace("AuthnStatement", "Statement"), Refused::AuthnStatement),
        (
            "session over",
            text.replace("AuthnInstant=", "SessionNotOnOrAfter=\"2020-01-01T00:00:00Z\" AuthnInstant="),
            Refused::Time,
        ),
        (
            "unspecified name",
            of(|a| a.format = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified".into()),
            Refused::NameId,
        ),
        ("no format", text.replace(" Format=", " Formation="), Refused::NameId),
        ("another name than was seen", of(|a| a.name_id = "subject-8".into()), Refused::NameId),
        ("the attribute twice", text.replace(attribute, &attribute.repeat(2)), Refused::MailAttribute),
        ("foreign domain", of(|a| a.mail = "ann@elsewhere.test".into()), Refused::MailDomain),
    ];
    for (name, assertion, wanted) in table {
        assert_eq!(judged(&assertion, 0), Err(wanted), "{name}");
    }
}

#[test]
fn times_are_kept_with_a_minute_of_patience() {
    let text = |issued, start, end, confirmed_until| {
        Answer { issued, start, end, confirmed_until, ..Answer::default() }.assertion("")
    };
    let usual = text(0, -5, 300, 300);
    assert_eq!([-55, 88].map(|later| judged(&usual, later).is_ok()), [true, true]);
    assert_eq!([-62, 93].map(|later| judged(&usual, later)), [Err(Refused::IssueInstant); 2]);
    let short = text(0, 0, 10, 10);
    assert!(judged(&short, 67).is_ok());
    assert_eq!(judged(&short, 72), Err(Refused::Time));
    assert_eq!(judged(&text(0, 0, 300, 10), 72), Err(Refused::Time), "the confirmation's end counts too");
    let later = text(0, 30, 300, 300);
    assert!(judged(&later, 0).is_ok());
    assert_eq!(judged(&later, -35), Err(Refused::Time));
    // Remembered until nothing lets it pass any more.
    for text in [usual, short] {
        let until = judged(&text, 0).unwrap().since(UnixTime::now());
        assert!(judged(&text, i64::try_from(until).unwrap() + 2).is_err(), "{until}");
    }
}
