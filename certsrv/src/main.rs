//! The certificate server's program.

use anyhow::Context as _;
use clap::Parser as _;
use std::process::ExitCode;
use twinseal_certsrv::cli::Cli;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime")?;
    runtime.block_on(cli.run()).map_err(anyhow::Error::from_boxed)
}
