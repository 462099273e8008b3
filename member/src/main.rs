//! `twinseal`: the member's tool. See [`twinseal::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match twinseal::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}
