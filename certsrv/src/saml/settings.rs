//! The table `[saml]` of the configuration file.

use crate::config::BadValue;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the log-ins of an identity provider count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginClass {
    /// As much as a password.
    #[default]
    Standard,
    /// Enough to replace a live key where a group allows it.
    High,
}

/// Log-in through a SAML 2.0 identity provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamlConfig {
    /// File with the identity provider's metadata: the one EntityDescriptor that is believed.
    pub idp_metadata: PathBuf,
    /// Our entity id at the identity provider.
    pub entity_id: String,
    /// `https://HOST[:PORT]` of certsrv as browsers see it.
    pub base_url: String,
    /// Name of the attribute that carries the verified mail address.
    pub mail_attribute: String,
    /// Domains that the identity provider may speak for.
    pub mail_domains: Vec<String>,
    /// What its log-ins count as.
    #[serde(default)]
    pub class: LoginClass,
    /// An address without an account gets one at its first log-in.
    #[serde(default)]
    pub create_accounts: bool,
}

impl SamlConfig {
    /// Checks all but the metadata, which `check-config` and `serve` read.
    pub(crate) fn check(&self) -> Result<(), BadValue> {
        let short = |text: &str| (1..=1024).contains(&text.len()) && !text.contains(|c: char| !c.is_ascii_graphic());
        let rules = [
            (self.idp_metadata.is_absolute(), "saml.idp_metadata", "an absolute path is wanted"),
            (short(&self.entity_id), "saml.entity_id", "a URI is wanted: 1 to 1024 ASCII characters without spaces"),
            (origin(&self.base_url), "saml.base_url", "https://HOST or https://HOST:PORT is wanted"),
            (short(&self.mail_attribute), "saml.mail_attribute", "an attribute's name is wanted"),
            (
                !self.mail_domains.is_empty() && self.mail_domains.iter().all(|domain| lower_domain(domain)),
                "saml.mail_domains",
                "at least one domain is wanted, in lower case: those that this identity provider may speak for",
            ),
        ];
        rules.iter().find(|(holds, _, _)| !holds).map_or(Ok(()), |(_, key, wanted)| Err(BadValue::new(key, wanted)))
    }

    /// URL of the assertion consumer service.
    pub(super) fn acs(&self) -> String {
        format!("{}/saml/acs", self.base_url)
    }
}

fn origin(url: &str) -> bool {
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    url.strip_prefix("https://").is_some_and(|rest| (1..=300).contains(&rest.len()) && rest.bytes().all(host))
}

fn lower_domain(domain: &str) -> bool {
    format!("a@{domain}").parse().is_ok_and(|a: twinseal_proto::ids::MailAddress| a.domain() == domain)
}
