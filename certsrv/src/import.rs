//! Many accounts or members from a table, with a report on every line (spec mail N7): `import/line.rs` reads a line,
//! `import/csv.rs` is how tables are written in files. What is wrong with a line keeps that line out and, unless all or
//! nothing was asked for, no other.

pub(crate) mod csv;
mod line;

use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::decide::{self, By, Decision};
use crate::failure::{Failure, refuse};
use crate::rows::Member;
use crate::store::Tx;
use crate::{bans, groups, members, options};
use std::sync::Arc;
use twinseal_proto::api::admin::certsrv::{
    ImportAccountsRequest, ImportLine, ImportMembersRequest, ImportReport, ImportWhat, MemberRole, ReportLine,
};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::ListAddress;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// Most lines in one call.
const MOST: usize = 100_000;
/// Lines in one commit, where not all are in one.
const CHUNK: usize = 1000;

/// `ImportAccounts`.
pub(crate) async fn accounts(
    app: Arc<App>,
    _: Caller,
    request: ImportAccountsRequest,
) -> Result<ImportReport, Problem> {
    let ImportAccountsRequest { lines, dry_run, strict } = request;
    let one = |_: &App, tx: &mut Tx<'_>, _: UnixTime, line: &ImportLine| account(tx, line);
    import(&app, lines, dry_run, strict, one).await.map_err(Failure::into_problem)
}

/// `ImportMembers`.
pub(crate) async fn members(app: Arc<App>, _: Caller, request: ImportMembersRequest) -> Result<ImportReport, Problem> {
    let ImportMembersRequest { list, lines, dry_run, strict } = request;
    let imported = async {
        members::group(&app.registry.view(), &list)?;
        let one = move |app: &App, tx: &mut Tx<'_>, now: UnixTime, line: &ImportLine| member(app, tx, now, &list, line);
        import(&app, lines, dry_run, strict, one).await
    };
    imported.await.map_err(Failure::into_problem)
}

async fn import<F>(
    app: &Arc<App>,
    lines: Vec<ImportLine>,
    dry_run: bool,
    strict: bool,
    one: F,
) -> Result<ImportReport, Failure>
where
    F: Fn(&App, &mut Tx<'_>, UnixTime, &ImportLine) -> Result<ImportWhat, Failure> + Send + Sync + 'static,
{
    if lines.len() > MOST {
        return Err(refuse(ProblemCode::BadRequest, format!("at most {MOST} lines in one call")));
    }
    let (lines, one) = (Arc::new(lines), Arc::new(one));
    let refused = |report: &[ReportLine]| report.iter().any(|line| line.what == ImportWhat::Refused);
    if dry_run || strict {
        // The same on a view that nobody keeps.
        let (at, lines, one) = (Arc::clone(app), Arc::clone(&lines), Arc::clone(&one));
        let tried = move || all(&at, &mut at.registry.view(), &lines, one.as_ref());
        let report = tokio::task::spawn_blocking(tried).await??;
        if dry_run || refused(&report) {
            return Ok(ImportReport { done: false, lines: report });
        }
    }
    let (mut report, mut start) = (Vec::with_capacity(lines.len()), 0);
    while start < lines.len() {
        let end = if strict { lines.len() } else { lines.len().min(start + CHUNK) };
        let (at, lines, one) = (Arc::clone(app), Arc::clone(&lines), Arc::clone(&one));
        let decide = move |tx: &mut Tx<'_>| {
            let done = all(&at, tx, lines.get(start..end).unwrap_or_default(), one.as_ref())?;
            if strict && refused(&done) {
                let detail = "something changed while the table was read; nothing was done: import it again";
                return Err(refuse(ProblemCode::Conflict, detail));
            }
            Ok(done)
        };
        report.extend(app.registry.commit(Actor::Administrator, decide).await?.0);
        start = end;
    }
    Ok(ImportReport { done: true, lines: report })
}

fn all<F>(app: &App, tx: &mut Tx<'_>, lines: &[ImportLine], one: &F) -> Result<Vec<ReportLine>, Failure>
where
    F: Fn(&App, &mut Tx<'_>, UnixTime, &ImportLine) -> Result<ImportWhat, Failure>,
{
    let now = UnixTime::now();
    let mut report = Vec::with_capacity(lines.len());
    for line in lines {
        let (what, reason) = match one(app, tx, now, line) {
            Ok(what) => (what, None),
            Err(Failure::Refused(problem)) => (ImportWhat::Refused, Some(problem.detail)),
            Err(inside) => return Err(inside),
        };
        report.push(ReportLine { line: line.line, address: line::shown(&line.address), what, reason });
    }
    Ok(report)
}

/// An account without password or key. Refuses before it changes anything.
fn account(tx: &mut Tx<'_>, line: &ImportLine) -> Result<ImportWhat, Failure> {
    let address = line::account(line)?;
    if tx.account(&address)?.is_some() {
        return Ok(ImportWhat::Unchanged);
    }
    let list = address.as_str().parse().ok().map(|list: ListAddress| tx.group(&list)).transpose()?.flatten();
    decide::add_account(&address, false, list.is_some())?;
    tx.push(Change::AccountAdded { address, password: None })?;
    Ok(ImportWhat::Added)
}

/// A membership. Refuses before it changes anything.
fn member(
    app: &App,
    tx: &mut Tx<'_>,
    now: UnixTime,
    list: &ListAddress,
    line: &ImportLine,
) -> Result<ImportWhat, Failure> {
    let (address, set) = line::member(line)?;
    // Read anew for every line: the one before may have changed how many owners there are.
    let group = members::group(tx, list)?;
    if let Some(present) = tx.member(&group.group, &address)? {
        let same = options::with(tx, &group, &present, set)? == (present.role, present.options.clone());
        options::set_one(tx, &group, &present, set)?;
        return Ok(if same { ImportWhat::Unchanged } else { ImportWhat::Changed });
    }
    let account = members::account(tx, &address)?;
    if let Decision::Refuse(problem) =
        decide::join(&group, None, By::Administrator, bans::banned(tx, &group.group, &address)?)
    {
        return Err(problem.into());
    }
    if set.role == Some(MemberRole::Owner) {
        groups::may_own(tx, &address)?;
    }
    members::admit(app, tx, now, &group, &account, By::Administrator)?;
    let added: Option<Member> = tx.member(&group.group, &address)?;
    added.map_or(Ok(()), |added| options::set_one(tx, &group, &added, set))?;
    Ok(ImportWhat::Added)
}
