//! `twinseal-groupsrv`: see the library for the flow, `cli.rs` for the sub-commands.

fn main() -> std::process::ExitCode {
    twinseal_groupsrv::cli::main()
}
