//! What the entries of the feed say to each of its two consumers.

use crate::encoding::{B64, Digest};
use crate::ids::{GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use crate::roster::SignedStatement;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// How copies carry the message key (DESIGN 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryMode {
    /// One RecipientInfo for the reader's own certificate in each copy: every stock client reads it (L11).
    #[default]
    Expand,
}

/// Which messages a member may open (DESIGN 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum History {
    /// Those first seen after the member joined.
    #[default]
    SinceJoin,
    /// All for which the group still has the key.
    All,
}

/// How sure the exploder is of who posts (DESIGN 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostLevel {
    /// The From address is a member's: weak, since anybody can write it.
    From,
    /// The message came through an authenticated submission.
    #[default]
    Submission,
}

/// Which content encryption a list takes (DESIGN 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentPolicy {
    /// AES-CBC in EnvelopedData and AES-GCM in AuthEnvelopedData.
    #[default]
    CbcAllowed,
    /// Only AES-GCM in AuthEnvelopedData (RFC 5083, 5084).
    AeadRequired,
}

/// The settings of a list that the exploder acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListSettings {
    /// Who may post, and how that is known.
    pub post: PostLevel,
    /// Content encryption that is taken.
    pub content: ContentPolicy,
    /// Takes 3DES content too, which is openssl's default and weak; off.
    pub legacy_3des: bool,
    /// Largest message in octets as they come over SMTP; 10 MiB.
    pub max_size: u64,
    /// A phrase for List-Id and for people; may be empty.
    pub description: String,
}

impl Default for ListSettings {
    fn default() -> Self {
        Self {
            post: PostLevel::default(),
            content: ContentPolicy::default(),
            legacy_3des: false,
            max_size: 10 * 1024 * 1024,
            description: String::new(),
        }
    }
}

/// Whether a member is sent copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Yes.
    #[default]
    On,
    /// No; the member may post all the same.
    Off,
}

/// What a member chose, as far as the exploder acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryOptions {
    /// Whether copies are sent.
    pub delivery: Delivery,
    /// Whether copies of the member's own posts are sent.
    pub own_posts: bool,
    /// How the copies carry the message key, where not as the group's do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self { delivery: Delivery::On, own_posts: true, mode: None }
    }
}

/// A member's certificate as groupsrv needs it to address a RecipientInfo: no names beyond the issuer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientKey {
    /// DER of the issuer's Name.
    pub issuer: B64,
    /// Content octets of the serial number's INTEGER.
    pub serial: B64,
    /// The subject key identifier, where the certificate has one.
    pub subject_key_id: Option<B64>,
    /// DER SubjectPublicKeyInfo of the encryption key: RSA of at least 2048 bits, P-256 or P-384.
    pub public_key: B64,
}

/// What an entry tells groupsrv.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GroupsrvChange {
    /// A group exists from now on.
    GroupCreated {
        /// The group.
        group: GroupId,
        /// How its copies carry the message key.
        mode: DeliveryMode,
        /// Which messages its members may open.
        history: History,
        /// Its members are those whom its owners sign for, and no others ([`crate::roster`]).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    /// A group's mode or history changed.
    GroupChanged {
        /// The group.
        group: GroupId,
        /// How its copies carry the message key.
        mode: DeliveryMode,
        /// Which messages its members may open.
        history: History,
        /// Its members are those whom its owners sign for, and no others ([`crate::roster`]).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    /// The group is no more: its keys open nothing.
    GroupDeleted {
        /// The group.
        group: GroupId,
    },
    /// A member joined, with this key. The entry's sequence is the time of joining.
    MemberJoined {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
        /// The key that copies are wrapped to.
        recipient: RecipientKey,
        /// The owner's entry for it, in a signed group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<SignedStatement>,
    },
    /// A member's key changed; the time of joining did not.
    MemberKeyChanged {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
        /// The key that copies are wrapped to from now on.
        recipient: RecipientKey,
        /// The owner's entry for the new key, in a signed group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<SignedStatement>,
    },
    /// The member has no live certificate (it was revoked or ran out): nothing is wrapped until the key changes.
    MemberSuspended {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
    },
    /// The membership ended. Its handle is never used again.
    MemberLeft {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
    },
    /// These membership certificates let nobody in any more: their member left, or has no live certificate. Those with a
    /// pseudonym are among them, and nothing says whose they were.
    MembershipRevoked {
        /// The certificates.
        certificates: Vec<RevokedMembership>,
    },
    /// An owner said something that goes with no other change: a removal, a change of owners, the head of the roster, or
    /// an entry anew.
    Statement {
        /// The group.
        group: GroupId,
        /// What the owner said.
        statement: SignedStatement,
    },
}

/// A membership certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedMembership {
    /// Content octets of its serial number's INTEGER.
    pub serial: B64,
    /// Its notAfter: nobody has to remember it for longer.
    pub until: UnixTime,
}

/// What an entry tells the exploder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExploderChange {
    /// A list exists from now on.
    GroupCreated {
        /// The group behind the list.
        group: GroupId,
        /// The address that is posted to.
        list: ListAddress,
        /// Its settings.
        settings: ListSettings,
        /// Its members are those whom its owners sign for, and no others ([`crate::roster`]).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    /// A list's settings changed.
    GroupChanged {
        /// The group behind the list.
        group: GroupId,
        /// Its settings.
        settings: ListSettings,
        /// Its members are those whom its owners sign for, and no others ([`crate::roster`]).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    /// The list is no more.
    GroupDeleted {
        /// The group behind the list.
        group: GroupId,
    },
    /// A member joined.
    MemberJoined {
        /// The group.
        group: GroupId,
        /// The membership, as groupsrv knows it.
        handle: Handle,
        /// The membership, as VERP tokens carry it.
        number: MemberNumber,
        /// Where copies go, and who may post.
        address: MailAddress,
        /// The salt of the address's digest in the entry: 16 octets. groupsrv is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        salt: Option<B64>,
        /// The owner's entry for it, in a signed group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<SignedStatement>,
    },
    /// A member chose something else; who joins has the defaults.
    MemberOptions {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
        /// What holds from now on.
        options: DeliveryOptions,
    },
    /// The membership ended.
    MemberLeft {
        /// The group.
        group: GroupId,
        /// The membership.
        handle: Handle,
    },
    /// A posting token is good for submission from this address. It is good for nothing else (DESIGN 3.3).
    PostingToken {
        /// Of the token.
        digest: Digest,
        /// Whose it is.
        address: MailAddress,
        /// Until when.
        expires: UnixTime,
    },
    /// A posting token is good no more.
    PostingTokenEnded {
        /// Of the token.
        digest: Digest,
    },
    /// An owner said something that goes with no other change: a removal, a change of owners, the head of the roster, or
    /// an entry anew.
    Statement {
        /// The group.
        group: GroupId,
        /// What the owner said.
        statement: SignedStatement,
    },
}
