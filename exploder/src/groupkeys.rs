//! Which recipient ids are a group's: learnt from groupsrv alone (DESIGN 3), kept in the index so that intake goes on
//! while groupsrv is away.

use crate::events;
use crate::policy::GroupKeyIds;
use crate::store::{KEYS, epoch_key};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::keys::{self, Certs, CertsRequest, EpochKey};
use twinseal_proto::ids::GroupId;
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::store::{Batch, Store, StoreError};

/// Longest wait of one poll in seconds.
const POLL_SECONDS: u64 = 20;
/// Back-off while groupsrv is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// A poll that brings nothing lasts at least so long.
const EMPTY_POLL: Duration = Duration::from_millis(200);

/// Every group's keys.
pub(crate) struct GroupKeys {
    store: Store,
    groups: RwLock<HashMap<GroupId, Arc<GroupKeyIds>>>,
}

impl GroupKeys {
    /// Reads the index.
    ///
    /// # Errors
    /// The index's.
    pub(crate) fn open(store: Store) -> Result<Self, StoreError> {
        let mut groups: HashMap<GroupId, Vec<EpochKey>> = HashMap::new();
        for row in store.scan::<EpochKey>(KEYS, b"") {
            let (key, row) = row?;
            if let Some(group) = key.first_chunk::<16>() {
                groups.entry(GroupId::from_random(*group)).or_default().push(row);
            }
        }
        let groups =
            groups.into_iter().map(|(group, epochs)| (group, read(&keys::GroupKeys { group, epochs }))).collect();
        Ok(Self { store, groups: RwLock::new(groups) })
    }

    /// Whether there are keys of any group.
    pub(crate) fn known(&self) -> bool {
        !self.groups.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The keys of a group; none for a group that has none, or that groupsrv has not told about yet.
    pub(crate) fn of(&self, group: &GroupId) -> Arc<GroupKeyIds> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned().unwrap_or_default()
    }

    /// Takes a page in place of all that was known. Blocks.
    fn replace(&self, page: Vec<keys::GroupKeys>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for row in self.store.scan::<serde::de::IgnoredAny>(KEYS, b"") {
            batch.delete(KEYS, &row?.0);
        }
        let mut groups = HashMap::new();
        for group in page {
            for (place, key) in (0..=u8::MAX).zip(&group.epochs) {
                batch.put(KEYS, &epoch_key(&group.group, key.epoch, place), key)?;
            }
            groups.insert(group.group, read(&group));
        }
        self.store.commit(batch)?;
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = groups;
        Ok(())
    }

    /// Follows groupsrv's page until `stop`. `answered` is told after each answer: groupsrv is there.
    pub(crate) async fn follow(self: Arc<Self>, client: Client, answered: impl Fn(), stop: CancellationToken) {
        let mut version = String::new();
        let mut backoff = BACKOFF.0;
        loop {
            // Nothing known: do not wait for a change of what we have not seen.
            let wait = if version.is_empty() { 0 } else { POLL_SECONDS };
            let request = CertsRequest { version: version.clone(), wait };
            let asked = Instant::now();
            let polled = tokio::select! {
                page = client.call::<Certs>(&request, Duration::from_secs(wait + 10)) => page,
                () = stop.cancelled() => return,
            };
            match self.take(polled).await {
                Ok(newer) => {
                    answered();
                    if newer == version {
                        let pause = EMPTY_POLL.saturating_sub(asked.elapsed());
                        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                    }
                    version = newer;
                    backoff = BACKOFF.0;
                }
                Err(error) => {
                    events::group_keys_not_followed(&error);
                    tokio::select! { () = tokio::time::sleep(backoff) => {}, () = stop.cancelled() => return }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn take(self: &Arc<Self>, page: Result<keys::CertsPage, CallError>) -> Result<String, FollowError> {
        let page = page?;
        if let Some(groups) = page.groups {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.replace(groups)).await??;
        }
        Ok(page.version)
    }
}

/// Why a page was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// groupsrv did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It could not be kept.
    #[error("index: {0}")]
    Store(#[from] StoreError),
    /// The daemon is stopping.
    #[error("stopped while keeping a page")]
    Stopped(#[from] tokio::task::JoinError),
}

/// A group with a certificate that cannot be read has no keys.
fn read(keys: &keys::GroupKeys) -> Arc<GroupKeyIds> {
    let ids = GroupKeyIds::read(keys).inspect_err(|fault| events::group_certificate_unreadable(&keys.group, fault));
    Arc::new(ids.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use openssl::asn1::{Asn1Integer, Asn1Time};
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::{X509, X509NameBuilder};
    use twinseal_proto::api::keys::{EpochState, KeyAlgorithm};
    use twinseal_proto::encoding::B64;
    use twinseal_proto::ids::Epoch;

    fn certificate() -> B64 {
        let key =
            PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap())
                .unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, "CA").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&BigNum::from_u32(200).unwrap()).unwrap()).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        B64(builder.build().to_der().unwrap())
    }

    #[test]
    fn pages_replace_each_other_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let group = GroupId::from_random([4; 16]);
        let key = |epoch, certificate| EpochKey {
            epoch: Epoch(epoch),
            algorithm: KeyAlgorithm::P256,
            state: EpochState::Live,
            certificate,
        };
        {
            let keys = GroupKeys::open(Store::open(&path).unwrap().store).unwrap();
            assert!(!keys.known() && !keys.of(&group).any_live());
            let epochs = vec![key(2, certificate()), key(1, certificate())];
            keys.replace(vec![keys::GroupKeys { group, epochs }]).unwrap();
            assert!(keys.of(&group).any_live());
            keys.replace(vec![keys::GroupKeys { group, epochs: vec![key(3, B64(b"rubbish".to_vec()))] }]).unwrap();
            assert!(!keys.of(&group).any_live());
            keys.replace(vec![keys::GroupKeys { group, epochs: vec![key(4, certificate())] }]).unwrap();
        }
        let keys = GroupKeys::open(Store::open(&path).unwrap().store).unwrap();
        assert!(keys.known() && keys.of(&group).any_live());
    }
}
