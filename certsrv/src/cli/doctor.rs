//! `doctor`, with exit codes of its own: 0 for a clean state, 1 for findings, 2 when it could not look.

use crate::config::Config;
use crate::doctor;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{Doctor, DoctorReport};
use twinseal_svc::{admin, exit};

/// Looks, and says what it found.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command")]
pub(super) async fn run(config: &Path, offline: bool, json: bool) -> ExitCode {
    match look(config, offline).await {
        Ok(report) => {
            match serde_json::to_string(&report) {
                Ok(text) if json => println!("{text}"),
                _ => println!("{}", shown(&report)),
            }
            ExitCode::from(u8::from(!report.findings.is_empty()))
        }
        Err(error) => {
            eprintln!("{}", exit::text("", &*error, json));
            ExitCode::from(2)
        }
    }
}

async fn look(config: &Path, offline: bool) -> Result<DoctorReport, Box<dyn Error + Send + Sync>> {
    let config = Config::load(config)?;
    if offline {
        return Ok(tokio::task::spawn_blocking(move || doctor::offline(&config)).await??);
    }
    Ok(admin::call::<Doctor>(&config.admin_socket, &Nothing {}).await?)
}

fn shown(report: &DoctorReport) -> String {
    let DoctorReport { entries, records, certificates, findings } = report;
    let mut text = format!("{entries} entries, {certificates} certificates, {records} audit records: ");
    if findings.is_empty() {
        text.push_str("nothing found");
    } else {
        text.push_str(&format!("{} findings", findings.len()));
    }
    for finding in findings {
        text.push_str(&format!("\n{}: {}\n  try: {}", finding.at, finding.what, finding.remedy));
    }
    text
}
