//! Sessions: what a log-in at an identity provider gives a client in place of a password. Kept in memory, by the digest
//! of their token; a restart ends them.

use crate::authn::Class;
use crate::expiring::Expiring;
use crate::random;
use openssl::error::ErrorStack;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;

/// Life of a session in seconds.
const LIFE: u64 = 3600;
/// Most sessions at once; the oldest ends when there are more.
const MOST: usize = 65_536;

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The account.
    pub(crate) address: MailAddress,
    /// How it logged in.
    pub(crate) class: Class,
}

/// All sessions.
pub(crate) struct Sessions(Expiring<Session>);

impl Sessions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Expiring::new(LIFE, MOST))
    }

    /// Opens a session; gives the token that is shown to its owner once, and when the session ends.
    pub(crate) fn open(
        &self,
        now: UnixTime,
        address: MailAddress,
        class: Class,
    ) -> Result<(Token, UnixTime), ErrorStack> {
        let token = random::token()?;
        let expires = self.0.put(now, token.digest(), Session { address, class });
        Ok((token, expires))
    }

    /// The session whose token has this digest.
    pub(crate) fn find(&self, token: &Digest, now: UnixTime) -> Option<Session> {
        self.0.get(now, token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_finds_its_session_for_an_hour() {
        let (sessions, now) = (Sessions::new(), UnixTime(1_000_000));
        let ann = crate::tests::address("ann");
        let (token, expires) = sessions.open(now, ann.clone(), Class::High).unwrap();
        assert_eq!(expires, now.plus(3600));
        let found = sessions.find(&token.digest(), now.plus(3599)).unwrap();
        assert_eq!(found, Session { address: ann, class: Class::High });
        assert_eq!(sessions.find(&token.digest(), now.plus(3600)), None);
        assert_eq!(sessions.find(&Token::presented("guess".into()).digest(), now), None);
    }
}
