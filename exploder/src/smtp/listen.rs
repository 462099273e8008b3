//! Sockets and deadlines around [`Session`]: carries out its actions on one connection, and accepts connections.

use crate::smtp::backend::{Backend, Client, Sink};
use crate::smtp::caps::Connections;
use crate::smtp::reply::{self, Reply};
use crate::smtp::session::{Action, Session, Settings};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use twinseal_svc::failpoint;

/// Octets read at a time.
const READ: usize = 32 * 1024;
/// How long, and how many octets, a closed connection is still read, so that the last reply is not lost to a reset.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1024 * 1024);

/// How long things may take (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// A client that speaks within this time after connecting, before the greeting, is dropped.
    pub greet_pause: Duration,
    /// Between a reply and the next octets: 5 minutes (section 4.5.3.2.7).
    pub command: Duration,
    /// Between two reads of a message.
    pub data_block: Duration,
    /// For a whole message, however it drips.
    pub data: Duration,
    /// For a whole connection; a message that has begun is finished all the same.
    pub session: Duration,
    /// For the client to take our replies.
    pub write: Duration,
    /// For a message that is on its way when the service stops.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            greet_pause: Duration::from_millis(10),
            command: Duration::from_secs(300),
            data_block: Duration::from_secs(300),
            data: Duration::from_secs(1800),
            session: Duration::from_secs(3600),
            write: Duration::from_secs(300),
            drain: Duration::from_secs(20),
        }
    }
}

/// A listener's settings.
#[derive(Debug, Clone)]
pub struct Listening {
    /// For each session.
    pub settings: Settings,
    /// For each connection.
    pub deadlines: Deadlines,
}

/// Accepts connections until `stop`, then waits for the messages that are on their way.
pub async fn listen<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    listening: Arc<Listening>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let sessions = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone: neither gets better at once.
                tracing::warn!(%error, "smtp accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let client = Client { address: Some(peer.ip()) };
        let permit = connections.admit(&client);
        let (backend, listening, stop) = (Arc::clone(&backend), Arc::clone(&listening), stop.clone());
        sessions.spawn(async move {
            let done = if permit.is_some() {
                // Replies are small and awaited.
                let _ = stream.set_nodelay(true);
                serve(stream, &client, &*backend, &listening, &stop).await
            } else {
                write(&mut stream, &mut wire(&reply::TOO_MANY_CONNECTIONS), listening.deadlines.write).await
            };
            if let Err(error) = done {
                tracing::debug!(%peer, %error, "smtp connection lost");
            }
            drop(permit);
        });
    }
    sessions.close();
    sessions.wait().await;
}

/// Serves one connection to its end.
///
/// # Errors
/// When the connection breaks. A message that was not answered by then is forgotten.
pub async fn serve<S, B>(
    stream: S,
    client: &Client,
    backend: &B,
    listening: &Listening,
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    let now = Instant::now();
    let mut connection = Connection {
        stream,
        buffer: vec![0; READ],
        filled: 0..0,
        deadlines: listening.deadlines,
        session_end: now + listening.deadlines.session,
        data_end: None,
        stopping: false,
    };
    let mut session = Session::<B::Mailbox>::new(listening.settings.clone());
    if let Ok(read) = timeout(connection.deadlines.greet_pause, connection.read()).await {
        if read? == 0 {
            return Ok(());
        }
        session.spoke_early();
    }
    let mut sink: Option<B::Sink> = None;
    // A message was taken, and the client has not read so yet.
    let mut taken = false;
    loop {
        let unread = connection.buffer.get(connection.filled.clone()).unwrap_or_default();
        let (used, action) = session.receive(unread);
        connection.filled.start += used;
        match action {
            Action::Read => {
                connection.write(session.replies()).await?;
                if std::mem::take(&mut taken) {
                    failpoint::hit("exploder.accept.after-reply");
                }
                match connection.wait(stop, session.in_message()).await? {
                    Woken::Octets => {}
                    Woken::Gone => return Ok(()),
                    Woken::Stop => session.shut_down(),
                    Woken::Late => session.time_out(),
                }
            }
            Action::Recipient(mail, path) => session.recipient(backend.rcpt(client, &mail, &path).await),
            Action::Begin(envelope) => {
                let opened = backend.begin(client, envelope).await;
                let early = !connection.filled.is_empty() || connection.has_octets().await?;
                let verdict = opened.map(|opened| sink = Some(opened));
                session.ready(verdict, early);
                connection.data_end = Some(Instant::now() + connection.deadlines.data);
            }
            Action::Chunk(octets) => {
                let written = match &mut sink {
                    Some(sink) => sink.write(octets).await,
                    None => Ok(()),
                };
                if let Err(refusal) = written {
                    sink = None;
                    session.refuse(refusal);
                }
            }
            Action::Abort => sink = None,
            Action::Finish => {
                // The session opens a message only with a sink, and asks to store it only while nothing refused it.
                if let Some(sink) = sink.take() {
                    let reply = sink.finish().await;
                    taken = !reply.refuses();
                    session.finished(&reply);
                }
                connection.data_end = None;
            }
            Action::Wait => return Err(io::Error::other("the session waits for an answer that nobody gives")),
            Action::Close => {
                drop(sink);
                connection.write(session.replies()).await?;
                return connection.close().await;
            }
        }
    }
}

/// Why a wait for octets ended.
enum Woken {
    /// There are some.
    Octets,
    /// The client closed the connection.
    Gone,
    /// The service stops.
    Stop,
    /// A deadline passed.
    Late,
}

/// A stream with its buffer and its deadlines.
struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    /// The part of the buffer that the session has not taken.
    filled: std::ops::Range<usize>,
    deadlines: Deadlines,
    session_end: Instant,
    /// When the message that is being received has to be complete.
    data_end: Option<Instant>,
    stopping: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Reads into the empty buffer. Dropped before it is ready, it has read nothing.
    async fn read(&mut self) -> io::Result<usize> {
        let length = self.stream.read(&mut self.buffer).await?;
        self.filled = 0..length;
        Ok(length)
    }

    /// Whether octets have arrived that were not read yet; they are read then.
    async fn has_octets(&mut self) -> io::Result<bool> {
        tokio::select! {
            biased;
            read = self.read() => read.map(|length| length > 0),
            () = std::future::ready(()) => Ok(false),
        }
    }

    async fn wait(&mut self, stop: &CancellationToken, in_message: bool) -> io::Result<Woken> {
        let now = Instant::now();
        let end = match self.data_end.filter(|_| in_message) {
            Some(data_end) => data_end.min(now + self.deadlines.data_block),
            None => self.session_end.min(now + self.deadlines.command),
        };
        let listen_for_stop = !self.stopping;
        tokio::select! {
            biased;
            () = stop.cancelled(), if listen_for_stop => {
                self.stopping = true;
                let drained = now + self.deadlines.drain;
                self.data_end = self.data_end.map(|end| end.min(drained));
                Ok(Woken::Stop)
            }
            // Before the octets: a client that never stops sending has its deadlines too.
            () = sleep_until(end) => Ok(Woken::Late),
            read = self.read() => Ok(if read? == 0 { Woken::Gone } else { Woken::Octets }),
        }
    }

    async fn write(&mut self, replies: &mut Vec<u8>) -> io::Result<()> {
        write(&mut self.stream, replies, self.deadlines.write).await
    }

    /// Ends the connection so that the client can still read the last reply: a socket that is closed with octets
    /// unread sends a reset, which may overtake it.
    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let (time, octets) = LINGER;
        let drain = async {
            let mut drained = 0;
            while drained < octets {
                match self.stream.read(&mut self.buffer).await {
                    Ok(length) if length > 0 => drained += length,
                    _ => break,
                }
            }
        };
        let _ = timeout(time, drain).await;
        Ok(())
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, replies: &mut Vec<u8>, limit: Duration) -> io::Result<()> {
    if replies.is_empty() {
        return Ok(());
    }
    let written = async {
        stream.write_all(replies).await?;
        stream.flush().await
    };
    timeout(limit, written).await.map_err(|_| io::ErrorKind::TimedOut)??;
    replies.clear();
    Ok(())
}

fn wire(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write_to(&mut out);
    out
}

#[cfg(test)]
mod tests;
