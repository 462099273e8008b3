//! The commands of `twinseal owner`: what is to be signed is shown first, and signed when somebody agrees.

use crate::args::{OwnerCommand, OwnerOf};
use crate::exit::{self, Failure, OutputError};
use crate::home::Home;
use crate::owner::OwnerError;
use crate::owner::book::Book;
use crate::owner::plan::{self, Wait};
use crate::show;
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use twinseal_proto::api::owners::RosterMember;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::time::UnixTime;

/// Carries out one of them.
///
/// # Errors
/// [`Failure`].
pub(crate) fn run(home: &Home, command: OwnerCommand, now: UnixTime) -> Result<(), Failure> {
    match command {
        OwnerCommand::Pending { list, json } => pending(home, &list, json, now),
        OwnerCommand::Sign { list, who, all, yes } => sign(home, &list, &who, all, yes, now),
        OwnerCommand::Head { list, yes } => {
            let book = open(home, &list)?;
            finish(book, "", yes, now)
        }
        OwnerCommand::Remove { of: OwnerOf { list, address, yes } } => {
            let mut book = open(home, &list)?;
            plan::sign_removal(&mut book, &address)?;
            finish(book, &format!("{address} reads {list} no more"), yes, now)
        }
        OwnerCommand::AddOwner { of: OwnerOf { list, address, yes } } => {
            let mut book = open(home, &list)?;
            let key = key_of(&book, &address)?;
            plan::sign_owner(&mut book, key, true)?;
            let text = format!(
                "{address} owns {list} and may sign who reads it\n  key (SHA-256) {key}\n  compare it with the member"
            );
            finish(book, &text, yes, now)
        }
        OwnerCommand::RemoveOwner { list, who, yes } => {
            let mut book = open(home, &list)?;
            let key = match who.parse::<Digest>() {
                Ok(key) => key,
                Err(_) => key_of(&book, &who.parse().map_err(|_| OwnerError::NoMember(who.clone()))?)?,
            };
            plan::sign_owner(&mut book, key, false)?;
            finish(book, &format!("{who} owns {list} no more\n  key (SHA-256) {key}"), yes, now)
        }
    }
}

fn open(home: &Home, list: &ListAddress) -> Result<Book, Failure> {
    let book = Book::open(home, list)?;
    if let Some(first) = book.new_first {
        eprintln!("the first owner of {list} has the key {first}: it is believed from now on; compare it");
    }
    Ok(book)
}

fn key_of(book: &Book, address: &MailAddress) -> Result<Digest, OwnerError> {
    book.member(address)?.key.ok_or_else(|| OwnerError::NoKey(address.clone()))
}

fn pending(home: &Home, list: &ListAddress, json: bool, now: UnixTime) -> Result<(), Failure> {
    let book = open(home, list)?;
    let waiting = plan::waiting(&book, now);
    if json {
        let members: Vec<&RosterMember> = waiting.iter().map(|(member, _)| member).collect();
        let state = &book.roster.state;
        return Ok(exit::print_json(&json!({
            "group": state.group, "waiting": members, "readers": book.roster.live.len(), "owners": state.owners,
            "head": state.head.map(|head| head.issued),
        }))?);
    }
    let mut text = plan::state_text(&book, now);
    for (member, wait) in &waiting {
        text.push_str(&format!("\nwaits: {}", plan::entry_text(member, *wait, now)));
    }
    say(&text)
}

fn sign(
    home: &Home,
    list: &ListAddress,
    who: &[MailAddress],
    all: bool,
    yes: bool,
    now: UnixTime,
) -> Result<(), Failure> {
    let mut book = open(home, list)?;
    let mut chosen: Vec<(RosterMember, Wait)> = Vec::new();
    for address in who {
        let member = book.member(address)?.clone();
        let wait = Wait::of(&book, &member, now).unwrap_or(Wait::RunsOut);
        chosen.push((member, wait));
    }
    if all {
        chosen = plan::waiting(&book, now);
    }
    for (member, wait) in chosen {
        if agreed(&plan::entry_text(&member, wait, now), yes)? {
            plan::sign_entry(&mut book, &member, now)?;
        }
    }
    finish(book, "", yes, now)
}

/// Shows the rest, asks once more, and hands all of it in.
fn finish(book: Book, text: &str, yes: bool, now: UnixTime) -> Result<(), Failure> {
    let head = plan::head_text(&book, now);
    let text = if text.is_empty() { head } else { format!("{text}\n{head}") };
    if !agreed(&text, yes)? {
        return Err(OwnerError::NotAgreed.into());
    }
    let list = book.list.clone();
    let feed = book.submit(now)?;
    say(&format!("signed for {list} (feed at {feed})"))
}

/// Shows what is signed, and asks unless `yes`.
fn agreed(text: &str, yes: bool) -> Result<bool, Failure> {
    let mut error = io::stderr().lock();
    // Nobody is there to be told when this cannot be written.
    let _ = writeln!(error, "{}", show::for_terminal(text));
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(OwnerError::NotAgreed.into());
    }
    let _ = write!(error, "Sign this? [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(OutputError)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", show::for_terminal(text)).and_then(|()| out.flush()).map_err(OutputError)?;
    Ok(())
}
