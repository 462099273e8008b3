//! HTTP/1.1 over TLS to certsrv, one request a connection (RFC 9112): all that EST and the group calls need.

mod response;

use crate::exit::{Exit, Explain};
use crate::tls::{self, ConnectError};
use openssl::ssl::SslConnector;
pub use response::Response;
use response::read_response;
use std::io::{self, BufReader, Write as _};
use twinseal_proto::api::{Endpoint, Problem, ProblemCode, RetryClass};
use zeroize::Zeroizing;

/// certsrv, as the member reaches it.
pub struct Client {
    server: String,
    connector: SslConnector,
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not `https://HOST[:PORT]`.
    #[error("{0:?} is not a URL of the form https://HOST[:PORT]")]
    Url(String),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection to {server} broke")]
    Broken {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Not an answer that we understand.
    #[error("{0} gives an answer that cannot be understood")]
    Malformed(String),
    /// certsrv refuses.
    #[error("certsrv refuses: {0}")]
    Refused(Problem),
}

impl Explain for HttpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Url(_) | Self::Connect(ConnectError::Name(_)) => Exit::Setup,
            Self::Connect(ConnectError::Setup(_)) => Exit::Internal,
            Self::Connect(_) | Self::Broken { .. } => Exit::TemporaryFailure,
            Self::Malformed(_) => Exit::Refused,
            Self::Refused(problem) => match problem.code {
                ProblemCode::NotAuthenticated | ProblemCode::NotAuthorised => Exit::NotAllowed,
                ProblemCode::NotFound => Exit::NoList,
                code if code.retry() == RetryClass::Later => Exit::TemporaryFailure,
                _ => Exit::Refused,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Url(_) | Self::Connect(ConnectError::Name(_)) => "correct home.toml".to_owned(),
            Self::Connect(ConnectError::Tls { .. }) => {
                "ask whoever runs the lists for the present root certificate".to_owned()
            }
            Self::Refused(problem) => match problem.code {
                ProblemCode::NotAuthenticated => {
                    "twinseal status; or ask whoever runs the lists for a new token".to_owned()
                }
                ProblemCode::NotAuthorised => "ask an owner of the list".to_owned(),
                ProblemCode::NotFound => "check the spelling of the list's address".to_owned(),
                code if code.retry() == RetryClass::Later => "the same again in some minutes".to_owned(),
                _ => return None,
            },
            Self::Malformed(_) => "check certsrv's URL in home.toml".to_owned(),
            Self::Connect(_) | Self::Broken { .. } => "the same again in some minutes".to_owned(),
        })
    }
}

impl Client {
    /// A client for `url`, `https://HOST[:PORT]`.
    ///
    /// # Errors
    /// [`HttpError::Url`].
    pub fn new(url: &str, connector: SslConnector) -> Result<Self, HttpError> {
        let wrong = || HttpError::Url(url.to_owned());
        let authority = url.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
        let server = [authority.to_owned(), format!("{authority}:443")]
            .into_iter()
            .find(|server| tls::host(server).is_some())
            .ok_or_else(wrong)?;
        Ok(Self { server, connector })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Makes a typed call; a refusal is an error.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn call<E: Endpoint>(&self, request: &E::Request) -> Result<E::Response, HttpError> {
        let body = serde_json::to_vec(request).map_err(|_| HttpError::Malformed(self.server.clone()))?;
        let response = self.request("POST", E::PATH, &[("Content-Type", "application/json")], &body)?;
        if response.status != 200 {
            return Err(HttpError::Refused(response.problem()));
        }
        serde_json::from_slice(&response.body).map_err(|_| HttpError::Malformed(self.server.clone()))
    }

    /// Sends one request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`], never [`HttpError::Refused`].
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, HttpError> {
        // Large enough from the start: a password among the headers is not left behind in a smaller buffer.
        let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut octets = Zeroizing::new(Vec::with_capacity(512 + path.len() + self.server.len() + fields + body.len()));
        octets.extend_from_slice(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.server).as_bytes());
        octets.extend_from_slice(format!("Connection: close\r\nContent-Length: {}\r\n", body.len()).as_bytes());
        for (name, value) in headers {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                octets.extend_from_slice(part);
            }
        }
        octets.extend_from_slice(b"\r\n");
        octets.extend_from_slice(body);

        let mut stream = tls::start(&self.connector, &self.server, tls::tcp(&self.server)?)?;
        stream.write_all(&octets).and_then(|()| stream.flush()).map_err(|error| self.broken(error))?;
        let mut reader = BufReader::new(stream);
        loop {
            let response = read_response(&mut reader).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => HttpError::Malformed(self.server.clone()),
                _ => self.broken(error),
            })?;
            // Interim answers come before the one that counts (RFC 9110 section 15.2).
            if response.status >= 200 {
                return Ok(response);
            }
        }
    }

    fn broken(&self, error: io::Error) -> HttpError {
        HttpError::Broken { server: self.server.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_name_a_host_and_nothing_more() {
        let connector = || SslConnector::builder(openssl::ssl::SslMethod::tls_client()).unwrap().build();
        let server = |url: &str| Client::new(url, connector()).map(|client| client.server);
        assert_eq!(server("https://a.test/").unwrap(), "a.test:443");
        assert_eq!(server("https://[::1]:8").unwrap(), "[::1]:8");
        for wrong in ["http://a.test", "https://", "https://a.test/x", "a.test", "https://a b"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_without_a_problem_document_is_still_told() {
        let response = Response { status: 403, headers: vec![], body: b"no\x1b[1m way\nsecond".to_vec() };
        let error = HttpError::Refused(response.problem());
        assert_eq!(error.exit(), Exit::NotAllowed);
        assert_eq!(error.to_string(), "certsrv refuses: Not allowed: HTTP 403 no[1m way");
    }
}
