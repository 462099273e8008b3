//! Manual pages: one a program and one a sub-command, in the form of man(7).

use clap::Command;
use clap_mangen::Man;
use std::io;

/// The pages of a program, with their file names.
pub(crate) fn pages(program: Command, section: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    page(&program, section, &program, &mut pages)?;
    Ok(pages)
}

fn page(command: &Command, section: &str, program: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone()).section(section).manual("Twinseal");
    let man = man.source(format!("Twinseal {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let parts: Vec<&Command> = command.get_subcommands().filter(|part| !part.is_hide_set()).collect();
    if !parts.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    let own = program.get_name();
    let table = command.get_after_help().map(ToString::to_string);
    if let Some(table) = &table {
        // Its lines are kept as they are.
        text.extend_from_slice(b".nf\n");
        for line in table.lines().filter(|line| *line != "Exit codes:") {
            text.extend_from_slice(format!("{}\n", roff(line)).as_bytes());
        }
        text.extend_from_slice(b".fi\n");
    } else {
        text.extend_from_slice(format!("As of \\fB{}\\fR({section}).\n", roff(own)).as_bytes());
    }
    if name != own {
        text.extend_from_slice(format!(".SH \"SEE ALSO\"\n\\fB{}\\fR({section})\n", roff(own)).as_bytes());
    }
    pages.push((format!("{name}.{section}"), text));
    for part in parts {
        page(part, section, program, pages)?;
    }
    Ok(())
}

/// A line of text, with what roff would take for its own escaped.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
