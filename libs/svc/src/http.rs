//! HTTP servers: axum's router on hyper, over mutual TLS or over the admin socket. A call is a typed
//! [`Endpoint`]; whatever goes wrong is a [`Problem`].

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use openssl::ssl::{Ssl, SslAcceptor};
use openssl::x509::X509;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_openssl::SslStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use twinseal_proto::api::{Endpoint, Problem, ProblemCode};
use twinseal_proto::cert::spki_digest;
use twinseal_proto::encoding::Digest;

/// How long a client may take for the TLS handshake, and for the header of a request; how long it may be idle.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the body of a request, however it drips.
const BODY: Duration = Duration::from_secs(60);
/// Connections served at once; more wait in the backlog.
const MAX_CONNECTIONS: usize = 1024;
/// How long running calls may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Who is at the other end, as far as the connection shows it.
#[derive(Clone)]
pub enum Caller {
    /// Over TLS, with this certificate; its chain was checked in the handshake.
    Certificate {
        /// SHA-256 of its public key.
        pin: Digest,
        /// The certificate.
        certificate: Arc<X509>,
    },
    /// Over TLS, without a certificate.
    Anonymous,
    /// Over the admin socket: root or the service's own user.
    Administrator,
}

/// The address at the other end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer(IpAddr);

/// A refusal as an HTTP response.
pub struct Refusal(pub Problem);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// Adds the route of one call. `handler` gets the shared state, the caller and the request.
pub fn route<E, S, H, F>(router: Router<S>, handler: H) -> Router<S>
where
    E: Endpoint,
    S: Clone + Send + Sync + 'static,
    H: Fn(S, Caller, E::Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<E::Response, Problem>> + Send + 'static,
{
    router.route(
        E::PATH,
        post(move |State(state): State<S>, request: Request| {
            let handler = handler.clone();
            async move {
                let caller = caller(&request);
                let body = read_body(request.into_body(), E::MAX_BODY).await?;
                let call = serde_json::from_slice(&body)
                    .map_err(|e| Refusal(Problem::new(ProblemCode::BadRequest, e.to_string())))?;
                let answer = handler(state, caller, call).await.map_err(Refusal)?;
                let json = serde_json::to_vec(&answer)
                    .map_err(|_| Refusal(Problem::new(ProblemCode::Internal, "the answer cannot be written")))?;
                Ok::<_, Refusal>(([(header::CONTENT_TYPE, "application/json")], json))
            }
        }),
    )
}

/// Who sent this request.
#[must_use]
pub fn caller(request: &Request) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous)
}

/// The address that this request came from; `None` on the admin socket.
#[must_use]
pub fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0)
}

/// Reads a body of at most `limit` octets, in at most a minute.
///
/// # Errors
/// A `too-large` problem when there is more, or when the body breaks off; a `bad-request` problem when it takes longer.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    read_body_within(body, limit, BODY).await
}

async fn read_body_within(body: Body, limit: usize, patience: Duration) -> Result<Bytes, Refusal> {
    let refused = |code, what: String| Refusal(Problem::new(code, what));
    match tokio::time::timeout(patience, to_bytes(body, limit)).await {
        Ok(Ok(octets)) => Ok(octets),
        Ok(Err(_)) => {
            Err(refused(ProblemCode::TooLarge, format!("the body has more than {limit} octets or broke off")))
        }
        Err(_) => Err(refused(ProblemCode::BadRequest, format!("no body within {} s", patience.as_secs()))),
    }
}

/// Serves `router` over TLS until `stop`; then lets running calls end.
pub async fn serve_tls(listener: TcpListener, acceptor: SslAcceptor, router: Router, stop: CancellationToken) {
    let each = |stream: TcpStream| {
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        async move {
            let Ok(peer) = stream.peer_addr() else { return };
            let router = router.layer(axum::Extension(Peer(peer.ip())));
            let Ok(ssl) = Ssl::new(acceptor.context()) else { return };
            let Ok(mut tls) = SslStream::new(ssl, stream) else { return };
            match tokio::time::timeout(HANDSHAKE, Pin::new(&mut tls).accept()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake refused"),
                Err(_) => return,
            }
            let caller = match tls.ssl().peer_certificate() {
                None => Caller::Anonymous,
                Some(certificate) => match spki_digest(&certificate) {
                    Ok(pin) => Caller::Certificate { pin, certificate: Arc::new(certificate) },
                    Err(_) => return,
                },
            };
            serve_connection(tls, router, caller, stop).await;
        }
    };
    accept_each(listener, &stop, each).await;
}

/// Serves `router` over plain HTTP until `stop`: for what anybody may read, such as `/metrics` on a local address.
pub async fn serve_plain(listener: TcpListener, router: Router, stop: CancellationToken) {
    let each = |stream| serve_connection(stream, router.clone(), Caller::Anonymous, stop.clone());
    accept_each(listener, &stop, each).await;
}

/// Serves each connection in a task of its own, at most [`MAX_CONNECTIONS`] at once, until `stop`; then waits a while for
/// those that are served.
async fn accept_each<F>(listener: TcpListener, stop: &CancellationToken, each: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let accept = async || {
        let permit = Arc::clone(&permits).acquire_owned().await;
        (permit, listener.accept().await)
    };
    loop {
        let (permit, accepted) = tokio::select! { next = accept() => next, () = stop.cancelled() => break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let serving = each(stream);
        tasks.spawn(async move {
            serving.await;
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    let _ = tokio::time::timeout(DRAIN, tasks.wait()).await;
}

/// Serves one connection until it ends or, after `stop`, until its running call ends.
pub(crate) async fn serve_connection<IO>(io: IO, router: Router, caller: Caller, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_patiently(io, router, caller, stop, HANDSHAKE).await;
}

/// [`serve_connection`] with so much patience for the header of a request. HTTP/1.1 only: to find out which version a
/// client speaks its first octets would be awaited without a limit, and no client of ours speaks another.
async fn serve_patiently<IO>(io: IO, router: Router, caller: Caller, stop: CancellationToken, patience: Duration)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(axum::Extension(caller));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience);
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended");
            }
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SHORT: Duration = Duration::from_millis(100);

    /// What comes back for `sent` until the server closes the connection.
    async fn until_closed(sent: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(4096);
        let router = Router::new().route("/", axum::routing::get(|| async { "fine" }));
        tokio::spawn(serve_patiently(server, router, Caller::Anonymous, CancellationToken::new(), SHORT));
        client.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_request_is_not_awaited() {
        assert_eq!(until_closed(b"").await, "");
        assert!(!until_closed(b"GET / HTT").await.contains("200"));
        assert!(until_closed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("fine"), "idle afterwards");
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_not_awaited() {
        struct Endless;
        impl hyper::body::Body for Endless {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        let refused = read_body_within(Body::new(Endless), 10, SHORT).await.unwrap_err();
        assert_eq!(refused.0.code, ProblemCode::BadRequest);
        let refused = read_body_within(Body::from("eleven octs"), 10, SHORT).await.unwrap_err();
        assert_eq!(refused.0.code, ProblemCode::TooLarge);
        assert_eq!(read_body(Body::from("ten octets"), 10).await.ok().unwrap(), "ten octets");
    }
}
