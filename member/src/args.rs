//! The words of the command line; their comments are the text of `--help`.

use crate::exit;
use crate::home::SubmissionTls;
use crate::identity::KeyType;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{ListAddress, MailAddress, RequestId};

/// Encrypted mailing lists: enrol, join, send and read.
#[derive(Debug, Parser)]
#[command(name = "twinseal", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a key and a certificate; may be run again after a failure
    #[command(alias = "enrol")]
    Enroll(Enroll),
    /// Get a new certificate for the same key, before the present one runs out
    Renew,
    /// Join a list, and keep its certificates
    Join(OneList),
    /// Leave a list
    Leave(OneList),
    /// Show the lists you belong to, and what you wait for
    Lists {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Choose what a list sends you
    Set(SetOptions),
    /// Owners: show what waits for you
    Requests {
        /// One list's only
        list: Option<ListAddress>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Owners: say yes to a request
    Approve(OneRequest),
    /// Owners: say no to a request; or withdraw your own
    Reject(OneRequest),
    /// Sign and encrypt the message on standard input, and send it to lists
    Send(Send),
    /// Decrypt a message and verify its signature
    Read(Read),
    /// Sign who reads a list that you own
    #[command(subcommand)]
    Owner(OwnerCommand),
    /// Write key and certificate to a PKCS #12 file for a mail program
    Export(Export),
    /// Passwords with which mail programs post to lists, and can do nothing else
    #[command(subcommand)]
    PostingToken(PostingToken),
    /// Show address, certificate and lists
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// Your mail address
    pub(crate) address: MailAddress,
    /// The certificate server: https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    pub(crate) certsrv: String,
    /// The root certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) credential: CredentialFile,
    /// The sort of key
    #[arg(long, value_enum, default_value = "rsa3072")]
    pub(crate) key_type: KeyType,
    /// Where `send` submits mail
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) submission: Option<String>,
    /// Whether submission needs TLS
    #[arg(long, value_enum, default_value = "required")]
    pub(crate) submission_tls: SubmissionTls,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CredentialFile {
    /// A file with the enrolment token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with the account's password in its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PostingToken {
    /// Make one, and write it to standard output, this once
    Make {
        /// What tells it from your others, such as the program's name
        #[arg(long, default_value = "")]
        label: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// List yours, without themselves
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Revoke one of yours
    Revoke {
        /// Its id, as the list shows it
        id: Digest,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OneList {
    /// The list's address
    pub(crate) list: ListAddress,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OwnerCommand {
    /// Show who waits for a signature
    Pending {
        /// The list's address
        list: ListAddress,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Sign for members, and for the list as a whole
    Sign {
        /// The list's address
        list: ListAddress,
        /// The members
        #[arg(value_name = "ADDRESS", required_unless_present = "all", conflicts_with = "all")]
        who: Vec<MailAddress>,
        /// Everybody who waits
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Vouch for the list as a whole for 30 days more
    Head {
        /// The list's address
        list: ListAddress,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take a member out
    Remove {
        #[command(flatten)]
        of: OwnerOf,
    },
    /// Let a member sign too
    AddOwner {
        #[command(flatten)]
        of: OwnerOf,
    },
    /// Let an owner sign no more
    RemoveOwner {
        /// The list's address
        list: ListAddress,
        /// The owner's address, or the SHA-256 of the owner's key
        who: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OwnerOf {
    /// The list's address
    pub(crate) list: ListAddress,
    /// The member
    pub(crate) address: MailAddress,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetOptions {
    /// The list's address
    pub(crate) list: ListAddress,
    /// Whether you are sent copies; without them you may post all the same
    #[arg(long, value_parser = on_off, value_name = "on|off")]
    pub(crate) delivery: Option<bool>,
    /// Whether you are sent copies of what you post
    #[arg(long, value_parser = on_off, value_name = "on|off")]
    pub(crate) own_posts: Option<bool>,
    /// Whether other members do not see you
    #[arg(long, value_parser = on_off, value_name = "on|off")]
    pub(crate) hidden: Option<bool>,
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off is wanted".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct OneRequest {
    /// The request, as `requests` names it
    pub(crate) request: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The lists; without them, the addresses in To, Cc and Bcc
    #[arg(value_name = "LIST")]
    pub(crate) lists: Vec<MailAddress>,
    /// The subject; it wins over the message's
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Write the message to standard output, send nothing
    #[arg(long)]
    pub(crate) stdout: bool,
    /// Ask the certificate server for the lists' certificates again
    #[arg(long)]
    pub(crate) refresh: bool,
    /// The envelope sender, if not your address
    #[arg(short = 'f', value_name = "ADDRESS")]
    pub(crate) sender: Option<MailAddress>,
    /// Recipients from the header, as in sendmail: added to those of the command line
    #[arg(short = 't')]
    pub(crate) header: bool,
    /// Taken and ignored, as in sendmail
    #[arg(short = 'i', hide = true)]
    pub(crate) ignore_dots: bool,
    /// Taken and ignored, as in sendmail
    #[arg(short = 'o', value_name = "X", hide = true)]
    pub(crate) option: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// The message; standard input if there is none
    pub(crate) file: Option<PathBuf>,
    /// Write the decrypted MIME entity as it is
    #[arg(long, conflicts_with = "json")]
    pub(crate) mime: bool,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Show a message that nobody vouches for
    #[arg(long)]
    pub(crate) accept_unsigned: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) p12: PathBuf,
    /// A file with the password for it in its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: PathBuf,
}
