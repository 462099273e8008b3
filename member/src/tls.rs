//! TLS 1.2 and 1.3 as a client, with the system's OpenSSL; blocking, with time limits.

use crate::identity::Identity;
use crate::trust::Anchors;
use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVersion};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest wait for the next octets, unless the protocol asks for more.
pub const READ: Duration = Duration::from_secs(120);

/// No connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `HOST:PORT`.
    #[error("{0:?} is not HOST:PORT")]
    Name(String),
    /// The host is unknown or does not answer.
    #[error("no connection to {server}")]
    Tcp {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// TLS failed: most often a certificate that is not under the root, or not for this host.
    #[error("no TLS with {server}: {reason}")]
    Tls {
        /// `HOST`.
        server: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// OpenSSL failed before.
    #[error("TLS cannot be set up")]
    Setup(#[from] ErrorStack),
}

/// Prepares TLS that believes `anchors`, and the system's roots too where `public` is set, and that shows `identity`.
///
/// # Errors
/// When OpenSSL fails.
pub fn connector(anchors: &Anchors, public: bool, identity: Option<&Identity>) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    let mut store = anchors.store()?;
    if public {
        store.set_default_paths()?;
    }
    builder.set_cert_store(store.build());
    if let Some(identity) = identity {
        builder.set_certificate(&identity.certificate)?;
        builder.set_private_key(&identity.key)?;
        for issuer in &identity.chain {
            builder.add_extra_chain_cert(issuer.clone())?;
        }
    }
    Ok(builder.build())
}

/// Connects to `server`, `HOST:PORT` with brackets around an IPv6 address; tries each of its addresses.
///
/// # Errors
/// [`ConnectError::Name`] and [`ConnectError::Tcp`].
pub fn tcp(server: &str) -> Result<TcpStream, ConnectError> {
    let failed = |error| ConnectError::Tcp { server: server.to_owned(), error };
    if host(server).is_none() {
        return Err(ConnectError::Name(server.to_owned()));
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in server.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(failed)?;
                stream.set_read_timeout(Some(READ)).map_err(failed)?;
                stream.set_write_timeout(Some(READ)).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Begins TLS on `stream` with the host of `server`.
///
/// # Errors
/// [`ConnectError::Tls`].
pub fn start(connector: &SslConnector, server: &str, stream: TcpStream) -> Result<SslStream<TcpStream>, ConnectError> {
    let host = host(server).ok_or_else(|| ConnectError::Name(server.to_owned()))?;
    connector.connect(host, stream).map_err(|error| {
        let reason = match &error {
            HandshakeError::Failure(stream) => {
                let verdict = stream.ssl().verify_result();
                if verdict == openssl::x509::X509VerifyResult::OK {
                    stream.error().to_string()
                } else {
                    format!("its certificate is not believed: {}", verdict.error_string())
                }
            }
            other => other.to_string(),
        };
        ConnectError::Tls { server: host.to_owned(), reason }
    })
}

/// The host in `HOST:PORT`, without brackets.
#[must_use]
pub fn host(server: &str) -> Option<&str> {
    let (host, port) = server.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = !host.is_empty() && !host.contains([':', '[', ']', '/', '@', ' ']);
    bare.or_else(|| plain.then_some(host))
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_are_taken_out_of_servers() {
        assert_eq!(host("mail.test:587"), Some("mail.test"));
        assert_eq!(host("[::1]:25"), Some("::1"));
        for wrong in ["mail.test", ":25", "::1:25", "a b:25", "x:99999", "u@h:1"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
