//! The service as a whole, in this process: real state directory, real TLS, real calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod accounts;
mod authority;
mod ca_keys;
mod doctor;
mod enrolment;
mod feed;
mod foreign;
mod groups;
mod harness;
mod joining;
mod keeping;
mod keys;
mod membership;
mod notices;
mod owners;
mod posting;
mod rebuild;
mod revocation;
mod services;
mod smarthost;
