//! The service as a whole, in this process: real state directory, real TLS, real calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod authority;
mod accounts;
mod enrolment;
mod feed;
mod groups;
mod harness;
mod joining;
mod foreign;
mod keys;
mod membership;
mod rebuild;
mod services;
