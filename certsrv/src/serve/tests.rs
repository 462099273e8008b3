//! The service as a whole, in this process: real state directory, real TLS, real calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod enrolment;
mod feed;
mod harness;
mod owners;
mod rebuild;
mod services;
