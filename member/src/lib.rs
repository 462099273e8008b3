//! The member's tool: enrol for a certificate, join lists, send to them and read what comes back.
//!
//! `twinseal enroll` ([`enrol`] runs it):
//! 1. [`home`]: the directory that holds everything; [`identity`] makes the key in it, once.
//! 2. [`est`]: the request and the answer of RFC 7030, over [`http`] and [`tls`].
//! 3. [`trust`]: the new certificate is for our key and under the root; then it is saved.
//!
//! `twinseal join`, `leave`, `lists` and `set` ([`groups`]) and the owner's `requests`, `approve` and `reject` ([`requests`])
//! call certsrv with the member's own certificate; [`lists`] keeps the lists' certificates.
//!
//! `twinseal send` ([`send`] runs it):
//! 1. [`letter`]: header and body of what stands on standard input; the recipients.
//! 2. [`lists`]: a live certificate for each recipient, or nothing is sent.
//! 3. [`seal`]: the content is signed, then encrypted; [`outer`] writes the header around it.
//! 4. [`smtp`] submits it.
//!
//! `twinseal read` ([`read`] runs it):
//! 1. [`sealed`]: finds the encrypted part of a message.
//! 2. [`open`]: opens it with the member's key.
//! 3. [`signed`]: whose signature it bears.
//! 4. [`read`] decides whether it may be shown; [`show`] makes text of it.
//!
//! `twinseal owner` ([`owner`]): an owner signs who reads a list.
//!
//! [`export`] writes a PKCS #12 file for mail programs, [`status`] says how things stand. [`exit`] is the table of exit
//! codes, [`cli`] the command line.

mod args;
pub mod cli;
pub mod enrol;
pub mod est;
pub mod exit;
pub mod export;
pub mod groups;
pub mod home;
pub mod http;
pub mod identity;
pub mod letter;
pub mod lists;
pub mod open;
pub mod outer;
pub mod owner;
mod owner_cli;
pub mod posting;
pub mod read;
pub mod requests;
pub mod seal;
pub mod sealed;
pub mod send;
pub mod show;
pub mod signed;
pub mod smtp;
pub mod status;
pub mod tls;
pub mod trust;
