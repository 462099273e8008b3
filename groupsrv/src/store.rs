//! The index: what calls look up. All of it can be rebuilt: groups, members and the cursor from the feed, the rest from
//! the audit log (`rebuild.rs`). Only the daily totals of `substituted.rs` are nowhere else.

use crate::keys::file::KeyName;
use crate::substituted::Row;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use twinseal_proto::cms::algorithm::ContentAlgorithm;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{Cursor, DeliveryMode, History, RecipientKey};
use twinseal_proto::ids::{Epoch, GroupId, Handle};
use twinseal_proto::time::UnixTime;
use twinseal_svc::owners::{OwnerBook, PinError, Tables};
use twinseal_svc::store::{Batch, Store, StoreError, Table};

const META: Table = Table(0);
const GROUPS: Table = Table(1);
const MEMBERS: Table = Table(2);
const REGISTRATIONS: Table = Table(3);
const IDENTITIES: Table = Table(4);
const KEYS: Table = Table(5);
const SUBSTITUTED: Table = Table(6);
/// Serial number of a membership certificate → its notAfter: revoked.
const REVOKED: Table = Table(20);
/// What owners signed.
const OWNERS: Tables = Tables { pins: Table(40), entries: Table(41), statements: Table(42), alarms: Table(43) };

const CURSOR: &[u8] = b"cursor";
/// The audit log has been read into this index.
const REBUILT: &[u8] = b"rebuilt";
/// The roster was complete once: certsrv's head had been reached.
const COMPLETE: &[u8] = b"complete";

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    /// How its copies carry the message key.
    pub(crate) mode: DeliveryMode,
    /// Which messages its members may open.
    pub(crate) history: History,
    /// It is no more.
    pub(crate) deleted: bool,
    /// The feed says that its owners sign its roster.
    #[serde(default)]
    pub(crate) signed: bool,
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    /// The place in the feed at which it began.
    pub(crate) joined: u64,
    /// The member's key; `None` while the membership is suspended.
    pub(crate) recipient: Option<RecipientKey>,
}

/// A registered look-up value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The place in the feed at which it was first seen.
    pub(crate) first_seen: u64,
    /// When it was registered.
    pub(crate) time: UnixTime,
    /// The epoch whose key it is for.
    pub(crate) epoch: Epoch,
    /// The message's content encryption.
    pub(crate) content_algorithm: ContentAlgorithm,
}

/// A content-encryption key that was opened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownCek {
    /// The earliest first-seen of all its wrappings.
    pub(crate) first_seen: u64,
    /// The look-up value under which it was first opened.
    pub(crate) message: Digest,
}

/// What the index says about an opened key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The earliest first-seen of all its wrappings.
    pub(crate) first_seen: u64,
    /// It was never opened before.
    pub(crate) new: bool,
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Recorded, or known already.
    Done {
        /// The first-seen that counts.
        first_seen: u64,
        /// It was known already.
        repeated: bool,
    },
    /// Known, for a message with another content encryption: somebody put the wrapped key before other content.
    OtherContent,
}

/// The index.
pub(crate) struct Index {
    store: Store,
    /// Held from look-up to write, so that two first sights cannot cross.
    first: Mutex<()>,
}

impl Index {
    /// Opens the index in `dir`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(dir)?.store, first: Mutex::new(()) })
    }

    /// The place in the feed; `None` before the first entry.
    pub(crate) fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.store.get(META, CURSOR)
    }

    /// Whether the audit log has been read into this index.
    pub(crate) fn is_rebuilt(&self) -> Result<bool, StoreError> {
        Ok(self.store.get(META, REBUILT)?.unwrap_or(false))
    }

    /// Notes that it has. Blocks.
    pub(crate) fn set_rebuilt(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(META, REBUILT, &true)?;
        self.store.commit(batch)
    }

    /// Whether the roster was complete once.
    pub(crate) fn is_complete(&self) -> Result<bool, StoreError> {
        Ok(self.store.get(META, COMPLETE)?.unwrap_or(false))
    }

    /// Notes that it was. Blocks.
    pub(crate) fn set_complete(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(META, COMPLETE, &true)?;
        self.store.commit(batch)
    }

    /// What owners signed.
    pub(crate) fn owner_book(&self) -> Result<OwnerBook, StoreError> {
        OwnerBook::open(self.store.clone(), OWNERS, "groupsrv")
    }

    /// Pins a group's first owner, as the audit log tells. Blocks.
    pub(crate) fn pinned(&self, group: GroupId, owner: Digest) -> Result<(), PinError> {
        self.owner_book()?.pin(group, owner, true)
    }

    /// Every group.
    pub(crate) fn groups(&self) -> Result<Vec<(GroupId, GroupRow)>, StoreError> {
        self.store.scan(GROUPS, b"").map(|row| row.map(|(key, group)| (group_of(&key), group))).collect()
    }

    /// Every membership of a group.
    pub(crate) fn members(
        &self,
        group: &GroupId,
    ) -> impl Iterator<Item = Result<(Handle, MemberRow), StoreError>> + use<> {
        self.store.scan(MEMBERS, group.octets()).map(|row| row.map(|(key, member)| (handle_of(&key), member)))
    }

    /// Makes roster changes durable. Blocks.
    pub(crate) fn commit(&self, changes: RosterBatch, cursor: &Cursor) -> Result<(), StoreError> {
        let mut batch = changes.batch;
        batch.put(META, CURSOR, cursor)?;
        self.store.commit(batch)
    }

    /// What is registered under a look-up value.
    pub(crate) fn registration(&self, value: &Digest) -> Result<Option<Registration>, StoreError> {
        self.store.get(REGISTRATIONS, &value.0)
    }

    /// Registers a wrapped key under all its look-up values, unless they are known. What one of them is known with, all of
    /// them get. Not durable before [`Self::sync`].
    pub(crate) fn register(&self, values: &[Digest], new: &Registration) -> Result<Registered, StoreError> {
        let _first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Vec::with_capacity(values.len());
        for value in values {
            known.push(self.registration(value)?);
        }
        if known.iter().flatten().any(|known| known.content_algorithm != new.content_algorithm) {
            return Ok(Registered::OtherContent);
        }
        let earliest = known.iter().flatten().map(|known| known.first_seen).min();
        let first_seen = earliest.unwrap_or(new.first_seen);
        let mut batch = Batch::default();
        for (value, known) in values.iter().zip(&known) {
            if known.is_none() {
                batch.put(REGISTRATIONS, &value.0, &Registration { first_seen, ..new.clone() })?;
            }
        }
        self.store.apply(batch)?;
        Ok(Registered::Done { first_seen, repeated: earliest.is_some() })
    }

    /// Notes that `message`'s key was opened, and gives the earliest first-seen of all wrappings of this key. Not durable
    /// before [`Self::sync`].
    pub(crate) fn opened(&self, identity: &Digest, message: Digest, first_seen: u64) -> Result<Seen, StoreError> {
        let _first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Option<KnownCek> = self.store.get(IDENTITIES, &identity.0)?;
        let row = match known {
            Some(known) if known.first_seen <= first_seen => {
                return Ok(Seen { first_seen: known.first_seen, new: false });
            }
            Some(known) => KnownCek { first_seen, ..known },
            None => KnownCek { first_seen, message },
        };
        let mut batch = Batch::default();
        batch.put(IDENTITIES, &identity.0, &row)?;
        self.store.apply(batch)?;
        Ok(Seen { first_seen, new: known.is_none() })
    }

    /// Whether the membership certificate with this serial number (content octets of the INTEGER) is revoked. One that has
    /// ended may be forgotten: its notAfter keeps it out.
    #[cfg_attr(not(test), allow(dead_code, reason = "no call of members' own is taken yet"))]
    pub(crate) fn is_revoked(&self, serial: &[u8]) -> Result<bool, StoreError> {
        Ok(self.store.get::<UnixTime>(REVOKED, serial)?.is_some())
    }

    /// Forgets revoked membership certificates that ended before `now`. Blocks.
    pub(crate) fn forget_revoked(&self, now: UnixTime) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for row in self.store.scan::<UnixTime>(REVOKED, b"") {
            let (serial, until) = row?;
            if until < now {
                batch.delete(REVOKED, &serial);
            }
        }
        self.store.commit(batch)
    }

    /// The key pairs that were ever made.
    pub(crate) fn keys(&self) -> Result<Vec<KeyName>, StoreError> {
        self.store.scan::<KeyName>(KEYS, b"").map(|row| row.map(|(_, name)| name)).collect()
    }

    /// Notes a key pair that was made. Not durable before [`Self::sync`].
    pub(crate) fn key_created(&self, name: &KeyName) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let key = [name.group.octets(), name.epoch.0.to_be_bytes().as_slice(), &[name.algorithm as u8]].concat();
        batch.put(KEYS, &key, name)?;
        self.store.apply(batch)
    }

    /// The daily totals that were kept.
    pub(crate) fn substituted(&self) -> Result<Vec<Row>, StoreError> {
        let rows = self.store.scan(SUBSTITUTED, b"");
        rows.map(|row| row.map(|(key, number)| Row { day: day_of(&key), group: group_of_day(&key), number })).collect()
    }

    /// Keeps `rows` and no others. Blocks.
    pub(crate) fn keep_substituted(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for old in self.store.scan::<u64>(SUBSTITUTED, b"") {
            batch.delete(SUBSTITUTED, &old?.0);
        }
        for Row { day, group, number } in rows {
            batch.put(SUBSTITUTED, &[day.to_be_bytes().as_slice(), group.octets()].concat(), number)?;
        }
        self.store.commit(batch)
    }

    /// Makes all that was noted so far durable, in one go with whoever asks at the same time. Blocks.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }
}

/// Roster changes that are made together.
#[derive(Default)]
pub(crate) struct RosterBatch {
    batch: Batch,
}

impl RosterBatch {
    /// For what other parts write with it.
    pub(crate) const fn inner(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Writes a group.
    pub(crate) fn put_group(&mut self, group: &GroupId, row: &GroupRow) -> Result<(), StoreError> {
        self.batch.put(GROUPS, group.octets(), row)
    }

    /// Writes a membership.
    pub(crate) fn put_member(&mut self, group: &GroupId, handle: &Handle, row: &MemberRow) -> Result<(), StoreError> {
        self.batch.put(MEMBERS, &[group.octets().as_slice(), handle.octets()].concat(), row)
    }

    /// Notes that a membership certificate is revoked, until it ends.
    pub(crate) fn put_revoked(&mut self, serial: &[u8], until: UnixTime) -> Result<(), StoreError> {
        self.batch.put(REVOKED, serial, &until)
    }

    /// Removes a membership.
    pub(crate) fn delete_member(&mut self, group: &GroupId, handle: &Handle) {
        self.batch.delete(MEMBERS, &[group.octets().as_slice(), handle.octets()].concat());
    }
}

fn group_of(key: &[u8]) -> GroupId {
    GroupId::from_random(sixteen(key.get(..16)))
}

fn handle_of(key: &[u8]) -> Handle {
    Handle::from_random(sixteen(key.get(16..32)))
}

fn day_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.get(..8).and_then(|octets| octets.try_into().ok()).unwrap_or_default())
}

fn group_of_day(key: &[u8]) -> GroupId {
    GroupId::from_random(sixteen(key.get(8..24)))
}

fn sixteen(octets: Option<&[u8]>) -> [u8; 16] {
    octets.and_then(|octets| octets.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn registration(first_seen: u64, content_algorithm: ContentAlgorithm) -> Registration {
        Registration { first_seen, time: UnixTime(1), epoch: Epoch(1), content_algorithm }
    }

    #[test]
    fn one_known_value_gives_its_first_seen_to_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index")).unwrap();
        let (a, b, c) = (Digest([1; 32]), Digest([2; 32]), Digest([3; 32]));
        let cbc = |first_seen| registration(first_seen, ContentAlgorithm::Aes256Cbc);
        let done = |first_seen, repeated| Registered::Done { first_seen, repeated };
        assert_eq!(index.register(&[a, b], &cbc(5)).unwrap(), done(5, false));
        assert_eq!(index.register(&[c, b], &cbc(9)).unwrap(), done(5, true));
        assert_eq!(index.register(&[c], &cbc(12)).unwrap(), done(5, true));
        assert_eq!(index.registration(&c).unwrap().unwrap().first_seen, 5);
        let gcm = registration(13, ContentAlgorithm::Aes256Gcm);
        assert_eq!(index.register(&[a], &gcm).unwrap(), Registered::OtherContent);
    }

    #[test]
    fn a_known_key_keeps_its_earliest_first_seen() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index")).unwrap();
        let (key, a, b) = (Digest([1; 32]), Digest([2; 32]), Digest([3; 32]));
        for (message, first_seen, expected, new) in
            [(a, 7, 7, true), (b, 9, 7, false), (b, 4, 4, false), (a, 7, 4, false)]
        {
            let seen = index.opened(&key, message, first_seen).unwrap();
            assert_eq!(seen, Seen { first_seen: expected, new });
        }
    }

    #[test]
    fn daily_totals_come_back_and_only_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index")).unwrap();
        let row = |day, group, number| Row { day, group: GroupId::from_random([group; 16]), number };
        index.keep_substituted(&[row(1, 1, 5), row(2, 9, 0)]).unwrap();
        let rows = [row(2, 9, 1), row(300, 1, 0)];
        index.keep_substituted(&rows).unwrap();
        assert_eq!(index.substituted().unwrap(), rows);
    }
}
