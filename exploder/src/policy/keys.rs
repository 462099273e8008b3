//! The ids of a group's keys, as groupsrv tells them (DESIGN 3): what a RecipientInfo has to name.

use super::KeyHint;
use twinseal_proto::api::keys::{EpochState, GroupKeys, KeyAlgorithm};
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::der::DerError;
use twinseal_proto::cms::recipient::RecipientId;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{Epoch, ListAddress};

/// One of the certificates of a group cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of epoch {epoch} cannot be read")]
pub struct KeyFault {
    /// Its epoch.
    pub epoch: Epoch,
    /// What is wrong with it.
    #[source]
    pub source: DerError,
}

/// The keys of one group, newest epoch first.
#[derive(Debug, Clone, Default)]
pub struct GroupKeyIds(Vec<GroupKeyId>);

#[derive(Debug, Clone)]
struct GroupKeyId {
    epoch: Epoch,
    algorithm: KeyAlgorithm,
    state: EpochState,
    issuer_and_serial: RecipientId,
    subject_key_id: Option<RecipientId>,
    fingerprint: Digest,
}

impl GroupKeyIds {
    /// Reads the ids out of the certificates.
    ///
    /// # Errors
    /// [`KeyFault`] for the first one that cannot be read.
    pub fn read(keys: &GroupKeys) -> Result<Self, KeyFault> {
        let ids = keys.epochs.iter().map(|key| {
            let der = key.certificate.as_ref();
            let read = CertificateKey::read(der).map_err(|source| KeyFault { epoch: key.epoch, source })?;
            Ok(GroupKeyId {
                epoch: key.epoch,
                algorithm: key.algorithm,
                state: key.state,
                issuer_and_serial: read.issuer_and_serial,
                subject_key_id: read.subject_key_id,
                fingerprint: Digest::of(der),
            })
        });
        ids.collect::<Result<_, _>>().map(Self)
    }

    /// The live key that `rid` names.
    pub(super) fn live(&self, rid: &RecipientId) -> Option<(Epoch, KeyAlgorithm)> {
        self.named(rid, EpochState::Live)
    }

    /// The key of a former epoch that `rid` names.
    pub(super) fn retained(&self, rid: &RecipientId) -> Option<(Epoch, KeyAlgorithm)> {
        self.named(rid, EpochState::Retained)
    }

    fn named(&self, rid: &RecipientId, state: EpochState) -> Option<(Epoch, KeyAlgorithm)> {
        let names = |key: &&GroupKeyId| *rid == key.issuer_and_serial || Some(rid) == key.subject_key_id.as_ref();
        self.0.iter().filter(|key| key.state == state).find(names).map(|key| (key.epoch, key.algorithm))
    }

    /// Whether there is a key to which new mail may be encrypted.
    #[must_use]
    pub fn any_live(&self) -> bool {
        self.0.iter().any(|key| key.state == EpochState::Live)
    }

    /// What a refusal tells senders: the live certificates, and where they are. `certsrv` is the base of its public URL.
    #[must_use]
    pub fn hint(&self, list: &ListAddress, certsrv: &str) -> KeyHint {
        let live = self.0.iter().filter(|key| key.state == EpochState::Live);
        KeyHint {
            fingerprints: live.map(|key| key.fingerprint).collect(),
            location: format!("{}/lists/{list}.pem", certsrv.trim_end_matches('/')),
        }
    }
}
