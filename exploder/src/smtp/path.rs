//! Reverse-paths and forward-paths (RFC 5321 section 4.1.2).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use twinseal_proto::ids::MailAddress;

/// Longest path in octets with its angle brackets (RFC 5321 section 4.5.3.1.3).
const MAX_PATH: usize = 256;

/// A mailbox as a path names it. A quoted local part that needs no quotes has lost them, so that `"team"@x` and
/// `team@x` are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailbox {
    /// At a domain.
    Address(MailAddress),
    /// At an address literal, `user@[192.0.2.1]`: well-formed, and never a list's or a member's.
    Literal(String),
}

/// Who a message comes from: the argument of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a notification, which is never to be answered (RFC 5321 section 4.5.5).
    Null,
    /// Anybody else.
    Mailbox(Mailbox),
}

/// Where a message goes: the argument of RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster,
    /// Anybody else.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads a path at the start of `text`; also gives what follows its `>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let (inner, rest) = bracketed(text)?;
        let path = if inner.is_empty() { Self::Null } else { Self::Mailbox(Mailbox::parse(inner)?) };
        Some((path, rest))
    }
}

impl ForwardPath {
    /// Reads a path at the start of `text`; also gives what follows its `>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let (inner, rest) = bracketed(text)?;
        let postmaster = inner.eq_ignore_ascii_case("postmaster");
        let path = if postmaster { Self::Postmaster } else { Self::Mailbox(Mailbox::parse(inner)?) };
        Some((path, rest))
    }
}

impl Mailbox {
    fn parse(text: &str) -> Option<Self> {
        let text = without_route(text)?;
        let (local, domain) = text.rsplit_once('@')?;
        let local = unquoted(local).unwrap_or_else(|| local.to_owned());
        if let Some(literal) = domain.strip_prefix('[') {
            // Only the local part is of a kind that `MailAddress` knows.
            format!("{local}@literal").parse::<MailAddress>().ok()?;
            return address_literal(literal.strip_suffix(']')?).then(|| Self::Literal(format!("{local}@{domain}")));
        }
        format!("{local}@{domain}").parse().ok().map(Self::Address)
    }

    /// The address, unless the mailbox is at an address literal.
    #[must_use]
    pub const fn address(&self) -> Option<&MailAddress> {
        match self {
            Self::Address(address) => Some(address),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Literal(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for ReversePath {
    /// With angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// With angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<Postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

/// What stands between `<` at the front and its `>`, and what follows. A `>` inside a quoted string is no end.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.bytes().position(|b| {
        let plain = !std::mem::take(&mut escaped);
        match b {
            b'\\' if quoted && plain => escaped = true,
            b'"' if plain => quoted = !quoted,
            _ => {}
        }
        b == b'>' && !quoted
    })?;
    if end + 2 > MAX_PATH {
        return None;
    }
    Some((inner.get(..end)?, inner.get(end + 1..)?))
}

/// Takes away a source route, `@a,@b:` (RFC 5321 appendix C): the mailbox behind it is meant.
fn without_route(text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    let (route, mailbox) = text.split_once(':')?;
    let host = |part: &str| {
        part.strip_prefix('@')
            .is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.[]".contains(&b)))
    };
    route.split(',').all(host).then_some(mailbox)
}

/// The content of a quoted string that could have been written without quotes.
fn unquoted(local: &str) -> Option<String> {
    let quoted = local.strip_prefix('"')?.strip_suffix('"')?;
    let mut escaped = false;
    let plain: String = quoted
        .chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect();
    // Whether it is a dot-string is known by the parser of addresses.
    let dot_string = !plain.starts_with('"') && format!("{plain}@x").parse::<MailAddress>().is_ok();
    (dot_string && !plain.contains('@')).then_some(plain)
}

/// RFC 5321 section 4.1.3, without general address literals: no tag but `IPv6` was ever registered.
fn address_literal(text: &str) -> bool {
    match text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).and(text.get(5..)) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn forward(text: &str) -> Option<String> {
        ForwardPath::parse(text).map(|(path, rest)| format!("{path}{rest}"))
    }

    #[test]
    fn paths_follow_the_grammar() {
        let long_local = format!("<{}@x>", "a".repeat(64));
        for (text, read) in [
            ("<Team@Lists.Test>", "<Team@lists.test>"),
            ("<@a,@b:team@lists.test>", "<team@lists.test>"),
            ("<\"team\"@lists.test> SIZE=1", "<team@lists.test> SIZE=1"),
            ("<\"te\\am\"@x>", "<team@x>"),
            ("<\"a b\"@x>", "<\"a b\"@x>"),
            ("<\"a>b\"@x>", "<\"a>b\"@x>"),
            ("<\"a\\\">b\"@x>z", "<\"a\\\">b\"@x>z"),
            ("<\"a@b\"@x>", "<\"a@b\"@x>"),
            ("<postMASTER>", "<Postmaster>"),
            ("<a@[192.0.2.1]>", "<a@[192.0.2.1]>"),
            ("<a@[IPv6:2001:db8::1]>", "<a@[IPv6:2001:db8::1]>"),
            (&long_local, &long_local),
        ] {
            assert_eq!(forward(text).as_deref(), Some(read), "{text}");
        }
        let too_long = format!("<{}@x>", "a".repeat(65));
        let long_path = format!("<a@{}x>", "a.".repeat(127));
        for bad in [
            "",
            "a@x",
            "<a@x",
            "<>",
            "<a>",
            "<@x>",
            "<a@>",
            "<a@x,b@y>",
            "<a b@x>",
            "<@a:>",
            "<@:a@x>",
            "<a@[1.2.3]>",
            "<a@[x]>",
            "<a@[192.0.2.1>",
            "<\"a@x>",
            "<a..b@x>",
            "<<a@x>>",
            "<a@x y>",
            &too_long,
            &long_path,
        ] {
            assert_eq!(forward(bad), None, "{bad}");
        }
        assert_eq!(ReversePath::parse("<> BODY=7BIT").unwrap(), (ReversePath::Null, " BODY=7BIT"));
    }
}
