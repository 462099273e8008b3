//! Enrolment over secure transport (RFC 7030, with the corrections of RFC 8951): certificates of the CA, and our own.

use crate::exit::{Exit, Explain};
use crate::http::{Client, HttpError, Response};
use crate::identity::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs7::Pkcs7;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name, X509NameRef, X509ReqBuilder};
use twinseal_proto::api::enrol::{CA_CERTS, SIMPLE_ENROLL, SIMPLE_REENROLL};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::secret::Token;
use zeroize::Zeroizing;

/// What proves to certsrv who asks.
pub enum Credential {
    /// A token that certsrv issued.
    Token(Token),
    /// The account's password.
    Password(Zeroizing<String>),
}

/// Enrolment failed.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// The call failed or was refused.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The request waits for a decision (RFC 7030 section 4.2.3).
    #[error("the request waits for approval{0}")]
    Pending(String),
    /// The answer is not the PKCS #7 of RFC 7030 section 4.1.3.
    #[error("the answer of certsrv holds no certificates")]
    Malformed,
    /// OpenSSL failed.
    #[error("cryptography failed")]
    Crypto(#[from] ErrorStack),
}

impl Explain for EstError {
    fn exit(&self) -> Exit {
        match self {
            Self::Http(error) => error.exit(),
            Self::Pending(_) => Exit::TemporaryFailure,
            Self::Malformed => Exit::Refused,
            Self::Crypto(_) => Exit::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Pending(_) => Some("the same command again later; the key is kept".to_owned()),
            Self::Malformed => Some("check certsrv's URL".to_owned()),
            Self::Crypto(_) => None,
        }
    }
}

/// The certificates of the CA: root and issuing sub-CA. They are not believed for coming from here.
///
/// # Errors
/// [`EstError`].
pub fn ca_certificates(client: &Client) -> Result<Vec<X509>, EstError> {
    certificates(client, &client.request("GET", CA_CERTS, &[], b"")?)
}

/// Asks for a certificate for `key` that names `address`; the answer may hold others beside it.
///
/// # Errors
/// [`EstError`].
pub fn simple_enroll(
    client: &Client,
    address: &MailAddress,
    key: &PKey<Private>,
    credential: &Credential,
) -> Result<Vec<X509>, EstError> {
    let body = STANDARD.encode(request(address, key)?);
    let authorization = authorization(address, credential);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/pkcs10"),
        ("Content-Transfer-Encoding", "base64"),
    ];
    certificates(client, &client.request("POST", SIMPLE_ENROLL, &headers, body.as_bytes())?)
}

/// Asks for another certificate for the key of `identity`, which `client` presents (RFC 7030 section 4.2.2); the answer may
/// hold others beside it.
///
/// # Errors
/// [`EstError`].
pub fn simple_reenroll(client: &Client, address: &MailAddress, identity: &Identity) -> Result<Vec<X509>, EstError> {
    let der = request_as(identity.certificate.subject_name(), address, &identity.key)?;
    let headers = [("Content-Type", "application/pkcs10"), ("Content-Transfer-Encoding", "base64")];
    let body = STANDARD.encode(der);
    certificates(client, &client.request("POST", SIMPLE_REENROLL, &headers, body.as_bytes())?)
}

/// A PKCS #10 request whose subjectAltName is the address; its signature proves that we hold the key.
fn request(address: &MailAddress, key: &PKey<Private>) -> Result<Vec<u8>, ErrorStack> {
    let mut subject = X509Name::builder()?;
    // A common name has at most 64 characters (RFC 5280 appendix A.1); the address that counts is the alternative name.
    let common_name: String = address.as_str().chars().take(64).collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &common_name)?;
    request_as(&subject.build(), address, key)
}

fn request_as(subject: &X509NameRef, address: &MailAddress, key: &PKey<Private>) -> Result<Vec<u8>, ErrorStack> {
    let mut builder = X509ReqBuilder::new()?;
    builder.set_version(0)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(key)?;
    let name = SubjectAlternativeName::new().email(address.as_str()).build(&builder.x509v3_context(None))?;
    let mut extensions = Stack::new()?;
    extensions.push(name)?;
    builder.add_extensions(&extensions)?;
    builder.sign(key, MessageDigest::sha256())?;
    builder.build().to_der()
}

/// The Authorization field: Bearer (RFC 6750) or Basic (RFC 7617).
fn authorization(address: &MailAddress, credential: &Credential) -> Zeroizing<String> {
    let (scheme, value) = match credential {
        Credential::Token(token) => ("Bearer ", Zeroizing::new(token.expose().to_owned())),
        Credential::Password(password) => {
            let mut pair = Zeroizing::new(String::with_capacity(address.as_str().len() + 1 + password.len()));
            pair.push_str(address.as_str());
            pair.push(':');
            pair.push_str(password);
            ("Basic ", Zeroizing::new(STANDARD.encode(pair.as_bytes())))
        }
    };
    let mut field = Zeroizing::new(String::with_capacity(scheme.len() + value.len()));
    field.push_str(scheme);
    field.push_str(&value);
    field
}

/// The certificates in a certs-only answer: base64, with or without line ends.
fn certificates(client: &Client, response: &Response) -> Result<Vec<X509>, EstError> {
    match response.status {
        200 => {}
        202 => {
            let after =
                response.header("retry-after").map_or_else(String::new, |time| format!("; ask again after {time}"));
            return Err(EstError::Pending(after));
        }
        404 => return Err(HttpError::Malformed(client.server().to_owned()).into()),
        _ => return Err(HttpError::Refused(response.problem()).into()),
    }
    let text: Vec<u8> = response.body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(text).map_err(|_| EstError::Malformed)?;
    let message = Pkcs7::from_der(&der).map_err(|_| EstError::Malformed)?;
    let certificates = message.signed().and_then(openssl::pkcs7::Pkcs7SignedRef::certificates);
    let found: Vec<X509> = certificates.into_iter().flatten().map(ToOwned::to_owned).collect();
    if found.is_empty() { Err(EstError::Malformed) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::identity::KeyType;
    use openssl::x509::X509Req;

    #[test]
    fn the_request_names_the_address_and_is_signed_by_its_key() {
        let address: MailAddress = "ann@members.test".parse().unwrap();
        for key_type in [KeyType::Rsa2048, KeyType::P256, KeyType::P384] {
            let key = key_type.generate().unwrap();
            let request = X509Req::from_der(&request(&address, &key).unwrap()).unwrap();
            assert!(request.verify(&key).unwrap());
            assert_eq!(request.extensions().unwrap().len(), 1);
        }
    }

    #[test]
    fn credentials_are_written_as_their_schemes_say() {
        let address: MailAddress = "ann@members.test".parse().unwrap();
        let token = Credential::Token(Token::presented("t0k".to_owned()));
        assert_eq!(*authorization(&address, &token), "Bearer t0k");
        let password = Credential::Password(Zeroizing::new("s:3".to_owned()));
        assert_eq!(*authorization(&address, &password), format!("Basic {}", STANDARD.encode("ann@members.test:s:3")));
    }
}
