//! `twinseal-docs --out DIR`: the manual pages and the shell completion of all four programs, made from the definitions of
//! their command lines. Packages install `DIR/man` and `DIR/completion`.

mod man;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _, Parser};
use clap_complete::{Shell, generate_to};
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the manual pages and the shell completion of Twinseal's programs
#[derive(Debug, Parser)]
#[command(name = "twinseal-docs", version)]
struct Arguments {
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A program's command line, and the section of the manual that it belongs to.
fn programs() -> [(Command, &'static str); 4] {
    [
        (twinseal::cli::command(), "1"),
        (twinseal_certsrv::cli::Cli::command(), "8"),
        (twinseal_groupsrv::cli::command(), "8"),
        (twinseal_exploder::cli::Arguments::command(), "8"),
    ]
}

fn main() -> anyhow::Result<()> {
    let Arguments { out } = Arguments::parse();
    write(&out).with_context(|| out.display().to_string())
}

fn write(out: &Path) -> anyhow::Result<()> {
    let completion = out.join("completion");
    fs::create_dir_all(&completion)?;
    for (program, section) in programs() {
        let pages = out.join(format!("man/man{section}"));
        fs::create_dir_all(&pages)?;
        for (name, text) in man::pages(program.clone(), section)? {
            fs::write(pages.join(name), text)?;
        }
        let name = program.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut program.clone(), &name, &completion)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
