//! CMS (RFC 5652): the surgery on messages, and the wrapping and opening of content-encryption keys.
//!
//! The unit of key transport is the DER RecipientInfo: RecipientInfo in, RecipientInfo out. The way of a message:
//!
//! 1. [`frame`]: one streaming pass finds where the RecipientInfos lie; nothing but them is ever held.
//! 2. [`recipient`] decodes them, [`choose`] picks the one for the group, [`lookup`] names it for registration.
//! 3. [`unwrap`] opens it with the group's key, which answers questions through [`unwrap::PrivateKeyOps`].
//! 4. [`wrap`] closes the key again, once for each member.
//! 5. [`assemble`] puts the new RecipientInfo before the old content: a head for each copy, one tail for all.
//!
//! [`content`] is the members' side: it reads and writes whole messages. [`der`] is the one cursor for bytes that
//! strangers wrote, [`labels`] holds every object identifier, label and size.

pub mod algorithm;
pub mod assemble;
pub mod certificate;
pub mod choose;
pub mod content;
pub mod curve;
pub mod der;
pub mod frame;
mod kdf;
pub mod keywrap;
pub mod labels;
pub mod lookup;
pub mod recipient;
pub mod unwrap;
mod walk;
pub mod wrap;
