//! Plumbing that the three daemons share. Nothing in here knows what a message, a group or an account is.
//!
//! * [`config`], [`telemetry`], [`shutdown`], [`listen`]: how a daemon starts, says that it is ready, and stops.
//! * [`tls`], [`http`], [`client`], [`admin`]: how services and administrators talk to each other.
//! * [`join`], [`pins`], [`follow`]: how a service becomes certsrv's, whom it trusts, how it follows the feed.
//! * [`durable`], [`commit`], [`store`], [`audit`]: every durable write goes through one of these.
//! * [`exit`]: how the command lines end.
//! * [`keys`]: private keys at rest.
//! * [`owners`]: what owners signed about the readers of their groups, as a consumer of the feed keeps it.
//! * [`colocation`]: whether services that should be apart are on one host.
//! * [`failpoint`]: named steps at which the crash tests kill a daemon.

pub mod admin;
pub mod audit;
pub mod client;
pub mod colocation;
pub mod commit;
pub mod config;
pub mod durable;
pub mod exit;
pub mod failpoint;
pub mod follow;
pub mod http;
pub mod join;
pub mod keys;
pub mod listen;
pub mod owners;
pub mod pins;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
