//! The calls in-process, with real keys, a real feed and a real TLS connection to a certificate authority.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod calls;
mod crash;
mod daily;
mod generation;
mod history;
mod owners;
pub(crate) mod support;
mod tls;
mod together;
