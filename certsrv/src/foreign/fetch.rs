//! CRLs and OCSP answers from their issuers: plain HTTP (both are signed), little at a time, and only from the public part of
//! the net, since the addresses come out of certificates.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer in octets.
const LONGEST: u64 = 10 * 1024 * 1024;
/// Longest wait for the whole answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most CRLs that are kept for the certificates that are asked about next.
const KEPT: usize = 8;

/// Fetches; a CRL that many certificates name is fetched once.
pub(super) struct Fetcher {
    /// Addresses of own networks are asked too.
    own: bool,
    crls: HashMap<String, Option<Arc<Vec<u8>>>>,
}

impl Fetcher {
    pub(super) fn new(own: bool) -> Self {
        Self { own, crls: HashMap::new() }
    }

    /// The CRL at `url`, if there is an answer.
    pub(super) async fn crl(&mut self, url: &str) -> Option<Arc<Vec<u8>>> {
        if let Some(known) = self.crls.get(url) {
            return known.clone();
        }
        let found = fetch(url, None, self.own).await.ok().map(Arc::new);
        if self.crls.len() >= KEPT {
            self.crls.clear();
        }
        self.crls.insert(url.to_owned(), found.clone());
        found
    }

    /// The answer of the responder at `url` to an OCSP request.
    pub(super) async fn ocsp(&self, url: &str, request: &[u8]) -> Option<Vec<u8>> {
        fetch(url, Some(request), self.own).await.ok()
    }
}

/// Nothing was fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// Not `http://HOST[:PORT]/PATH`.
    #[error("not an http address")]
    Url,
    /// Own networks are not asked because a certificate says so.
    #[error("the address is not a public one")]
    NotPublic,
    /// The connection.
    #[error("no answer")]
    Io(#[from] std::io::Error),
    /// Too slow.
    #[error("no answer in time")]
    Slow,
    /// Another status than 200, or no HTTP.
    #[error("no HTTP answer with status 200")]
    Status,
    /// The answer is too long, or broke off.
    #[error("the answer is too long or not whole")]
    Length,
}

/// Gets `url`, or posts `body` to it. `own`: addresses of own networks are asked too.
async fn fetch(url: &str, body: Option<&[u8]>, own: bool) -> Result<Vec<u8>, FetchError> {
    tokio::time::timeout(PATIENCE, fetch_patiently(url, body, own)).await.map_err(|_| FetchError::Slow)?
}

async fn fetch_patiently(url: &str, body: Option<&[u8]>, own: bool) -> Result<Vec<u8>, FetchError> {
    let (authority, path) = split(url).ok_or(FetchError::Url)?;
    let mut stream = connect(authority, own).await?;
    // HTTP/1.0: the answer is not chunked (RFC 9112 section 6.1), and ends with the connection.
    let mut request = match body {
        None => format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n").into_bytes(),
        Some(body) => format!(
            "POST {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\
             Content-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes(),
    };
    request.extend_from_slice(body.unwrap_or_default());
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST + 1).read_to_end(&mut answer).await?;
    if answer.len() as u64 > LONGEST {
        return Err(FetchError::Length);
    }
    content(answer)
}

/// `HOST[:PORT]` and the path with its query.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fine = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let fine = fine(url) && !authority.is_empty() && !authority.contains('@') && !path.contains('#');
    fine.then_some((authority, if path.is_empty() { "/" } else { path }))
}

async fn connect(authority: &str, own: bool) -> Result<TcpStream, FetchError> {
    let port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let target = if port { authority.to_owned() } else { format!("{authority}:80") };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(target).await?.collect();
    let mut last = FetchError::NotPublic;
    for address in found.into_iter().filter(|address| own || public(address.ip().to_canonical())) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Not an address of an own network, of this host, or of no host (RFC 6890).
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast();
            !(special || v4.is_multicast() || a == 0 || a >= 240 || (a == 100 && b & 0xc0 == 64))
        }
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|first| first & 0xe000 == 0x2000),
    }
}

/// The body of an answer with status 200.
fn content(mut answer: Vec<u8>) -> Result<Vec<u8>, FetchError> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or(FetchError::Status)?;
    let head = std::str::from_utf8(answer.get(..end).unwrap_or_default()).map_err(|_| FetchError::Status)?;
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    let http = status.next().is_some_and(|version| version.starts_with("HTTP/1."));
    if !http || status.next() != Some("200") {
        return Err(FetchError::Status);
    }
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(FetchError::Length);
        }
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| FetchError::Length)?);
        }
    }
    let body = answer.split_off(end + 4);
    if length.is_some_and(|length| length != body.len()) {
        return Err(FetchError::Length);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_out_of_certificates_are_looked_at() {
        assert_eq!(split("http://ca.test/a.crl?x=1"), Some(("ca.test", "/a.crl?x=1")));
        assert_eq!(split("http://ca.test:8080"), Some(("ca.test:8080", "/")));
        for bad in
            ["https://ca.test/", "ldap://ca.test/", "http://", "http://a@b/", "http://ca.test/\r\nX: y", "http:///x"]
        {
            assert_eq!(split(bad), None, "{bad}");
        }
        for (address, wanted) in [
            ("93.184.216.34", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("2001:4860::1", true),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(public(address.parse().unwrap()), wanted, "{address}");
        }
    }

    #[test]
    fn only_whole_answers_with_status_200_are_taken() {
        let answer = |text: &str| content(text.as_bytes().to_vec()).ok();
        assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap(), b"abc");
        assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\nabc").unwrap(), b"abc");
        for bad in [
            "",
            "abc",
            "HTTP/1.1 404 No\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            assert_eq!(answer(bad), None, "{bad}");
        }
    }
}
