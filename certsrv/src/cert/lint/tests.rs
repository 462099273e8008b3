#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::cert::ca::Ca;
use crate::cert::profile::{Access, Pointers};
use crate::cert::serial::Serial;
use crate::cert::tbs::{self, Issuer, SignatureAlgorithm, Validity};
use crate::rows::KeyUse;
use crate::tests::{ec_key, now, rsa_key, signer};
use twinseal_proto::cms::der;

struct Case {
    ca: Ca,
    spki: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let ca = Ca::root(signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650).unwrap();
        Self { ca, spki: ec_key().public_key_to_der().unwrap() }
    }

    /// What the lint says about a certificate written as `written` when `wanted` was asked for.
    fn verdict(&self, written: &Profile, wanted: &Profile, days: u64) -> Result<(), LintError> {
        let issuer = self.ca.certificate();
        let (name, key_id) =
            (issuer.subject_name().to_der().unwrap(), issuer.subject_key_id().unwrap().as_slice().to_vec());
        let issuer = Issuer { name: &name, key_id: &key_id, algorithm: SignatureAlgorithm::EcdsaSha256 };
        let validity = Validity { from: now(), until: now().plus(days * 86_400) };
        let tbs = tbs::encode(written, &Serial::from_random([2; 16]), validity, &self.spki, issuer);
        self.check(&tbs, wanted)
    }

    fn check(&self, tbs: &[u8], wanted: &Profile) -> Result<(), LintError> {
        let der = der::sequence(&[tbs, &SignatureAlgorithm::EcdsaSha256.der(), &der::tlv(Tag::BIT_STRING, &[&[0]])]);
        check(&der, wanted, self.ca.certificate())
    }
}

fn member(kind: KeyKind) -> Profile {
    Profile::member(&"ann@members.test".parse().unwrap(), kind)
}

#[test]
fn what_the_profiles_say_passes() {
    let case = Case::new();
    let group = Profile::group(&"team@lists.test".parse().unwrap(), KeyKind::Ec);
    let names = vec![AltName::Dns("a.test".into()), AltName::Ip("::1".parse().unwrap())];
    for profile in [member(KeyKind::Ec), group, Profile::service("groupsrv", names), Profile::sub_ca("Test", "x")] {
        assert_eq!(case.verdict(&profile, &profile, 365), Ok(()), "{profile:?}");
    }
    let uri = "urn:twinseal:member:x:member:1".to_owned();
    let membership = Profile::membership("handle".into(), uri, KeyKind::Ec, 72);
    assert_eq!(case.verdict(&membership, &membership, 3), Ok(()));
    for purpose in [KeyUse::Both, KeyUse::Sign, KeyUse::Encrypt] {
        let profile = Profile::member_for(&"ann@members.test".parse().unwrap(), KeyKind::Ec, purpose);
        assert_eq!((profile.key_use(), case.verdict(&profile, &profile, 365)), (purpose, Ok(())));
    }
    let long = format!("{}@{}.test", "a".repeat(60), "b".repeat(40));
    let profile = Profile::member(&long.parse().unwrap(), KeyKind::Ec);
    assert_eq!(case.verdict(&profile, &profile, 365), Ok(()));
}

#[test]
fn every_departure_is_found() {
    let case = Case::new();
    let wanted = member(KeyKind::Ec);
    let change = |edit: fn(&mut Profile)| {
        let mut profile = member(KeyKind::Ec);
        edit(&mut profile);
        profile
    };
    let table: [(Profile, u64, &str); 9] = [
        (change(|p| p.common_name = "eve@members.test".into()), 365, "subject"),
        (change(|p| p.common_name = String::new()), 365, "subject"),
        (change(|p| p.names = vec![AltName::Mail("eve@members.test".into())]), 365, "alternative names"),
        (change(|p| p.names.push(AltName::Dns("a.test".into()))), 365, "alternative names"),
        (change(|p| p.usage = Usage::SIGN), 365, "key usage"),
        (change(|p| p.purposes = &[labels::EMAIL_PROTECTION, labels::CLIENT_AUTH]), 365, "extended key usage"),
        (change(|p| p.purposes = &[]), 365, "extended key usage"),
        (change(|p| p.ca = Some(0)), 365, "basic constraints"),
        (wanted.clone(), 826, "dates"),
    ];
    for (written, days, rule) in table {
        let verdict = case.verdict(&written, &wanted, days);
        assert!(matches!(verdict, Err(LintError::Field(text)) if text.contains(rule)), "{rule}: {verdict:?}");
    }
    let rsa_usage = member(KeyKind::Rsa);
    let verdict = case.verdict(&rsa_usage, &rsa_usage, 365);
    assert!(matches!(verdict, Err(LintError::Field(text)) if text.contains("key usage")), "{verdict:?}");
}

#[test]
fn short_lives_and_what_is_said_about_revocation_go_together() {
    let case = Case::new();
    let short = |hours: Option<u32>| {
        let uri = "urn:twinseal:member:x:member:1".to_owned();
        Profile { hours, ..Profile::membership("handle".into(), uri, KeyKind::Ec, 72) }
    };
    let table = [
        ("too long", short(Some(72)), short(Some(72)), 4),
        ("no longer short", short(Some(169)), short(Some(169)), 1),
        ("not said", short(None), short(Some(72)), 3),
        ("said of another", short(Some(72)), short(None), 3),
    ];
    for (what, written, wanted, days) in table {
        let verdict = case.verdict(&written, &wanted, days);
        assert!(matches!(verdict, Err(LintError::Field(text)) if text.contains("revocation")), "{what}: {verdict:?}");
    }
    let renamed = Profile { names: vec![AltName::Uri("urn:other".into())], ..short(Some(72)) };
    assert!(case.verdict(&renamed, &short(Some(72)), 3).is_err());
}

#[test]
fn a_weak_key_and_a_foreign_issuer_are_found() {
    let mut case = Case::new();
    case.spki = rsa_key(1024).public_key_to_der().unwrap();
    let profile = member(KeyKind::Rsa);
    assert!(case.verdict(&profile, &profile, 365).is_err());
    let other = Ca::root(signer(ec_key()), &Profile::root("Other"), Serial::from_random([9; 16]), now(), 3650).unwrap();
    let spki = ec_key().public_key_to_der().unwrap();
    let profile = member(KeyKind::Ec);
    let prepared = other.prepare(&profile, &spki, Serial::from_random([3; 16]), now(), 365).unwrap();
    assert!(matches!(case.check(&prepared.tbs, &profile), Err(LintError::Field(text)) if text.contains("issuer")));
}

fn pointers() -> Pointers {
    let access = Access { ocsp: "http://pki.test/ocsp/x".into(), issuer: "http://pki.test/ca/x.cer".into() };
    Pointers { crl: "http://pki.test/crl/x.crl".into(), access: Some(access) }
}

#[test]
fn where_the_status_is_found_is_what_the_profile_says_octet_by_octet() {
    let case = Case::new();
    let told = |edit: fn(&mut Pointers)| {
        let mut pointers = pointers();
        edit(&mut pointers);
        member(KeyKind::Ec).told(Some(pointers))
    };
    let wanted = told(|_| {});
    let root_only = Profile::sub_ca("Test", "x").told(Some(Pointers { access: None, ..pointers() }));
    for profile in [&wanted, &root_only, &Profile::ocsp_responder("Test", "members")] {
        assert_eq!(case.verdict(profile, profile, 30), Ok(()), "{profile:?}");
    }
    let table = [
        member(KeyKind::Ec),
        Profile { status: StatusSource::NotChecked, ..wanted.clone() },
        told(|p| p.crl.push('/')),
        told(|p| p.access = None),
        told(|p| p.access.as_mut().unwrap().ocsp = "http://pki.test/ocsp/y".into()),
        told(|p| p.access.as_mut().unwrap().issuer.clear()),
    ];
    for written in table {
        let verdict = case.verdict(&written, &wanted, 30);
        assert!(matches!(verdict, Err(LintError::Field(text)) if text.contains("status")), "{written:?}: {verdict:?}");
        let verdict = case.verdict(&wanted, &written, 30);
        assert!(verdict.is_err(), "{written:?}");
    }
    for bad in ["https://pki.test/crl/x.crl", "http://pki.test/crl/x y.crl"] {
        let mut pointers = pointers();
        pointers.crl = bad.into();
        let profile = member(KeyKind::Ec).told(Some(pointers));
        assert!(case.verdict(&profile, &profile, 30).is_err(), "{bad}");
    }
}

#[test]
fn openssl_reads_the_same_places() {
    let case = Case::new();
    let profile = member(KeyKind::Ec).told(Some(pointers()));
    let prepared = case.ca.prepare(&profile, &case.spki, Serial::from_random([2; 16]), now(), 30).unwrap();
    let certificate = X509::from_der(&case.ca.issue(prepared).unwrap()).unwrap();
    let points = certificate.crl_distribution_points().unwrap();
    let names = points[0].distpoint().unwrap().fullname().unwrap();
    assert_eq!(names[0].uri(), Some("http://pki.test/crl/x.crl"));
    assert_eq!(certificate.ocsp_responders().unwrap()[0].to_string(), "http://pki.test/ocsp/x");
}
