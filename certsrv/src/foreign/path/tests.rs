#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::foreign::elsewhere::{Held, Says, certify};
use crate::tests::{address, ec_key, now, rsa_key};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;

const ANN: &str = "ann@members.test";

struct Pki {
    root: Held,
    issuing: Held,
}

impl Pki {
    fn new() -> Self {
        Self::constrained("")
    }

    /// An issuing CA with so many words more in its certificate.
    fn constrained(name_constraints: &str) -> Self {
        let root = certify(ec_key(), &Says::ca("Elsewhere root", now(), ""), None);
        let says = Says::ca("Elsewhere issuing", now(), ",pathlen:0").with(Nid::NAME_CONSTRAINTS, name_constraints);
        let issuing = certify(ec_key(), &says, Some(&root));
        Self { root, issuing }
    }

    fn leaf(&self, says: &Says<'_>) -> Held {
        certify(ec_key(), says, Some(&self.issuing))
    }

    fn check(&self, leaf: &Held) -> Result<Path, BadPath> {
        check(&[leaf, &self.issuing], &self.root)
    }
}

fn check(chain: &[&Held], root: &Held) -> Result<Path, BadPath> {
    let chain: Vec<B64> = chain.iter().map(|held| B64(held.certificate.to_der().unwrap())).collect();
    let result = Path::check(&chain, std::slice::from_ref(&root.certificate), &address("ann"), now());
    assert!(ErrorStack::get().errors().is_empty(), "nothing is left in OpenSSL's queue");
    result
}

#[test]
fn a_path_that_holds_says_what_the_certificate_is_for() {
    let pki = Pki::new();
    for (usage, purpose) in [
        ("critical,digitalSignature,keyAgreement", KeyUse::Both),
        ("critical,digitalSignature", KeyUse::Sign),
        ("critical,keyAgreement", KeyUse::Encrypt),
        ("", KeyUse::Both),
    ] {
        let leaf = pki.leaf(&Says::mail(ANN, now()).with(Nid::KEY_USAGE, usage));
        let path = pki.check(&leaf).unwrap();
        assert_eq!((path.purpose, path.issuers.len()), (purpose, 2), "{usage}");
        assert_eq!(path.key.spki, leaf.key.public_key_to_der().unwrap());
    }
    let rsa = Says::mail(ANN, now()).with(Nid::KEY_USAGE, "critical,digitalSignature,keyEncipherment");
    let rsa = certify(rsa_key(2048), &rsa, Some(&pki.issuing));
    assert_eq!(pki.check(&rsa).unwrap().purpose, KeyUse::Both);
    // The name may be one of several, and spelt otherwise.
    let names = Says::mail(ANN, now()).with(Nid::SUBJECT_ALT_NAME, "email:a@other.test,email:Ann@Members.test");
    assert!(pki.check(&pki.leaf(&names)).is_ok());
}

#[test]
fn a_path_that_does_not_hold_is_refused_with_the_reason() {
    let pki = Pki::new();
    let good = || Says::mail(ANN, now());
    let late = UnixTime(now().0 - 10);
    let table: Vec<(&str, Says<'_>, &str)> = vec![
        ("expired", Says { until: late, ..good() }, "expired"),
        ("not yet valid", Says { from: now().plus(1000), ..good() }, "not yet valid"),
        ("for servers", good().with(Nid::EXT_KEY_USAGE, "serverAuth"), "not for S/MIME"),
        ("for no use of ours", good().with(Nid::KEY_USAGE, "critical,keyCertSign"), "not for S/MIME"),
        ("another's", good().with(Nid::SUBJECT_ALT_NAME, "email:eve@members.test"), "address"),
        ("a DNS name", good().with(Nid::SUBJECT_ALT_NAME, "DNS:members.test"), "address"),
        ("no alternative name", good().with(Nid::SUBJECT_ALT_NAME, ""), "address"),
        ("SHA-1", Says { digest: MessageDigest::sha1(), ..good() }, "too weak"),
    ];
    for (what, says, wanted) in table {
        let error = pki.check(&pki.leaf(&says)).err().unwrap_or_else(|| panic!("{what} is taken")).to_string();
        assert!(error.contains(wanted), "{what}: {error}");
    }
    let weak = Says::mail(ANN, now()).with(Nid::KEY_USAGE, "critical,digitalSignature,keyEncipherment");
    let weak = certify(rsa_key(1024), &weak, Some(&pki.issuing));
    assert!(matches!(pki.check(&weak), Err(BadPath::Key(BadKey::RsaBits(1024)))));

    let leaf = pki.leaf(&Says::mail(ANN, now()));
    let stranger = Pki::new();
    assert!(matches!(stranger.check(&leaf), Err(BadPath::Path(..))), "another root");
    let alone = check(&[&leaf], &pki.root).err().unwrap().to_string();
    assert!(alone.contains("issuer"), "{alone}");
    let own = certify(ec_key(), &Says::mail(ANN, now()), None);
    assert!(check(&[&own], &pki.root).is_err(), "signed by itself");
    let mut broken = leaf.certificate.to_der().unwrap();
    broken.push(0);
    let chain = [B64(broken)];
    assert!(matches!(
        Path::check(&chain, std::slice::from_ref(&pki.root.certificate), &address("ann"), now()),
        Err(BadPath::Unreadable)
    ));
}

#[test]
fn what_an_old_root_lacks_does_not_matter() {
    // Its certificate is no part of the path (RFC 5280 section 6.1): the configuration vouches for it.
    let root = certify(ec_key(), &Says::ca("Elsewhere old", now(), "").with(Nid::KEY_USAGE, ""), None);
    let leaf = certify(ec_key(), &Says::mail(ANN, now()), Some(&root));
    assert!(check(&[&leaf], &root).is_ok());
}

#[test]
fn issuers_keep_to_their_limits() {
    let inside = Pki::constrained("critical,permitted;email:members.test");
    assert!(inside.check(&inside.leaf(&Says::mail(ANN, now()))).is_ok());
    for constraints in ["critical,permitted;email:other.test", "critical,excluded;email:members.test"] {
        let outside = Pki::constrained(constraints);
        let error = outside.check(&outside.leaf(&Says::mail(ANN, now()))).err().unwrap().to_string();
        assert!(error.contains("subtree violation"), "{constraints}: {error}");
    }
    // pathlen:0 allows no CA below.
    let pki = Pki::new();
    let below = certify(ec_key(), &Says::ca("Elsewhere too deep", now(), ""), Some(&pki.issuing));
    let leaf = certify(ec_key(), &Says::mail(ANN, now()), Some(&below));
    let error = check(&[&leaf, &below, &pki.issuing], &pki.root).err().unwrap().to_string();
    assert!(error.contains("path length"), "{error}");
    // A CA for servers certifies nobody's mail, whatever the use.
    let servers = Says::ca("Elsewhere servers", now(), "").with(Nid::EXT_KEY_USAGE, "serverAuth");
    let servers = certify(ec_key(), &servers, Some(&pki.root));
    for usage in ["critical,digitalSignature", "critical,keyAgreement"] {
        let says = Says::mail(ANN, now()).with(Nid::KEY_USAGE, usage);
        let leaf = certify(ec_key(), &says, Some(&servers));
        assert!(check(&[&leaf, &servers], &pki.root).is_err(), "{usage}");
    }
    // A certificate that is no CA's signs nothing.
    let member = pki.leaf(&Says::mail("eve@members.test", now()));
    let forged = certify(ec_key(), &Says::mail(ANN, now()), Some(&member));
    assert!(check(&[&forged, &member, &pki.issuing], &pki.root).is_err());
}
