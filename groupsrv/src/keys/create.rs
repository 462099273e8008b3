//! Making a group's key pair: stored first, certified by certsrv then, in use last. A pair that was stored and not certified
//! when the daemon died is finished at the next start, so that no certificate is ever published for a key that was lost.

use super::credential::Credential;
use super::file::{Certified, KeyFileError, KeyName, StoredKey};
use super::{KeyRing, next_epoch};
use crate::record::Event;
use crate::service::{Service, internal};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509ReqBuilder, X509StoreContext};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use twinseal_proto::api::admin::groupsrv::CreatedKey;
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest, GroupCertificateResponse};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::GroupId;
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::failpoint;

/// How long certsrv may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to finish pairs at the start: doubled from 1 s to 60 s.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the making of keys needs.
pub(crate) struct Creator {
    /// The directory of the key files.
    pub(crate) keys: PathBuf,
    /// Seals them.
    pub(crate) credential: Credential,
    /// Certifies them.
    pub(crate) certsrv: Client,
    /// The root that certificates must come from.
    pub(crate) root: X509,
    /// Pairs that are stored and not certified. Held while one is made: one at a time.
    pub(crate) unfinished: Mutex<Vec<StoredKey>>,
}

impl Service {
    /// Makes a key pair for `group`, or finishes the one that was begun, and puts it into use.
    ///
    /// # Errors
    /// `not-found` without such a group, `unavailable` while certsrv is away, else certsrv's own refusal or `internal`.
    pub(crate) async fn create_key(
        self: &Arc<Self>,
        group: GroupId,
        algorithm: KeyAlgorithm,
    ) -> Result<CreatedKey, Problem> {
        if !self.roster.has_group(&group) {
            let text = "group: there is none of this id, as far as certsrv's feed has come";
            return Err(Problem::new(ProblemCode::NotFound, text));
        }
        let mut unfinished = self.creator.unfinished.lock().await;
        let begun = unfinished.iter().position(|key| (key.name.group, key.name.algorithm) == (group, algorithm));
        let index = match begun {
            Some(index) => index,
            None => {
                let of_ring = self.ring();
                let certified = of_ring.of(&group).iter().map(|key| (key.epoch, key.algorithm));
                let begun = unfinished.iter().filter(|key| key.name.group == group);
                let begun = begun.map(|key| (key.name.epoch, key.name.algorithm));
                let epoch = next_epoch(&certified.chain(begun).collect::<Vec<_>>(), algorithm);
                let name = KeyName { group, epoch, algorithm };
                unfinished.push(self.blocking(move |service| service.generate(name)).await??);
                failpoint::hit("groupsrv.key.after-generate");
                unfinished.len() - 1
            }
        };
        self.finish(&mut unfinished, index).await
    }

    /// Makes a pair and stores it.
    fn generate(&self, name: KeyName) -> Result<StoredKey, Problem> {
        let key = generate(name.algorithm).map_err(|error| internal("key generation", &error))?;
        let stored = StoredKey { name, key, certified: None };
        stored.save(&self.creator.keys, &self.creator.credential).map_err(|error| internal("key file", &error))?;
        Ok(stored)
    }

    /// Has a stored pair certified and puts it into use. On failure it stays among the unfinished.
    async fn finish(self: &Arc<Self>, unfinished: &mut Vec<StoredKey>, index: usize) -> Result<CreatedKey, Problem> {
        let Some(stored) = unfinished.get_mut(index) else {
            return Err(Problem::new(ProblemCode::Internal, "key creation failed"));
        };
        let KeyName { group, epoch, .. } = stored.name;
        let csr = request(&stored.key).map_err(|error| internal("certificate request", &error))?;
        let call = GroupCertificateRequest { group, epoch, csr: B64(csr) };
        let answer =
            self.creator.certsrv.call::<GroupCertificate>(&call, PATIENCE).await.map_err(|error| match error {
                CallError::Away(why) => {
                    Problem::new(ProblemCode::Unavailable, format!("certsrv does not answer: {why}"))
                }
                CallError::Refused(problem) => Problem::new(problem.code, format!("certsrv: {}", problem.detail)),
            })?;
        failpoint::hit("groupsrv.key.after-certificate");
        let pem = accept(&answer, &stored.key, &self.creator.root).map_err(|error| internal("certificate", &error))?;
        let chain = answer.chain.into_iter().map(|der| der.0).collect();
        stored.certified = Some(Certified { certificate: answer.certificate.0, chain });
        if let Err(error) = stored.save(&self.creator.keys, &self.creator.credential) {
            stored.certified = None;
            return Err(internal("key file", &error));
        }
        failpoint::hit("groupsrv.key.after-store");
        let finished = unfinished.swap_remove(index);
        self.put_into_use(std::slice::from_ref(&finished)).await?;
        Ok(CreatedKey { epoch, certificate: pem })
    }

    /// Records those of the pairs that are certified, unless that was done, and publishes them together.
    ///
    /// # Errors
    /// An `internal` problem.
    pub(crate) async fn put_into_use(self: &Arc<Self>, stored: &[StoredKey]) -> Result<(), Problem> {
        let known = self.index.keys().map_err(|error| internal("index", &error))?;
        let known: HashSet<KeyName> = known.into_iter().collect();
        let mut keys = Vec::with_capacity(stored.len());
        for stored in stored {
            let holder = stored.holder(&self.creator.keys).map_err(|error| internal("key file", &error))?;
            let Some(key) = holder else { continue };
            let name = stored.name;
            if !known.contains(&name) {
                let public_key = stored.key.public_key_to_der().map_err(|error| internal("key", &error))?;
                self.record(Event::KeyCreated { key: name, public_key: Digest::of(&public_key) }).await?;
                let noted = self.blocking(move |service| {
                    service.index.key_created(&name)?;
                    service.index.sync()
                });
                noted.await?.map_err(|error| internal("index", &error))?;
            }
            tracing::info!(group = %name.group, epoch = %name.epoch, algorithm = ?name.algorithm, "key in use");
            keys.push(key);
        }
        {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            *ring = Arc::new(keys.into_iter().fold(ring.as_ref().clone(), KeyRing::with));
        }
        self.publish();
        Ok(())
    }

    /// Finishes the pairs that were begun before the start. Ends when there are none, or when certsrv refuses them.
    pub(crate) async fn finish_begun(self: Arc<Self>) {
        let mut backoff = BACKOFF.0;
        loop {
            let mut later = false;
            {
                let mut unfinished = self.creator.unfinished.lock().await;
                let mut index = 0;
                while let Some(name) = unfinished.get(index).map(|key| key.name) {
                    let Err(problem) = self.finish(&mut unfinished, index).await else { continue };
                    tracing::warn!(group = %name.group, epoch = %name.epoch, %problem, "key pair not certified yet");
                    later |= problem.code.retry() == twinseal_proto::api::RetryClass::Later;
                    index += 1;
                }
            }
            if !later {
                return;
            }
            tokio::select! { () = tokio::time::sleep(backoff) => {}, () = self.stop.cancelled() => return }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }
}

fn generate(algorithm: KeyAlgorithm) -> Result<PKey<Private>, ErrorStack> {
    match algorithm {
        KeyAlgorithm::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?),
        KeyAlgorithm::P256 => PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?),
    }
}

/// A PKCS #10 request (RFC 2986): only the key in it counts, and its signature shows possession.
fn request(key: &PKey<Private>) -> Result<Vec<u8>, ErrorStack> {
    let mut builder = X509ReqBuilder::new()?;
    builder.set_pubkey(key)?;
    builder.sign(key, MessageDigest::sha256())?;
    builder.build().to_der()
}

/// Why certsrv's answer is not taken.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("unreadable")]
    Unreadable(#[from] ErrorStack),
    #[error("for another key")]
    OtherKey,
    #[error("not under our root: {0}")]
    Path(openssl::x509::X509VerifyResult),
}

/// Checks certsrv's answer: our key, and a path to our root. Gives the certificate as PEM.
fn accept(answer: &GroupCertificateResponse, key: &PKey<Private>, root: &X509) -> Result<String, AnswerError> {
    let certificate = X509::from_der(answer.certificate.as_ref())?;
    if !certificate.public_key()?.public_eq(key) {
        return Err(AnswerError::OtherKey);
    }
    let mut chain = Stack::new()?;
    for der in &answer.chain {
        chain.push(X509::from_der(der.as_ref())?)?;
    }
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(root.clone())?;
    let mut context = X509StoreContext::new()?;
    let verified = context.init(&store.build(), &certificate, &chain, |context| {
        Ok(if context.verify_cert()? { None } else { Some(context.error()) })
    })?;
    match verified {
        None => Ok(String::from_utf8_lossy(&certificate.to_pem()?).into_owned()),
        Some(error) => Err(AnswerError::Path(error)),
    }
}

/// Reads every stored pair; those that the log tells of must be there.
///
/// # Errors
/// [`KeyFileError`] for the first that cannot be used or is missing.
pub(crate) fn check_all(keys: &std::path::Path, stored: &[StoredKey], made: &[KeyName]) -> Result<(), KeyFileError> {
    match made.iter().find(|name| !stored.iter().any(|key| key.name == **name && key.certified.is_some())) {
        Some(missing) => Err(KeyFileError::Missing(missing.path(keys))),
        None => Ok(()),
    }
}
