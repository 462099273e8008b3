//! Which addresses a ban means: one address, a domain, or every domain below one. Nothing that takes more than a look-up
//! to compare (no expressions), so that no pattern costs time.

use super::{IdError, MailAddress};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `ann@example.org` one address, `@example.org` every address there, `*.example.org` every address at a domain below it
/// (and none at `example.org` itself). Compared like addresses: without case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BanPattern(String);

impl BanPattern {
    /// The pattern in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every pattern that means this address, the narrowest first: at most one for each label of its domain, and two.
    pub fn meaning(address: &MailAddress) -> impl Iterator<Item = Self> {
        let folded = address.folded();
        let domain = folded.rsplit_once('@').map_or("", |(_, domain)| domain);
        let above = domain.match_indices('.').filter_map(|(dot, _)| Some(format!("*{}", domain.get(dot..)?)));
        [folded.to_owned(), format!("@{domain}")].into_iter().chain(above).map(Self)
    }

    /// Whether it means this address.
    #[must_use]
    pub fn means(&self, address: &MailAddress) -> bool {
        Self::meaning(address).any(|pattern| pattern == *self)
    }

    /// The address, where it means one.
    #[must_use]
    pub fn address(&self) -> Option<MailAddress> {
        if self.0.starts_with('@') || self.0.starts_with("*.") { None } else { self.0.parse().ok() }
    }
}

impl FromStr for BanPattern {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::BanPattern(text.chars().take(80).collect());
        let domain = text.strip_prefix('@').or_else(|| text.strip_prefix("*."));
        let address = domain.map_or_else(|| text.to_owned(), |domain| format!("x@{domain}"));
        let parsed: MailAddress = address.parse().map_err(|_| wrong())?;
        if domain.is_some_and(|domain| domain.contains('@')) {
            return Err(wrong());
        }
        let folded = if domain.is_some() { text.to_lowercase() } else { parsed.folded().to_owned() };
        Ok(Self(folded))
    }
}

impl TryFrom<String> for BanPattern {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<BanPattern> for String {
    fn from(pattern: BanPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for BanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BanPattern({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pattern_means_an_address_a_domain_or_what_is_below_it() {
        let table = [
            ("Ann@Example.ORG", "ann@example.org", true),
            ("ann@example.org", "bob@example.org", false),
            ("@Example.org", "bob@example.org", true),
            ("@example.org", "bob@sub.example.org", false),
            ("*.example.org", "bob@sub.example.org", true),
            ("*.example.org", "bob@a.b.example.org", true),
            ("*.example.org", "bob@example.org", false),
            ("*.example.org", "bob@badexample.org", false),
            ("*.org", "bob@example.org", true),
            ("\"a@b\"@x.org", "\"A@b\"@x.org", true),
        ];
        for (pattern, address, wanted) in table {
            let pattern: BanPattern = pattern.parse().unwrap();
            assert_eq!(pattern.means(&address.parse().unwrap()), wanted, "{pattern} {address}");
            assert_eq!(pattern.as_str().parse::<BanPattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn nothing_else_is_a_pattern() {
        for wrong in ["", "*", "@", "*.", "(a+)+$", "*@example.org.", "a*@", "@a@b", "*.a@b", "example.org", "@a b"] {
            assert!(wrong.parse::<BanPattern>().is_err(), "{wrong}");
        }
        assert_eq!("@x.org".parse::<BanPattern>().unwrap().address(), None);
        assert!("a@x.org".parse::<BanPattern>().unwrap().address().is_some());
    }
}
