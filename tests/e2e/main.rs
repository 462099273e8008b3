//! The whole system, as its users meet it: real daemons, real mail, real clients. One story a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod architecture;
mod canary;
mod clients;
mod crash;
mod demo_story;
mod dialogues;
mod lab;
mod matrix;
mod outage;
mod owners;
mod refusals;
mod support;
mod wrong_key;
