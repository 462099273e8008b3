//! certsrv: enrolment paths of EST (RFC 7030). Bodies are EST's own (base64 PKCS#10 in, base64 certs-only PKCS#7 out),
//! so that any stock client can call them; the names stand here for server and member tool alike.

/// Path of the CA certificates (RFC 7030 section 4.1) under the label `smime`: root and members' sub-CA.
pub const CA_CERTS: &str = "/.well-known/est/smime/cacerts";
/// Path of enrolment (RFC 7030 section 4.2.1) under the label `smime`.
pub const SIMPLE_ENROLL: &str = "/.well-known/est/smime/simpleenroll";
/// Longest request body in octets.
pub const MAX_BODY: usize = 16 * 1024;
