//! certsrv: who belongs. Accounts, groups, memberships and certificates, and the signed feed that tells groupsrv and
//! the exploder about them (DESIGN 3.1). A certificate's way, with the file of each step:
//!
//! 1. *Authentication*: a one-time token or a password (`authn/mod.rs`, `authn/password.rs`), a member's certificate
//!    (`authn/certificate.rs`), a service's pinned key (`authn/service.rs`).
//! 2. *Proof of possession*: the PKCS#10 request is signed with the key that it presents (`cert/csr.rs`), and the key
//!    is one that we certify (`cert/good_key.rs`).
//! 3. *Profile*: what the certificate may say (`cert/profile.rs`), and whether this key may be certified now
//!    (`decide.rs`, pure).
//! 4. *Prepare*: the to-be-signed octets are written (`cert/tbs.rs`) and linted (`cert/lint.rs`).
//! 5. *Store and audit*: number and octets are recorded before the key is used (`issue.rs`, `audit.rs`).
//! 6. *Sign*: the CA takes the prepared certificate by value (`cert/ca.rs`).
//! 7. *Publish*: one commit (`registry.rs`) decides once more, appends to the feed log (`log/`), brings the index
//!    (`store.rs`, `apply.rs`) up to it and wakes the consumers (`feed.rs`); senders find lists' certificates in
//!    `publish.rs`.
//! 8. *Revoke*: the end of a certificate, by will or by time (`revoke.rs`).
//!
//! `enrol.rs` runs the steps for a member and is reached by EST (`est.rs`); `group_certificates.rs` for a list,
//! `services.rs` for a service, `accounts.rs` for an import. An answer to a one-time token that was lost is given again
//! in `again.rs`. `members.rs` and `groups.rs` are joining and leaving; `owners/` is what owners sign about it.
//! Every change is one of `change.rs`; what each consumer is told of it is decided in `views.rs`.

mod accounts;
mod again;
mod app;
mod apply;
mod audit;
mod authn;
mod cert;
mod change;
pub mod cli;
pub mod config;
mod decide;
mod enrol;
mod est;
mod events;
mod failure;
mod feed;
mod group_certificates;
mod groups;
mod identity;
mod init;
mod issue;
mod layout;
mod log;
mod members;
mod owners;
mod parallel;
mod publish;
mod random;
mod registry;
mod revoke;
mod router;
mod rows;
mod serve;
mod services;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod views;

/// The named steps at which the crash tests kill this daemon.
pub const FAILPOINTS: [&str; 13] = [
    "certsrv.enrol.before-issue",
    "certsrv.issue.after-audit",
    "certsrv.issue.after-sign",
    "certsrv.commit.before-append",
    "certsrv.commit.after-append",
    "certsrv.commit.after-apply",
    "certsrv.enrol.before-answer",
    "certsrv.join.before-commit",
    "certsrv.join.before-answer",
    "certsrv.leave.before-commit",
    "certsrv.leave.before-answer",
    "certsrv.service.before-answer",
    "certsrv.group-certificate.before-answer",
];
