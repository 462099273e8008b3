//! What administrators see of the mail that waits, and can do about it.

use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::failure::{Failure, refuse};
use crate::rows::NoticeEnd;
use crate::store::Tx;
use std::sync::Arc;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::notices::{DropNoticeRequest, WaitingNotice};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_svc::http::Caller;

/// `ListNotices`.
pub(crate) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Vec<WaitingNotice>, Problem> {
    let mut rows = app.registry.view().notices().map_err(|e| Failure::from(e).into_problem())?;
    rows.sort_by_key(|row| row.made);
    let shown = |row: crate::rows::NoticeRow| WaitingNotice {
        id: row.id,
        kind: row.notice.kind().to_owned(),
        to: row.notice.to().clone(),
        made: row.made,
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// `DropNotice`.
pub(crate) async fn forget(app: Arc<App>, _: Caller, request: DropNoticeRequest) -> Result<Nothing, Problem> {
    let id = request.id;
    let decide = move |tx: &mut Tx<'_>| {
        let none = || refuse(ProblemCode::NotFound, format!("no mail {id} waits; see: notice list"));
        tx.notice(&id)?.ok_or_else(none)?;
        Ok(tx.push(Change::NoticeDone { id, end: NoticeEnd::Dropped })?)
    };
    app.registry.commit(Actor::Administrator, decide).await.map_err(Failure::into_problem)?;
    Ok(Nothing {})
}
