//! Submission (RFC 6409): one message, one connection; every refusal is told with the server's words.

mod reply;

use crate::home::SubmissionTls;
use crate::tls;
use openssl::ssl::{SslConnector, SslStream};
pub use reply::{Reply, SmtpError};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use twinseal_proto::ids::MailAddress;

/// Wait for the answer to the end of data (RFC 5321 section 4.5.3.2.6).
const DATA_END: Duration = Duration::from_secs(600);
/// Longest reply line, and most lines of a reply. RFC 5321 section 4.5.3.1.5 promises 512 octets.
const MAX_LINE: u64 = 2048;
const MAX_LINES: usize = 100;

/// What is submitted.
pub struct Envelope<'a> {
    /// MAIL FROM.
    pub from: &'a MailAddress,
    /// RCPT TO, at least one.
    pub to: &'a [MailAddress],
    /// The message with CRLF line ends.
    pub message: &'a [u8],
}

/// The two sorts of connection.
enum Stream {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection after its greeting.
struct Session<'a> {
    server: &'a str,
    stream: BufReader<Stream>,
}

/// Submits a message to `server`, `HOST:PORT`. When this returns the server answers for it; its last words come back.
///
/// # Errors
/// [`SmtpError`].
pub fn submit(
    server: &str,
    mode: SubmissionTls,
    connector: &SslConnector,
    envelope: &Envelope<'_>,
) -> Result<Reply, SmtpError> {
    let tcp = tls::tcp(server)?;
    let name = tcp.local_addr().map_or_else(|_| "localhost".to_owned(), |address| literal(address.ip()));
    let implicit = mode == SubmissionTls::Required && server.ends_with(":465");
    let stream = if implicit { Stream::Tls(tls::start(connector, server, tcp)?) } else { Stream::Plain(tcp) };
    let mut session = Session { server, stream: BufReader::new(stream) };
    session.wanted("the connection", 220)?;
    let mut offers = session.command("EHLO", &name, 250)?;
    if mode == SubmissionTls::Required && !implicit {
        if !offered(&offers, "STARTTLS") {
            return Err(SmtpError::Lacks { server: server.to_owned(), extension: "STARTTLS" });
        }
        session.command("STARTTLS", "", 220)?;
        session = session.secure(connector)?;
        offers = session.command("EHLO", &name, 250)?;
    }
    let reply = session.transaction(&offers, envelope)?;
    // The message is taken; what the server says to QUIT changes nothing.
    let _ = session.command("QUIT", "", 221);
    Ok(reply)
}

impl<'a> Session<'a> {
    fn transaction(&mut self, offers: &Reply, envelope: &Envelope<'_>) -> Result<Reply, SmtpError> {
        let addresses = std::iter::once(envelope.from).chain(envelope.to);
        let international =
            !envelope.message.is_ascii() || addresses.into_iter().any(|address| !address.as_str().is_ascii());
        let mut parameters = String::new();
        if offered(offers, "SIZE") {
            parameters.push_str(&format!(" SIZE={}", envelope.message.len()));
        }
        if international {
            if !offered(offers, "SMTPUTF8") {
                return Err(SmtpError::Lacks { server: self.server.to_owned(), extension: "SMTPUTF8" });
            }
            parameters.push_str(" BODY=8BITMIME SMTPUTF8");
        }
        self.command("MAIL", &format!("FROM:<{}>{parameters}", envelope.from), 250)?;
        for recipient in envelope.to {
            self.command("RCPT", &format!("TO:<{recipient}>"), 250)?;
        }
        self.command("DATA", "", 354)?;
        self.send(&stuffed(envelope.message))?;
        self.wait(DATA_END)?;
        self.wanted("the message", 250)
    }

    /// Goes on with TLS. What the server sent before its handshake is thrown away (RFC 3207 section 4.2).
    fn secure(self, connector: &SslConnector) -> Result<Self, SmtpError> {
        let stream = match self.stream.into_inner() {
            Stream::Plain(tcp) => Stream::Tls(tls::start(connector, self.server, tcp)?),
            secured @ Stream::Tls(_) => secured,
        };
        Ok(Self { server: self.server, stream: BufReader::new(stream) })
    }

    fn command(&mut self, verb: &str, argument: &str, wanted: u16) -> Result<Reply, SmtpError> {
        let line = [verb, argument].join(" ");
        self.send(format!("{}\r\n", line.trim_end()).as_bytes())?;
        self.wanted(line.trim_end(), wanted)
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), SmtpError> {
        let stream = self.stream.get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).map_err(|error| self.broken(error))
    }

    fn wait(&self, time: Duration) -> Result<(), SmtpError> {
        let tcp = match self.stream.get_ref() {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref(),
        };
        tcp.set_read_timeout(Some(time)).map_err(|error| self.broken(error))
    }

    /// Reads a reply; any other than of the wanted class is a refusal of `what`.
    fn wanted(&mut self, what: &str, wanted: u16) -> Result<Reply, SmtpError> {
        let reply = self.reply().map_err(|error| self.broken(error))?;
        if reply.code / 100 == wanted / 100 {
            return Ok(reply);
        }
        Err(SmtpError::Refused { server: self.server.to_owned(), what: what.to_owned(), reply })
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not an SMTP reply");
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let line = line.strip_suffix('\n').ok_or_else(wrong)?.trim_end();
            let code = line.get(..3).and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
            let code: u16 = code.ok_or_else(wrong)?;
            lines.push(line.get(4..).unwrap_or_default().chars().filter(|c| !c.is_control()).collect());
            match line.as_bytes().get(3) {
                Some(b'-') if lines.len() < MAX_LINES => {}
                None | Some(b' ') => return Ok(Reply { code, lines }),
                _ => return Err(wrong()),
            }
        }
    }

    fn broken(&self, error: io::Error) -> SmtpError {
        SmtpError::Broken { server: self.server.to_owned(), error }
    }
}

fn offered(ehlo: &Reply, extension: &str) -> bool {
    let mut offers = ehlo.lines.iter().skip(1).filter_map(|line| line.split(' ').next());
    offers.any(|name| name.eq_ignore_ascii_case(extension))
}

/// An address literal for EHLO (RFC 5321 section 4.1.3): a member's machine has no name that means anything.
fn literal(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// The data as it goes over the wire: a dot more before each line that begins with one, and the end (RFC 5321 section
/// 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests;
