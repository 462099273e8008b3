//! The certificate server's program.

use anyhow::Context as _;
use clap::Parser as _;
use std::process::ExitCode;
use twinseal_certsrv::cli::Cli;
use twinseal_svc::exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    match run(cli) {
        Ok(code) => code,
        Err(error) => exit::failed("", error.as_ref(), json),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime")?;
    runtime.block_on(cli.run()).map_err(anyhow::Error::from_boxed)
}
