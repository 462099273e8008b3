//! The group key server: RecipientInfo in, RecipientInfos out. It has the groups' private keys and never sees a mail
//! (DESIGN 3.2). The way of a call:
//!
//! 1. Authentication, `authn.rs`: TLS lets in pinned exploders only, and the pin is looked at again for each call.
//! 2. Parsing, `parse.rs`: the RecipientInfo into types, and every check that needs no private key; refusals by name.
//! 3. Authorisation, `authz.rs`: pure decisions. First of the call, then of each member; a grant is a value.
//! 4. Opening, `keys.rs`: a grant is spent, the key answers once; the content-encryption key is recognised
//!    (`identity.rs`) when it came before under another wrapping, and the members are decided upon again.
//! 5. Wrapping, on all cores: one grant and one member's key make one RecipientInfo.
//! 6. Audit, `record.rs`: who asked, for which message, who got it and who did not, durable before the answer.
//! 7. Answer.
//!
//! How many wrapped keys were answered with a substitute is told by the day: `substituted.rs` counts, `daily.rs` tells.
//!
//! `expand.rs` runs these steps from top to bottom; `register.rs` is the call that comes before, `certs.rs` tells the
//! exploders which keys there are.
//!
//! What is kept: `keys/` sealed key pairs, one file each (`keys/file.rs`, made by `keys/create.rs`); `audit/` the log;
//! `index/` (`store.rs`), which is rebuilt from the feed (`roster.rs`) and from the log (`rebuild.rs`) when it is lost.
//! The daemon is put together in `run.rs` and `service.rs`; its command line is `cli.rs`.

mod admin;
mod authn;
mod authz;
mod certs;
pub mod cli;
pub mod config;
mod daily;
mod expand;
mod identity;
mod keys;
mod metrics;
mod owners;
mod parse;
mod rebuild;
mod record;
mod register;
mod roster;
mod run;
mod service;
mod store;
mod substituted;
#[cfg(test)]
mod tests;

/// The steps at which the crash tests kill this daemon.
pub const FAILPOINTS: &[&str] = &[
    "groupsrv.register.before-commit",
    "groupsrv.register.after-commit",
    "groupsrv.expand.after-unwrap",
    "groupsrv.expand.after-audit",
    "groupsrv.expand.before-reply",
    "groupsrv.key.after-generate",
    "groupsrv.key.after-certificate",
    "groupsrv.key.after-store",
    "groupsrv.roster.before-apply",
    "groupsrv.roster.after-apply",
    "groupsrv.rebuild.before-commit",
    "durable.before-rename",
];
