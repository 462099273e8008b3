#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::foreign::elsewhere::{Held, Says, certify};
use crate::tests::{address, ec_key, now};
use openssl::nid::Nid;

const KEY: [u8; 32] = [7; 32];

struct Case {
    held: Held,
    found: Path,
    address: MailAddress,
}

impl Case {
    fn new(usage: &str) -> Self {
        let root = certify(ec_key(), &Says::ca("Elsewhere root", now(), ""), None);
        let says = Says::mail("ann@members.test", now()).with(Nid::KEY_USAGE, usage);
        let held = certify(ec_key(), &says, Some(&root));
        let chain = [B64(held.certificate.to_der().unwrap())];
        let found = Path::check(&chain, &[root.certificate], &address("ann"), now()).unwrap();
        Self { held, found, address: address("ann") }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { address: &self.address, certificate: Digest::of(&self.held.certificate.to_der().unwrap()) }
    }

    fn challenge(&self) -> Challenge {
        challenge(&KEY, &self.subject(), &self.found, now()).unwrap()
    }

    fn sign(&self, by: &Held, text: &str) -> ProofAnswer {
        let message =
            CmsContentInfo::sign(Some(&by.certificate), Some(&by.key), None, Some(text.as_bytes()), CMSOptions::BINARY);
        ProofAnswer::Signed(B64(message.unwrap().to_der().unwrap()))
    }

    fn check(&self, challenge: &str, answer: ProofAnswer, at: UnixTime) -> Result<(), NoProof> {
        check(&KEY, &self.subject(), &self.found, &Proof { challenge: challenge.to_owned(), answer }, at)
    }
}

#[test]
fn a_signature_of_the_key_proves_and_no_other() {
    let case = Case::new("critical,digitalSignature,keyAgreement");
    let challenge = case.challenge();
    let text = challenge.to_sign.clone().unwrap();
    assert!(challenge.to_decrypt.is_none() && text.contains("ann@members.test"));
    let signed = || case.sign(&case.held, &text);
    case.check(&challenge.name, signed(), now()).unwrap();

    let late = now().plus(LIFE + 1);
    assert!(matches!(case.check(&challenge.name, signed(), late), Err(NoProof::Challenge)));
    let other = case.challenge();
    assert!(matches!(case.check(&other.name, signed(), now()), Err(NoProof::Answer)), "of another challenge");
    let eve = Case::new("critical,digitalSignature");
    let theirs = case.sign(&eve.held, &text);
    assert!(matches!(case.check(&challenge.name, theirs, now()), Err(NoProof::Answer)), "another key");
    let other_text = case.sign(&case.held, "I bring something else");
    assert!(matches!(case.check(&challenge.name, other_text, now()), Err(NoProof::Answer)));
    for rubbish in ["", "1", "1.2.3", "99999999999.x.y", &challenge.name.replace('.', ":")] {
        assert!(matches!(case.check(rubbish, signed(), now()), Err(NoProof::Challenge)), "{rubbish}");
    }
    // Bound to the account and to the certificate.
    let mut moved = Case::new("critical,digitalSignature");
    moved.address = address("eve");
    assert!(matches!(moved.check(&challenge.name, signed(), now()), Err(NoProof::Challenge)));
    assert!(matches!(case.check(&challenge.name, ProofAnswer::Decrypted(B64(vec![0; 32])), now()), Err(NoProof::Sort)));
    assert!(ErrorStack::get().errors().is_empty());
}

#[test]
fn who_can_only_decrypt_decrypts() {
    let case = Case::new("critical,keyAgreement");
    let challenge = case.challenge();
    assert!(challenge.to_sign.is_none());
    let message = CmsContentInfo::from_der(challenge.to_decrypt.unwrap().as_ref()).unwrap();
    let secret = message.decrypt(&case.held.key, &case.held.certificate).unwrap();
    case.check(&challenge.name, ProofAnswer::Decrypted(B64(secret.clone())), now()).unwrap();
    let mut wrong = secret;
    wrong[0] ^= 1;
    let wrong = ProofAnswer::Decrypted(B64(wrong));
    assert!(matches!(case.check(&challenge.name, wrong, now()), Err(NoProof::Answer)));
    let signed = case.sign(&case.held, &challenge.name);
    assert!(matches!(case.check(&challenge.name, signed, now()), Err(NoProof::Sort)));
}
