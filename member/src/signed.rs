//! Whose signature a MIME entity bears (RFC 8551 section 3.5): `multipart/signed`, or SignedData with the content inside.

use crate::sealed;
use crate::trust::{self, Anchors, Purpose};
use mail_parser::{MessageParser, MimeHeaders as _};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::x509::X509;
use twinseal_proto::cert;
use twinseal_proto::cms::der::{self, DerError, Oid, Reader, Tag};
use twinseal_proto::cms::labels;
use twinseal_proto::encoding::Digest;
use twinseal_proto::time::UnixTime;
use zeroize::Zeroizing;

/// Most certificates of a signature that are tried.
const MAX_CERTIFICATES: usize = 16;

/// What is known of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is none around the whole entity.
    Unsigned,
    /// It is good, and its certificate is under the root.
    Good {
        /// The addresses in the certificate, at least one.
        addresses: Vec<String>,
        /// SHA-256 of the certificate.
        fingerprint: Digest,
        /// The end of the certificate's validity, where that is past.
        expired: Option<UnixTime>,
    },
    /// It does not verify, or nobody vouches for the signer.
    Bad(String),
}

/// An entity after its signature was looked at.
pub struct Checked {
    /// What was signed; all of it if nothing was.
    pub content: Zeroizing<Vec<u8>>,
    /// Whose it is.
    pub verdict: Verdict,
}

/// Looks for a signature around the whole of `entity` and verifies it. `known` are issuers that may be missing in it.
#[must_use]
pub fn check(entity: &[u8], anchors: &Anchors, known: &[X509], now: UnixTime) -> Checked {
    let Some((content, signature)) = split(entity) else {
        return Checked { content: Zeroizing::new(entity.to_vec()), verdict: Verdict::Unsigned };
    };
    let bad = |reason: &str| Checked {
        content: Zeroizing::new(content.unwrap_or_default().to_vec()),
        verdict: Verdict::Bad(reason.to_owned()),
    };
    let Ok(signature) = signature else { return bad("the signature is damaged") };
    let certificates = match signer_certificates(&signature) {
        Ok(certificates) => certificates,
        Err(reason) => return bad(&reason),
    };
    // Canonical text is what is signed; a program on the way may have taken the CRs out before encryption.
    let mended = content.map(crate::letter::canonical);
    for signer in &certificates {
        for form in [content, mended.as_deref()] {
            if let Some(signed) = verify(&signature, signer, form) {
                return Checked { content: signed, verdict: vouch(signer, &certificates, anchors, known, now) };
            }
        }
    }
    let attached = attached(&signature).unwrap_or_default();
    let content = Zeroizing::new(content.map_or(attached, <[u8]>::to_vec));
    let reason = "the message was changed, or the signer's certificate is not with it".to_owned();
    Checked { content, verdict: Verdict::Bad(reason) }
}

/// The detached content, where it is detached, and the signature; `None` if the entity is not signed.
#[expect(clippy::type_complexity, reason = "used once, right above")]
fn split(entity: &[u8]) -> Option<(Option<&[u8]>, Result<Vec<u8>, sealed::SealedError>)> {
    let message = MessageParser::new().parse(entity)?;
    let root = message.root_part();
    if sealed::is_pkcs7(root, "mime", ".p7m") {
        return Some((None, sealed::octets(root, entity)));
    }
    if !root.is_content_type("multipart", "signed") {
        return None;
    }
    let damaged = || Err(sealed::SealedError::Damaged("it has not two parts"));
    let boundary = root.content_type().and_then(|content_type| content_type.attribute("boundary"));
    let body = entity.get(root.offset_body as usize..).unwrap_or_default();
    let Some((content, signature)) = boundary.and_then(|boundary| two_parts(body, boundary)) else {
        return Some((None, damaged()));
    };
    let signature = MessageParser::new().parse(signature).map_or_else(damaged, |part| {
        if sealed::is_pkcs7(part.root_part(), "signature", ".p7s") {
            sealed::octets(part.root_part(), &part.raw_message)
        } else {
            damaged()
        }
    });
    Some((Some(content), signature))
}

/// The two parts of a multipart body, octet for octet: the line end before a boundary belongs to the boundary (RFC 2046
/// section 5.1.1).
fn two_parts<'a>(body: &'a [u8], boundary: &str) -> Option<(&'a [u8], &'a [u8])> {
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let end = start + line.len();
        let rest = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary.as_bytes()));
        if let Some(rest) = rest.map(<[u8]>::trim_ascii_end) {
            if rest.is_empty() || (rest == b"--" && cuts.len() == 2) {
                cuts.push((start, end));
            }
            if cuts.len() == 3 {
                break;
            }
        }
        start = end;
    }
    let [first, second, third] = cuts.as_slice() else { return None };
    let part = |from: usize, to: usize| {
        let part = body.get(from..to)?;
        let part = part.strip_suffix(b"\n")?;
        Some(part.strip_suffix(b"\r").unwrap_or(part))
    };
    Some((part(first.1, second.0)?, part(second.1, third.0)?))
}

/// The certificates in a SignedData with one signer and a digest of the SHA-2 family (RFC 5652 section 5.1).
fn signer_certificates(signature: &[u8]) -> Result<Vec<X509>, String> {
    let malformed = |error: DerError| format!("the signature cannot be understood: {error}");
    // A part without an encoding may end with line ends that are not its own.
    let der = der::normalise(signature, "SignedData")
        .or_else(|error| der::normalise(signature.trim_ascii_end(), "SignedData").map_err(|_| error));
    let der = der.map_err(malformed)?;
    let parts = read_signed_data(&der).map_err(malformed)?;
    let (raw, digests) = parts.ok_or("there is no signature in it")?;
    match digests.as_slice() {
        [digest] if [labels::SHA256, labels::SHA384, labels::SHA512].contains(digest) => {}
        [labels::SHA1] => return Err("it was made with SHA-1, which is too weak".to_owned()),
        [digest] => return Err(format!("it was made with the digest {digest}, which is too weak")),
        [] => return Err("nobody signed it".to_owned()),
        _ => return Err("more than one person signed it".to_owned()),
    }
    Ok(raw.into_iter().take(MAX_CERTIFICATES).filter_map(|der| X509::from_der(der).ok()).collect())
}

/// The certificates of a SignedData, and each signer's digest algorithm; `None` if it is another content type.
#[expect(clippy::type_complexity, reason = "used once, right above")]
fn read_signed_data(der: &[u8]) -> Result<Option<(Vec<&[u8]>, Vec<Oid<'_>>)>, DerError> {
    let mut info = Reader::new(der, "ContentInfo").enter(Tag::SEQUENCE, "ContentInfo")?;
    if info.oid()? != labels::SIGNED_DATA {
        return Ok(None);
    }
    let mut data = info.enter(Tag::context_constructed(0), "content")?.enter(Tag::SEQUENCE, "SignedData")?;
    data.small()?;
    data.element(Tag::SET)?;
    data.element(Tag::SEQUENCE)?;
    let mut certificates = Vec::new();
    if let Some(set) = data.optional(Tag::context_constructed(0))? {
        let mut set = Reader::new(set.value, "certificates");
        while !set.is_empty() {
            let choice = set.any()?;
            if choice.tag == Tag::SEQUENCE {
                certificates.push(choice.raw);
            }
        }
    }
    data.optional(Tag::context_constructed(1))?;
    let mut signers = data.enter(Tag::SET, "signerInfos")?;
    let mut digests = Vec::new();
    while !signers.is_empty() {
        let mut signer = signers.enter(Tag::SEQUENCE, "SignerInfo")?;
        signer.small()?;
        signer.any()?;
        digests.push(signer.enter(Tag::SEQUENCE, "digestAlgorithm")?.oid()?);
    }
    Ok(Some((certificates, digests)))
}

/// The signed content, if the signature is `signer`'s. Whether to believe the certificate is asked afterwards.
fn verify(signature: &[u8], signer: &X509, detached: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let mut message = CmsContentInfo::from_der(signature).ok()?;
    let mut only = openssl::stack::Stack::new().ok()?;
    only.push(signer.clone()).ok()?;
    let options = CMSOptions::BINARY | CMSOptions::NOINTERN | CMSOptions::NO_SIGNER_CERT_VERIFY;
    let mut content = Vec::new();
    let good = message.verify(Some(&only), None, detached, Some(&mut content), options);
    // What failed stays in OpenSSL's queue of this thread and would be told with a later error.
    let _ = openssl::error::ErrorStack::get();
    good.ok()?;
    Some(Zeroizing::new(detached.map_or(content, <[u8]>::to_vec)))
}

/// The content of a SignedData whatever its signature, for somebody who insists.
fn attached(signature: &[u8]) -> Option<Vec<u8>> {
    let mut message = CmsContentInfo::from_der(signature).ok()?;
    let mut content = Vec::new();
    let options = CMSOptions::BINARY
        | CMSOptions::NO_SIGNER_CERT_VERIFY
        | CMSOptions::NO_CONTENT_VERIFY
        | CMSOptions::NO_ATTR_VERIFY
        | CMSOptions::NOSIGS;
    let result = message.verify(None, None, None, Some(&mut content), options);
    let _ = openssl::error::ErrorStack::get();
    result.ok().map(|()| content)
}

fn vouch(signer: &X509, others: &[X509], anchors: &Anchors, known: &[X509], now: UnixTime) -> Verdict {
    if let Err(error) = anchors.check(signer, others.iter().chain(known), Purpose::Signature) {
        return Verdict::Bad(error.to_string());
    }
    let addresses = cert::mail_addresses(signer);
    if addresses.is_empty() {
        return Verdict::Bad("the signer's certificate names no address".to_owned());
    }
    let expired = cert::not_after(signer).ok().filter(|end| *end < now);
    Verdict::Good { addresses, fingerprint: trust::fingerprint(signer), expired }
}
