//! The lab (DESIGN 6): the three real daemons, members and a recording smarthost on loopback, for the demonstration,
//! the whole-system tests, the benchmarks and everybody's own scripts.
//!
//! 1. [`setup`] binds every listener, initialises and joins the services, starts them ([`daemon`]), enrols members from
//!    the key pool ([`keys`]), makes the list and its key.
//! 2. [`describe`] writes `lab.json` and the `bin/` wrappers: the interface that others script against.
//! 3. [`sink`] records what the exploder delivers; [`control`] takes `restart` and `sink` requests while the lab runs.

pub mod control;
pub mod daemon;
pub mod describe;
pub mod keys;
pub mod setup;
pub mod sink;
