#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use std::process;

/// Every command below `command`, itself too, with its words.
fn all(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    let words = format!("{words} {}", command.get_name());
    found.push((words.trim().to_owned(), command.clone()));
    command.get_subcommands().for_each(|part| all(part, &words, found));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn every_command_and_every_argument_says_what_it_is() {
    for (program, _) in programs() {
        let mut found = Vec::new();
        all(&program, "", &mut found);
        assert!(found.len() > 5, "{}", program.get_name());
        for (words, command) in found {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 5, "{words} has no text");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{words} {} has no text", argument.get_id());
            }
        }
        program.debug_assert();
    }
}

#[test]
fn every_command_has_a_page_with_the_parts_of_a_page() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).unwrap();
    for (program, section) in programs() {
        let (mut found, pages) = (Vec::new(), dir.path().join(format!("man/man{section}")));
        all(&program, "", &mut found);
        for (words, command) in found {
            let path = pages.join(format!("{}.{section}", words.replace(' ', "-")));
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH \"EXIT STATUS\""] {
                assert!(text.contains(part), "{words}: no {part}\n{text}");
            }
            for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&argument.replace('-', "\\-")), "{words}: nothing on --{argument}");
            }
            assert_eq!(text.matches("\n.nf\n").count(), text.matches("\n.fi\n").count(), "{words}");
            let known =
                [".TH", ".SH", ".TP", ".RS", ".RE", ".PP", ".br", ".nf", ".fi", ".ie", ".el", ".if", ".SS", ".IP"];
            for line in text.lines().filter(|line| line.starts_with('.')) {
                assert!(known.iter().any(|request| line.starts_with(request)), "{words}: {line}");
            }
        }
    }
    let certsrv = fs::read_to_string(dir.path().join("man/man8/twinseal-certsrv.8")).unwrap();
    for line in ["  69  the service does not answer", "  75  not now: try again later"] {
        assert!(certsrv.contains(line), "{certsrv}");
    }
    let doctor = fs::read_to_string(dir.path().join("man/man8/twinseal-certsrv-doctor.8")).unwrap();
    assert!(doctor.contains("  2  could not look") && doctor.contains(".SH \"SEE ALSO\""), "{doctor}");
    let own = fs::read_to_string(dir.path().join("man/man1/twinseal.1")).unwrap();
    assert!(own.contains("  77  not allowed"), "{own}");
    // Where the formatter is installed, it has nothing to complain of.
    for page in ["man1", "man8"].iter().flat_map(|part| files(&dir.path().join("man").join(part))) {
        let Ok(done) = process::Command::new("groff").args(["-man", "-Tascii", "-ww", "-z"]).arg(&page).output() else {
            return;
        };
        assert!(
            done.status.success() && done.stderr.is_empty(),
            "{}: {}",
            page.display(),
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

#[test]
fn bash_takes_the_completion_and_it_knows_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).unwrap();
    for (program, _) in programs() {
        let path = dir.path().join(format!("completion/{}.bash", program.get_name()));
        let done = process::Command::new("bash").arg("-n").arg(&path).output().unwrap();
        assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stderr));
        let text = fs::read_to_string(&path).unwrap();
        for part in program.get_subcommands() {
            assert!(text.contains(&format!(" {} ", part.get_name())), "{}: {}", path.display(), part.get_name());
        }
    }
    assert_eq!(files(&dir.path().join("completion")).len(), 12);
}
