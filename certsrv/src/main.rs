//! The certificate server's program.

use clap::Parser as _;
use std::error::Error;
use std::process::ExitCode;
use twinseal_certsrv::cli::Cli;
use twinseal_svc::exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    match run(cli) {
        Ok(code) => code,
        Err(error) => exit::failed("", &*error, json),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(cli.run())
}
