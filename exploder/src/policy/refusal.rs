//! Every refusal, and the one table from it to SMTP code, enhanced code (RFC 3463) and text. The texts tell the sender
//! what to do next.

use crate::mime::HeaderFault;
use crate::smtp::Reply;
use std::borrow::Cow;
use std::fmt;
use twinseal_proto::cms::frame::ContentAlgorithm;
use twinseal_proto::encoding::Digest;

/// Why a message or a recipient is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The list takes authenticated encryption only.
    AeadRequired(ContentAlgorithm),
    /// A content encryption that no list takes, by name.
    Algorithm(String),
    /// It was sent by a program in answer to another message (RFC 3834).
    AutomaticReply,
    /// The body is not base64.
    BadBase64,
    /// Two RecipientInfos for the same key differ.
    ConflictingRecipients,
    /// Content-Type, Content-Disposition or Content-Transfer-Encoding does not follow its grammar.
    ContentType,
    /// This field stands twice.
    Duplicate(&'static str),
    /// Encrypted to a key of the group that is no longer in use.
    FormerKey(KeyHint),
    /// The header cannot be read.
    Header(HeaderFault),
    /// The header has too many octets.
    LongHeader,
    /// It came through this list before.
    Loop,
    /// The CMS message is malformed, in this way.
    Malformed(String),
    /// Several parts: what is outside the encrypted one would be readable.
    Multipart,
    /// No From field, or one that can be read in several ways.
    NoAuthor,
    /// groupsrv has told no key for the group yet.
    NoKeys,
    /// No roster has come from certsrv yet.
    NoRoster,
    /// The author is no member, or there is more than one.
    NotAMember,
    /// The body is not announced as base64.
    NotBase64,
    /// It is not encrypted.
    NotEncrypted,
    /// A CMS message of another type.
    NotEnveloped(String),
    /// No RecipientInfo names a key of the group.
    NotForGroup(KeyHint),
    /// A notification, sent to the post address.
    NullReversePath,
    /// It is signed and not encrypted, or the signature is outside.
    OnlySigned,
    /// It is encrypted with OpenPGP.
    OpenPgp,
    /// The RecipientInfo for the group has an algorithm that is not opened.
    RecipientAlgorithm,
    /// The postmaster of this host, who has no mailbox here.
    Postmaster,
    /// The recipient is not at this host.
    Relay,
    /// The spool cannot take it.
    Storage,
    /// The list takes posts through authenticated submission only.
    SubmissionOnly,
    /// More octets than the list takes.
    TooLarge {
        /// How many it takes.
        limit: u64,
    },
    /// It went through more than 100 hosts.
    TooManyHops,
    /// Triple DES.
    TripleDes,
    /// There is no such list, or no such mailbox of it.
    UnknownMailbox,
}

/// What senders need in order to encrypt to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHint {
    /// SHA-256 of the DER of each present certificate.
    pub fingerprints: Vec<Digest>,
    /// The URL of the certificates.
    pub location: String,
}

impl KeyHint {
    /// Another line of a reply: location and fingerprints, in the form that certificate viewers show.
    fn line(&self) -> String {
        let shown = |digest: &Digest| {
            let pairs: Vec<String> = digest.0.iter().map(|octet| format!("{octet:02X}")).collect();
            format!("\nSHA-256 fingerprint {}", pairs.join(":"))
        };
        let fingerprints: String = self.fingerprints.iter().map(shown).collect();
        format!("\nits present certificate is at {}{fingerprints}", self.location)
    }
}

impl Refusal {
    /// The table.
    fn row(&self) -> (u16, &'static str, Cow<'static, str>) {
        let (code, enhanced, text) = match self {
            Self::AeadRequired(found) => {
                let text =
                    format!("this list takes AES-GCM only (AuthEnvelopedData), not {found}: openssl cms -aes-256-gcm");
                return (550, "5.7.6", text.into());
            }
            Self::Algorithm(what) => {
                return (550, "5.7.6", format!("encrypt the content with AES-128 or AES-256; found {what}").into());
            }
            Self::AutomaticReply => (550, "5.7.1", "automatic replies are not distributed"),
            Self::BadBase64 => (550, "5.6.0", "the body is not well-formed base64, or something was added to it"),
            Self::ConflictingRecipients => {
                (550, "5.6.0", "two different RecipientInfos name the same key of the list; send the message again")
            }
            Self::ContentType => {
                (550, "5.6.0", "Content-Type, Content-Disposition or Content-Transfer-Encoding cannot be read")
            }
            Self::Duplicate(name) => return (550, "5.6.0", format!("the field {name} stands more than once").into()),
            Self::FormerKey(hint) => {
                let text =
                    format!("encrypted to a former certificate of the list, take the present one{}", hint.line());
                return (550, "5.7.5", text.into());
            }
            Self::Header(HeaderFault::NotAscii) => {
                (550, "5.6.7", "octets above 127 in the header; encode them (RFC 2047)")
            }
            Self::Header(fault) => return (550, "5.6.0", format!("malformed header: {fault}").into()),
            Self::LongHeader => (550, "5.6.0", "the header is longer than 262144 octets"),
            Self::Loop => (554, "5.4.6", "mail loop: this message came through this list before"),
            Self::Malformed(what) => {
                return (550, "5.6.0", format!("the encrypted part is not well-formed: {what}").into());
            }
            Self::Multipart => (
                550,
                "5.7.1",
                "this list takes encrypted mail only: the whole message has to be one S/MIME encrypted part, without \
                 other parts beside it",
            ),
            Self::NoAuthor => (550, "5.6.0", "exactly one From field with well-formed addresses is wanted"),
            Self::NoKeys => (451, "4.3.2", "this list has no certificate yet, try again later"),
            Self::NoRoster => (451, "4.3.2", "the members are not known yet, try again later"),
            Self::NotAMember => {
                (550, "5.7.2", "only members may post: send from the one address with which you are a member")
            }
            Self::NotBase64 => {
                (550, "5.6.1", "the encrypted part has to be base64 (Content-Transfer-Encoding: base64)")
            }
            Self::NotEncrypted => {
                (550, "5.7.1", "this list takes encrypted mail only: encrypt with S/MIME to the list's certificate")
            }
            Self::NotEnveloped(what) => {
                let text = format!("this list takes S/MIME encrypted mail only (enveloped-data); found {what}");
                return (550, "5.7.1", text.into());
            }
            Self::NotForGroup(hint) => {
                return (550, "5.7.5", format!("not encrypted to this list's certificate{}", hint.line()).into());
            }
            Self::NullReversePath => (550, "5.7.2", "notifications are not distributed"),
            Self::OnlySigned => (
                550,
                "5.7.1",
                "this list takes encrypted mail only: sign first if you like, then encrypt with S/MIME to the list's \
                 certificate",
            ),
            Self::OpenPgp => (
                550,
                "5.7.1",
                "this list takes S/MIME only, not OpenPGP: encrypt with S/MIME to the list's certificate",
            ),
            Self::RecipientAlgorithm => (
                550,
                "5.7.6",
                "the list's RecipientInfo has an algorithm that is not opened: use RSA (PKCS #1 v1.5, or OAEP without \
                 label) or ECDH (X9.63 KDF, AES key wrap)",
            ),
            // RFC 5321 section 4.5.1 wants this mail taken. But nobody would read it here, and a 250 would say otherwise;
            // a 4yz would keep it in the sender's queue for days.
            Self::Postmaster => {
                (550, "5.2.1", "the postmaster has no mailbox on this host, write to the administrators of its domain")
            }
            Self::Relay => (550, "5.7.1", "relaying denied"),
            Self::Storage => (452, "4.3.1", "no storage for the message now, try again later"),
            Self::SubmissionOnly => {
                (550, "5.7.2", "this list is posted to through its submission port with a posting token, not here")
            }
            Self::TooLarge { limit } => {
                return (552, "5.3.4", format!("message too large, this list takes {limit} octets").into());
            }
            Self::TooManyHops => (554, "5.4.6", "too many hops: more than 100 Received fields"),
            Self::TripleDes => (
                550,
                "5.7.6",
                "the content is encrypted with triple DES, which is weak: encrypt with AES (openssl cms -aes256)",
            ),
            Self::UnknownMailbox => (550, "5.1.1", "no such list"),
        };
        (code, enhanced, Cow::Borrowed(text))
    }

    /// The reply that the client gets.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self.row() {
            (code, enhanced, Cow::Borrowed(text)) => Reply::fixed(code, enhanced, text),
            (code, enhanced, Cow::Owned(text)) => Reply::new(code, enhanced, text),
        }
    }
}

impl fmt::Display for Refusal {
    /// The reply on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, enhanced, text) = self.row();
        write!(f, "{code} {enhanced} {}", text.replace('\n', "; "))
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        refusal.reply()
    }
}

impl From<HeaderFault> for Refusal {
    fn from(fault: HeaderFault) -> Self {
        Self::Header(fault)
    }
}
