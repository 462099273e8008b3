//! How the daemons' command lines end: one table of exit codes for the three, and what is said on standard error.

use crate::admin::AdminError;
use crate::client::CallError;
use serde_json::json;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use twinseal_proto::api::{Problem, ProblemCode, RetryClass};

/// Exit codes. Those from 64 on are the ones of sysexits(3). Stable: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or failed.
    Failed = 1,
    /// The command line is wrong: clap's own.
    Usage = 2,
    /// The service does not answer.
    Unreachable = 69,
    /// Not now.
    Later = 75,
    /// Who asks may not do this, or not read this.
    NotAllowed = 77,
}

/// The table, for `--help` and the manual pages.
pub const HELP: &str = "\
Exit codes:
   0  done
   1  refused, or failed
   2  the command line is wrong
  69  the service does not answer
  75  not now: try again later
  77  not allowed

With --json an error is one JSON object on standard error: \"error\", and \"try\" where something helps.";

impl Exit {
    /// The code for an error: that of the first in its chain that says more than that it failed.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        chain(error).find_map(Self::of_one).unwrap_or(Self::Failed)
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<AdminError>() {
            return Some(match error {
                AdminError::Away { .. } => Self::Unreachable,
                AdminError::NotAllowed { .. } => Self::NotAllowed,
                AdminError::Refused(problem) => Self::refused(problem.code),
            });
        }
        if let Some(error) = error.downcast_ref::<CallError>() {
            return Some(match error {
                CallError::Away(_) => Self::Unreachable,
                CallError::Refused(problem) => Self::refused(problem.code),
            });
        }
        if let Some(problem) = error.downcast_ref::<Problem>() {
            return Some(Self::refused(problem.code));
        }
        let denied = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
        denied.then_some(Self::NotAllowed)
    }

    const fn refused(code: ProblemCode) -> Self {
        match (code, code.retry()) {
            (ProblemCode::NotAuthenticated | ProblemCode::NotAuthorised, _) => Self::NotAllowed,
            (_, RetryClass::Later) => Self::Later,
            (_, RetryClass::Never) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What goes to standard error about `error`: behind `prefix` the error and its causes, or with `json` an object.
#[must_use]
pub fn text(prefix: &str, error: &(dyn Error + 'static), json: bool) -> String {
    let texts = chain(error).map(ToString::to_string);
    if !json {
        return format!("{prefix}{}", texts.collect::<Vec<_>>().join(": "));
    }
    // A text may end with what to try, on a line of its own.
    let (mut what, mut hint) = (Vec::new(), None);
    for text in texts {
        match text.split_once("\ntry: ") {
            Some((first, rest)) => {
                what.push(first.to_owned());
                hint.get_or_insert(rest.to_owned());
            }
            None => what.push(text),
        }
    }
    let what = what.join(": ");
    hint.map_or_else(|| json!({ "error": what }), |hint| json!({ "error": what, "try": hint })).to_string()
}

/// Tells of `error` on standard error, and gives its exit code.
#[expect(clippy::print_stderr, reason = "the end of a command")]
#[must_use]
pub fn failed(prefix: &str, error: &(dyn Error + 'static), json: bool) -> ExitCode {
    eprintln!("{}", text(prefix, error, json));
    Exit::of(error).into()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[derive(Debug, thiserror::Error)]
    #[error("join\ntry: another day")]
    struct Outer(#[source] CallError);

    #[test]
    fn the_code_is_that_of_the_cause_and_the_hint_is_apart() {
        let refused = |code| AdminError::Refused(Problem::new(code, "no"));
        let path = PathBuf::from("/run/x.sock");
        let table: [(Box<dyn Error>, Exit); 8] = [
            (Box::new(refused(ProblemCode::Conflict)), Exit::Failed),
            (Box::new(refused(ProblemCode::Unavailable)), Exit::Later),
            (Box::new(refused(ProblemCode::NotAuthorised)), Exit::NotAllowed),
            (Box::new(AdminError::Away { path: path.clone(), why: "gone".into() }), Exit::Unreachable),
            (Box::new(AdminError::NotAllowed { path, why: "denied".into() }), Exit::NotAllowed),
            (Box::new(Outer(CallError::Away("gone".into()))), Exit::Unreachable),
            (Box::new(io::Error::from(io::ErrorKind::PermissionDenied)), Exit::NotAllowed),
            (Box::new(io::Error::from(io::ErrorKind::NotFound)), Exit::Failed),
        ];
        for (error, exit) in table {
            assert_eq!(Exit::of(&*error), exit, "{error}");
        }
        let error = Outer(CallError::Away("gone".into()));
        assert_eq!(text("x: ", &error, false), "x: join\ntry: another day: no answer: gone");
        assert_eq!(text("x: ", &error, true), r#"{"error":"join: no answer: gone","try":"another day"}"#);
    }

    #[test]
    fn every_code_is_in_the_table_that_people_see() {
        for exit in [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Later, Exit::NotAllowed] {
            assert!(HELP.lines().any(|line| line.trim_start().starts_with(&format!("{}  ", exit as u8))), "{exit:?}");
        }
    }
}
