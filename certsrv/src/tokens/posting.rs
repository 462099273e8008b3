//! Posting tokens: what a member's mail program shows the exploder's submission service in place of a password (DESIGN
//! 3.3). The exploder learns the digest by the feed. Here and at groupsrv such a token opens nothing.

use crate::app::App;
use crate::audit::Actor;
use crate::authn::certificate;
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::random;
use crate::rows::PostingRow;
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::tokens::{MadePostingToken, MakePostingTokenRequest, PostingToken, RevokePostingTokenRequest};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// Most tokens of one account: one for each mail program.
const MOST: usize = 16;
/// Longest label in characters.
const MAX_LABEL: usize = 64;
/// Life of a token in seconds: a year.
const LIFE: u64 = 365 * 86_400;

/// `MakePostingToken`.
pub(crate) async fn make(
    app: Arc<App>,
    caller: Caller,
    request: MakePostingTokenRequest,
) -> Result<MadePostingToken, Problem> {
    make_one(&app, &caller, request).await.map_err(Failure::into_problem)
}

async fn make_one(
    app: &Arc<App>,
    caller: &Caller,
    request: MakePostingTokenRequest,
) -> Result<MadePostingToken, Failure> {
    let address = certificate::member(app, caller)?.address;
    let label = request.label;
    if label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        let detail = format!("label: at most {MAX_LABEL} characters, none of them a control character, are wanted");
        return Err(refuse(ProblemCode::BadRequest, detail));
    }
    let (token, made) = (random::token()?, UnixTime::now());
    let (id, expires) = (token.digest(), made.plus(LIFE));
    let by = Actor::Account(address.clone());
    let decide = move |tx: &mut Tx<'_>| {
        let (live, ended): (Vec<_>, Vec<_>) =
            tx.posting_tokens(&address)?.into_iter().partition(|row| made < row.expires);
        end_each(tx, &address, ended)?;
        if live.len() >= MOST {
            let detail = format!("{address} has {MOST} posting tokens, which is the most; revoke one first");
            return Err(refuse(ProblemCode::Conflict, detail));
        }
        Ok(tx.push(Change::PostingTokenMade { digest: id, address, label, made, expires })?)
    };
    app.registry.commit(by, decide).await?;
    Ok(MadePostingToken { token: token.expose().to_owned(), id, expires })
}

/// `ListPostingTokens`.
pub(crate) async fn list(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Vec<PostingToken>, Problem> {
    let read = || -> Result<Vec<PostingRow>, Failure> {
        let address = certificate::member(&app, &caller)?.address;
        Ok(app.registry.view().posting_tokens(&address)?)
    };
    let now = UnixTime::now();
    let rows = read().map_err(Failure::into_problem)?.into_iter().filter(|row| now < row.expires);
    let shown =
        |row: PostingRow| PostingToken { id: row.digest, label: row.label, made: row.made, expires: row.expires };
    Ok(rows.map(shown).collect())
}

/// `RevokePostingToken`: in force at the exploder as soon as it has the change.
pub(crate) async fn revoke(
    app: Arc<App>,
    caller: Caller,
    request: RevokePostingTokenRequest,
) -> Result<Nothing, Problem> {
    revoke_one(&app, &caller, request.id).await.map_err(Failure::into_problem)
}

async fn revoke_one(app: &Arc<App>, caller: &Caller, digest: Digest) -> Result<Nothing, Failure> {
    let address = certificate::member(app, caller)?.address;
    let by = Actor::Account(address.clone());
    let decide = move |tx: &mut Tx<'_>| {
        // Only among the caller's own: whether somebody else has it is not told.
        if !tx.posting_tokens(&address)?.iter().any(|row| row.digest == digest) {
            return Err(refuse(ProblemCode::NotFound, "you have no such posting token; see: posting-token list"));
        }
        Ok(tx.push(Change::PostingTokenEnded { digest, address })?)
    };
    app.registry.commit(by, decide).await?;
    Ok(Nothing {})
}

/// Ends all posting tokens of an account: it was locked, its certificate was revoked, or it belongs to no group any more.
pub(crate) fn end_all(tx: &mut Tx<'_>, address: &MailAddress) -> Result<(), Failure> {
    let rows = tx.posting_tokens(address)?;
    end_each(tx, address, rows)
}

/// [`end_all`] for an account that belongs to no group any more.
pub(crate) fn end_outsiders(tx: &mut Tx<'_>, address: &MailAddress) -> Result<(), Failure> {
    if tx.memberships(address)?.is_empty() { end_all(tx, address) } else { Ok(()) }
}

fn end_each(tx: &mut Tx<'_>, address: &MailAddress, rows: Vec<PostingRow>) -> Result<(), Failure> {
    for row in rows {
        tx.push(Change::PostingTokenEnded { digest: row.digest, address: address.clone() })?;
    }
    Ok(())
}
