//! Signed groups (DESIGN 3.4): owners sign who reads, and certsrv carries their statements to the consumers, who believe
//! them and not certsrv. It checks each as they will, so that it never gives them cause for an alarm.
//!
//! * [`calls`]: what owners ask for and hand in.
//! * [`take`]: what a statement does to the index.
//! * [`tell`]: what the consumers are told in a signed group.
//! * [`retell`]: what they are told of it in a snapshot.

mod calls;
mod retell;
mod take;
mod tell;

pub(crate) use calls::{roster, statements, submit};
pub(crate) use retell::retold;
pub(crate) use take::{ended, group_deleted, keyed, pinned, suspended, taken};
pub(crate) use tell::{is_signed, key_changed, statement, told_key, told_serial};

use crate::cert::serial::Serial;
use serde::{Deserialize, Serialize};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::roster::{LiveEntry, OwnerState, SignedStatement};

/// A signed group's owners, and how far their statements have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RosterRow {
    /// The first owner's key.
    pub(crate) first: Digest,
    /// What follows from the statements, apart from the entries.
    pub(crate) state: OwnerState,
}

/// An entry in force: the consumers were told of the member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    /// What it says.
    pub(crate) entry: LiveEntry,
    /// The member's address.
    pub(crate) address: MailAddress,
    /// The salt of its digest.
    pub(crate) salt: B64,
    /// The statement itself, for being told again.
    pub(crate) statement: SignedStatement,
    /// The certificate with which groupsrv was told of the key. The member may have another one by now, whose key waits
    /// for an owner.
    pub(crate) serial: Serial,
    /// Groupsrv was told that the member is suspended.
    pub(crate) suspended: bool,
}
