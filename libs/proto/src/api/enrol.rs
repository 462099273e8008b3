//! certsrv: enrolment paths of EST (RFC 7030) and the import of certificates that other CAs issued. EST's bodies are its
//! own (base64 PKCS#10 in, base64 certs-only PKCS#7 out), so that any stock client can call them; the names stand here for
//! server and member tool alike. An import is JSON, with the same credentials as EST.

use crate::encoding::B64;
use crate::ids::GroupId;
use serde::{Deserialize, Serialize};

/// Path of the CA certificates (RFC 7030 section 4.1) under the label `smime`: root and members' sub-CA.
pub const CA_CERTS: &str = "/.well-known/est/smime/cacerts";
/// Path of enrolment (RFC 7030 section 4.2.1) under the label `smime`.
pub const SIMPLE_ENROLL: &str = "/.well-known/est/smime/simpleenroll";
/// Path of renewal and of another key in place of the old one (RFC 7030 section 4.2.2) under the label `smime`.
pub const SIMPLE_REENROLL: &str = "/.well-known/est/smime/simplereenroll";
/// Path of an import.
pub const IMPORT: &str = "/v1/certificates/import";
/// Longest request body in octets.
pub const MAX_BODY: usize = 16 * 1024;
/// Longest request body of an import in octets.
pub const MAX_IMPORT: usize = 128 * 1024;

/// Path of EST's `operation` under `label`.
#[must_use]
pub fn path(label: &str, operation: &str) -> String {
    format!("/.well-known/est/{label}/{operation}")
}

/// The label under which members of `group` get their membership certificates (L7): with their handle in it, or with a
/// pseudonym of its own in each.
#[must_use]
pub fn membership_label(group: &GroupId, pseudonym: bool) -> String {
    format!("member-{group}{}", if pseudonym { "-pseudonym" } else { "" })
}

/// An import: asked for twice, first without a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// DER: the certificate, then its issuers without the root.
    pub chain: Vec<B64>,
    /// That the caller has its key.
    #[serde(default)]
    pub proof: Option<Proof>,
}

/// Proof of the possession of a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// [`Challenge::name`].
    pub challenge: String,
    /// The answer.
    pub answer: ProofAnswer,
}

/// How the key was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofAnswer {
    /// DER CMS SignedData (RFC 5652 section 5) over [`Challenge::to_sign`], which is inside it.
    Signed(B64),
    /// What [`Challenge::to_decrypt`] decrypts to.
    Decrypted(B64),
}

/// What an import is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportResponse {
    /// The certificate is one that is taken; now the proof.
    Challenge(Challenge),
    /// Done.
    Imported {
        /// What administrators call the certificate here.
        name: String,
    },
    /// An owner or an administrator has to approve the other key; the same again later.
    Waiting {
        /// Seconds.
        retry_after: u64,
    },
}

/// What to prove the possession of a key with; good for ten minutes, for one account and one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// To be given back as it is.
    pub name: String,
    /// Text to sign, where the certificate is for signatures.
    pub to_sign: Option<String>,
    /// DER CMS EnvelopedData (RFC 5652 section 6), where the certificate is for encryption alone.
    pub to_decrypt: Option<B64>,
}
