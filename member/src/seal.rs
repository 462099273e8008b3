//! Signs a MIME entity, encrypts the result and writes it as a message (RFC 8551 section 3.4, 3.3).

use crate::exit::{Exit, Explain};
use crate::identity::Identity;
use crate::trust;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::stack::Stack;
use openssl::x509::X509;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::content::{self, EncryptError, Sealing};
use twinseal_proto::cms::recipient::Hash;
use twinseal_proto::cms::wrap::{MemberKey, MemberKeyError, RsaScheme};

/// Columns of base64 text.
const COLUMNS: usize = 76;

/// A message was not made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A list's key is of a sort that nothing is encrypted to.
    #[error("nothing can be encrypted to the certificate of {list}")]
    List {
        /// The list.
        list: String,
        /// Why.
        #[source]
        error: MemberKeyError,
    },
    /// The encryption failed.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// The signature failed.
    #[error("the message cannot be signed")]
    Sign(#[from] ErrorStack),
}

impl Explain for SealError {
    fn exit(&self) -> Exit {
        match self {
            Self::List { .. } => Exit::Data,
            _ => Exit::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::List { .. } => Some("tell the list's owner".to_owned()),
            _ => None,
        }
    }
}

/// The entity inside a `multipart/signed`, with the signer's certificate and its issuers in the signature.
///
/// # Errors
/// [`SealError::Sign`].
pub fn sign(entity: &[u8], identity: &Identity) -> Result<Vec<u8>, SealError> {
    let mut issuers = Stack::new()?;
    for issuer in &identity.chain {
        issuers.push(issuer.clone())?;
    }
    // The entity is canonical already; OpenSSL's own digest is SHA-256 for RSA and for elliptic curves.
    let options = CMSOptions::DETACHED | CMSOptions::BINARY;
    let signature =
        CmsContentInfo::sign(Some(&identity.certificate), Some(&identity.key), Some(&issuers), Some(entity), options)?;
    let signature = lines(&signature.to_der()?);

    let mut random = [0; 16];
    rand_bytes(&mut random)?;
    let boundary: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut out = Vec::with_capacity(entity.len() + signature.len() + 1024);
    out.extend_from_slice(
        format!(
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n\
             \tmicalg=sha-256; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
        )
        .as_bytes(),
    );
    out.extend_from_slice(entity);
    out.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=smime.p7s\r\n\r\n\
             {signature}--{boundary}--\r\n"
        )
        .as_bytes(),
    );
    Ok(out)
}

/// Encrypts to the lists' certificates: EnvelopedData with AES-256-CBC, which every mail program reads (DESIGN 2); RSA
/// keys get OAEP with SHA-256, which every group key opens.
///
/// # Errors
/// [`SealError`].
pub fn encrypt(entity: &[u8], lists: &[&X509]) -> Result<Vec<u8>, SealError> {
    let mut keys = Vec::new();
    for certificate in lists {
        let unfit = |error| SealError::List { list: trust::name(certificate), error };
        let der = certificate.to_der()?;
        let key = CertificateKey::read(&der).map_err(|error| unfit(error.into()))?;
        keys.push(MemberKey::new(key.issuer_and_serial, key.spki, RsaScheme::Oaep(Hash::Sha256)).map_err(unfit)?);
    }
    Ok(content::encrypt(entity, Sealing::Aes256Cbc, &keys)?)
}

/// The outer message: `header`, then `cms` as its whole content.
#[must_use]
pub fn message(header: &[u8], cms: &[u8]) -> Vec<u8> {
    let mut message = header.to_vec();
    message.extend_from_slice(
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\
          Content-Transfer-Encoding: base64\r\n\
          Content-Disposition: attachment; filename=smime.p7m\r\n\r\n",
    );
    message.extend_from_slice(lines(cms).as_bytes());
    message
}

/// Base64 in lines with CRLF.
fn lines(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len() / 57 * (COLUMNS + 2) + COLUMNS + 2);
    for line in octets.chunks(COLUMNS / 4 * 3) {
        STANDARD.encode_string(line, &mut out);
        out.push_str("\r\n");
    }
    out
}
