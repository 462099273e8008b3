//! Private keys at rest: the credential under which they are sealed.

pub mod credential;
