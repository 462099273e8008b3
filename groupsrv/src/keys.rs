//! The groups' private keys. They answer questions, they do not travel: whoever holds a [`GroupKey`] can have one wrapped
//! key opened for each [`Grant`], and nothing else.

pub(crate) mod create;
pub(crate) mod file;

use crate::authz::Grant;
use std::collections::HashMap;
use std::sync::Arc;
use twinseal_proto::api::keys::{EpochKey, EpochState, GroupKeys, KeyAlgorithm};
use twinseal_proto::cms::algorithm::ContentAlgorithm;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::der::DerError;
use twinseal_proto::cms::recipient::{RecipientId, RecipientInfo};
use twinseal_proto::cms::unwrap::{Checked, Opened, PrivateKeyOps, PublicCheck, RejectionSecret, UnwrapError};
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::{Epoch, GroupId};
pub(crate) use twinseal_svc::keys::credential;

/// A holder of one private key: a software key in a sealed file, or a token.
pub(crate) struct KeyHolder {
    /// Answers the two private-key questions.
    pub(crate) ops: Box<dyn PrivateKeyOps>,
    /// Makes the keys of implicit rejection.
    pub(crate) rejection: RejectionSecret,
}

/// One certified key pair of a group.
pub(crate) struct GroupKey {
    /// The group.
    pub(crate) group: GroupId,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Kind of key.
    pub(crate) algorithm: KeyAlgorithm,
    /// DER certificate.
    pub(crate) certificate: Vec<u8>,
    names: [Option<RecipientId>; 2],
    holder: KeyHolder,
}

impl GroupKey {
    /// A key and its certificate, which the caller has found to belong together.
    ///
    /// # Errors
    /// [`DerError`] if the certificate cannot be read.
    pub(crate) fn new(
        group: GroupId,
        epoch: Epoch,
        algorithm: KeyAlgorithm,
        certificate: Vec<u8>,
        holder: KeyHolder,
    ) -> Result<Self, DerError> {
        let key = CertificateKey::read(&certificate)?;
        let names = [Some(key.issuer_and_serial), key.subject_key_id];
        Ok(Self { group, epoch, algorithm, certificate, names, holder })
    }

    /// The id under which `info` names this key; `None` if it is for others only.
    pub(crate) fn rid_in<'a>(&self, info: &'a RecipientInfo) -> Option<&'a RecipientId> {
        info.recipient_ids().find(|rid| self.names.iter().flatten().any(|name| name == *rid))
    }

    /// Checks all that can be seen of `info`, which names this key as `rid`.
    ///
    /// # Errors
    /// [`PublicCheck`].
    pub(crate) fn check<'a>(
        &self,
        info: &'a RecipientInfo,
        rid: &RecipientId,
        content: &ContentAlgorithm,
    ) -> Result<Checked<'a>, PublicCheck> {
        Checked::new(info, rid, self.holder.ops.kind(), content)
    }

    /// Opens a wrapped key, once, for the member who was granted it.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub(crate) fn open(&self, grant: Grant, checked: &Checked<'_>) -> Result<Opened, UnwrapError> {
        grant.spend();
        checked.open(&*self.holder.ops, &self.holder.rejection)
    }
}

/// Every certified key. A new key makes a new ring.
#[derive(Default, Clone)]
pub(crate) struct KeyRing {
    /// Newest epoch first, RSA before P-256 within an epoch.
    groups: HashMap<GroupId, Vec<Arc<GroupKey>>>,
}

impl KeyRing {
    /// The ring with one more key.
    pub(crate) fn with(mut self, key: GroupKey) -> Self {
        let keys = self.groups.entry(key.group).or_default();
        keys.push(Arc::new(key));
        keys.sort_by_key(|key| (std::cmp::Reverse(key.epoch), key.algorithm == KeyAlgorithm::P256));
        self
    }

    /// A group's keys.
    pub(crate) fn of(&self, group: &GroupId) -> &[Arc<GroupKey>] {
        self.groups.get(group).map_or(&[], Vec::as_slice)
    }

    /// The keys of all groups for which `wanted` holds, as they are published: the newest epoch is live, older ones are
    /// retained. Ordered by group.
    pub(crate) fn published(&self, wanted: impl Fn(&GroupId) -> bool) -> Vec<GroupKeys> {
        let mut groups: Vec<_> = self.groups.iter().filter(|(group, _)| wanted(group)).collect();
        groups.sort_by_key(|(group, _)| **group);
        groups.into_iter().map(|(group, keys)| GroupKeys { group: *group, epochs: epochs(keys) }).collect()
    }
}

fn epochs(keys: &[Arc<GroupKey>]) -> Vec<EpochKey> {
    let newest = keys.iter().map(|key| key.epoch).max();
    let state = |key: &GroupKey| if Some(key.epoch) == newest { EpochState::Live } else { EpochState::Retained };
    keys.iter()
        .map(|key| EpochKey {
            epoch: key.epoch,
            algorithm: key.algorithm,
            state: state(key),
            certificate: B64(key.certificate.clone()),
        })
        .collect()
}

/// Where the next key of `algorithm` goes, given the keys there are: the present epoch if it has none of this kind, else
/// the next one; 1 for a group without keys.
pub(crate) fn next_epoch(existing: &[(Epoch, KeyAlgorithm)], algorithm: KeyAlgorithm) -> Epoch {
    let Some(present) = existing.iter().map(|(epoch, _)| *epoch).max() else {
        return Epoch(1);
    };
    if existing.contains(&(present, algorithm)) { Epoch(present.0.saturating_add(1)) } else { present }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_joins_the_present_epoch_or_begins_the_next() {
        use KeyAlgorithm::{P256, Rsa3072};
        for (existing, algorithm, expected) in [
            (vec![], Rsa3072, 1),
            (vec![(Epoch(1), Rsa3072)], P256, 1),
            (vec![(Epoch(1), Rsa3072)], Rsa3072, 2),
            (vec![(Epoch(1), Rsa3072), (Epoch(1), P256)], P256, 2),
            (vec![(Epoch(1), Rsa3072), (Epoch(1), P256), (Epoch(2), P256)], Rsa3072, 2),
        ] {
            assert_eq!(next_epoch(&existing, algorithm), Epoch(expected), "{existing:?} {algorithm:?}");
        }
    }
}
