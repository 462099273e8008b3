//! The command line: what can be asked for. Everything but `init`, `serve` and `check-config` is a call on the admin
//! socket of the running service.

mod run;

use crate::config::CaKeyType;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, RevocationReason};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::feed::{ContentPolicy, History, PostLevel};
use twinseal_proto::ids::{ListAddress, MailAddress};

/// Twinseal's certificate server: accounts, groups, memberships, certificates, the signed feed.
#[derive(Debug, Parser)]
#[command(name = "twinseal-certsrv", version)]
pub struct Cli {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Answers as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the CAs, the feed and the own TLS certificate; once, while the service is stopped
    Init {
        /// Kind of the CAs' keys; the configuration says it otherwise
        #[arg(long, value_enum)]
        key_type: Option<CaKeyType>,
    },
    /// Runs the service
    Serve,
    /// Reads the configuration and says what is wrong with it
    CheckConfig,
    /// How the service is
    Status,
    /// Accounts
    #[command(subcommand)]
    Account(Account),
    /// Groups and their lists
    #[command(subcommand)]
    Group(Group),
    /// Who belongs to a list
    #[command(subcommand)]
    Member(Member),
    /// groupsrv and exploders
    #[command(subcommand)]
    Service(Service),
    /// Revokes a certificate
    Revoke {
        /// Its serial number in hexadecimal
        serial: String,
        /// unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation or privilegeWithdrawn
        #[arg(long)]
        reason: RevocationReason,
    },
}

#[derive(Debug, Subcommand)]
enum Account {
    /// Makes an account
    Add {
        /// Its address
        address: MailAddress,
        /// File with its first password, for the owner's eyes alone (chmod 600); a line end at its end is left out
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Makes a one-time token with which the account enrols its first key
    Token {
        /// The account
        address: MailAddress,
    },
}

#[derive(Debug, Subcommand)]
enum Group {
    /// Makes a group with its list
    Create(CreateGroup),
    /// Lists the groups
    List,
}

#[derive(Debug, clap::Args)]
struct CreateGroup {
    /// The list's address
    list: ListAddress,
    /// The account that owns it
    #[arg(long, value_name = "ADDRESS")]
    owner: MailAddress,
    /// Who may join
    #[arg(long, value_parser = parse::<JoinPolicy>, default_value = "closed", value_name = "open|closed")]
    join: JoinPolicy,
    /// How sure it must be who posts
    #[arg(long, value_parser = parse::<PostLevel>, default_value = "submission", value_name = "from|submission")]
    post: PostLevel,
    /// Which messages members may open
    #[arg(long, value_parser = parse::<History>, default_value = "since-join", value_name = "since-join|all")]
    history: History,
    /// Which content encryption is taken
    #[arg(long, value_parser = parse::<ContentPolicy>, default_value = "cbc-allowed",
          value_name = "cbc-allowed|aead-required")]
    content: ContentPolicy,
    /// Takes 3DES content too, which is weak
    #[arg(long)]
    legacy_3des: bool,
    /// Largest message in octets
    #[arg(long, default_value_t = 10 * 1024 * 1024, value_name = "OCTETS")]
    max_size: u64,
    /// Let nobody read whom an owner did not sign for
    #[arg(long)]
    signed: bool,
    /// A phrase for people
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
}

#[derive(Debug, Subcommand)]
enum Member {
    /// Puts accounts into a list; all or none
    Add {
        /// The list
        list: ListAddress,
        /// The accounts
        #[arg(required = true)]
        addresses: Vec<MailAddress>,
    },
    /// Takes accounts out of a list; all or none
    Remove {
        /// The list
        list: ListAddress,
        /// The accounts
        #[arg(required = true)]
        addresses: Vec<MailAddress>,
    },
    /// Lists the members
    List {
        /// The list
        list: ListAddress,
    },
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Makes a one-time token with which a service joins
    Token {
        /// What it becomes
        #[arg(value_enum)]
        role: Role,
        /// File that the token is written to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Lists the services that joined
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Holds the groups' private keys
    Groupsrv,
    /// Forwards the mail
    Exploder,
}

impl From<Role> for ServiceRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Groupsrv => Self::Groupsrv,
            Role::Exploder => Self::Exploder,
        }
    }
}

/// Takes a word as the wire format spells it.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|e| e.to_string())
}
