//! Step 1: who is it? A member by [`certificate`], by [`password`] or by a one-time token; a service by its pinned key.

pub(crate) mod certificate;
pub(crate) mod password;
pub(crate) mod service;

use crate::app::App;
use crate::failure::{Failure, refuse};
use crate::rows::Account;
use crate::tokens;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use password::{Password, PasswordHash};
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::secret::Token;
use zeroize::Zeroizing;

/// What somebody presents who wants a certificate.
pub(crate) enum Credentials {
    /// A one-time token (RFC 6750).
    Token(Token),
    /// An address with its password (RFC 7617).
    Password {
        /// As it was written.
        address: String,
        /// In the clear.
        password: Password,
    },
}

impl Credentials {
    /// Reads the Authorization field; `None` when there is none that we know.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, value) = text.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(Token::presented(value.trim().to_owned())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(value.trim()).ok()?);
        let (address, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let password = Password::new(Zeroizing::new(password.to_owned()));
        Some(Self::Password { address: address.to_owned(), password })
    }
}

/// How much a log-in proves. Log-in and key change are two things (DESIGN 3.1): each class says what it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The mailbox, by a one-time token, or an administrator's word that stands for it.
    Mailbox,
    /// The account's password, or an identity provider that counts no higher.
    Password,
    /// An identity provider whose log-ins count as high.
    High,
    /// A live key of the account, in mutual TLS.
    Key,
}

/// Somebody who proved to be the holder of an account.
pub(crate) struct Principal {
    /// The account.
    pub(crate) account: Account,
    /// How much that proves.
    pub(crate) class: Class,
    /// The one-time token that proved it.
    pub(crate) token: Option<Digest>,
}

/// Finds out whose the credentials are.
pub(crate) async fn authenticate(app: &Arc<App>, credentials: Credentials) -> Result<Principal, Failure> {
    match credentials {
        Credentials::Token(token) => by_token(app, &token).await,
        Credentials::Password { address, password } => by_password(app, &address, password).await,
    }
}

async fn by_token(app: &Arc<App>, token: &Token) -> Result<Principal, Failure> {
    let digest = token.digest();
    let account = tokens::login::account(app, &digest).await?;
    Ok(Principal { account, class: Class::Mailbox, token: Some(digest) })
}

/// One answer for a token that does not exist, is out of time, or was used, also when that was a moment ago.
pub(crate) fn bad_token() -> Failure {
    refuse(ProblemCode::NotAuthenticated, "the token is unknown, used or out of time; ask an administrator for one")
}

/// One answer, after the same work, for a wrong password, an account without one and an account that does not exist.
async fn by_password(app: &Arc<App>, address: &str, password: Password) -> Result<Principal, Failure> {
    let account = match address.parse::<MailAddress>() {
        Ok(address) => app.registry.view().account(&address)?,
        Err(_) => None,
    };
    let hash = account.as_ref().and_then(|account| account.password.clone());
    let hash = hash.unwrap_or_else(|| PasswordHash::of_nobody(app.config.password_memory_kib));
    let wrong = || refuse(ProblemCode::NotAuthenticated, "address and password do not belong together");
    let _place = app
        .logging_in
        .try_acquire()
        .map_err(|_| refuse(ProblemCode::RateLimited, "too many log-ins at once; the same again in some seconds"))?;
    let permit = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| wrong())?;
    let right = tokio::task::spawn_blocking(move || {
        // Held by the work and not by the call, which ends at once when the caller hangs up.
        let _permit = permit;
        hash.verify(&password)
    })
    .await?;
    let account = account.filter(|_| right).ok_or_else(wrong)?;
    Ok(Principal { account, class: Class::Password, token: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(value: &str) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credentials::read(&headers)
    }

    #[test]
    fn the_two_schemes_are_read_and_nothing_else() {
        assert!(matches!(read("Bearer abc"), Some(Credentials::Token(t)) if t.expose() == "abc"));
        assert!(matches!(read("bearer abc"), Some(Credentials::Token(_))));
        let basic = format!("Basic {}", STANDARD.encode("ann@members.test:a:b"));
        assert!(matches!(read(&basic), Some(Credentials::Password { address, .. }) if address == "ann@members.test"));
        for bad in ["Bearer", "Digest x", "Basic !!", &format!("Basic {}", STANDARD.encode("nocolon"))] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert!(Credentials::read(&HeaderMap::new()).is_none());
    }
}
