//! Requests to a running lab over `DIR/control.sock`: one JSON line in, one JSON line out.

use crate::sink::Behaviour;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What can be asked of a running lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Ends the daemon, if it lives, and starts it on the same state and sockets; answers when it is ready.
    Restart {
        /// `certsrv`, `groupsrv` or `exploder`.
        name: String,
        /// Additional environment, such as a failpoint.
        environment: Vec<(String, String)>,
    },
    /// Ends the daemon and leaves it down.
    Stop {
        /// `certsrv`, `groupsrv` or `exploder`.
        name: String,
    },
    /// Sets how the smarthost behaves from now on.
    Sink {
        /// The behaviour.
        behaviour: Behaviour,
    },
    /// Tells what the smarthost got.
    SinkStats,
}

/// What a lab answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done; for [`Ask::SinkStats`] with the figures.
    Done(serde_json::Value),
    /// Not done, and why.
    Failed(String),
}

/// Asks the lab in `dir`.
///
/// # Errors
/// When no lab runs there, or it says no.
pub fn ask(dir: &Path, ask: &Ask) -> Result<serde_json::Value> {
    let path = dir.join("control.sock");
    let target = std::fs::read_link(&path).unwrap_or(path);
    let mut stream = UnixStream::connect(&target).with_context(|| format!("no lab runs in {}", dir.display()))?;
    stream.write_all(format!("{}\n", serde_json::to_string(ask)?).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the lab went away")? {
        Answer::Done(value) => Ok(value),
        Answer::Failed(why) => bail!("{why}"),
    }
}
