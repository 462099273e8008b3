//! Opens an encrypted message with the member's key.

use crate::exit::{Exit, Explain};
use crate::identity::Identity;
use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Name};
use std::fmt;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::choose::{Choice, Chosen, choose};
use twinseal_proto::cms::content::{self, DecryptError};
use twinseal_proto::cms::der::DerError;
use twinseal_proto::cms::frame::{self, Frame, FrameError, Limits};
use twinseal_proto::cms::recipient::{RecipientId, RecipientInfo};
use twinseal_proto::cms::unwrap::{SoftwareKey, SoftwareKeyError, UnwrapError, unwrap};
use zeroize::Zeroizing;

/// A decrypted message.
pub struct Opened {
    /// The MIME entity.
    pub entity: Zeroizing<Vec<u8>>,
    /// Whether the cipher itself shows changes: AES-GCM does, CBC does not.
    pub authenticated: bool,
}

/// The message does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a CMS message that we understand.
    #[error("the encrypted part cannot be understood")]
    Frame(#[from] FrameError),
    /// A RecipientInfo that is none, or one that is too strange.
    #[error("the encrypted part cannot be understood: {0}")]
    Recipients(String),
    /// It is for somebody else.
    #[error("the message is not encrypted to your certificate, but to {}", list(.0))]
    NotForMe(Vec<Recipient>),
    /// A cipher that we do not have.
    #[error("the message cannot be decrypted")]
    Cipher(#[source] DecryptError),
    /// It is for our certificate, and does not open, or the content makes no sense.
    #[error(
        "the message is addressed to your certificate, but its content makes no sense: the sender encrypted to another \
         key with the same issuer and serial number, or the message was damaged on its way"
    )]
    Garbled {
        /// The lists it was sent to, and the fingerprint of the certificate that we know for each.
        lists: Vec<String>,
    },
    /// Our own key cannot be used.
    #[error(transparent)]
    Key(#[from] SoftwareKeyError),
    /// OpenSSL failed.
    #[error("cryptography failed")]
    Crypto(#[from] ErrorStack),
}

/// For whom a message is, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient(String);

impl Explain for OpenError {
    fn exit(&self) -> Exit {
        match self {
            Self::Frame(_) | Self::Recipients(_) | Self::Cipher(_) => Exit::Data,
            Self::NotForMe(_) => Exit::NotForMe,
            Self::Garbled { .. } => Exit::Garbled,
            Self::Key(_) => Exit::Setup,
            Self::Crypto(_) => Exit::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotForMe(_) => Some("twinseal status, and compare; the copy may be another member's".to_owned()),
            Self::Garbled { lists } if lists.is_empty() => {
                Some("ask the sender to encrypt to the list's present certificate".to_owned())
            }
            Self::Garbled { lists } => {
                Some(format!("ask the sender to encrypt to the certificate of {}", lists.join(", or of ")))
            }
            Self::Frame(_) | Self::Recipients(_) | Self::Cipher(_) => {
                Some("ask the sender to encrypt with S/MIME and AES".to_owned())
            }
            Self::Key(_) | Self::Crypto(_) => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Opens `cms`. What fails after the right recipient was found is always [`OpenError::Garbled`]: the reasons look alike.
///
/// # Errors
/// [`OpenError`].
pub fn open(cms: &[u8], identity: &Identity) -> Result<Opened, OpenError> {
    let (cms, frame) = scan(cms)?;
    let own = identity.certificate.to_der()?;
    let own = CertificateKey::read(&own).map_err(not_understood)?;
    let is_mine = |rid: &RecipientId| own.is_named_by(rid).then_some(());
    let chosen: Chosen<()> = match choose(&frame.recipient_infos, is_mine).map_err(not_understood)? {
        Choice::Chosen(chosen) => chosen,
        Choice::NotForGroup => return Err(OpenError::NotForMe(recipients(&frame)?)),
        Choice::Conflicting => return Err(OpenError::Recipients("it holds two keys for you".to_owned())),
        Choice::TooLong(octets) => return Err(OpenError::Recipients(format!("a wrapped key of {octets} octets"))),
        Choice::Unsupported => return Err(OpenError::Recipients("the way its key is encrypted is unknown".to_owned())),
    };
    let info = RecipientInfo::decode(&chosen.der).map_err(not_understood)?;
    let key = SoftwareKey::new(&identity.key)?;
    let garbled = || OpenError::Garbled { lists: Vec::new() };
    let cek = match unwrap(&info, &chosen.rid, &key, &frame.content_algorithm, &key.rejection_secret()?) {
        Ok(opened) => opened.cek,
        Err(UnwrapError::Refused | UnwrapError::Public(_)) => return Err(garbled()),
        Err(UnwrapError::Key(error)) => return Err(OpenError::Recipients(error.to_string())),
    };
    let entity = content::decrypt(&frame, cms, &cek).map_err(|error| match error {
        DecryptError::Refused => garbled(),
        other => OpenError::Cipher(other),
    })?;
    Ok(Opened { entity, authenticated: frame.content_algorithm.is_aes_gcm() })
}

/// Scans, and forgives line ends after a binary part.
fn scan(cms: &[u8]) -> Result<(&[u8], Frame), FrameError> {
    let limits = Limits::default();
    match frame::scan(cms, &limits) {
        Err(FrameError::TrailingData { offset }) => {
            let (cms, rest) = cms.split_at_checked(usize::try_from(offset).unwrap_or(usize::MAX)).unwrap_or((cms, &[]));
            if rest.iter().all(u8::is_ascii_whitespace) {
                return Ok((cms, frame::scan(cms, &limits)?));
            }
            Err(FrameError::TrailingData { offset })
        }
        other => Ok((cms, other?)),
    }
}

fn not_understood(error: DerError) -> OpenError {
    OpenError::Recipients(error.to_string())
}

fn recipients(frame: &Frame) -> Result<Vec<Recipient>, OpenError> {
    let mut found = Vec::new();
    for der in &frame.recipient_infos {
        let info = RecipientInfo::decode(der).map_err(not_understood)?;
        found.extend(info.recipient_ids().map(describe));
    }
    Ok(found)
}

fn list(recipients: &[Recipient]) -> String {
    let shown: Vec<String> = recipients.iter().take(10).map(ToString::to_string).collect();
    match recipients.len() {
        0 => "nobody by certificate".to_owned(),
        count if count > shown.len() => format!("{} and {} more", shown.join("; "), count - shown.len()),
        _ => shown.join("; "),
    }
}

/// `issuer CN=…, serial 0a1b`, or `subject key identifier …`.
fn describe(rid: &RecipientId) -> Recipient {
    Recipient(match rid {
        RecipientId::IssuerAndSerial { issuer_der, serial } => {
            format!("issuer {}, serial {}", issuer(&issuer_der.0), hex(&serial.0))
        }
        RecipientId::SubjectKeyId(id) => format!("subject key identifier {}", hex(&id.0)),
    })
}

/// The serial number of a certificate as [`OpenError::NotForMe`] writes it.
#[must_use]
pub fn serial(certificate: &X509) -> String {
    twinseal_proto::cert::serial_octets(certificate).map(|octets| hex(&octets)).unwrap_or_default()
}

/// The name's attributes, `CN=Members, O=Example`; hexadecimal if it is no name.
fn issuer(der: &[u8]) -> String {
    let Ok(name) = X509Name::from_der(der) else { return hex(der) };
    let attribute = |entry: &openssl::x509::X509NameEntryRef| {
        let kind = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry.data().to_string().unwrap_or_default();
        format!("{kind}={}", value.chars().filter(|c| !c.is_control()).take(100).collect::<String>())
    };
    name.entries().map(attribute).collect::<Vec<_>>().join(", ")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
