//! What each kind of certificate says. Pure: the one place that decides names, usages and purposes.

use super::good_key::KeyKind;
use super::labels;
use crate::rows::KeyUse;
use std::net::IpAddr;
use twinseal_proto::cms::der::Oid;
use twinseal_proto::ids::{ListAddress, MailAddress};

/// Longest common name in characters (RFC 5280 appendix A.1, ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AltName {
    /// rfc822Name; ASCII.
    Mail(String),
    /// dNSName; ASCII.
    Dns(String),
    /// iPAddress.
    Ip(IpAddr),
    /// uniformResourceIdentifier; ASCII. Of membership certificates alone.
    Uri(String),
}

/// Bits of a keyUsage extension, in the order of RFC 5280 section 4.2.1.3: bit 0 is 0x80.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage(pub(crate) u8);

impl Usage {
    /// digitalSignature.
    pub(crate) const SIGN: Self = Self(0x80);
    /// keyEncipherment: the RSA way of taking a key.
    pub(crate) const ENCIPHER: Self = Self(0x20);
    /// keyAgreement: the elliptic-curve way.
    pub(crate) const AGREE: Self = Self(0x08);
    /// keyCertSign and cRLSign.
    pub(crate) const CA: Self = Self(0x06);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How a key of this kind takes keys.
    const fn take_keys(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa => Self::ENCIPHER,
            KeyKind::Ec => Self::AGREE,
        }
    }
}

/// How whoever relies on the certificate learns whether it was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusSource {
    /// The certificate does not say.
    Untold,
    /// At these places.
    Told(Pointers),
    /// Nobody asks: an OCSP responder's own (RFC 6960 section 4.2.2.2.1).
    NotChecked,
}

/// Where a certificate's status is published: absolute URLs, ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointers {
    /// The CRL (RFC 5280 section 4.2.1.13).
    pub(crate) crl: String,
    /// What else the issuer has to offer; none for a CA's certificate.
    pub(crate) access: Option<Access>,
}

/// The authority information access extension (RFC 5280 section 4.2.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The OCSP responder.
    pub(crate) ocsp: String,
    /// The issuer's certificate, DER.
    pub(crate) issuer: String,
}

/// What a certificate says, apart from key, issuer, number and dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The subject's only attribute.
    pub(crate) common_name: String,
    /// subjectAltName; none for a CA and for an OCSP responder.
    pub(crate) names: Vec<AltName>,
    /// keyUsage, always critical.
    pub(crate) usage: Usage,
    /// extKeyUsage; none for a CA.
    pub(crate) purposes: &'static [Oid<'static>],
    /// `Some(pathLenConstraint)` for a CA.
    pub(crate) ca: Option<u8>,
    /// Its life in hours, where that is short enough for no revocation information (RFC 9608); it says so then.
    pub(crate) hours: Option<u32>,
    /// Where its status is found.
    pub(crate) status: StatusSource,
}

impl Profile {
    /// The root of all.
    pub(crate) fn root(ca_name: &str) -> Self {
        Self::authority(format!("{ca_name} root CA"), 1)
    }

    /// A CA below the root that signs no other CA.
    pub(crate) fn sub_ca(ca_name: &str, purpose: &str) -> Self {
        Self::authority(format!("{ca_name} {purpose} CA"), 0)
    }

    const fn authority(common_name: String, path_length: u8) -> Self {
        Self {
            common_name,
            names: Vec::new(),
            usage: Usage::CA,
            purposes: &[],
            ca: Some(path_length),
            hours: None,
            status: StatusSource::Untold,
        }
    }

    /// A member's S/MIME certificate: one key that signs and that messages are encrypted to.
    pub(crate) fn member(address: &MailAddress, kind: KeyKind) -> Self {
        Self::member_for(address, kind, KeyUse::Both)
    }

    /// A member's S/MIME certificate for one use, or for both (P4).
    pub(crate) fn member_for(address: &MailAddress, kind: KeyKind, purpose: KeyUse) -> Self {
        let usage = match purpose {
            KeyUse::Both => Usage::SIGN.and(Usage::take_keys(kind)),
            KeyUse::Sign => Usage::SIGN,
            KeyUse::Encrypt => Usage::take_keys(kind),
        };
        Self::mail(address, usage)
    }

    /// A membership certificate (L7): TLS to groupsrv, which wraps message keys to its key too. `name` is the membership's
    /// handle or a pseudonym, `uri` says group and role; an address is nowhere.
    pub(crate) fn membership(name: String, uri: String, kind: KeyKind, hours: u32) -> Self {
        Self {
            common_name: name,
            names: vec![AltName::Uri(uri)],
            usage: Usage::SIGN.and(Usage::take_keys(kind)),
            purposes: &[labels::CLIENT_AUTH, labels::LIST_MEMBERSHIP],
            ca: None,
            hours: Some(hours),
            status: StatusSource::Untold,
        }
    }

    /// A list's certificate: messages are encrypted to its key, which never signs.
    pub(crate) fn group(list: &ListAddress, kind: KeyKind) -> Self {
        Self::mail(list.address(), Usage::take_keys(kind))
    }

    /// What a certificate of this profile is for.
    pub(crate) const fn key_use(&self) -> KeyUse {
        match (self.usage.0 & Usage::SIGN.0 != 0, self.usage.0 & (Usage::ENCIPHER.0 | Usage::AGREE.0) != 0) {
            (true, false) => KeyUse::Sign,
            (false, true) => KeyUse::Encrypt,
            _ => KeyUse::Both,
        }
    }

    /// The certificate with which certsrv signs mails in a list's name: its key signs and takes no keys.
    pub(crate) fn list_signer(list: &ListAddress) -> Self {
        Self::mail(list.address(), Usage::SIGN)
    }

    fn mail(address: &MailAddress, usage: Usage) -> Self {
        // A local part has at most 64 octets, so it fits where the address does not.
        let long = address.as_str().len() > MAX_COMMON_NAME;
        let common_name = if long { address.parts().0 } else { address.as_str() };
        Self {
            common_name: common_name.to_owned(),
            names: vec![AltName::Mail(address.as_str().to_owned())],
            usage,
            purposes: &[labels::EMAIL_PROTECTION],
            ca: None,
            hours: None,
            status: StatusSource::Untold,
        }
    }

    /// The TLS certificate of one of the three services, for both ends of a connection.
    pub(crate) fn service(role: &str, names: Vec<AltName>) -> Self {
        Self {
            common_name: format!("twinseal {role}"),
            names,
            usage: Usage::SIGN,
            purposes: &[labels::SERVER_AUTH, labels::CLIENT_AUTH],
            ca: None,
            hours: None,
            status: StatusSource::Untold,
        }
    }

    /// The certificate of the key that answers about one CA's certificates (RFC 6960 section 4.2.2.2).
    pub(crate) fn ocsp_responder(ca_name: &str, purpose: &str) -> Self {
        Self {
            common_name: format!("{ca_name} {purpose} OCSP responder"),
            names: Vec::new(),
            usage: Usage::SIGN,
            purposes: &[labels::OCSP_SIGNING],
            ca: None,
            hours: None,
            status: StatusSource::NotChecked,
        }
    }

    /// The same, with where its status is found; `None` leaves it unsaid.
    pub(crate) fn told(mut self, pointers: Option<Pointers>) -> Self {
        self.status = pointers.map_or(StatusSource::Untold, StatusSource::Told);
        self
    }
}

/// Reads a service's name: an IP address or a DNS name.
pub(crate) fn service_name(text: &str) -> Option<AltName> {
    if let Ok(address) = text.parse() {
        return Some(AltName::Ip(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= 253 && text.split('.').all(label)).then(|| AltName::Dns(text.to_ascii_lowercase()))
}
