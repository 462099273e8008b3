//! Step 1: who is it? A member by [`certificate`], by password ([`basic`]) or by a one-time [`token`]; a service by its
//! pinned key.

pub(crate) mod basic;
pub(crate) mod certificate;
pub(crate) mod guesses;
pub(crate) mod password;
pub(crate) mod service;
mod token;

use crate::app::App;
use crate::failure::{Failure, refuse};
use crate::rows::Account;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basic::Basic;
use certificate::Presented;
use password::Password;
use std::net::IpAddr;
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::encoding::Digest;
use twinseal_proto::secret::Token;
use twinseal_svc::http::{self, Caller};
use zeroize::Zeroizing;

/// What somebody presents who wants a certificate.
pub(crate) enum Credentials {
    /// A one-time token (RFC 6750).
    Token(Token),
    /// An address with its password (RFC 7617).
    Password(Basic),
    /// A certificate, in mutual TLS.
    Certificate(Presented),
}

impl Credentials {
    /// What `request` came with: its Authorization field, else its certificate.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            return Self::from_peer(request.headers(), http::peer(request));
        }
        let caller = http::caller(request);
        matches!(caller, Caller::Certificate { .. }).then_some(Self::Certificate(Presented(caller)))
    }

    /// Reads the Authorization field; `None` when there is none that we know.
    fn from_peer(headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Self> {
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
        Some(Self::Password(Basic { address: address.to_owned(), password, peer }))
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

/// A way to log in: each in a file of its own.
pub(crate) trait LogIn {
    /// Finds out who it is.
    fn principal(self, app: &Arc<App>) -> impl Future<Output = Result<Principal, Failure>> + Send;
}

/// Finds out whose the credentials are.
pub(crate) async fn authenticate(app: &Arc<App>, credentials: Credentials) -> Result<Principal, Failure> {
    match credentials {
        Credentials::Token(token) => token.principal(app).await,
        Credentials::Password(basic) => basic.principal(app).await,
        Credentials::Certificate(presented) => presented.principal(app).await,
    }
}

/// One answer for a token that does not exist, is out of time, or was used, also when that was a moment ago.
pub(crate) fn bad_token() -> Failure {
    refuse(ProblemCode::NotAuthenticated, "the token is unknown, used or out of time; ask an administrator for one")
}

/// Said to nobody who did not prove to be the account's holder.
pub(crate) fn locked() -> Failure {
    refuse(ProblemCode::NotAuthorised, "the account is locked; ask an administrator")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(value: &str) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credentials::from_peer(&headers, None)
    }

    #[test]
    fn the_two_schemes_are_read_and_nothing_else() {
        assert!(matches!(read("Bearer abc"), Some(Credentials::Token(t)) if t.expose() == "abc"));
        assert!(matches!(read("bearer abc"), Some(Credentials::Token(_))));
        let basic = format!("Basic {}", STANDARD.encode("ann@members.test:a:b"));
        assert!(
            matches!(read(&basic), Some(Credentials::Password(Basic { address, .. })) if address == "ann@members.test")
        );
        for bad in ["Bearer", "Digest x", "Basic !!", &format!("Basic {}", STANDARD.encode("nocolon"))] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert!(Credentials::from_peer(&HeaderMap::new(), None).is_none());
    }
}
