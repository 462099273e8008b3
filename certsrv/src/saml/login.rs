//! The beginning: a browser that a client opened at `/saml/login` is sent to the identity provider.

use super::refused::Refused;
use super::{Saml, form, page, request};
use crate::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;

/// Log-ins that wait for the identity provider's answer at once; the oldest is dropped when there are more.
pub(super) const MOST: usize = 4096;
/// How long one waits, in seconds.
pub(super) const PATIENCE: u64 = 600;
/// The cookie that ties a log-in to its browser: only ever sent to this host over TLS (RFC 6265bis, `__Host-`). The
/// answer comes as a POST from the identity provider's site, which SameSite=Lax would keep the cookie from.
pub(super) const COOKIE: &str = "__Host-twinseal-saml";

/// Where the client that began a log-in waits for its end (RFC 8252 section 7.3), and how it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Port of its listener on 127.0.0.1.
    pub(super) port: u16,
    /// SHA-256 of its verifier (RFC 7636 section 4.2, S256).
    pub(super) challenge: [u8; 32],
}

impl Client {
    /// Reads the query.
    pub(super) fn read(query: &str) -> Result<Self, Refused> {
        let [port, challenge] = form::fields(query.as_bytes(), ["port", "challenge"]).ok_or(Refused::Query)?;
        let port = port.parse().ok().filter(|port| *port >= 1024).ok_or(Refused::Query)?;
        let challenge = URL_SAFE_NO_PAD.decode(challenge).ok().and_then(|octets| octets.try_into().ok());
        Ok(Self { port, challenge: challenge.ok_or(Refused::Query)? })
    }
}

/// A log-in that waits for the identity provider's answer; kept under the digest of its RelayState.
pub(super) struct Pending {
    /// ID of the request.
    pub(super) request: String,
    /// Digest of the browser's cookie.
    pub(super) cookie: Digest,
    /// Who began it.
    pub(super) client: Client,
}

/// Remembers the log-in and sends the browser away.
pub(super) fn begin(saml: &Saml, query: &str, now: UnixTime) -> Result<axum::response::Response, Refused> {
    let client = Client::read(query)?;
    if !saml.idp.valid(now) {
        return Err(Refused::MetadataExpired);
    }
    let inside = |_| Refused::Internal;
    let (relay, cookie) = (random::token().map_err(inside)?, random::token().map_err(inside)?);
    // An xs:ID does not begin with a digit.
    let id = format!("_{}", HEXLOWER.encode(&random::octets().map_err(inside)?));
    let url = request::url(&saml.idp, &id, relay.expose(), now).ok_or(Refused::Internal)?;
    saml.pending.put(now, relay.digest(), Pending { request: id, cookie: cookie.digest(), client });
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age={PATIENCE}; Secure; HttpOnly; SameSite=None", cookie.expose());
    page::see_other(&url, Some(&cookie)).ok_or(Refused::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_port_and_a_challenge() {
        let challenge = URL_SAFE_NO_PAD.encode([7; 32]);
        let good = Client { port: 1024, challenge: [7; 32] };
        assert_eq!(Client::read(&format!("port=1024&challenge={challenge}")), Ok(good));
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        for bad in [
            String::new(),
            format!("port=1023&challenge={challenge}"),
            format!("port=65536&challenge={challenge}"),
            format!("port=80@evil.test&challenge={challenge}"),
            format!("port=2000&port=2001&challenge={challenge}"),
            format!("port=2000&challenge={short}"),
            "port=2000&challenge=".into(),
        ] {
            assert_eq!(Client::read(&bad), Err(Refused::Query), "{bad}");
        }
    }
}
