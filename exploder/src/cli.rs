//! The command line. Commands about a running daemon are calls on its admin socket.

use crate::config::Config;
use crate::daemon;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use twinseal_proto::api::admin::exploder::{ListQueue, QueuedPost};
use twinseal_proto::api::admin::rosters::{Acknowledge, AcknowledgeRequest, ListRosters, PinList, PinListRequest};
use twinseal_proto::api::admin::{GetStatus, Nothing, Status};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, ListAddress};
use twinseal_svc::follow::command::{self, FeedCommand};
use twinseal_svc::join::JoinArgs;
use twinseal_svc::owners::command::{OwnerArgs, OwnerCertificate, text};
use twinseal_svc::pins::{Peer, Pins};
use twinseal_svc::{admin, durable, exit, telemetry};

/// The SMTP list exploder of Twinseal: it sees ciphertext only.
#[derive(Debug, Parser)]
#[command(name = "twinseal-exploder", version, after_help = exit::HELP)]
pub struct Arguments {
    /// Configuration file
    #[arg(long, global = true, default_value = "/etc/twinseal/exploder.toml")]
    config: PathBuf,
    /// Answer with one JSON value
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Whether answers and errors are wanted as JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        self.json
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Become certsrv's: make a key, get a certificate, pin certsrv
    Join(JoinArgs),
    /// The public keys of the other services
    #[command(subcommand)]
    Pin(PinCommand),
    /// Check the configuration file
    CheckConfig,
    /// Run the daemon
    Serve,
    /// Messages that are not delivered to everybody yet
    #[command(subcommand)]
    Queue(QueueCommand),
    /// certsrv's signed feed, which says who is on which list
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Lists whose owners sign who reads
    #[command(subcommand)]
    Group(GroupCommand),
    /// How the daemon is
    Status,
}

#[derive(Debug, Subcommand)]
enum PinCommand {
    /// Set a pin; the daemon reads it when it starts
    Set {
        /// Whose
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(["certsrv", "groupsrv"]))]
        peer: String,
        /// SHA-256 of its public key, 64 hexadecimal digits
        digest: Digest,
    },
    /// Show the pins
    List,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Trust a list's first owner: from then on nobody gets copies whom an owner did not sign for
    Pin {
        /// The list's address
        list: ListAddress,
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Show the lists whose rosters are signed, and what was refused
    List,
    /// Forget the alarms of a group
    Acknowledge {
        /// The group's id
        group: GroupId,
    },
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// All of them
    List,
}

/// Does what the arguments say.
///
/// # Errors
/// What went wrong, and what to try.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { config, json, command } = arguments;
    let config = Config::load(&config)?;
    match command {
        Command::Serve => {
            telemetry::init();
            runtime()?.block_on(daemon::serve(config))
        }
        Command::CheckConfig => {
            let warnings = config.warnings();
            show(json, &serde_json::json!({ "ok": true, "warnings": &warnings }), || {
                warnings.iter().map(|warning| format!("warning: {warning}\n")).chain(["ok\n".to_owned()]).collect()
            })
        }
        Command::Join(join) => {
            durable::make_dir(&config.state)?;
            let _lock = durable::lock_state(&config.state).context("stop the service first")?;
            let pin = runtime()?.block_on(twinseal_svc::join::join(&config.state, &join))?;
            show(json, &serde_json::json!({ "pin": pin }), || format!("our own pin, for groupsrv: {pin}\n"))
        }
        Command::Pin(command) => {
            let mut pins = Pins::load(&config.state)?;
            if let PinCommand::Set { peer, digest } = command {
                pins.set(if peer == "certsrv" { Peer::Certsrv } else { Peer::Groupsrv }, digest);
                pins.save(&config.state)?;
            }
            show(json, &pins, || shown_pins(&pins))
        }
        Command::Feed(command) => {
            let feed = match durable::lock_state(&config.state) {
                Ok(_lock) => command.offline(&config.state)?,
                Err(_) => runtime()?.block_on(command.call(&config.admin_socket))?,
            };
            show(json, &feed, || format!("{}\n", command::shown(&feed)))
        }
        Command::Queue(QueueCommand::List) => {
            let posts = runtime()?.block_on(admin::call::<ListQueue>(&config.admin_socket, &Nothing {}))?;
            show(json, &posts, || posts.iter().map(shown_post).collect())
        }
        Command::Group(command) => {
            let socket = &config.admin_socket;
            match command {
                GroupCommand::Pin { list, owner: OwnerArgs { owner_cert, replace } } => {
                    let certificate = OwnerCertificate::load(&owner_cert)?;
                    let request = PinListRequest { list, owner: certificate.key, replace };
                    let standing = runtime()?.block_on(admin::call::<PinList>(socket, &request))?;
                    show(json, &standing, || format!("{}\n{}\n", certificate.text(), text(&standing)))
                }
                GroupCommand::List => {
                    let standings = runtime()?.block_on(admin::call::<ListRosters>(socket, &Nothing {}))?;
                    show(json, &standings, || standings.iter().map(|standing| text(standing) + "\n").collect())
                }
                GroupCommand::Acknowledge { group } => {
                    let request = AcknowledgeRequest { group };
                    let done = runtime()?.block_on(admin::call::<Acknowledge>(socket, &request))?;
                    show(json, &done, || format!("the alarms of {group} are forgotten\n"))
                }
            }
        }
        Command::Status => {
            let status = runtime()?.block_on(admin::call::<GetStatus>(&config.admin_socket, &Nothing {}))?;
            show(json, &status, || shown_status(&status))
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Writes an answer to standard output. A reader that has gone away wants no more of it.
fn show<T: Serialize>(json: bool, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    use std::io::Write as _;
    let answer = if json { format!("{}\n", serde_json::to_string(value)?) } else { text() };
    match std::io::stdout().write_all(answer.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn shown_pins(pins: &Pins) -> String {
    let shown = |pin: Option<Digest>| pin.map_or("none".to_owned(), |pin| pin.to_string());
    format!("certsrv  {}\ngroupsrv {}\n", shown(pins.certsrv), shown(pins.groupsrv))
}

fn shown_post(post: &QueuedPost) -> String {
    let QueuedPost { id, list, accepted, size, sent, pending, failed, waiting, next_attempt } = post;
    let waiting = waiting.as_ref().map(|reason| format!("  waits: {reason}")).unwrap_or_default();
    format!(
        "{id}  {list}  {accepted}  {size} octets  sent {sent}  pending {pending}  failed {failed}  next {next_attempt}{waiting}\n"
    )
}

fn shown_status(status: &Status) -> String {
    let Status { service, version, ready, feed_sequence, lease_seconds, warnings } = status;
    let lease = lease_seconds.map_or("ended".to_owned(), |seconds| format!("{seconds} s"));
    let mut text = format!("{service} {version}\nready: {ready}\nfeed: {feed_sequence}\nlease: {lease}\n");
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
