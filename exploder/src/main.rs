//! The exploder's binary: see the library for what it does.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match twinseal_exploder::cli::run(twinseal_exploder::cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
