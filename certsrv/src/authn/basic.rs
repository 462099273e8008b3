//! A member by address and password (RFC 7617).

use super::guesses::LogInFrom;
use super::password::{Password, PasswordHash};
use super::{Class, LogIn, Principal};
use crate::app::App;
use crate::failure::{Failure, refuse};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;

/// An address with its password.
pub(crate) struct Basic {
    /// As it was written.
    pub(crate) address: String,
    /// In the clear.
    pub(crate) password: Password,
    /// Where it came from.
    pub(crate) peer: Option<IpAddr>,
}

impl LogIn for Basic {
    /// One answer, after the same work, for a wrong password, an account without one, a locked one and one that does not
    /// exist.
    async fn principal(self, app: &Arc<App>) -> Result<Principal, Failure> {
        let who = LogInFrom::new(&self.address, self.peer);
        let guesses = || app.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked before waiting, so that whoever guessed too often takes no place from others.
        guesses().may_try(&who, UnixTime::now()).map_err(too_often)?;
        let account = match self.address.parse::<MailAddress>() {
            Ok(address) => app.registry.view().account(&address)?,
            Err(_) => None,
        };
        let hash = account.as_ref().and_then(|account| account.password.clone());
        let hash = hash.unwrap_or_else(|| PasswordHash::of_nobody(app.config.password_memory_kib));
        let wrong = || refuse(ProblemCode::NotAuthenticated, "address and password do not belong together");
        let crowded = || {
            let detail = "too many log-ins at once; the same again in some seconds";
            Problem::new(ProblemCode::RateLimited, detail).after(5)
        };
        let _place = app.logging_in.try_acquire().map_err(|_| crowded())?;
        let permit = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| wrong())?;
        guesses().begin(&who, UnixTime::now()).map_err(too_often)?;
        let (at, password) = (Arc::clone(app), self.password);
        let right = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the call, which ends at once when the caller hangs up.
            let _permit = permit;
            at.metrics.password_hashed();
            hash.verify(&password)
        })
        .await?;
        let account = account.filter(|account| right && !account.locked).ok_or_else(wrong)?;
        guesses().right(&who, UnixTime::now());
        Ok(Principal { account, class: Class::Password, token: None })
    }
}

fn too_often(seconds: u64) -> Failure {
    let detail = format!("too many wrong passwords; the same again in {seconds} s, or log in with your certificate");
    Problem::new(ProblemCode::RateLimited, detail).after(seconds).into()
}
