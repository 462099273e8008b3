//! Identifiers. Each is checked once, where it enters, and compared as a value afterwards.

mod ban;

pub use ban::BanPattern;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not the identifier that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `local-part@domain` within the sizes of RFC 5321 section 4.5.3.1, or with octets that no header may carry.
    #[error("not a mail address: {0:?}")]
    Address(String),
    /// A list's local part has 1 to 24 of `a-z 0-9 . _ -`, begins with a letter or digit, and no reserved ending.
    #[error("not a list name: {0:?} (1 to 24 of a-z 0-9 . _ -, first a letter or digit, no ending such as -owner)")]
    ListName(String),
    /// Neither an address nor a domain with `@` or `*.` before it.
    #[error("not a pattern of addresses: {0:?} (an address, @DOMAIN or *.DOMAIN is wanted)")]
    BanPattern(String),
    /// Not 32 hexadecimal digits.
    #[error("not an identifier of 32 hexadecimal digits")]
    Hex,
}

macro_rules! text_serde {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A mail address. The local part keeps its spelling; the domain is lower case. Equality and hashing ignore case in
/// both parts, since that is how members are looked up (spec: RFC 5321 section 2.4 leaves it to the receiving host).
#[derive(Clone)]
pub struct MailAddress {
    text: String,
    folded: String,
}

impl MailAddress {
    /// The address as it was written, domain in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that is compared: all lower case.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Local part and domain.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.text.rsplit_once('@').unwrap_or((&self.text, ""))
    }

    /// The domain, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.parts().1
    }
}

impl FromStr for MailAddress {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Address(text.chars().take(80).collect());
        let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
        let local_ok = (1..=64).contains(&local.len()) && local_part(local);
        let domain_ok = (1..=255).contains(&domain.len())
            && domain.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b >= 0x80)
            });
        if !local_ok || !domain_ok || text.len() > 254 {
            return Err(wrong());
        }
        let text = format!("{local}@{}", domain.to_lowercase());
        let folded = text.to_lowercase();
        Ok(Self { text, folded })
    }
}

/// A dot-string or a quoted string (RFC 5321 section 4.1.2), UTF-8 allowed (RFC 6531), never a control character.
fn local_part(local: &str) -> bool {
    if let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let mut escaped = false;
        let plain = quoted.chars().all(|c| {
            let fine = !c.is_control() && (escaped || c != '"');
            escaped = !escaped && c == '\\';
            fine
        });
        return plain && !escaped && !quoted.is_empty();
    }
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii())
    }) && !local.chars().any(char::is_control)
}

impl PartialEq for MailAddress {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}
impl Eq for MailAddress {}
impl std::hash::Hash for MailAddress {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}
impl PartialOrd for MailAddress {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for MailAddress {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded.cmp(&other.folded)
    }
}
impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}
text_serde!(MailAddress);

/// The address of a list: a [`MailAddress`] whose local part follows the list grammar, all in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListAddress(MailAddress);

impl ListAddress {
    /// Longest local part in octets; it leaves room for the VERP token of a copy (DESIGN 3.3).
    pub const MAX_NAME: usize = 24;
    /// Endings that name a list's other mailboxes, so no list may bear them.
    pub const RESERVED: [&'static str; 11] = [
        "-bounces",
        "-confirm",
        "-join",
        "-leave",
        "-moderators",
        "-owner",
        "-request",
        "-sendkey",
        "-subscribe",
        "-unsubscribe",
        "-admin",
    ];

    /// The list's name: its local part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.parts().0
    }

    /// The list's domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The same as a mail address.
    #[must_use]
    pub const fn address(&self) -> &MailAddress {
        &self.0
    }

    /// The List-Id of RFC 2919 without its angle brackets: `team.lists.example`.
    #[must_use]
    pub fn list_id(&self) -> String {
        format!("{}.{}", self.name(), self.domain())
    }
}

impl FromStr for ListAddress {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let address: MailAddress = text.to_lowercase().parse()?;
        let name = address.parts().0;
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let reserved = Self::RESERVED.iter().any(|ending| name.ends_with(ending))
            || matches!(name, "postmaster" | "abuse" | "noreply" | "mailer-daemon" | "b");
        if !first || !plain || reserved || name.len() > Self::MAX_NAME {
            return Err(IdError::ListName(name.chars().take(80).collect()));
        }
        Ok(Self(address))
    }
}
impl fmt::Display for ListAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for ListAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
text_serde!(ListAddress);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The identifier for 16 random octets.
            #[must_use]
            pub const fn from_random(octets: [u8; 16]) -> Self {
                Self(octets)
            }

            /// Its 16 octets.
            #[must_use]
            pub const fn octets(&self) -> &[u8; 16] {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let octets = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| IdError::Hex)?;
                octets.try_into().map(Self).map_err(|_| IdError::Hex)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        text_serde!($name);
    };
}

random_id!(
    /// A group, as all three services name it: 16 random octets, written as 32 hexadecimal digits.
    GroupId
);
random_id!(
    /// A member of one group, as groupsrv and exploder know them: random per membership, so that it names nobody.
    Handle
);
random_id!(
    /// A feed: made once, when certsrv is initialised.
    FeedId
);

random_id!(
    /// Something that was asked of certsrv and waits for a mailbox or an owner.
    RequestId
);
random_id!(
    /// A mail of certsrv's own.
    NoticeId
);

/// The epoch of a group's key pair: 1 for the first, then one more at each rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A membership's number within the whole feed: what a VERP token carries (4 octets), so that it stays short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberNumber(pub u32);

/// An accepted message, as the exploder numbers them: 48 bits, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PostId(pub u64);

impl fmt::Display for PostId {
    /// Twelve hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0 & 0xffff_ffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_compared_without_case_and_keep_their_spelling() {
        let a: MailAddress = "Ann.Example@Members.TEST".parse().unwrap();
        assert_eq!(a.as_str(), "Ann.Example@members.test");
        assert_eq!(a, "ann.example@members.test".parse().unwrap());
        for good in ["\"a b\"@x.test", "a+b@x", "δοκιμή@x.test", "o'hara@x.test"] {
            assert!(good.parse::<MailAddress>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "@x",
            "a@",
            "a..b@x",
            ".a@x",
            "a b@x",
            "a@x y",
            "a\r\n@x",
            "a@x\r\nBcc: v@e",
            "\"a\"b\"@x",
            "a@-.é\n",
        ] {
            assert!(bad.parse::<MailAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn list_names_follow_the_grammar() {
        assert_eq!("Team@Lists.Test".parse::<ListAddress>().unwrap().list_id(), "team.lists.test");
        for bad in ["team-owner@x", "../etc@x", "-a@x", "postmaster@x", "b@x", "a+b@x", "aaaaaaaaaaaaaaaaaaaaaaaaa@x"] {
            assert!(bad.parse::<ListAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn random_identifiers_read_back() {
        let id = GroupId::from_random([7; 16]);
        assert_eq!(id.to_string().parse::<GroupId>().unwrap(), id);
        assert!("0707".parse::<GroupId>().is_err());
    }
}
