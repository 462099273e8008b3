//! Certificates: what is asked for ([`csr`]), what is put in ([`profile`]), how it is written ([`tbs`]), checked
//! ([`lint`]) and signed ([`ca`]); and the lists of those that were revoked ([`crl`]).

pub(crate) mod ca;
pub(crate) mod certs_only;
pub(crate) mod crl;
pub(crate) mod csr;
pub(crate) mod good_key;
pub(crate) mod labels;
pub(crate) mod lint;
pub(crate) mod profile;
pub(crate) mod serial;
pub(crate) mod tbs;
