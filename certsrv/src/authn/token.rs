//! A member by a token: a session that a log-in elsewhere opened, or a one-time token that an administrator or a mail gave.

use super::{Class, LogIn, Principal, bad_token};
use crate::app::App;
use crate::failure::Failure;
use crate::tokens;
use std::sync::Arc;
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;

impl LogIn for Token {
    async fn principal(self, app: &Arc<App>) -> Result<Principal, Failure> {
        let digest = self.digest();
        let view = app.registry.view();
        if let Some(session) = app.sessions.find(&digest, UnixTime::now()) {
            crate::events::session_used(session.class);
            let account = view.account(&session.address)?.filter(|account| !account.locked).ok_or_else(bad_token)?;
            return Ok(Principal { account, class: session.class, token: None });
        }
        let account = tokens::login::account(app, &digest).await?;
        let account = Some(account).filter(|account| !account.locked).ok_or_else(bad_token)?;
        Ok(Principal { account, class: Class::Mailbox, token: Some(digest) })
    }
}
