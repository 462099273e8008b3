//! Carries out the command line, which `args.rs` describes; the work is done by the other files.

use crate::args::{Cli, Command, Enroll, Export, OneList, OneRequest, PostingToken, Read, Send, SetOptions};
use crate::enrol::{self, Request};
use crate::exit::{self, Exit, Explain, Failure, OutputError};
use crate::export;
use crate::groups;
use crate::home::{Home, Settings, Submission};
use crate::posting;
use crate::read;
use crate::requests;
use crate::send;
use crate::show;
use crate::status::{self, Certificate};
use crate::trust;
use clap::Parser as _;
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use twinseal_proto::api::groups::{Mine, WaitsFor};
use twinseal_proto::api::members::{Delivery, MemberSettings};
use twinseal_proto::api::requests::Request as Waiting;
use twinseal_proto::ids::ListAddress;
use twinseal_proto::time::UnixTime;

/// The command line or its input cannot be used.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// clap refuses it, or was asked for help, which is no error.
    #[error("{}", .0.to_string().trim_end().trim_start_matches("error: "))]
    Usage(clap::Error),
    /// The input cannot be read.
    #[error("{name} cannot be read")]
    Input {
        name: String,
        #[source]
        error: io::Error,
    },
}

impl Explain for CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Input { .. } => Exit::NoInput,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Usage(_) => None,
            Self::Input { .. } => Some("name a file that you can read".to_owned()),
        }
    }
}

/// The command line's definition, for manual pages and shell completion.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program.
///
/// # Errors
/// [`Failure`], to be shown; its code is the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => return Ok(print(help.to_string().as_bytes())?),
        Err(error) => return Err(CliError::Usage(error).into()),
    };
    let (home, now) = (Home::find()?, UnixTime::now());
    match cli.command {
        Command::Enroll(arguments) => enroll(&home, arguments, now),
        Command::Renew => {
            let identity = enrol::renew(&home)?;
            let certificate = Certificate::of(&identity.certificate, now)?;
            say(&format!("renewed: certificate {certificate}"))
        }
        Command::Join(arguments) => join(&home, &arguments, now),
        Command::Leave(OneList { list, json }) => {
            let membership = groups::leave(&home, &list)?;
            if json {
                return Ok(exit::print_json(&json!(membership))?);
            }
            say(&format!("{} is no member of {list} any more", membership.address))
        }
        Command::Lists { json } => memberships(&home, json),
        Command::Set(arguments) => set(&home, &arguments),
        Command::Requests { list, json } => waiting(&home, list, json),
        Command::Approve(OneRequest { request }) => {
            let approved = requests::approve(&home, request)?;
            say(&approved
                .waits_for
                .map_or_else(|| "approved".to_owned(), |next| format!("approved; it waits for {} still", still(next))))
        }
        Command::Reject(OneRequest { request }) => {
            requests::reject(&home, request)?;
            say("the request has ended")
        }
        Command::Owner(command) => crate::owner_cli::run(&home, command, now),
        Command::Send(arguments) => send(&home, arguments, now),
        Command::Read(arguments) => read(&home, &arguments, now),
        Command::Export(Export { p12, password_file }) => {
            export::export(&home, &p12, &enrol::password_from(&password_file)?)?;
            say(&format!("{} holds your private key: import it and delete it", p12.display()))
        }
        Command::PostingToken(command) => posting_token(&home, command),
        Command::Status { json } => {
            let status = status::status(&home, now)?;
            if json { Ok(exit::print_json(&json!(status))?) } else { say(&status.to_string()) }
        }
    }
}

fn enroll(home: &Home, arguments: Enroll, now: UnixTime) -> Result<(), Failure> {
    let credential = match (&arguments.credential.token_file, &arguments.credential.password_file) {
        (Some(token), _) => enrol::token_from(token)?,
        (None, password) => {
            crate::est::Credential::Password(enrol::password_from(&password.clone().unwrap_or_default())?)
        }
    };
    let tls = arguments.submission_tls;
    let settings = Settings {
        address: arguments.address,
        certsrv: arguments.certsrv,
        submission: arguments.submission.map(|server| Submission { server, tls }),
    };
    let request = Request { settings, root: arguments.root, credential, key_type: arguments.key_type };
    let identity = enrol::enrol(home, &request, now)?;
    let certificate = Certificate::of(&identity.certificate, now)?;
    say(&format!("{} is enrolled: certificate {certificate}", request.settings.address))
}

fn join(home: &Home, OneList { list, json }: &OneList, now: UnixTime) -> Result<(), Failure> {
    let (membership, known) = groups::join(home, list)?;
    let certificates =
        known.certificates.iter().map(|found| Certificate::of(found, now)).collect::<Result<Vec<_>, _>>()?;
    if *json {
        return Ok(exit::print_json(&json!({ "membership": membership, "certificates": certificates }))?);
    }
    let state = if membership.member { "is a member of" } else { "has asked to join" };
    let next = membership.waits_for.map(|next| format!("\nnext: {}", groups::next(next))).unwrap_or_default();
    let fingerprint = known.certificates.first().map(|newest| trust::fingerprint(newest).to_string());
    say(&format!(
        "{} {state} {list}, whose certificate has the fingerprint {}{next}",
        membership.address,
        fingerprint.unwrap_or_default()
    ))
}

fn memberships(home: &Home, json: bool) -> Result<(), Failure> {
    let mine = groups::mine(home)?;
    if json {
        return Ok(exit::print_json(&json!(mine))?);
    }
    let line = |one: &Mine| match (&one.member, one.waits_for) {
        (Some(member), _) => {
            let stands = format!("{:?}, {:?}", member.role, member.state).to_lowercase();
            let delivery = if member.options.delivery == Delivery::Off { ", no copies" } else { "" };
            format!("{}\t{stands}{delivery}\n", one.list)
        }
        (None, next) => format!("{}\twaits: {}\n", one.list, groups::next(next.unwrap_or(WaitsFor::Nothing))),
    };
    Ok(print(mine.iter().map(line).collect::<String>().as_bytes())?)
}

fn set(home: &Home, arguments: &SetOptions) -> Result<(), Failure> {
    let delivery = arguments.delivery.map(|on| if on { Delivery::On } else { Delivery::Off });
    let SetOptions { list, own_posts, hidden, .. } = arguments;
    groups::set(home, list, MemberSettings { role: None, delivery, own_posts: *own_posts, hidden: *hidden })?;
    say(&format!("{list}: in force"))
}

fn waiting(home: &Home, list: Option<ListAddress>, json: bool) -> Result<(), Failure> {
    let found = requests::waiting(home, list)?;
    if json {
        return Ok(exit::print_json(&json!(found))?);
    }
    let line = |one: &Waiting| {
        let means = show::on_one_line(&one.means);
        format!("{}\t{}\twaits for {}\n  yes means: {means}\n", one.id, one.address, still(one.waits_for))
    };
    Ok(print(found.iter().map(line).collect::<String>().as_bytes())?)
}

const fn still(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Mailbox => "the mailbox",
        WaitsFor::Owner => "an owner",
        WaitsFor::Account => "an account",
        WaitsFor::Nothing => "whoever asked, to ask again",
    }
}

fn posting_token(home: &Home, command: PostingToken) -> Result<(), Failure> {
    match command {
        PostingToken::Make { label, json } => {
            let made = posting::make(home, label)?;
            if json { Ok(exit::print_json(&json!(made))?) } else { say(&made.token) }
        }
        PostingToken::List { json } => {
            let tokens = posting::list(home)?;
            if json {
                return Ok(exit::print_json(&json!(tokens))?);
            }
            let lines =
                tokens.iter().map(|one| format!("{}\t{}\t{}\n", one.id, one.expires, show::on_one_line(&one.label)));
            Ok(print(lines.collect::<String>().as_bytes())?)
        }
        PostingToken::Revoke { id } => {
            posting::revoke(home, id)?;
            say(&format!("{id} is revoked"))
        }
    }
}

fn send(home: &Home, arguments: Send, now: UnixTime) -> Result<(), Failure> {
    if !arguments.stdout {
        send::check_server(home)?;
    }
    let input = input(None)?;
    let mut lists = arguments.lists;
    if arguments.header && !lists.is_empty() {
        let named = crate::letter::Letter::parse(&input)?.recipients()?;
        lists.extend(named);
    }
    let mut seen = std::collections::HashSet::new();
    lists.retain(|list| seen.insert(list.clone()));
    let options =
        send::Options { lists, subject: arguments.subject, sender: arguments.sender, refresh: arguments.refresh };
    let ready = send::prepare(home, &input, &options, now)?;
    if arguments.stdout {
        return Ok(print(&ready.message)?);
    }
    send::submit(home, &ready)?;
    Ok(())
}

fn read(home: &Home, arguments: &Read, now: UnixTime) -> Result<(), Failure> {
    let mail = input(arguments.file.as_ref())?;
    let reading = read::read(home, &mail, arguments.accept_unsigned, now)?;
    eprintln!("{}", reading.status_line());
    if arguments.json {
        return Ok(exit::print_json(&reading.json())?);
    }
    if arguments.mime {
        return Ok(print(&reading.entity)?);
    }
    let shown = show::show(&reading.content);
    for (name, octets) in &shown.attachments {
        eprintln!("not shown: {} ({octets} octets); --mime has it", show::on_one_line(name));
    }
    let safe = io::stdout().is_terminal().then(|| show::for_terminal(&shown.text));
    Ok(print(safe.as_ref().unwrap_or(&shown.text).as_bytes())?)
}

fn input(file: Option<&PathBuf>) -> Result<Vec<u8>, CliError> {
    let Some(path) = file.filter(|path| path.as_os_str() != "-") else {
        let mut octets = Vec::new();
        let result = io::stdin().lock().read_to_end(&mut octets);
        return result.map(|_| octets).map_err(|error| CliError::Input { name: "standard input".to_owned(), error });
    };
    std::fs::read(path).map_err(|error| CliError::Input { name: path.display().to_string(), error })
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(print(format!("{text}\n").as_bytes())?)
}

fn print(octets: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(octets)?;
    Ok(out.flush()?)
}
