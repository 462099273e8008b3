//! A new connection to the smarthost: TCP, TLS from the start or by STARTTLS, EHLO, AUTH.

use super::session::Session;
use super::wire::{Socket, Wire};
use crate::config::{Config, SmarthostTls};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Ehlo, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension};
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

/// How long TCP and TLS may take to be set up.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the smarthost may take for its greeting (RFC 5321 section 4.5.3.2.1) and for each step up to the end of AUTH.
const GREETING: Duration = Duration::from_secs(300);
/// The port on which TLS comes first (RFC 8314 section 3.3).
const IMPLICIT_TLS: u16 = 465;
/// What lettre reads in place of the greeting that does not come after STARTTLS.
const NO_GREETING: &[u8] = b"220 TLS\r\n";

/// No connection could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The network's.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// TLS could not be set up, or the certificate is not the smarthost's.
    #[error("TLS: {0}")]
    Tls(String),
    /// The smarthost does not offer STARTTLS.
    #[error("STARTTLS is required and not offered")]
    NoStartTls,
    /// The smarthost's greeting, EHLO, STARTTLS or AUTH reply.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// It took too long.
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

impl From<openssl::error::ErrorStack> for ConnectError {
    fn from(error: openssl::error::ErrorStack) -> Self {
        Self::Tls(error.to_string())
    }
}

/// Where mail goes, and how.
pub(crate) struct Smarthost {
    host: String,
    port: u16,
    tls: Option<SslConnector>,
    name: ClientId,
    login: Option<(String, Zeroizing<String>)>,
}

impl Smarthost {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// A file that cannot be read, or OpenSSL's.
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        let (host, port) = config.smarthost_parts();
        let tls = match config.tls {
            SmarthostTls::None => None,
            SmarthostTls::Required => Some(connector(config)?),
        };
        let login = match (&config.smarthost_user, &config.smarthost_password_file) {
            (Some(user), Some(file)) => {
                let password = twinseal_svc::durable::read_secret(file)?;
                let text = std::str::from_utf8(&password).map_err(|_| io::Error::other("the password is not UTF-8"))?;
                Some((user.clone(), Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            _ => None,
        };
        Ok(Self { host: host.to_owned(), port, tls, name: ClientId::Domain(config.hostname.clone()), login })
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        let tcp = timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port))).await??;
        // Each step is one write and is awaited: Nagle's algorithm would hold back every second one.
        tcp.set_nodelay(true)?;
        let (wire, greeting) = match &self.tls {
            None => (Wire::new(Socket::Plain(tcp)), &b""[..]),
            Some(tls) if self.port == IMPLICIT_TLS => (Wire::new(self.handshake(tls, tcp).await?), &b""[..]),
            Some(tls) => {
                let tcp = self.start_tls(tcp).await?;
                (Wire::new(self.handshake(tls, tcp).await?), NO_GREETING)
            }
        };
        let mut smtp = self.greet(&wire, greeting).await?;
        // lettre does not keep all that EHLO offers.
        let offers = timeout(GREETING, smtp.command(Ehlo::new(self.name.clone()))).await??;
        let offers = |keyword: &str| {
            offers.message().any(|line| line.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(keyword)))
        };
        let (pipelining, smtp_utf8) = (offers("PIPELINING"), offers("SMTPUTF8"));
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.to_string());
            timeout(GREETING, smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)).await??;
        }
        Ok(Session::new(smtp, wire, pipelining, smtp_utf8))
    }

    async fn greet(&self, wire: &Wire, greeting: &'static [u8]) -> Result<AsyncSmtpConnection, ConnectError> {
        let connecting = AsyncSmtpConnection::connect_with_transport(wire.transport(greeting), &self.name);
        Ok(timeout(GREETING, connecting).await??)
    }

    /// STARTTLS. What the smarthost sent behind its reply goes with lettre's buffer: it came in the clear (RFC 3207
    /// section 6).
    async fn start_tls(&self, tcp: TcpStream) -> Result<TcpStream, ConnectError> {
        let wire = Wire::new(Socket::Plain(tcp));
        let mut smtp = self.greet(&wire, b"").await?;
        if !smtp.server_info().supports_feature(Extension::StartTls) {
            return Err(ConnectError::NoStartTls);
        }
        timeout(GREETING, smtp.command(Starttls)).await??;
        drop(smtp);
        match wire.into_socket() {
            Some(Socket::Plain(tcp)) => Ok(tcp),
            _ => Err(ConnectError::Tls("the connection is still in use".into())),
        }
    }

    async fn handshake(&self, tls: &SslConnector, tcp: TcpStream) -> Result<Socket, ConnectError> {
        let ssl = tls.configure()?.into_ssl(&self.host)?;
        let mut stream = Box::new(SslStream::new(ssl, tcp)?);
        timeout(CONNECT, Pin::new(&mut *stream).connect()).await?.map_err(|e| ConnectError::Tls(e.to_string()))?;
        Ok(Socket::Tls(stream))
    }
}

/// TLS 1.2 or later; the certificate must be the named host's.
fn connector(config: &Config) -> io::Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    if let Some(ca) = &config.smarthost_ca {
        let mut roots = openssl::x509::store::X509StoreBuilder::new()?;
        for certificate in openssl::x509::X509::stack_from_pem(&std::fs::read(ca)?)? {
            roots.add_cert(certificate)?;
        }
        builder.set_cert_store(roots.build());
    }
    Ok(builder.build())
}
