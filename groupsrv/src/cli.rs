//! The command line: a client of the admin socket, and the few commands that work on files.

use crate::admin::acceptance;
use crate::config::Config;
use crate::keys::credential::Credential;
use crate::keys::file::algorithm_name;
use crate::record::{Event, Record};
use crate::run::{lock, serve};
use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use twinseal_proto::api::admin::feed::FollowedFeed;
use twinseal_proto::api::admin::groupsrv::{
    AllowExploder, AllowExploderRequest, AllowedPeers, CreateKey, CreateKeyRequest, ListKeys,
};
use twinseal_proto::api::admin::rosters::{Acknowledge, AcknowledgeRequest, ListRosters, PinGroup, PinGroupRequest};
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::api::keys::{EpochState, KeyAlgorithm};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::{self, Audit};
use twinseal_svc::follow::command::{self, FeedCommand};
use twinseal_svc::join::{FeedTrust, JoinArgs, join};
use twinseal_svc::owners::command::{OwnerArgs, OwnerCertificate, text};
use twinseal_svc::pins::{Peer, Pins};
use twinseal_svc::tls::Identity;
use twinseal_svc::{admin, exit, telemetry};

/// The group key server of Twinseal.
#[derive(Debug, Parser)]
#[command(name = "twinseal-groupsrv", version, after_help = exit::HELP)]
struct Cli {
    /// Configuration file
    #[arg(long, global = true, default_value = "/etc/twinseal/groupsrv.toml")]
    config: PathBuf,
    /// Write results as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve,
    /// Read and check the configuration file
    CheckConfig,
    /// Become certsrv's group key server, with a one-time token; shows our own pin
    Join(JoinArgs),
    /// The public keys of the services that we talk to
    Pin {
        #[command(subcommand)]
        command: PinCommand,
    },
    /// The groups' key pairs
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// certsrv's signed feed, which says who belongs
    Feed {
        #[command(subcommand)]
        command: FeedCommand,
    },
    /// Groups whose owners sign who reads
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// The audit log
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// How the daemon is
    Status,
}

#[derive(Debug, Subcommand)]
enum PinCommand {
    /// Trust a public key as certsrv's (while stopped) or as an exploder's
    Set {
        /// Whose key
        peer: PinnedPeer,
        /// SHA-256 of the public key, as the other side shows it
        pin: Digest,
    },
    /// Let an exploder call no longer
    Remove {
        /// SHA-256 of its public key
        pin: Digest,
    },
    /// Show the pins, our own too
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PinnedPeer {
    Certsrv,
    Exploder,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key pair, as a new epoch or as a second kind in the present one; shows its certificate
    Create {
        /// The group's id
        group: GroupId,
        /// Kind of key
        #[arg(long)]
        algorithm: Algorithm,
    },
    /// Show every group's keys
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    Rsa3072,
    P256,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Trust a group's first owner: from then on nobody reads whom an owner did not sign for
    Pin {
        /// The group's id
        group: GroupId,
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Show the groups whose rosters are signed, and what was refused
    List,
    /// Forget the alarms of a group
    Acknowledge {
        /// The group's id
        group: GroupId,
    },
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that nothing in the log was changed
    Verify,
    /// Show records
    Show {
        /// Only of this group
        #[arg(long)]
        group: Option<GroupId>,
        /// Only about this message (a look-up value)
        #[arg(long)]
        message: Option<Digest>,
        /// Only about this member
        #[arg(long)]
        handle: Option<Handle>,
    },
}

/// The command line's definition, for manual pages and shell completion.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime");
    match runtime.and_then(|runtime| runtime.block_on(run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed("twinseal-groupsrv: ", error.as_ref(), json),
    }
}

async fn run(cli: Cli) -> Result<()> {
    let config = Config::load(&cli.config)?;
    let show = Show { json: cli.json };
    match cli.command {
        Command::Serve => {
            telemetry::init();
            serve(config).await
        }
        Command::CheckConfig => {
            show.value(&serde_json::json!({ "ok": true }), || "the configuration is good".to_owned())
        }
        Command::Join(args) => {
            let _lock = lock(&config.state)?;
            let pin = join(&config.state, &args).await?;
            Credential::make_if_missing(&config).context("credential")?;
            show.value(&serde_json::json!({ "pin": pin }), || pin.to_string())
        }
        Command::Pin { command } => pins(&config, command, &show).await,
        Command::Key { command } => keys(&config, command, &show).await,
        Command::Feed { command } => {
            let feed = feed(&config, &command).await?;
            show.value(&feed, || command::shown(&feed))
        }
        Command::Group { command } => groups(&config, command, &show).await,
        Command::Audit { command } => audit_log(&config, &command, &show),
        Command::Status => {
            let status = admin::call::<GetStatus>(&config.admin_socket, &Nothing {}).await?;
            show.value(&status, || {
                let lease = status.lease_seconds.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
                let ready = if status.ready { "ready" } else { "not ready" };
                let head =
                    format!("{ready}, feed at {}, lease {lease}, version {}", status.feed_sequence, status.version);
                status.warnings.iter().fold(head, |text, warning| format!("{text}\nwarning: {warning}"))
            })
        }
    }
}

async fn pins(config: &Config, command: PinCommand, show: &Show) -> Result<()> {
    let (peer, pin, allowed) = match command {
        PinCommand::List => {
            let pins = Pins::load(&config.state)?;
            let own = Identity::load(&config.state.join("tls")).and_then(|identity| identity.pin()).ok();
            let Pins { certsrv, exploders, .. } = pins;
            let json = serde_json::json!({ "certsrv": certsrv, "exploders": exploders, "own": own });
            let peers = AllowedPeers { certsrv, exploders: exploders.into_iter().collect() };
            return show.value(&json, || {
                own.iter().map(|pin| format!("own {pin}\n")).collect::<String>() + &peers_text(&peers)
            });
        }
        PinCommand::Set { peer, pin } => (peer, pin, true),
        PinCommand::Remove { pin } => (PinnedPeer::Exploder, pin, false),
    };
    let peers = match lock(&config.state) {
        Ok(_lock) => set_pin(config, peer, pin, allowed).await?,
        Err(locked) if peer == PinnedPeer::Certsrv => return Err(locked),
        Err(_) => admin::call::<AllowExploder>(&config.admin_socket, &AllowExploderRequest { pin, allowed }).await?,
    };
    show.value(&peers, || peers_text(&peers))
}

/// Does it on the files while the service is stopped, with the same record as the running service would make.
async fn feed(config: &Config, command: &FeedCommand) -> Result<FollowedFeed> {
    let Ok(_lock) = lock(&config.state) else { return Ok(command.call(&config.admin_socket).await?) };
    let event = match (command, command.accepts()) {
        (_, Some(request)) => {
            FeedTrust::load(&config.state)?.accept(&request)?;
            Some(acceptance(&request))
        }
        (FeedCommand::Resync, None) => Some(Event::RosterResync),
        (_, None) => None,
    };
    if let Some(event) = event {
        Audit::open(&config.state.join("audit"))?.record(&Record { time: UnixTime::now(), event }).await?;
    }
    Ok(command.offline(&config.state)?)
}

/// Changes `pins.toml` while the service is stopped, with the same record as the running service would make.
async fn set_pin(config: &Config, peer: PinnedPeer, pin: Digest, allowed: bool) -> Result<AllowedPeers> {
    let mut pins = Pins::load(&config.state)?;
    match (peer, allowed) {
        (PinnedPeer::Certsrv, _) => pins.set(Peer::Certsrv, pin),
        (PinnedPeer::Exploder, true) => pins.set(Peer::Exploder, pin),
        (PinnedPeer::Exploder, false) => {
            pins.exploders.remove(&pin);
        }
    }
    if peer == PinnedPeer::Exploder {
        let record = Record { time: UnixTime::now(), event: Event::ExploderPinned { pin, allowed } };
        Audit::open(&config.state.join("audit"))?.record(&record).await?;
    }
    pins.save(&config.state)?;
    Ok(AllowedPeers { certsrv: pins.certsrv, exploders: pins.exploders.into_iter().collect() })
}

fn peers_text(peers: &AllowedPeers) -> String {
    let certsrv = peers.certsrv.iter().map(|pin| format!("certsrv {pin}"));
    certsrv.chain(peers.exploders.iter().map(|pin| format!("exploder {pin}"))).collect::<Vec<_>>().join("\n")
}

async fn keys(config: &Config, command: KeyCommand, show: &Show) -> Result<()> {
    match command {
        KeyCommand::Create { group, algorithm } => {
            let algorithm = match algorithm {
                Algorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
                Algorithm::P256 => KeyAlgorithm::P256,
            };
            let request = CreateKeyRequest { group, algorithm };
            let created = admin::call::<CreateKey>(&config.admin_socket, &request).await?;
            show.value(&created, || created.certificate.trim_end().to_owned())
        }
        KeyCommand::List => {
            let groups = admin::call::<ListKeys>(&config.admin_socket, &Nothing {}).await?;
            show.value(&groups, || {
                let mut lines = Vec::new();
                for group in &groups {
                    for key in &group.epochs {
                        let state = if key.state == EpochState::Live { "live" } else { "retained" };
                        lines.push(format!("{} {} {} {state}", group.group, key.epoch, algorithm_name(key.algorithm)));
                    }
                    lines.extend(
                        group.substituted.filter(|told| told.number > 0).map(|told| format!("{} {told}", group.group)),
                    );
                }
                lines.join("\n")
            })
        }
    }
}

async fn groups(config: &Config, command: GroupCommand, show: &Show) -> Result<()> {
    match command {
        GroupCommand::Pin { group, owner: OwnerArgs { owner_cert, replace } } => {
            let certificate = OwnerCertificate::load(&owner_cert)?;
            let request = PinGroupRequest { group, owner: certificate.key, replace };
            let standing = admin::call::<PinGroup>(&config.admin_socket, &request).await?;
            show.value(&standing, || format!("{}\n{}", certificate.text(), text(&standing)))
        }
        GroupCommand::List => {
            let standings = admin::call::<ListRosters>(&config.admin_socket, &Nothing {}).await?;
            show.value(&standings, || standings.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
        GroupCommand::Acknowledge { group } => {
            let done = admin::call::<Acknowledge>(&config.admin_socket, &AcknowledgeRequest { group }).await?;
            show.value(&done, || format!("the alarms of {group} are forgotten"))
        }
    }
}

fn audit_log(config: &Config, command: &AuditCommand, show: &Show) -> Result<()> {
    let dir = config.state.join("audit");
    match command {
        AuditCommand::Verify => {
            let found = audit::verify(&dir)?;
            let json = serde_json::json!({ "records": found.records, "head": found.head, "torn": found.torn });
            show.value(&json, || format!("{} records, nothing changed; head {}", found.records, found.head))
        }
        AuditCommand::Show { group, message, handle } => {
            let mut unreadable = 0_u64;
            audit::each(&dir, |json| {
                let Ok(record) = serde_json::from_str::<Record>(json) else {
                    unreadable += 1;
                    return;
                };
                let event = &record.event;
                let wanted = group.is_none_or(|group| event.group() == Some(&group))
                    && message.is_none_or(|message| event.names_message(&message))
                    && handle.is_none_or(|handle| event.names_member(&handle));
                if wanted && show.json {
                    println!("{json}");
                } else if wanted {
                    println!("{record}");
                }
            })?;
            if unreadable > 0 {
                bail!("{unreadable} records are of another version");
            }
            Ok(())
        }
    }
}

/// How results are written.
struct Show {
    json: bool,
}

impl Show {
    fn value<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(value)?)
        } else {
            println!("{}", text())
        }
        Ok(())
    }
}
