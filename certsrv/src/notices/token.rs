//! Tokens in mails. The token of a notice is an HMAC (RFC 2104, SHA-256) over its name and purpose: it stands in no log
//! and no index, and a mail that is sent again carries the same one. What is kept is its digest.

use crate::rows::TokenPurpose;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::io;
use std::path::Path;
use twinseal_proto::ids::NoticeId;
use twinseal_proto::secret::Token;
use twinseal_svc::durable;
use zeroize::Zeroizing;

/// Keeps these HMACs apart from any other use of the key.
const LABEL: &[u8] = b"twinseal mail token\0";

/// The key of all tokens that certsrv sends by mail: 32 random octets.
pub(crate) struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    /// Reads `token.key` in `dir`; makes both when they are missing.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("token.key");
        if !path.exists() {
            durable::make_dir(dir)?;
            let mut octets = Zeroizing::new([0; 32]);
            openssl::rand::rand_bytes(octets.as_mut_slice())?;
            durable::replace(&path, octets.as_slice())?;
        }
        let octets = durable::read_secret(&path)?;
        let key = <[u8; 32]>::try_from(octets.as_slice())
            .map_err(|_| io::Error::other(format!("{}: 32 octets are wanted", path.display())))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The token that the mail `notice` carries, for this purpose.
    pub(crate) fn token(&self, notice: &NoticeId, purpose: &TokenPurpose) -> Result<Token, ErrorStack> {
        match purpose {
            TokenPurpose::Confirm { .. } => self.confirm(notice),
            _ => self.log_in(notice),
        }
    }

    /// The token of a mail for logging in.
    pub(crate) fn log_in(&self, notice: &NoticeId) -> Result<Token, ErrorStack> {
        self.derive(notice, b"log in")
    }

    /// The token of a mail that asks for a confirmation.
    pub(crate) fn confirm(&self, notice: &NoticeId) -> Result<Token, ErrorStack> {
        self.derive(notice, b"confirm")
    }

    fn derive(&self, notice: &NoticeId, purpose: &[u8]) -> Result<Token, ErrorStack> {
        let key = PKey::hmac(self.0.as_slice())?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        // A notice's name has 16 octets: what follows is the purpose.
        for part in [LABEL, notice.octets(), purpose] {
            signer.update(part)?;
        }
        let mut mac = Zeroizing::new([0; 32]);
        signer.sign(mac.as_mut_slice())?;
        Ok(Token::from_random(&mac))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_its_notices_and_purposes_own_and_outlasts_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mail = dir.path().join("mail");
        let (one, two) = (NoticeId::from_random([1; 16]), NoticeId::from_random([2; 16]));
        let key = TokenKey::open(&mail).unwrap();
        let first = key.log_in(&one).unwrap();
        assert_eq!(first.expose().len(), 43);
        let again = TokenKey::open(&mail).unwrap();
        assert_eq!(again.log_in(&one).unwrap().expose(), first.expose());
        assert_ne!(again.confirm(&one).unwrap().expose(), first.expose());
        assert_ne!(again.log_in(&two).unwrap().expose(), first.expose());
        let other = TokenKey::open(&dir.path().join("other")).unwrap();
        assert_ne!(other.log_in(&one).unwrap().expose(), first.expose());
        std::fs::write(mail.join("token.key"), b"short").unwrap();
        assert!(TokenKey::open(&mail).is_err());
    }
}
