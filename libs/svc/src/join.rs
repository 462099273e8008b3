//! How groupsrv and the exploder become certsrv's: a key of their own, a one-time token, a certificate, and pins.
//!
//! The key waits in `tls/key.new.pem` until all is written: after an answer that was lost the same call, with the same
//! token, is for the same key, and certsrv gives its certificate again.

use crate::client::{CallError, Client};
use crate::durable;
use crate::pins::Pins;
use crate::tls::{Identity, TlsError};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder, X509Req, X509ReqBuilder};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::services::{JoinService, JoinServiceRequest, JoinServiceResponse};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::FeedId;

/// What `join` takes on a command line.
#[derive(Debug, clap::Args)]
pub struct JoinArgs {
    /// certsrv's address, https://host:port
    #[arg(long)]
    pub certsrv: String,
    /// SHA-256 of certsrv's public key, as it was shown with the token
    #[arg(long)]
    pub pin: Digest,
    /// File with the PEM root CA
    #[arg(long)]
    pub root: PathBuf,
    /// File with the one-time token
    #[arg(long)]
    pub token_file: PathBuf,
    /// DNS name or IP address under which this service is called; may be given several times
    #[arg(long = "name", required = true)]
    pub names: Vec<String>,
}

/// The feed that a service follows: `feed.json` in its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedTrust {
    /// The feed.
    pub feed: FeedId,
    /// The generation that was accepted.
    pub generation: u64,
    /// DER SubjectPublicKeyInfo of the feed key; the newest one that was followed.
    pub key: B64,
    /// A snapshot is to be taken in place of the roster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl FeedTrust {
    /// Reads `feed.json` in `state`.
    ///
    /// # Errors
    /// The file's I/O error, or that it is not what `join` wrote.
    pub fn load(state: &Path) -> std::io::Result<Self> {
        let text = std::fs::read(state.join("feed.json"))?;
        serde_json::from_slice(&text).map_err(std::io::Error::from)
    }

    /// Replaces `feed.json` in `state`.
    ///
    /// # Errors
    /// The I/O error of writing it.
    pub fn save(&self, state: &Path) -> std::io::Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        durable::replace(&state.join("feed.json"), &json)
    }

    /// The feed key.
    ///
    /// # Errors
    /// OpenSSL's, when the octets are no key.
    pub fn key(&self) -> Result<PKey<Public>, ErrorStack> {
        PKey::public_key_from_der(self.key.as_ref())
    }
}

/// Joining failed; nothing was changed unless the error says so, and the same call may be made again.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A file could not be read or written.
    #[error("file")]
    File(#[from] std::io::Error),
    /// A key, request or certificate could not be made or read.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// certsrv did not answer, or refused.
    #[error("certsrv")]
    Call(#[from] CallError),
    /// certsrv answered with something else than was asked for.
    #[error("certsrv's answer: {0}")]
    Answer(&'static str),
}

/// Joins: writes `tls/`, `feed.json` and certsrv's pin into `state`. Returns the service's own pin, to be compared and
/// given to its peers.
///
/// # Errors
/// [`JoinError`].
pub async fn join(state: &Path, args: &JoinArgs) -> Result<Digest, JoinError> {
    durable::make_dir(state)?;
    let root = X509::from_pem(&std::fs::read(&args.root)?)?;
    let token =
        zeroize::Zeroizing::new(String::from_utf8_lossy(&durable::read_secret(&args.token_file)?).trim().to_owned());
    let (tls, unfinished) = (state.join("tls"), state.join("tls/key.new.pem"));
    durable::make_dir(&tls)?;
    let key = key_for_joining(&unfinished)?;
    let csr = request(&key, &args.names)?;
    let client = Client::pinned(&args.certsrv, &root, args.pin, None)?;
    let call = JoinServiceRequest { token: token.to_string(), csr: B64(csr.to_der()?) };
    let answer: JoinServiceResponse = match client.call::<JoinService>(&call, Duration::from_secs(30)).await {
        Err(CallError::Refused(problem)) if problem.code == ProblemCode::Conflict => {
            // The key is refused for good: lost, or another service's. The next try makes another.
            std::fs::remove_file(&unfinished)?;
            return Err(CallError::Refused(problem).into());
        }
        other => other?,
    };
    let own = X509::from_der(answer.certificate.as_ref())?;
    if !own.public_key()?.public_eq(&key) {
        return Err(JoinError::Answer("the certificate is for another key"));
    }
    let issuers = answer.chain.iter().map(|der| X509::from_der(der.as_ref())).collect::<Result<Vec<_>, _>>()?;
    if issuers.last().is_none_or(|last| last.to_der().ok() != root.to_der().ok()) {
        return Err(JoinError::Answer("the chain does not end at the root CA that was given"));
    }
    let chain = std::iter::once(own).chain(issuers.into_iter().rev().skip(1).rev()).collect();
    let identity = Identity::new(key, chain, root);
    identity.save(&tls)?;
    let trust = FeedTrust { feed: answer.feed, generation: answer.generation, key: answer.feed_key, resync: false };
    trust.save(state)?;
    let mut pins = Pins::load(state)?;
    pins.certsrv = Some(args.pin);
    pins.save(state)?;
    std::fs::remove_file(&unfinished)?;
    durable::sync_dir(&tls)?;
    Ok(identity.pin()?)
}

/// The key of an earlier try that was not finished, or a new one, which is saved before it is used.
fn key_for_joining(path: &Path) -> Result<PKey<Private>, JoinError> {
    match durable::read_secret(path) {
        Ok(pem) => Ok(PKey::private_key_from_pem(&pem)?),
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
            durable::replace(path, &zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8()?))?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}

fn request(key: &PKey<Private>, names: &[String]) -> Result<X509Req, ErrorStack> {
    let mut builder = X509ReqBuilder::new()?;
    builder.set_pubkey(key)?;
    let mut subject = X509NameBuilder::new()?;
    if let Some(name) = names.first() {
        subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    }
    builder.set_subject_name(&subject.build())?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        if name.parse::<std::net::IpAddr>().is_ok() {
            alternatives.ip(name)
        } else {
            alternatives.dns(name)
        };
    }
    let mut extensions = Stack::new()?;
    extensions.push(alternatives.build(&builder.x509v3_context(None))?)?;
    builder.add_extensions(&extensions)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
