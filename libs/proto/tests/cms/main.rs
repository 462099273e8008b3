//! The CMS part against vectors, other people's messages and the `openssl` command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod corpus;
mod properties;
mod rewrap;
mod structures;
mod support;
mod vectors;
