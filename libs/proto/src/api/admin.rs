//! The calls that each daemon takes on its admin socket alone.

pub mod accounts;
pub mod certsrv;
pub mod exploder;
pub mod feed;
pub mod groupsrv;
pub mod notices;
pub mod rosters;

use super::Endpoint;
use serde::{Deserialize, Serialize};

/// `POST /v1/admin/status`: the same for all three daemons.
pub struct GetStatus;

impl Endpoint for GetStatus {
    const PATH: &'static str = "/v1/admin/status";
    const MAX_BODY: usize = 4096;
    type Request = Nothing;
    type Response = Status;
}

/// An empty object: the call says it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// How a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Which daemon.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Whether it answers its calls; the same as `/readyz`.
    pub ready: bool,
    /// Last sequence of the feed that it has (certsrv: that it wrote).
    pub feed_sequence: u64,
    /// Seconds until its lease ends; `None` at certsrv or before the first heartbeat.
    pub lease_seconds: Option<u64>,
    /// Warnings an operator should read, such as co-location with another service.
    pub warnings: Vec<String>,
}
