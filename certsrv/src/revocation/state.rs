//! What revocation and publication hold in memory and on the disk, for each CA.

use super::answers::Answers;
use super::lists::SignedList;
use super::request::Hash;
use super::responder::{self, Responder, key_bits};
use super::response::IssuerHashes;
use crate::app::App;
use crate::cert::ca::{Ca, CaError};
use crate::config::Config;
use crate::layout::Layout;
use crate::rows::Published;
use openssl::error::ErrorStack;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;
use twinseal_proto::cms::der::DerError;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::commit::CommitError;
use twinseal_svc::durable;

/// Revocation status could not be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// A file.
    #[error("{path}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// OpenSSL.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// The audit log.
    #[error("audit")]
    Audit(#[from] CommitError),
    /// A certificate of ours cannot be read.
    #[error(transparent)]
    Certificate(#[from] DerError),
}

/// All that is needed to answer.
pub(crate) struct RevocationState {
    members: CaState,
    services: CaState,
    /// The root's CRL as it was signed where the root's key is.
    pub(super) root_crl: Option<Vec<u8>>,
}

/// What is held for one CA.
pub(super) struct CaState {
    /// The CA as CertIDs name it.
    pub(super) issuer: IssuerHashes,
    /// Answers that were signed.
    pub(super) answers: Answers,
    /// The newest CRL.
    pub(super) list: Mutex<Option<Arc<SignedList>>>,
    responder: RwLock<Arc<Responder>>,
    responder_file: PathBuf,
    list_file: PathBuf,
}

impl RevocationState {
    /// Reads what is in the state directory, and makes the responder keys that are missing.
    pub(crate) async fn open(
        layout: &Layout,
        config: &Config,
        (members, services): (&Ca, &Ca),
        audit: &Audit,
    ) -> Result<Self, StateError> {
        for dir in [layout.ocsp(), layout.crl()] {
            durable::make_dir(&dir).map_err(|source| StateError::File { path: dir, source })?;
        }
        let path = layout.root_crl();
        let root_crl = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(|source| StateError::File { path, source })?),
        };
        let of = |by, ca| CaState::open(layout, by, ca, &config.ca_name, audit);
        Ok(Self {
            members: of(Published::Members, members).await?,
            services: of(Published::Services, services).await?,
            root_crl,
        })
    }

    /// What is held for this CA.
    pub(super) const fn of(&self, by: Published) -> &CaState {
        match by {
            Published::Members => &self.members,
            Published::Services => &self.services,
        }
    }
}

impl CaState {
    async fn open(layout: &Layout, by: Published, ca: &Ca, ca_name: &str, audit: &Audit) -> Result<Self, StateError> {
        let name = ca.certificate().subject_name().to_der()?;
        let issuer = IssuerHashes::new(&name, key_bits(ca.der())?);
        let responder_file = layout.ocsp().join(format!("{}.pem", by.name()));
        let responder = responder::load(&responder_file, by, ca, ca_name, audit).await?;
        let list_file = layout.crl().join(format!("{}.json", by.name()));
        Ok(Self {
            issuer,
            answers: Answers::default(),
            list: Mutex::new(SignedList::read(&list_file)?.map(Arc::new)),
            responder: RwLock::new(Arc::new(responder)),
            responder_file,
            list_file,
        })
    }

    /// Whether a CertID with this hash of name and of key means this CA.
    pub(super) fn is_named(&self, hash: Hash, name: &[u8], key: &[u8]) -> bool {
        self.issuer.of(hash) == (name, key)
    }

    /// The key that signs answers now.
    pub(super) fn responder(&self) -> Arc<Responder> {
        Arc::clone(&self.responder.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the newest CRL is kept.
    pub(super) const fn list_file(&self) -> &PathBuf {
        &self.list_file
    }
}

/// The CA that signs for this name.
pub(super) const fn ca(app: &App, by: Published) -> &Ca {
    match by {
        Published::Members => &app.members_ca,
        Published::Services => &app.services_ca,
    }
}

/// Makes another responder key where the present one is near its end. Answers that the old one signed stay good.
pub(super) async fn renew_responder(app: &App, by: Published, now: UnixTime) -> Result<(), StateError> {
    let state = app.revocation.of(by);
    if !state.responder().due(now) {
        return Ok(());
    }
    let audit = app.registry.audit();
    let made = responder::make(&state.responder_file, by, ca(app, by), &app.config.ca_name, audit, now).await?;
    *state.responder.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
    Ok(())
}
