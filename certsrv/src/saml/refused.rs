//! Why a log-in did not succeed: a closed vocabulary for the log and the metrics. The browser is told none of it.

/// A log-in was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The query of `/saml/login`: a port from 1024 and a SHA-256 challenge are wanted.
    #[error("query")]
    Query,
    /// The pinned metadata is past its validUntil: a new file and a restart are wanted.
    #[error("metadata-expired")]
    MetadataExpired,
    /// The body is not a form of at most 256 KiB with SAMLResponse and RelayState once each.
    #[error("form")]
    Form,
    /// No log-in waits under this RelayState: unknown, answered already or too old.
    #[error("no-pending-request")]
    NotPending,
    /// Another browser began this log-in.
    #[error("other-browser")]
    OtherBrowser,
    /// Not base64 of UTF-8, or not XML within our bounds.
    #[error("not-xml")]
    NotXml,
    /// A document type declaration.
    #[error("doctype")]
    Doctype,
    /// A comment, a processing instruction or a CDATA section: what two readers may see differently.
    #[error("comment")]
    Comment,
    /// An element that has no place in a response, or one too many.
    #[error("structure")]
    Structure,
    /// Not exactly one assertion.
    #[error("assertions")]
    Assertions,
    /// Something is encrypted; we have no key to decrypt with, on purpose.
    #[error("encrypted")]
    Encrypted,
    /// An identifier where none belongs, or one that stands twice.
    #[error("identifiers")]
    Identifiers,
    /// Neither the response nor the assertion is signed.
    #[error("unsigned")]
    Unsigned,
    /// A signature that does not cover just the element it stands in.
    #[error("reference")]
    Reference,
    /// A signature, digest, canonicalisation or transform that is not on our list.
    #[error("algorithm")]
    Algorithm,
    /// The identity provider says that the log-in failed.
    #[error("status")]
    Status,
    /// Made for another place than our assertion consumer service.
    #[error("destination")]
    Destination,
    /// The answer to another request, or to none.
    #[error("in-response-to")]
    InResponseTo,
    /// Not from the pinned identity provider.
    #[error("issuer")]
    Issuer,
    /// Made too long ago, or in the future.
    #[error("issue-instant")]
    IssueInstant,
    /// No signature of the pinned identity provider verifies, or samael refuses the response.
    #[error("signature")]
    Signature,
    /// Conditions or their audience are missing, or they name another audience.
    #[error("audience")]
    Audience,
    /// The conditions' time or the statement's is over or has not come.
    #[error("time")]
    Time,
    /// Not exactly one bearer confirmation for us with an end.
    #[error("confirmation")]
    Confirmation,
    /// No statement that somebody logged in.
    #[error("authn-statement")]
    AuthnStatement,
    /// The subject has no name of a kind that stays the same.
    #[error("name-id")]
    NameId,
    /// Not exactly one mail address in the attribute that carries it.
    #[error("mail-attribute")]
    MailAttribute,
    /// The identity provider may not speak for this address.
    #[error("mail-domain")]
    MailDomain,
    /// The assertion was used before.
    #[error("replayed")]
    Replayed,
    /// The address has no account, and none may be made.
    #[error("no-account")]
    NoAccount,
    /// The account belongs to another subject of the identity provider.
    #[error("other-subject")]
    OtherSubject,
    /// Too many log-ins at once; the page can be loaded again.
    #[error("busy")]
    Busy,
    /// Something failed inside; the line before tells what.
    #[error("internal")]
    Internal,
}
