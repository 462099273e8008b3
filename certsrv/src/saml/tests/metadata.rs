//! Metadata that the service does not start with.

use super::super::Saml;
use super::super::metadata::Idp;
use super::idp::TestIdp;
use super::settings;
use crate::config::Config;
use twinseal_proto::time::UnixTime;

fn load(text: &str) -> Result<Idp, String> {
    Idp::new(text, &settings(), UnixTime::now())
}

#[test]
fn metadata_that_would_let_anybody_in_is_refused() {
    let idp = TestIdp::trusted();
    let good = idp.metadata();
    assert_eq!(load(&good).unwrap().sso, "https://idp.test/sso?a=b");
    assert!(load(&good.replace(" use=\"signing\"", "")).is_ok(), "for any use");
    let (from, to) = (good.find("<md:KeyDescriptor").unwrap(), good.find("<md:SingleSignOn").unwrap());
    let role = format!("{}{}", &good[..from], &good[to..]);
    let until = |at: &str| good.replacen("entityID", &format!("validUntil=\"{at}\" entityID"), 1);
    assert!(load(&until("2999-01-01T00:00:00Z")).is_ok());
    let soon = load(&until(&UnixTime::now().plus(100).to_string())).unwrap();
    assert_eq!([90, 110].map(|later| soon.valid(UnixTime::now().plus(later))), [true, false], "nor is it used later");
    let table = [
        ("no keys", role, "no signing certificate"),
        ("for encryption alone", good.replace("\"signing\"", "\"encryption\""), "no signing certificate"),
        ("a key that is none", good.replace(&idp.certificate(), "AAAA"), "signing key"),
        ("a key that is no base64", good.replace(&idp.certificate(), "!"), "cannot be read"),
        ("short key", TestIdp::short().metadata(), "2048"),
        ("out of date", until("2020-01-01T00:00:00Z"), "validUntil"),
        (
            "role out of date",
            good.replace("<md:IDPSSODescriptor", "<md:IDPSSODescriptor validUntil=\"2020-01-01T00:00:00Z\""),
            "validUntil",
        ),
        ("no redirect binding", good.replace("HTTP-Redirect", "HTTP-POST"), "HTTP-Redirect"),
        ("in the clear", good.replace("https://idp.test/sso", "http://idp.test/sso"), "https"),
        ("script", good.replace("https://idp.test/sso", "javascript:alert"), "https"),
        ("no entity id", good.replace("entityID=", "entity="), "entityID"),
        ("no identity provider", good.replace("IDPSSODescriptor", "Extensions"), "IDPSSODescriptor"),
        (
            "signed requests wanted",
            good.replace("<md:IDPSSODescriptor", "<md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\""),
            "WantAuthnRequestsSigned",
        ),
        ("document type", format!("<!DOCTYPE x>{good}"), "document type"),
        ("rubbish", "rubbish".into(), "EntityDescriptor"),
    ];
    for (name, text, wanted) in table {
        let why = load(&text).err().unwrap_or_default();
        assert!(why.contains(wanted), "{name}: {why:?}");
    }
}

#[test]
fn our_own_metadata_says_what_we_take() {
    let mut config = settings();
    config.entity_id = "https://certsrv.test/?a&b\"<".into();
    let idp = Idp::new(&TestIdp::trusted().metadata(), &config, UnixTime::now()).unwrap();
    let text = super::super::describe::describe(&Saml::new(config.clone(), idp));
    let read: samael::metadata::EntityDescriptor = text.parse().unwrap();
    assert_eq!(read.entity_id.as_deref(), Some(config.entity_id.as_str()));
    let role = &read.sp_sso_descriptors.unwrap()[0];
    assert_eq!(role.assertion_consumer_services[0].location, "https://certsrv.test/saml/acs");
    assert_eq!((role.want_assertions_signed, role.authn_requests_signed), (Some(true), Some(false)));
    assert!(role.key_descriptors.as_ref().is_none_or(Vec::is_empty), "nothing is encrypted to us");
}

#[test]
fn samael_is_told_the_strictest_it_knows() {
    let idp = load(&TestIdp::trusted().metadata()).unwrap();
    assert_eq!(idp.provider.max_clock_skew.num_seconds(), 60);
    assert_eq!(idp.provider.max_issue_delay.num_seconds(), 90);
    assert!(!idp.provider.allow_idp_initiated);
    assert_eq!(idp.provider.allowed_signature_algorithms.as_ref().map(Vec::len), Some(6));
    assert!(idp.provider.key.is_none(), "nothing can be decrypted");
}

#[tokio::test]
async fn the_service_does_not_start_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("idp.xml");
    let saml = super::SamlConfig { idp_metadata: path.clone(), ..settings() };
    let config = Config { state: dir.path().join("state"), saml: Some(saml), ..Config::default() };
    let starts = || Saml::load(&config, UnixTime::now()).map(|_| ()).map_err(|error| error.to_string());
    assert!(starts().unwrap_err().contains("cannot be read"));
    let good = TestIdp::trusted().metadata();
    std::fs::write(&path, good.replace("\"signing\"", "\"encryption\"")).unwrap();
    let why = starts().unwrap_err();
    assert!(why.contains("no signing certificate") && why.contains("idp.xml"), "{why}");
    let stop = tokio_util::sync::CancellationToken::new();
    let refused = crate::serve::open(config.clone(), stop).await.err().unwrap().to_string();
    assert_eq!(refused, why);
    std::fs::write(&path, good).unwrap();
    starts().unwrap();
}

#[test]
fn settings_that_promise_nothing_are_named() {
    type Spoil = fn(&mut super::SamlConfig);
    let table: [(&str, Spoil); 7] = [
        ("saml.idp_metadata", |c| c.idp_metadata = "idp.xml".into()),
        ("saml.entity_id", |c| c.entity_id = String::new()),
        ("saml.base_url", |c| c.base_url = "http://certsrv.test".into()),
        ("saml.base_url", |c| c.base_url = "https://certsrv.test/".into()),
        ("saml.mail_attribute", |c| c.mail_attribute = "e mail".into()),
        ("saml.mail_domains", |c| c.mail_domains.clear()),
        ("saml.mail_domains", |c| c.mail_domains = vec!["Members.test".into()]),
    ];
    assert!(settings().check().is_ok());
    for (key, change) in table {
        let mut config = settings();
        change(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
    }
}
