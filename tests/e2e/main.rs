//! The whole system, as its users meet it: real daemons, real mail, real clients. One story a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod architecture;
mod canary;
mod clients;
mod crash;
mod demo_story;
mod dialogues;
mod enrolment;
mod feed;
mod joining;
mod lab;
mod leaving;
mod matrix;
mod notices;
mod outage;
mod owners;
mod refusals;
mod revocation;
mod saml;
mod support;
mod tools;
mod wrong_key;
