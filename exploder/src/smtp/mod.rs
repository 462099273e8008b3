//! The SMTP server (RFC 5321): receives, decides early, and never loses what it answered with `250`.
//!
//! * [`mod@line`], [`command`], [`path`]: command lines, parsed once into types.
//! * [`data`]: the octets of a message between `354` and the final dot.
//! * [`reply`]: every reply the session itself gives.
//! * [`session`]: the protocol as a state machine without any I/O, clock or task.
//! * [`backend`]: what the rest of the exploder decides and stores.
//! * [`listen`], [`caps`]: sockets, deadlines and connection limits, around the state machine.
//!
//! Offered: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034). Every
//! other extension is refused, not ignored.

pub mod backend;
pub mod caps;
pub mod command;
pub mod data;
pub mod line;
pub mod listen;
pub mod path;
pub mod reply;
pub mod session;

pub use backend::{Backend, Client, Sink};
pub use path::{ForwardPath, Mailbox, ReversePath};
pub use reply::Reply;
pub use session::{Envelope, Mail};
