//! The members' side of a message: its content decrypted, or a new message made. The whole content is in memory here;
//! callers bound how much they read.

use super::algorithm::{AlgorithmError, ContentAlgorithm, ContentKind};
use super::assemble::cms_version;
use super::der::{self, DerError, Fault, Reader, Tag};
use super::frame::Frame;
use super::labels;
use super::wrap::{MemberKey, WrapError};
use crate::secret::Cek;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::symm::{self, Cipher};
use zeroize::Zeroizing;

/// Why a content was not decrypted.
#[derive(Debug, thiserror::Error)]
pub enum DecryptError {
    /// Parameters of the content encryption that are not taken.
    #[error("content encryption: {0}")]
    Algorithm(#[from] AlgorithmError),
    /// The key does not open it, or it was changed on the way.
    #[error("the content does not open with this key, or was changed")]
    Refused,
    /// A content encryption that we do not know, or a key that is not as long as it wants.
    #[error("{0} cannot be decrypted with this key")]
    Unsupported(ContentAlgorithm),
    /// The octets are not those that the frame was made from.
    #[error("not the message that was scanned: {0}")]
    Malformed(#[from] DerError),
}

/// Why a message was not made.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// OpenSSL failed.
    #[error("the content cannot be encrypted")]
    Crypto(#[from] ErrorStack),
    /// There is nobody to encrypt to.
    #[error("a message needs a recipient")]
    NoRecipient,
    /// The key was not wrapped.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

/// How a new message is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// EnvelopedData with AES-256-CBC: what every mail program reads.
    Aes256Cbc,
    /// AuthEnvelopedData with AES-256-GCM.
    Aes256Gcm,
}

/// The fields that decryption needs.
struct Sealed {
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    /// authAttrs, re-tagged as a SET; empty where there are none (RFC 5083 section 2.2).
    aad: Vec<u8>,
    mac: Vec<u8>,
}

/// Decrypts the content of `message`, from which `frame` was made.
///
/// # Errors
/// [`DecryptError`].
pub fn decrypt(frame: &Frame, message: &[u8], cek: &Cek) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let algorithm = &frame.content_algorithm;
    let cipher = match algorithm {
        _ if algorithm.key_len() != Some(cek.len()) => None,
        ContentAlgorithm::Aes128Cbc => Some(Cipher::aes_128_cbc()),
        ContentAlgorithm::Aes128Gcm => Some(Cipher::aes_128_gcm()),
        ContentAlgorithm::Aes192Cbc => Some(Cipher::aes_192_cbc()),
        ContentAlgorithm::Aes192Gcm => Some(Cipher::aes_192_gcm()),
        ContentAlgorithm::Aes256Cbc => Some(Cipher::aes_256_cbc()),
        ContentAlgorithm::Aes256Gcm => Some(Cipher::aes_256_gcm()),
        ContentAlgorithm::DesEde3Cbc => Some(Cipher::des_ede3_cbc()),
        ContentAlgorithm::Other(_) => None,
    };
    let cipher = cipher.ok_or_else(|| DecryptError::Unsupported(algorithm.clone()))?;
    let sealed = read_sealed(frame, message)?;
    let (key, iv) = (cek.expose(), Some(sealed.iv.as_slice()));
    let plain = match frame.kind {
        ContentKind::AuthEnvelopedData => {
            symm::decrypt_aead(cipher, key, iv, &sealed.aad, &sealed.ciphertext, &sealed.mac)
        }
        ContentKind::EnvelopedData => symm::decrypt(cipher, key, iv, &sealed.ciphertext),
    };
    plain.map(Zeroizing::new).map_err(|_| DecryptError::Refused)
}

/// Reads the tail of a message.
fn read_sealed(frame: &Frame, message: &[u8]) -> Result<Sealed, DecryptError> {
    let range = |from: u64, to: u64| {
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        range.and_then(|(from, to)| message.get(from..to)).ok_or(Fault::Truncated.in_type("ContentInfo"))
    };
    let info = der::normalise(range(frame.ri_end, frame.eci_end)?, "EncryptedContentInfo")?;
    let mut outer = Reader::new(&info, "EncryptedContentInfo");
    let mut fields = outer.enter(Tag::SEQUENCE, "EncryptedContentInfo")?;
    fields.oid()?;
    let algorithm = ContentAlgorithm::decode(fields.element(Tag::SEQUENCE)?.raw, frame.kind)?;
    let content = fields.any()?;
    let ciphertext = if content.tag.is_constructed() {
        let mut segments = Reader::new(content.value, "encryptedContent");
        let mut joined = Vec::with_capacity(content.value.len());
        while !segments.is_empty() {
            joined.extend_from_slice(segments.octets()?);
        }
        joined
    } else {
        content.value.to_vec()
    };

    let (mut aad, mut mac) = (Vec::new(), Vec::new());
    if frame.kind == ContentKind::AuthEnvelopedData {
        let mut rest = range(frame.eci_end, frame.end)?;
        let mut next = der::normalise_next(&mut rest, "AuthEnvelopedData")?;
        if next.first() == Some(&Tag::context_constructed(1).0) {
            aad = next;
            aad.splice(..1, [Tag::SET.0]);
            next = der::normalise_next(&mut rest, "AuthEnvelopedData")?;
        }
        mac = Reader::all(&next, "mac", Reader::octets)?.to_vec();
    }
    Ok(Sealed { iv: algorithm.iv.to_vec(), ciphertext, aad, mac })
}

/// Makes a message: `plain`, a MIME entity, encrypted under a fresh key, and the key wrapped for each recipient.
///
/// # Errors
/// [`EncryptError`].
pub fn encrypt(plain: &[u8], sealing: Sealing, recipients: &[MemberKey]) -> Result<Vec<u8>, EncryptError> {
    let cek = fresh_cek()?;
    let mut infos = recipients.iter().map(|recipient| recipient.wrap(&cek)).collect::<Result<Vec<_>, _>>()?;
    if infos.is_empty() {
        return Err(EncryptError::NoRecipient);
    }
    // DER orders the elements of a SET OF by their octets (X.690 section 11.6).
    infos.sort();
    Ok(seal(plain, sealing, &cek, &infos)?)
}

#[expect(clippy::expect_used, reason = "the length is right above")]
fn fresh_cek() -> Result<Cek, ErrorStack> {
    let mut octets = Zeroizing::new(vec![0; 32]);
    rand_bytes(&mut octets)?;
    // Unwrap safety: 32 is one of the three lengths of a key.
    Ok(Cek::new(octets).expect("32 octets are a key"))
}

fn seal(plain: &[u8], sealing: Sealing, cek: &Cek, infos: &[Vec<u8>]) -> Result<Vec<u8>, ErrorStack> {
    let (kind, algorithm, parameters, ciphertext, mac) = match sealing {
        Sealing::Aes256Cbc => {
            let mut iv = [0; labels::AES_BLOCK];
            rand_bytes(&mut iv)?;
            let ciphertext = symm::encrypt(Cipher::aes_256_cbc(), cek.expose(), Some(&iv), plain)?;
            (ContentKind::EnvelopedData, labels::AES256_CBC, der::octet_string(&iv), ciphertext, Vec::new())
        }
        Sealing::Aes256Gcm => {
            let (mut nonce, mut tag) = ([0; labels::GCM_NONCE], [0; labels::GCM_TAG]);
            rand_bytes(&mut nonce)?;
            let cipher = Cipher::aes_256_gcm();
            let ciphertext = symm::encrypt_aead(cipher, cek.expose(), Some(&nonce), &[], plain, &mut tag)?;
            let parameters = der::sequence(&[&der::octet_string(&nonce), &der::small(labels::GCM_TAG as u8)]);
            let mac = der::octet_string(&tag);
            (ContentKind::AuthEnvelopedData, labels::AES256_GCM, parameters, ciphertext, mac)
        }
    };
    let version = cms_version(kind, infos.iter().map(Vec::as_slice), false);
    let enveloped = der::sequence(&[
        &der::small(version),
        &der::tlv(Tag::SET, &infos.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        &der::sequence(&[
            &der::object_id(labels::DATA),
            &der::sequence(&[&der::object_id(algorithm), &parameters]),
            &der::tlv(Tag::context(0), &[&ciphertext]),
        ]),
        &mac,
    ]);
    Ok(der::sequence(&[&der::object_id(kind.oid()), &der::tlv(Tag::context_constructed(0), &[&enveloped])]))
}
