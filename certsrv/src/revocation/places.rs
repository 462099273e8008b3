//! Where status is published: the paths that are served and the URLs that certificates carry.

use crate::cert::profile::{Access, Pointers};
use crate::rows::Published;

/// OCSP by POST (RFC 6960 appendix A.1).
pub(crate) const OCSP_POST: &str = "/ocsp/{ca}";
/// OCSP by GET: the base64 request follows, and may have slashes in it.
pub(crate) const OCSP_GET: &str = "/ocsp/{ca}/{*request}";
/// A CRL, by the CA's name and `.crl`.
pub(crate) const CRL: &str = "/crl/{file}";
/// A CA's certificate, by its name and `.cer`.
pub(crate) const CA: &str = "/ca/{file}";
/// The name under which the root's CRL and certificate are found.
pub(crate) const ROOT: &str = "root";

/// Whether `text` can stand before these paths: scheme and authority, no path.
pub(crate) fn is_base(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("http://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        // The colon of an IPv6 address in brackets is not the port's.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let named = |octet: u8| octet.is_ascii_alphanumeric() || b".-[]:".contains(&octet);
    (1..=253).contains(&host.len())
        && host.bytes().all(named)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// What a certificate of this CA says about its status; nothing without a public URL.
pub(crate) fn told(public_url: &str, by: Published) -> Option<Pointers> {
    let name = by.name();
    let access = Access { ocsp: format!("{public_url}/ocsp/{name}"), issuer: format!("{public_url}/ca/{name}.cer") };
    (!public_url.is_empty()).then(|| Pointers { crl: crl(public_url, name), access: Some(access) })
}

/// What the certificate of a CA below the root says about its status. The root's key is offline, so there is no OCSP.
pub(crate) fn told_by_root(public_url: &str) -> Option<Pointers> {
    (!public_url.is_empty()).then(|| Pointers { crl: crl(public_url, ROOT), access: None })
}

fn crl(public_url: &str, name: &str) -> String {
    format!("{public_url}/crl/{name}.crl")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_public_url_is_scheme_and_authority() {
        for good in ["http://pki.test", "http://pki.test:8080", "http://192.0.2.1:80", "http://[2001:db8::1]:8080"] {
            assert!(is_base(good), "{good}");
        }
        for bad in
            ["", "pki.test", "https://pki.test", "http://", "http://pki.test/", "http://pki.test/x", "http://a b"]
        {
            assert!(!is_base(bad), "{bad}");
        }
        for bad in ["http://pki.test:", "http://pki.test:0", "http://pki.test:65536", "http://u@pki.test", "http://:80"]
        {
            assert!(!is_base(bad), "{bad}");
        }
    }

    #[test]
    fn certificates_carry_what_is_served() {
        assert_eq!(told("", Published::Members), None);
        let pointers = told("http://pki.test", Published::Services).unwrap();
        assert_eq!(pointers.crl, "http://pki.test/crl/services.crl");
        let access = pointers.access.unwrap();
        assert_eq!(access.ocsp, "http://pki.test/ocsp/services");
        assert_eq!(access.issuer, "http://pki.test/ca/services.cer");
        assert_eq!(told_by_root("http://pki.test").unwrap().crl, "http://pki.test/crl/root.crl");
    }
}
