//! The table `[mail]`: the way of certsrv's own mail, and what may be asked for by mail.

use super::BadValue;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use twinseal_proto::ids::MailAddress;

/// The way of certsrv's own mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The smarthost, HOST:PORT.
    pub smarthost: String,
    /// Address that the mail is from.
    pub from: MailAddress,
    /// The public URL of this server, `https://HOST[:PORT]`: the texts name it.
    pub url: String,
    /// The name before the address that the mail is from.
    #[serde(default = "name")]
    pub name: String,
    /// Whom to write to about abuse, and where answers go; `from` when unset.
    #[serde(default)]
    pub contact: Option<MailAddress>,
    /// TLS to the smarthost.
    #[serde(default)]
    pub tls: SmarthostTls,
    /// PEM file with the CAs for the smarthost; the system's when unset.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// User name for AUTH at the smarthost; needs TLS.
    #[serde(default)]
    pub user: Option<String>,
    /// File (mode 0600) with the password for AUTH.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Name in EHLO; the domain of `from` when unset.
    #[serde(default)]
    pub hello: Option<String>,
    /// Members are told by mail that their membership began, or ended.
    #[serde(default = "yes")]
    pub welcome: bool,
    /// Welcome mails are signed in the list's name and carry its certificate.
    #[serde(default = "yes")]
    pub list_signing: bool,
    /// Domains whose mailboxes may make themselves an account by mail; `*` for all.
    #[serde(default)]
    pub registration_domains: Vec<String>,
    /// Life of the tokens for logging in, in hours.
    #[serde(default = "login_hours")]
    pub login_token_hours: u32,
    /// Life of the tokens that confirm requests, in hours.
    #[serde(default = "confirm_hours")]
    pub confirm_token_hours: u32,
}

/// How the connection to the smarthost is protected (RFC 8314, RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmarthostTls {
    /// TLS with a verified name: from the start on port 465, else by STARTTLS.
    #[default]
    Required,
    /// No TLS: to a smarthost on this host alone.
    Never,
}

fn name() -> String {
    "Twinseal".into()
}

const fn yes() -> bool {
    true
}

/// As long as no other such mail is sent to the same address.
const fn login_hours() -> u32 {
    24
}

const fn confirm_hours() -> u32 {
    72
}

impl Mail {
    /// What cannot be, if anything.
    pub(super) fn check(&self) -> Result<(), BadValue> {
        let plain = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\');
        let host = self.smarthost_parts().map(|(host, _)| host);
        let url = self.url.strip_prefix("https://").unwrap_or_default();
        let rules: [(bool, &'static str, &'static str); 9] = [
            (host.is_some(), "mail.smarthost", "HOST:PORT is wanted"),
            (self.from.as_str().is_ascii(), "mail.from", "an ASCII address is wanted"),
            (
                !url.is_empty() && url.len() <= 100 && plain(url) && !url.contains([' ', '/', '?', '#', '@']),
                "mail.url",
                "https://HOST[:PORT] is wanted, without a path, at most 108 characters",
            ),
            (
                (1..=40).contains(&self.name.len()) && plain(&self.name),
                "mail.name",
                "1 to 40 ASCII characters without quotes are wanted",
            ),
            (
                self.tls == SmarthostTls::Required || host.is_some_and(is_loopback),
                "mail.tls",
                "\"never\" sends tokens in the clear: only to a smarthost on this host (127.0.0.1, ::1, localhost)",
            ),
            (
                self.user.is_some() == self.password_file.is_some()
                    && (self.user.is_none() || self.tls == SmarthostTls::Required),
                "mail.user",
                "user and password_file go together, and need tls = \"required\"",
            ),
            (
                self.registration_domains.iter().all(|domain| domain == "*" || is_domain(domain)),
                "mail.registration_domains",
                "domains in lower case, or \"*\" alone, are wanted",
            ),
            (
                [self.login_token_hours, self.confirm_token_hours].iter().all(|h| (1..=720).contains(h)),
                "mail.login_token_hours, mail.confirm_token_hours",
                "1 to 720 are wanted",
            ),
            (
                self.hello.as_deref().is_none_or(is_domain) && self.contact().as_str().is_ascii(),
                "mail.hello, mail.contact",
                "a domain name and an ASCII address are wanted",
            ),
        ];
        rules.iter().find(|(holds, _, _)| !holds).map_or(Ok(()), |(_, key, wanted)| Err(BadValue { key, wanted }))
    }

    /// Host and port of the smarthost; the host may stand in brackets (IPv6).
    pub(crate) fn smarthost_parts(&self) -> Option<(&str, u16)> {
        let (host, port) = self.smarthost.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
        (!host.is_empty() && plain).then_some((host, port.parse().ok().filter(|p| *p != 0)?))
    }

    /// Whom to write to.
    pub(crate) fn contact(&self) -> &MailAddress {
        self.contact.as_ref().unwrap_or(&self.from)
    }

    /// Whether mailboxes at this domain may make themselves an account.
    pub(crate) fn registers(&self, domain: &str) -> bool {
        self.registration_domains.iter().any(|known| known == "*" || known == domain)
    }
}

fn is_domain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Config;

    const GOOD: &str = "smarthost = \"127.0.0.1:25\"\nfrom = \"noreply@lists.test\"\nurl = \"https://c.test:8443\"\n\
                        tls = \"never\"\n";

    fn load(mail: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certsrv.toml");
        std::fs::write(&path, format!("[mail]\n{mail}")).unwrap();
        Config::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_small_table_is_enough() {
        let mail = load(GOOD).unwrap().mail.unwrap();
        assert_eq!(mail.smarthost_parts(), Some(("127.0.0.1", 25)));
        assert!(mail.welcome && !mail.registers("members.test"));
        let any = load(&format!("{GOOD}registration_domains = [\"*\"]\n")).unwrap().mail.unwrap();
        assert!(any.registers("members.test"));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (line, key) in [
            ("colour = 1", "colour"),
            ("smarthost = \"mail.test\"", "mail.smarthost"),
            // Tokens do not travel in the clear.
            ("smarthost = \"192.0.2.1:25\"", "mail.tls"),
            ("smarthost = \"mail.test:25\"", "mail.tls"),
            ("url = \"http://c.test\"", "mail.url"),
            ("url = \"https://c.test/path\"", "mail.url"),
            ("url = \"https://c.test\\r\\nBcc: v@e.test\"", "mail.url"),
            ("name = \"a\\\"b\"", "mail.name"),
            ("name = \"a\\r\\nBcc: v@e.test\"", "mail.name"),
            ("user = \"me\"", "mail.user"),
            ("user = \"me\"\npassword_file = \"/p\"", "mail.user"),
            ("registration_domains = [\"Members.test\"]", "mail.registration_domains"),
            ("login_token_hours = 0", "mail.login_token_hours"),
            ("hello = \"a b\"", "mail.hello"),
        ] {
            let name = line.split(' ').next().unwrap_or_default();
            let kept = GOOD.lines().filter(|l| !l.starts_with(&format!("{name} "))).collect::<Vec<_>>().join("\n");
            let error = load(&format!("{kept}\n{line}\n")).unwrap_err();
            assert!(error.contains(key), "{line}: {error}");
        }
    }
}
