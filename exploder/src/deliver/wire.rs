//! A socket with two handles on it: lettre's, for the dialogue, and ours, for everything that should be one write.

use lettre::transport::smtp::client::AsyncTokioStream;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

/// How long the smarthost may take for a block of data (RFC 5321 section 4.5.3.2.5).
const BLOCK: Duration = Duration::from_secs(180);
/// Octets handed to the kernel at a time from a file, and through TLS.
const SLICE: usize = 256 * 1024;
/// Under TLS, pieces up to so many octets in all are joined: a record and a write for each would cost more.
const JOINED: usize = 64 * 1024;

pub(crate) enum Socket {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<SslStream<TcpStream>>),
}

/// Most octets of replies to what was written last: lettre reads lines of any length.
const MAX_REPLY: usize = 16 * 1024;

/// The socket, and how much it gave since something was written to it.
struct Line {
    socket: Socket,
    read: usize,
}

/// Our handle.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Line>>);

impl Wire {
    /// Takes a connected socket.
    pub(crate) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(Line { socket, read: 0 })))
    }

    /// The handle for lettre. It reads `greeting` before anything else: after STARTTLS no greeting comes (RFC 3207
    /// section 4.2), and lettre waits for one.
    pub(crate) fn transport(&self, greeting: &'static [u8]) -> Box<dyn AsyncTokioStream> {
        Box::new(Transport { wire: self.clone(), greeting })
    }

    /// The socket back, once lettre's handle is gone.
    pub(crate) fn into_socket(self) -> Option<Socket> {
        Some(Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner).socket)
    }

    /// Only held inside a poll, by the one task that has both handles.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all pieces, in one system call where the kernel takes them. `joined` is kept for its memory.
    ///
    /// # Errors
    /// The socket's; `TimedOut` when a block takes more than three minutes.
    pub(crate) async fn write_all(&self, pieces: &[&[u8]], joined: &mut Vec<u8>) -> io::Result<()> {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if total <= JOINED && matches!(self.lock().socket, Socket::Tls(_)) {
            joined.clear();
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            return self.write_slices(&mut [IoSlice::new(joined)]).await;
        }
        let mut slices: [IoSlice<'_>; 4] =
            std::array::from_fn(|i| IoSlice::new(pieces.get(i).copied().unwrap_or_default()));
        debug_assert!(pieces.len() <= slices.len());
        self.write_slices(slices.get_mut(..pieces.len()).unwrap_or_default()).await
    }

    async fn write_slices(&self, mut left: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let write = poll_fn(|cx| self.lock().poll_write_slices(cx, left));
            let written = timeout(BLOCK, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    /// Writes the first `length` octets of a file, from the page cache to the socket without a detour where there is no
    /// TLS.
    ///
    /// # Errors
    /// As [`Self::write_all`]; `UnexpectedEof` when the file is shorter.
    pub(crate) async fn write_file(&self, file: &File, length: u64, joined: &mut Vec<u8>) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let slice = usize::try_from(length - at).unwrap_or(SLICE).min(SLICE);
            if matches!(self.lock().socket, Socket::Tls(_)) {
                joined.resize(slice, 0);
                std::os::unix::fs::FileExt::read_exact_at(file, joined, at)?;
                self.write_slices(&mut [IoSlice::new(joined)]).await?;
                at += slice as u64;
            } else {
                let send = poll_fn(|cx| self.lock().poll_send_file(cx, file, &mut at, slice));
                timeout(BLOCK, send).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
        }
        Ok(())
    }
}

impl Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read > MAX_REPLY {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a reply without end")));
        }
        let before = buf.filled().len();
        let read = match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        self.read += buf.filled().len() - before;
        read
    }

    fn poll_write_slices(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.read = 0;
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, slices.iter().find(|s| !s.is_empty()).map_or(&[], |s| s)),
        }
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        at: &mut u64,
        slice: usize,
    ) -> Poll<io::Result<()>> {
        self.read = 0;
        let Socket::Plain(tcp) = &mut self.socket else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            let sent = tcp.try_io(Interest::WRITABLE, || {
                rustix::fs::sendfile(&*tcp, file, Some(&mut *at), slice).map_err(io::Error::from)
            });
            match sent {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// lettre's handle.
struct Transport {
    wire: Wire,
    greeting: &'static [u8],
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl AsyncTokioStream for Transport {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.wire.lock().socket {
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
        this.wire.lock().poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.lock().poll_write_slices(cx, &[IoSlice::new(octets)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire.lock().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire.lock().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
