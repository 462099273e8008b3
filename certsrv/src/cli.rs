//! The command line: what can be asked for. Everything but `init`, `serve`, `check-config` and `restore` is a call on the
//! admin socket of the running service.

mod accounts;
mod doctor;
mod groups;
mod members;
mod requests;
mod run;
mod tables;

use crate::config::CaKeyType;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use twinseal_proto::api::admin::certsrv::RevocationReason;
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::ids::{MailAddress, NoticeId};
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
    Group(groups::Group),
    /// Who belongs to a list
    #[command(subcommand)]
    Member(members::Member),
    /// What waits for an owner or a mailbox
    #[command(subcommand)]
    Request(requests::Request),
    /// groupsrv and exploders
    #[command(subcommand)]
    Service(Service),
    /// Mail of this server's own that is on its way
    #[command(subcommand)]
    Notice(Notice),
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
        /// Locks the account that the certificate belongs to, too
        #[arg(long)]
        lock_account: bool,
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
    /// Makes accounts without password or key from a table with a column `address`, and reports on every line
    Import(tables::Table),
    /// Makes a one-time token with which the account enrols its first key
    Token {
        /// The account
        address: MailAddress,
    },
    /// Lets the account's next SAML log-in come from another name at the identity provider
    Unbind {
        /// The account
        address: MailAddress,
    },
    /// Lets nobody log in to an account; its memberships and its mail stay
    Lock {
        /// The account
        address: MailAddress,
    },
    /// Lets a locked account's holder log in again
    Unlock {
        /// The account
        address: MailAddress,
    },
    /// Gives an account another password, or none
    Password {
        /// The account
        address: MailAddress,
        /// File with the password, for the owner's eyes alone (chmod 600); without it, the account has none any more
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Ends an account, its memberships and its certificates
    Remove {
        /// The account
        address: MailAddress,
    },
    /// Lists the accounts
    List,
    /// Shows an account with its certificates
    Show {
        /// The account
        address: MailAddress,
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
enum Notice {
    /// Lists the mails that wait for the smarthost, oldest first
    List,
    /// Forgets a mail that waits
    Drop {
        /// Its name, as `notice list` shows it
        id: NoticeId,
    },
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

/// Takes `on` or `off`.
fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
