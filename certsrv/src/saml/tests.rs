//! Log-ins, honest and hostile, with responses that are signed here by a key of our own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)]

mod flow;
mod hostile;
mod idp;
mod judging;
mod metadata;
mod wrapping;

use super::Saml;
use super::judge::Verified;
use super::metadata::Idp;
use super::refused::Refused;
use super::settings::{LoginClass, SamlConfig};
use super::verify::verify_blocking;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idp::{Answer, TestIdp};
use twinseal_proto::time::UnixTime;

fn settings() -> SamlConfig {
    SamlConfig {
        idp_metadata: "/nowhere".into(),
        entity_id: "https://certsrv.test/sp".into(),
        base_url: "https://certsrv.test".into(),
        mail_attribute: "mail".into(),
        mail_domains: vec!["members.test".into()],
        class: LoginClass::Standard,
        create_accounts: false,
    }
}

fn saml(idp: &TestIdp) -> Saml {
    let config = settings();
    let found = Idp::new(&idp.metadata(), &config, UnixTime::now()).unwrap();
    Saml::new(config, found)
}

/// What comes of `response` for the request of [`Answer::default`].
fn verify(saml: &Saml, response: &str) -> Result<Verified, Refused> {
    verify_blocking(saml, &STANDARD.encode(response), idp::REQUEST, UnixTime::now())
}

#[test]
fn honest_responses_pass_however_they_are_signed() {
    let idp = TestIdp::trusted();
    let (curve, curved) = (TestIdp::on_a_curve(), Answer { method: idp::ECDSA_SHA256.into(), ..Answer::default() });
    assert!(verify(&saml(&curve), &curve.assertion_signed(&curved)).is_ok());
    let saml = saml(idp);
    let answer = Answer::default();
    let bound = verify(&saml, &idp.assertion_signed(&answer)).unwrap();
    assert_eq!((bound.assertion.as_str(), bound.mail.as_str()), ("_assertion", "ann@members.test"));
    assert_eq!(verify(&saml, &idp.response_signed(&answer)).unwrap().subject, bound.subject);
    assert_eq!(verify(&saml, &idp.both_signed(&answer)).unwrap().subject, bound.subject);
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", idp.assertion_signed(&answer));
    assert_eq!(verify(&saml, &declared).unwrap().subject, bound.subject);

    let mail_name = Answer { format: idp::EMAIL.into(), ..Answer::default() };
    assert_ne!(verify(&saml, &idp.assertion_signed(&mail_name)).unwrap().subject, bound.subject);
    let escaped = Answer { name_id: "a&amp;&#98;".into(), ..Answer::default() };
    assert!(verify(&saml, &idp.assertion_signed(&escaped)).is_ok());
}
