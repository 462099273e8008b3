//! The command line: what can be asked for. Everything but `init`, `serve`, `check-config` and `restore` is a call on the
//! admin socket of the running service.

mod doctor;
mod run;

use crate::config::CaKeyType;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use twinseal_proto::api::admin::certsrv::{JoinPolicy, RevocationReason};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::feed::{ContentPolicy, History, PostLevel};
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_svc::exit;

/// Twinseal's certificate server: accounts, groups, memberships, certificates, the signed feed.
#[derive(Debug, Parser)]
#[command(name = "twinseal-certsrv", version, after_help = exit::HELP)]
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

impl Cli {
    /// Whether answers and errors are wanted as JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        self.json
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the CAs, the feed and the own TLS certificate; once, while the service is stopped
    Init {
        /// Kind of the CAs' keys; the configuration says it otherwise
        #[arg(long, value_enum)]
        key_type: Option<CaKeyType>,
        /// Writes the root CA's key to this new file, encrypted under a passphrase, and leaves none in the state directory
        #[arg(long, value_name = "FILE")]
        root_out: Option<PathBuf>,
        /// File with the passphrase in its first line (chmod 600); it is asked for otherwise
        #[arg(long, value_name = "FILE", requires = "root_out")]
        passphrase_file: Option<PathBuf>,
    },
    /// The CAs' keys and certificates, while the service is stopped
    #[command(subcommand)]
    Ca(CaCommand),
    /// Runs the service
    Serve,
    /// Reads the configuration and says what is wrong with it
    CheckConfig,
    /// How the service is
    Status,
    /// Looks whether the state is whole: logs, index, CAs, files, clock; changes nothing
    #[command(after_help = "Exit codes:\n   0  nothing found\n   1  findings\n   2  could not look")]
    Doctor {
        /// Looks at a service that is stopped
        #[arg(long)]
        offline: bool,
    },
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
    /// The signed feed that groupsrv and the exploders follow
    #[command(subcommand)]
    Feed(Feed),
    /// Takes a backup of the running service: the feed, its key, the CAs with their sealed keys, the audit log
    Backup {
        /// Directory that it is written to; made when missing, and must be empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Restores a backup into an empty state directory; once, while the service is stopped
    Restore {
        /// Directory of the backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Generation that begins: one above the backup's, unless that one was used before (the same backup was restored
        /// already)
        #[arg(long, value_name = "N")]
        generation: Option<u64>,
    },
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
enum CaCommand {
    /// Makes a new certificate for a sub-CA and the key that it has, under the root
    RenewSub {
        /// Which sub-CA
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(crate::init::SUB_CAS))]
        name: String,
        /// File with the root CA's key; it is looked for with the other CAs' keys otherwise
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
        /// File with the passphrase of the root CA's key in its first line (chmod 600); it is asked for otherwise
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Takes the root CA's key out of the state directory, into a new file that is encrypted under a passphrase
    RootOut {
        /// The file
        out: PathBuf,
        /// File with the passphrase in its first line (chmod 600); it is asked for otherwise
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
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

#[derive(Debug, Subcommand)]
enum Feed {
    /// Replaces the key that signs the feed; those who follow it move to the new key by themselves
    RotateKey,
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
