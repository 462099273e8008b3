//! Calls to other services: kept connections, a deadline on each call, and the difference between *away* and *refused*.

use crate::tls::{Identity, TlsError, connector};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::ssl::SslConnector;
use openssl::x509::X509;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_openssl::SslStream;
use twinseal_proto::api::{Endpoint, Problem, ProblemCode};
use twinseal_proto::encoding::Digest;

/// Longest answer that is read, in octets: a page of 1,000 wrapped keys or feed entries is well below.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// A call did not give its answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service did not answer: not connected, not the pinned key, broken off, out of time. Nothing is known.
    #[error("no answer: {0}")]
    Away(String),
    /// The service refused.
    #[error("refused: {0}")]
    Refused(#[from] Problem),
}

/// A service that is called. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Client {
    base: String,
    inner: legacy::Client<Dial, Full<Bytes>>,
}

impl Client {
    /// Calls `base` (`https://host:port`) and takes no other public key there than `pin`.
    ///
    /// # Errors
    /// [`TlsError`] when TLS cannot be set up.
    pub fn pinned(base: &str, root: &X509, pin: Digest, identity: Option<&Identity>) -> Result<Self, TlsError> {
        let tls = Arc::new(connector(root, pin, identity)?);
        Ok(Self::over(base.trim_end_matches('/').to_owned(), Dial::Tls(tls)))
    }

    /// Calls the daemon behind an admin socket.
    #[must_use]
    pub fn unix(path: PathBuf) -> Self {
        Self::over("http://admin".to_owned(), Dial::Unix(Arc::new(path)))
    }

    fn over(base: String, dial: Dial) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .retry_canceled_requests(true)
            .build(dial);
        Self { base, inner }
    }

    /// Makes a call and waits at most `patience` for its answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<E: Endpoint>(&self, request: &E::Request, patience: Duration) -> Result<E::Response, CallError> {
        let body = serde_json::to_vec(request).map_err(|e| CallError::Away(e.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.base, E::PATH))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| CallError::Away(e.to_string()))?;
        let (status, answer) = tokio::time::timeout(patience, self.exchange(request))
            .await
            .map_err(|_| CallError::Away(format!("nothing within {} s", patience.as_secs())))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).map_err(|e| CallError::Away(format!("unreadable answer: {e}")));
        }
        let problem = serde_json::from_slice(&answer)
            .unwrap_or_else(|_| Problem::new(ProblemCode::Internal, format!("HTTP status {status}")));
        Err(CallError::Refused(problem))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CallError> {
        let away = |e: &dyn std::error::Error| CallError::Away(innermost(e));
        let response = self.inner.request(request).await.map_err(|e| away(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| away(&*e))?;
        Ok((status, body.to_bytes()))
    }
}

/// The cause at the bottom says most: "Connection refused", "certificate verify failed".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[derive(Clone)]
enum Dial {
    Tls(Arc<SslConnector>),
    Unix(Arc<PathBuf>),
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let stream = tokio::time::timeout(CONNECT, dial.connect(&uri)).await??;
            Ok(TokioIo::new(stream))
        })
    }
}

impl Dial {
    async fn connect(&self, uri: &Uri) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path.as_path()).await.map(Stream::Unix),
            Self::Tls(connector) => {
                let host = uri.host().unwrap_or_default();
                let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
                tcp.set_nodelay(true)?;
                let ssl =
                    connector.configure()?.use_server_name_indication(false).verify_hostname(false).into_ssl(host)?;
                let mut tls = SslStream::new(ssl, tcp)?;
                Pin::new(&mut tls).connect().await.map_err(io::Error::other)?;
                Ok(Stream::Tls(Box::pin(tls)))
            }
        }
    }
}

enum Stream {
    Tls(Pin<Box<SslStream<TcpStream>>>),
    Unix(UnixStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(s) => s.as_mut().poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(s) => s.as_mut().poll_write(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(s) => s.as_mut().poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(s) => s.as_mut().poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
