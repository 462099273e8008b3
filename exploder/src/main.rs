//! The exploder's binary: see the library for what it does.

use clap::Parser as _;
use std::process::ExitCode;
use twinseal_exploder::cli::{Arguments, run};
use twinseal_svc::exit;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed("error: ", error.as_ref(), json),
    }
}
