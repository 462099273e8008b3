//! certsrv: who belongs. Accounts, groups, memberships and certificates, and the signed feed that tells groupsrv and
//! the exploder about them (DESIGN 3.1). A certificate's way, with the file of each step:
//!
//! 1. *Authentication*: a one-time token (`authn/token.rs`), a password (`authn/basic.rs`, its hash in
//!    `authn/password.rs`, wrong ones counted in `authn/guesses.rs`), a member's certificate (`authn/certificate.rs`), a
//!    service's pinned key (`authn/service.rs`).
//! 2. *Proof of possession*: the PKCS#10 request is signed with the key that it presents (`cert/csr.rs`), and the key
//!    is one that we certify (`cert/good_key.rs`).
//! 3. *Profile*: what the certificate may say (`cert/profile.rs`), and whether this key may be certified now, or has to
//!    wait for an approval (`key_change.rs`, pure at its core).
//! 4. *Prepare*: the to-be-signed octets are written (`cert/tbs.rs`) and linted (`cert/lint.rs`).
//! 5. *Store and audit*: number and octets are recorded before the key is used (`issue.rs`, `audit.rs`).
//! 6. *Sign*: the CA takes the prepared certificate by value (`cert/ca.rs`); its key is in a sealed file or a token
//!    (`ca_keys.rs`).
//! 7. *Publish*: one commit (`registry.rs`) decides once more, appends to the feed log (`log/`), brings the index
//!    (`store.rs`, `apply.rs`) up to it and wakes the consumers (`feed.rs`); senders find lists' certificates in
//!    `publish.rs`.
//! 8. *Revoke*: the end of a certificate, by will or by time (`revoke.rs`); everybody can ask how one stands
//!    (`revocation/`).
//!
//! A log-in at a SAML identity provider (`saml/`) gives a session (`session.rs`) that step 1 takes in place of a password.
//!
//! `enrol.rs` (and `renew.rs`) runs the steps for a member and is reached by EST (`est.rs`), `membership.rs` for a membership;
//! `group_certificates.rs` for a list, `services.rs` for a service, `accounts.rs` for many accounts at once, `import.rs` for
//! tables of accounts or members. `foreign.rs` takes certificates that other CAs issued, and watches whether they are
//! revoked. An answer to a one-time token that was lost is given again in `again.rs`.
//!
//! `members.rs` is joining and leaving, `groups.rs` the lists and their settings, `requests.rs` what waits for a mailbox or
//! an owner, `bans.rs`, `options.rs` and `roster.rs` the rest that owners and members may ask; whether they may is decided in
//! `authority.rs` alone.
//! `enrol.rs` runs the steps for a member and is reached by EST (`est.rs`); `group_certificates.rs` for a list,
//! `services.rs` for a service, `accounts.rs` for an import. An answer to a one-time token that was lost is given again
//! in `again.rs`. Own mail goes out by `notices/`; what is done with the tokens in it, and posting tokens, in `tokens.rs`.
//! `members.rs` and `groups.rs` are joining and leaving.
//! in `again.rs`. `members.rs` and `groups.rs` are joining and leaving.
//! `doctor/` looks whether all of it is whole.
//! in `again.rs`. A consumer that cannot go through the entries takes `snapshot.rs`; `backup.rs` and `restore.rs` keep the
//! log and the keys beyond this host. `members.rs` and `groups.rs` are joining and leaving.
//! in `again.rs`. `members.rs` and `groups.rs` are joining and leaving; `owners/` is what owners sign about it.
//! Every change is one of `change.rs`; what each consumer is told of it is decided in `views.rs`.

mod accounts;
mod again;
mod app;
mod apply;
mod audit;
mod authn;
mod authority;
mod backup;
mod bans;
mod ca_keys;
mod cert;
mod change;
pub mod cli;
pub mod config;
mod decide;
mod doctor;
mod enrol;
mod est;
mod events;
mod expiring;
mod failure;
mod feed;
mod foreign;
mod group_certificates;
mod groups;
mod identity;
mod import;
mod init;
mod issue;
mod key_change;
mod layout;
mod log;
mod members;
mod membership;
mod notices;
mod offline_root;
mod options;
mod owners;
mod parallel;
mod publish;
mod random;
mod registry;
mod renew;
mod requests;
mod restore;
pub mod revocation;
mod revoke;
mod roster;
mod router;
mod rows;
mod saml;
mod serve;
mod services;
mod session;
mod snapshot;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod views;

/// The named steps of its own mail, which it takes only where mail is configured.
pub const NOTICE_FAILPOINTS: [&str; 2] = ["certsrv.notice.before-send", "certsrv.notice.after-send"];

/// The named steps at which the crash tests kill this daemon.
pub const FAILPOINTS: &[&str] = &[
    "certsrv.enrol.before-issue",
    "certsrv.issue.after-audit",
    "certsrv.issue.after-sign",
    "certsrv.commit.before-append",
    "certsrv.commit.after-append",
    "certsrv.commit.after-apply",
    "certsrv.enrol.before-answer",
    "certsrv.key-request.before-commit",
    "certsrv.key-request.before-answer",
    "certsrv.membership.before-issue",
    "certsrv.membership.before-answer",
    "certsrv.keygen.before-answer",
    "certsrv.import.before-commit",
    "certsrv.import.before-answer",
    "certsrv.account.before-answer",
    "certsrv.join.before-commit",
    "certsrv.join.before-answer",
    "certsrv.leave.before-commit",
    "certsrv.leave.before-answer",
    "certsrv.revoke.before-commit",
    "certsrv.revoke.before-answer",
    "certsrv.request.before-commit",
    "certsrv.request.before-answer",
    "certsrv.service.before-answer",
    "certsrv.group-certificate.before-answer",
];
