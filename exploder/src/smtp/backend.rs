//! What the session asks the rest of the exploder.

use crate::smtp::path::ForwardPath;
use crate::smtp::reply::Reply;
use crate::smtp::session::{Envelope, Mail};
use std::net::IpAddr;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The peer's address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
}

impl Client {
    /// Whether the peer is on this host, and so exempt from limits for each source.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|a| a.to_canonical().is_loopback())
    }
}

/// Decides about recipients and takes messages. A refusal is the [`Reply`] that the client gets.
pub trait Backend: Send + Sync + 'static {
    /// A mailbox of ours: what RCPT resolves to. All recipients of a transaction have to resolve to equal ones.
    type Mailbox: PartialEq + Send + Sync;
    /// Takes the octets of one message.
    type Sink: Sink;

    /// Resolves a recipient, or refuses it, with all that is known so far.
    fn rcpt(
        &self,
        client: &Client,
        mail: &Mail,
        to: &ForwardPath,
    ) -> impl Future<Output = Result<Self::Mailbox, Reply>> + Send;

    /// DATA was given: opens a sink for the message, or refuses it before a single octet was sent.
    fn begin(
        &self,
        client: &Client,
        envelope: Envelope<Self::Mailbox>,
    ) -> impl Future<Output = Result<Self::Sink, Reply>> + Send;
}

/// Takes one message. Dropped without [`Sink::finish`], it forgets the message.
pub trait Sink: Send {
    /// Takes the next octets, un-stuffed. After a refusal nothing more is written; the client learns the reply when
    /// it has sent the rest.
    fn write(&mut self, octets: &[u8]) -> impl Future<Output = Result<(), Reply>> + Send;

    /// The message is complete: the reply to its final dot. A 2xx takes the responsibility for the message over
    /// (RFC 5321 section 6.1), so by then it is durable.
    fn finish(self) -> impl Future<Output = Reply> + Send;
}
