//! Pure types and algorithms that every part of Twinseal shares: no files, sockets, clock or async in here.
//!
//! * [`ids`], [`time`], [`secret`]: the nouns. Constructors check, later code trusts.
//! * [`cms`]: the surgery on CMS messages (RFC 5652) and the wrapping of content-encryption keys.
//! * [`api`]: every call between the parts, one file a call, read by server and client alike.
//! * [`feed`]: the signed, ordered change feed that certsrv writes and the other two services follow.
//! * [`roster`]: what a group's owners sign about its readers.
//! * [`cert`]: what we read out of an X.509 certificate (RFC 5280).

pub mod api;
pub mod cert;
pub mod cms;
pub mod encoding;
pub mod feed;
pub mod ids;
pub mod roster;
pub mod secret;
pub mod time;
