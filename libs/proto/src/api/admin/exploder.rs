//! The exploder's administration: the queue.

use crate::api::Endpoint;
use crate::ids::{ListAddress, PostId};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// The messages that are not delivered to everybody yet.
pub struct ListQueue;

impl Endpoint for ListQueue {
    const PATH: &'static str = "/v1/admin/queue/list";
    const MAX_BODY: usize = 4096;
    type Request = super::Nothing;
    type Response = Vec<QueuedPost>;
}

/// A message in the queue. No member's address is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedPost {
    /// The message.
    pub id: PostId,
    /// The list.
    pub list: ListAddress,
    /// When it was accepted.
    pub accepted: UnixTime,
    /// Octets of ciphertext.
    pub size: u64,
    /// Copies that went out.
    pub sent: u32,
    /// Copies that are still due.
    pub pending: u32,
    /// Copies that failed for good.
    pub failed: u32,
    /// Why it waits, when it waits for something other than its time: a service that is away, a stale lease.
    pub waiting: Option<String>,
    /// The earliest next attempt.
    pub next_attempt: UnixTime,
}
