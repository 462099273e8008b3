//! The exploder: mail in, mail out, never a key (DESIGN 3.3). The way of a message:
//!
//! 1. [`smtp`]: a client brings it. `receive.rs` answers the session's questions, from here to step 3.
//! 2. [`intake`], [`policy`], [`mime`], [`headers`]: who wrote it, whether it is one encrypted part, whether it is
//!    encrypted to the list's key; what of its header the copies keep. A refusal falls in the session.
//! 3. `spool.rs`: it is made durable. Then, and only then, the client reads `250`.
//! 4. `ticket.rs`: groupsrv learns of its wrapped key.
//! 5. `expand.rs`: groupsrv wraps the key again for the members to whom a copy is due now.
//! 6. `assemble.rs`: the reader's RecipientInfo before the content as it was received: a head a copy, tails shared by all.
//! 7. `queue.rs`: what is due when; `runner.rs` is the loop, `send.rs` one turn of one message, `engine.rs` what they share.
//! 8. `deliver.rs`: the copies go to the smarthost, and what became of each is written down.
//! 9. [`verp`]: each copy's envelope sender names message and member, so that a bounce can be told.
//!
//! Beside the way: `roster.rs` and `groupkeys.rs` follow certsrv and groupsrv, `owners.rs` believes certsrv only what owners signed, `store.rs` names the tables of the index,
//! `daemon.rs` starts and stops it all, [`cli`], `admin.rs`, [`config`], `events.rs` and `metrics.rs` face the operator.

mod admin;
mod assemble;
pub mod cli;
pub mod config;
mod daemon;
mod deliver;
mod engine;
mod events;
mod expand;
mod groupkeys;
pub mod headers;
pub mod intake;
mod metrics;
pub mod mime;
mod owners;
pub mod policy;
mod queue;
mod receive;
mod roster;
mod runner;
mod send;
pub mod smtp;
mod spool;
mod store;
mod ticket;
pub mod verp;

/// The named steps at which the crash tests kill the daemon ([`twinseal_svc::failpoint`]).
pub const FAILPOINTS: &[&str] = &[
    "exploder.accept.before-append",
    "exploder.accept.after-append",
    "exploder.accept.after-reply",
    "exploder.body.after-link",
    "exploder.register.after",
    "exploder.expand.after",
    "exploder.deliver.before-dot",
    "exploder.deliver.after-reply",
    "exploder.outcome.after-write",
    "exploder.done.after-write",
    "exploder.segment.before-delete",
];
