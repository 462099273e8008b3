//! Proof of the possession of a key that another CA certified. Nothing is kept between the two calls: the challenge carries
//! what it is bound to, under a key that only this process has.

use super::path::Path;
use crate::random;
use crate::rows::KeyUse;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use subtle::ConstantTimeEq as _;
use twinseal_proto::api::enrol::{Challenge, Proof, ProofAnswer};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;

/// Seconds that a challenge is good for.
const LIFE: u64 = 600;

/// What a challenge is bound to.
pub(super) struct Subject<'a> {
    pub(super) address: &'a MailAddress,
    /// SHA-256 of the DER certificate.
    pub(super) certificate: Digest,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoProof {
    /// Another challenge, or an old one.
    #[error("the challenge is not ours for this account and certificate, or older than {LIFE} s; ask for a new one")]
    Challenge,
    /// Of the other sort.
    #[error("a certificate that is for signatures signs the challenge; one that is not decrypts it")]
    Sort,
    /// Not the key's.
    #[error("the answer was not made with the certificate's key")]
    Answer,
}

/// Makes a challenge.
pub(super) fn challenge(
    key: &[u8; 32],
    subject: &Subject<'_>,
    found: &Path,
    now: UnixTime,
) -> Result<Challenge, ErrorStack> {
    let random = Digest::of(&random::octets()?);
    let until = now.0 + LIFE;
    let name = format!("{until}.{random}.{}", mac(key, subject, "name", until, &random)?);
    let (to_sign, to_decrypt) = match found.purpose {
        KeyUse::Both | KeyUse::Sign => (Some(text(subject, &name)), None),
        KeyUse::Encrypt => {
            let mut recipients = Stack::new()?;
            recipients.push(found.certificate.clone())?;
            let secret = mac(key, subject, "secret", until, &random)?;
            let message = CmsContentInfo::encrypt(&recipients, &secret.0, Cipher::aes_256_cbc(), CMSOptions::BINARY)?;
            (None, Some(B64(message.to_der()?)))
        }
    };
    Ok(Challenge { name, to_sign, to_decrypt })
}

/// A text that says what its signature means, so that none is given for something else.
fn text(subject: &Subject<'_>, name: &str) -> String {
    format!("I bring this certificate to the Twinseal account {}.\n{name}\n", subject.address)
}

/// Checks the answer to a challenge.
pub(super) fn check(
    key: &[u8; 32],
    subject: &Subject<'_>,
    found: &Path,
    proof: &Proof,
    now: UnixTime,
) -> Result<(), NoProof> {
    let mut parts = proof.challenge.splitn(3, '.');
    let (until, random, tag) = (parts.next(), parts.next(), parts.next());
    let until: u64 = until.and_then(|text| text.parse().ok()).ok_or(NoProof::Challenge)?;
    let random: Digest = random.and_then(|text| text.parse().ok()).ok_or(NoProof::Challenge)?;
    let tag: Digest = tag.and_then(|text| text.parse().ok()).ok_or(NoProof::Challenge)?;
    let wanted = mac(key, subject, "name", until, &random).map_err(|_| NoProof::Challenge)?;
    if !bool::from(tag.0.ct_eq(&wanted.0)) || until <= now.0 {
        return Err(NoProof::Challenge);
    }
    let right = match (&proof.answer, found.purpose) {
        (ProofAnswer::Signed(message), KeyUse::Both | KeyUse::Sign) => {
            signed(found, message.as_ref()).is_some_and(|signed| signed == text(subject, &proof.challenge).as_bytes())
        }
        (ProofAnswer::Decrypted(secret), KeyUse::Encrypt) => {
            let wanted = mac(key, subject, "secret", until, &random).map_err(|_| NoProof::Answer)?;
            bool::from(secret.0.as_slice().ct_eq(wanted.0.as_slice()))
        }
        _ => return Err(NoProof::Sort),
    };
    drop(ErrorStack::get());
    right.then_some(()).ok_or(NoProof::Answer)
}

/// What the key of the certificate, and no other one, signed. The path was checked already; certificates that the message
/// brings along are not looked at.
fn signed(found: &Path, der: &[u8]) -> Option<Vec<u8>> {
    let mut message = CmsContentInfo::from_der(der).ok()?;
    let mut signers = Stack::new().ok()?;
    signers.push(found.certificate.clone()).ok()?;
    let mut content = Vec::new();
    let options = CMSOptions::BINARY | CMSOptions::NOINTERN | CMSOptions::NO_SIGNER_CERT_VERIFY;
    message.verify(Some(&signers), None, None, Some(&mut content), options).ok()?;
    Some(content)
}

fn mac(key: &[u8; 32], subject: &Subject<'_>, label: &str, until: u64, random: &Digest) -> Result<Digest, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    // Fixed lengths but for the two texts; neither has a zero octet.
    for part in [
        b"twinseal import\0".as_slice(),
        label.as_bytes(),
        b"\0",
        subject.address.folded().as_bytes(),
        b"\0",
        &subject.certificate.0,
        &until.to_be_bytes(),
        &random.0,
    ] {
        signer.update(part)?;
    }
    let mut mac = [0; 32];
    signer.sign(&mut mac)?;
    Ok(Digest(mac))
}

#[cfg(test)]
mod tests;
