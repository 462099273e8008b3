//! Exit codes, and what is said on standard error: first what is wrong, then what to try.

use crate::show;
use std::error::Error;
use std::fmt;

/// Exit codes. Those from 64 on are the ones of `sysexits.h`, which mail programs know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The key opened the message, but the content makes no sense.
    Garbled = 3,
    /// Not signed, or the signature does not verify, and so not shown.
    Unsigned = 4,
    /// Not encrypted to this member's certificate.
    NotForMe = 5,
    /// The command line is wrong.
    Usage = 64,
    /// The input is not what it should be.
    Data = 65,
    /// An input file cannot be opened.
    NoInput = 66,
    /// No such list.
    NoList = 67,
    /// The server refuses for good.
    Refused = 69,
    /// A failure inside.
    Internal = 70,
    /// Reading or writing failed.
    InputOutput = 74,
    /// Later.
    TemporaryFailure = 75,
    /// Not allowed.
    NotAllowed = 77,
    /// The home directory is not set up, or unfit.
    Setup = 78,
}

/// The table for `--help`.
pub const HELP: &str = "\
Exit codes:
   0  done
   3  read: the key opens the message, but the content makes no sense
   4  read: not signed, or the signature does not verify, and --accept-unsigned was not given
   5  read: not encrypted to your certificate
  64  the command line is wrong          65  the input is not what it should be
  66  an input file cannot be opened     67  a recipient is no list that is known
  69  the server refuses for good        70  a failure inside
  74  reading or writing failed          75  not now: try again later
  77  not allowed                        78  the home directory is not set up, or the certificate is not live

Files: $TWINSEAL_HOME, else $XDG_DATA_HOME/twinseal, else ~/.local/share/twinseal, holds
home.toml, key.pem, cert.pem, root.pem and lists/ADDRESS.pem.";

/// An error that a member can read.
pub trait Explain: Error + Send + Sync + 'static {
    /// The exit code.
    fn exit(&self) -> Exit;

    /// What the member may try; one line or more, without a label.
    fn hint(&self) -> Option<String>;
}

/// The one error type of the commands: any [`Explain`].
#[derive(Debug)]
pub struct Failure(Box<dyn Explain>);

impl Failure {
    /// The number for the shell.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.0.exit() as u8
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.0.exit()
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Failure {
    /// `twinseal: what: why`, and on a line of its own `try: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in certificates and the words of servers are in it, and it goes to a terminal.
        write!(f, "twinseal: {}", show::for_terminal(&self.0.to_string()))?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {}", show::for_terminal(&error.to_string()))?;
            source = error.source();
        }
        self.0.hint().map_or(Ok(()), |hint| write!(f, "\ntry: {}", show::for_terminal(&hint)))
    }
}

/// Writing to standard output failed.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct OutputError(#[from] pub std::io::Error);

impl Explain for OutputError {
    fn exit(&self) -> Exit {
        Exit::InputOutput
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// Writes one JSON value and a line end to standard output.
///
/// # Errors
/// [`OutputError`].
pub fn print_json(value: &serde_json::Value) -> Result<(), OutputError> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value:#}")?;
    Ok(out.flush()?)
}
