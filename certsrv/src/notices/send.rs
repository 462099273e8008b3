//! The one connection to the smarthost: lettre speaks SMTP on a socket of ours (docs/adr/0003-certsrv-mail.md). One
//! recipient a transaction, and the null reverse-path: what comes back to certsrv is read by nobody (RFC 3834 section
//! 3.3).

use crate::config::{Mail, SmarthostTls};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use twinseal_proto::ids::MailAddress;
use zeroize::Zeroizing;

/// How long TCP and TLS may take to be set up.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the smarthost may take for a reply (RFC 5321 section 4.5.3.2), the last one apart.
const REPLY: Duration = Duration::from_secs(300);
/// How long it may take for the reply to a whole message.
const FINAL: Duration = Duration::from_secs(600);
/// How long a farewell may take.
const QUIT: Duration = Duration::from_secs(5);
/// The port on which TLS comes first (RFC 8314 section 3.3).
const IMPLICIT_TLS: u16 = 465;
/// Most octets of replies to what was written last: lettre reads lines of any length.
const MAX_REPLY: usize = 16 * 1024;

/// No connection could be had, or it does not last. The text never has the smarthost's: it may name a member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The network's.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// TLS could not be set up, or the certificate is not the smarthost's.
    #[error("TLS: {0}")]
    Tls(String),
    /// The smarthost's reply about us.
    #[error("the smarthost answers {0}")]
    Reply(u16),
    /// The connection broke, or an answer that is none.
    #[error("connection lost")]
    Lost,
    /// It took too long.
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        error.status().map_or(Self::Lost, |code| Self::Reply(code.into()))
    }
}

impl From<openssl::error::ErrorStack> for SendError {
    fn from(error: openssl::error::ErrorStack) -> Self {
        Self::Tls(error.to_string())
    }
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The smarthost has it.
    Taken,
    /// It never will.
    Refused,
    /// Perhaps later.
    Later,
}

/// Where mail goes, and how.
pub(crate) struct Smarthost {
    host: String,
    port: u16,
    tls: Option<SslConnector>,
    name: String,
    login: Option<(String, Zeroizing<String>)>,
}

impl Smarthost {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// A file that cannot be read, or OpenSSL's.
    pub(crate) fn new(mail: &Mail) -> io::Result<Self> {
        let (host, port) = mail.smarthost_parts().ok_or_else(|| io::Error::other("mail.smarthost"))?;
        let tls = match mail.tls {
            SmarthostTls::Never => None,
            SmarthostTls::Required => Some(connector(mail)?),
        };
        let login = match (&mail.user, &mail.password_file) {
            (Some(user), Some(file)) => {
                let password = twinseal_svc::durable::read_secret(file)?;
                let text = std::str::from_utf8(&password).map_err(|_| io::Error::other("the password is not UTF-8"))?;
                Some((user.clone(), Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            _ => None,
        };
        let name = mail.hello.clone().unwrap_or_else(|| mail.from.domain().to_owned());
        Ok(Self { host: host.to_owned(), port, tls, name, login })
    }

    /// Connects: TCP, TLS from the start or by STARTTLS, EHLO, AUTH.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn connect(&self) -> Result<Connection, SendError> {
        let mut tcp = timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port))).await??;
        // Each step is one write and is awaited: Nagle's algorithm would hold back every second one.
        tcp.set_nodelay(true)?;
        let (socket, greeting) = match &self.tls {
            None => (Socket::Plain(tcp), &b""[..]),
            Some(tls) if self.port == IMPLICIT_TLS => (self.handshake(tls, tcp).await?, &b""[..]),
            Some(tls) => {
                timeout(REPLY, start_tls(&mut tcp, &self.name)).await??;
                // After STARTTLS no greeting comes (RFC 3207 section 4.2), and lettre waits for one.
                (self.handshake(tls, tcp).await?, &b"220 TLS\r\n"[..])
            }
        };
        let transport = Box::new(Transport { socket, greeting, read: 0 });
        let hello = ClientId::Domain(self.name.clone());
        let mut smtp = timeout(REPLY, AsyncSmtpConnection::connect_with_transport(transport, &hello)).await??;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.to_string());
            timeout(REPLY, smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)).await??;
        }
        Ok(Connection { smtp })
    }

    async fn handshake(&self, tls: &SslConnector, tcp: TcpStream) -> Result<Socket, SendError> {
        let ssl = tls.configure()?.into_ssl(&self.host)?;
        let mut stream = Box::new(SslStream::new(ssl, tcp)?);
        timeout(CONNECT, Pin::new(&mut *stream).connect()).await?.map_err(|e| SendError::Tls(e.to_string()))?;
        Ok(Socket::Tls(stream))
    }
}

/// TLS 1.2 or later; the certificate must be the named host's.
fn connector(mail: &Mail) -> io::Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    if let Some(ca) = &mail.ca {
        let mut roots = openssl::x509::store::X509StoreBuilder::new()?;
        for certificate in openssl::x509::X509::stack_from_pem(&std::fs::read(ca)?)? {
            roots.add_cert(certificate)?;
        }
        builder.set_cert_store(roots.build());
    }
    Ok(builder.build())
}

/// The dialogue up to STARTTLS (RFC 3207). Replies are read octet by octet, so that nothing which came in the clear is
/// ever read after the handshake (section 6).
async fn start_tls(tcp: &mut TcpStream, name: &str) -> Result<(), SendError> {
    reply(tcp).await?;
    for command in [format!("EHLO {name}\r\n"), "STARTTLS\r\n".to_owned()] {
        tcp.write_all(command.as_bytes()).await?;
        reply(tcp).await?;
    }
    Ok(())
}

/// A positive reply of one or more lines.
async fn reply(tcp: &mut TcpStream) -> Result<(), SendError> {
    let mut line = Vec::new();
    for _ in 0..MAX_REPLY {
        line.push(tcp.read_u8().await?);
        if !line.ends_with(b"\n") {
            continue;
        }
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        match (code, line.get(3)) {
            (Some(200..=299), Some(b'-')) => line.clear(),
            (Some(200..=299), _) => return Ok(()),
            (Some(code), _) => return Err(SendError::Reply(code)),
            (None, _) => return Err(SendError::Lost),
        }
    }
    Err(SendError::Lost)
}

/// A connection on which mails are sent, one after the other.
pub(crate) struct Connection {
    smtp: AsyncSmtpConnection,
}

impl Connection {
    /// Sends one mail.
    ///
    /// # Errors
    /// [`SendError`]: the connection is of no use any more, and the smarthost may have the mail or not.
    pub(crate) async fn send(&mut self, to: &MailAddress, message: &[u8]) -> Result<Outcome, SendError> {
        timeout(REPLY, self.smtp.command(MailFrom::new(None, Vec::new()))).await??;
        let (local, domain) = to.parts();
        // The address was checked where it came in.
        let recipient = Rcpt::new(Address::new_dangerous(local, domain), Vec::new());
        if let Err(error) = timeout(REPLY, self.smtp.command(recipient)).await? {
            return self.after_refusal(error).await;
        }
        if let Err(error) = timeout(REPLY, self.smtp.command(Data)).await? {
            return self.after_refusal(error).await;
        }
        // lettre ends the last line itself.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        match timeout(FINAL, self.smtp.message(message)).await? {
            Ok(_) => Ok(Outcome::Taken),
            Err(error) => classify(error),
        }
    }

    async fn after_refusal(&mut self, error: Error) -> Result<Outcome, SendError> {
        let outcome = classify(error)?;
        timeout(REPLY, self.smtp.command(Rset)).await??;
        Ok(outcome)
    }

    /// Says good-bye.
    pub(crate) async fn quit(mut self) {
        // The smarthost may be gone by now; so are we.
        let _ = timeout(QUIT, self.smtp.quit()).await;
    }
}

/// A reply that is not positive (RFC 5321 section 4.2.1).
fn classify(error: Error) -> Result<Outcome, SendError> {
    match error.status().map(u16::from) {
        // These say something about us, not about the reader (RFC 3207, RFC 4954), or end the connection.
        None | Some(421 | 503 | 530 | 534 | 535 | 538) => Err(error.into()),
        Some(500..) => Ok(Outcome::Refused),
        Some(_) => Ok(Outcome::Later),
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// The socket as lettre uses it.
struct Transport {
    socket: Socket,
    /// Read before anything else.
    greeting: &'static [u8],
    /// Octets that were read since something was written.
    read: usize,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl AsyncTokioStream for Transport {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Plain(tcp) => tcp.peer_addr(),
            Socket::Tls(tls) => tls.get_ref().peer_addr(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.greeting.is_empty() {
            let (first, rest) = this.greeting.split_at(this.greeting.len().min(buf.remaining()));
            buf.put_slice(first);
            this.greeting = rest;
            return Poll::Ready(Ok(()));
        }
        if this.read > MAX_REPLY {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a reply without end")));
        }
        let before = buf.filled().len();
        let read = match &mut this.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        this.read += buf.filled().len() - before;
        read
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.read = 0;
        match &mut this.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, octets),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
