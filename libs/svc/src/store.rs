//! The index: sled 0.34.7 behind one small type, the only file that names it (docs/adr/0001-storage.md).
//!
//! It holds what can be rebuilt from logs and files, so a lost or damaged index is set aside and made anew. Records are
//! JSON with a CRC-32C in front, under 16 kB, so that sled keeps them in its one file; a durable commit is `flush`
//! *and* `fdatasync` of that file, since sled's own flush stops at `sync_file_range`.

use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Says that the index was made whole once. sled takes a damaged file for an empty one; without this key it is.
const MARK: &[u8] = &[0xff];
/// Largest record in octets.
const MAX_RECORD: usize = 16_000;

/// Why the index did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled's own failure.
    #[error("index")]
    Engine(#[from] sled::Error),
    /// The operating system's.
    #[error("index file")]
    File(#[from] std::io::Error),
    /// A record that is damaged or of another version; the key is given in hexadecimal.
    #[error("index record {0}: damaged")]
    Damaged(String),
    /// A record over the limit.
    #[error("index record of {0} octets is over the limit")]
    TooLarge(usize),
}

/// A table: the first octet of its keys. Each service's `store.rs` names its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table(pub u8);

/// Changes that are made together or not at all.
#[derive(Default)]
pub struct Batch {
    inner: sled::Batch,
}

impl Batch {
    /// Writes a record.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn put<T: Serialize>(&mut self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(std::io::Error::from)?;
        if json.len() > MAX_RECORD {
            return Err(StoreError::TooLarge(json.len()));
        }
        let mut record = crc(&json).to_be_bytes().to_vec();
        record.extend_from_slice(&json);
        self.inner.insert(full_key(table, key), record);
        Ok(())
    }

    /// Removes a record.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.inner.remove(full_key(table, key));
    }
}

/// The index of one service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    sync: Arc<Sync>,
}

struct Sync {
    file: File,
    /// Commits that were applied, and how many of them the last finished sync covered.
    applied: AtomicU64,
    synced: Mutex<u64>,
}

/// An opened index.
pub struct Opened {
    /// The index.
    pub store: Store,
    /// It was missing or damaged and is empty now: rebuild it.
    pub fresh: bool,
}

impl Store {
    /// Opens the index in `dir`, making it when it is missing; one that cannot be opened is set aside as `DIR.damaged`.
    ///
    /// # Errors
    /// [`StoreError`] when not even a new one can be made.
    pub fn open(dir: &Path) -> Result<Opened, StoreError> {
        match Self::open_at(dir) {
            Ok(opened) => Ok(opened),
            Err(error) if dir.join("db").exists() => {
                tracing::error!(%error, dir = %dir.display(), "index damaged: set aside and made anew");
                let aside = dir.with_extension("damaged");
                if aside.exists() {
                    std::fs::remove_dir_all(&aside)?;
                }
                std::fs::rename(dir, aside)?;
                Self::open_at(dir)
            }
            Err(error) => Err(error),
        }
    }

    fn open_at(dir: &Path) -> Result<Opened, StoreError> {
        let db = sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(64 << 20).open()?;
        let fresh = db.insert(MARK, &[1])?.is_none();
        if fresh && !db.is_empty() {
            db.clear()?;
            db.insert(MARK, &[1])?;
        }
        db.flush()?;
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        crate::durable::sync_dir(dir)?;
        let sync = Sync { file, applied: AtomicU64::new(0), synced: Mutex::new(0) };
        Ok(Opened { store: Self { db, sync: Arc::new(sync) }, fresh })
    }

    /// A record.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or the engine's.
    pub fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let key = full_key(table, key);
        self.db.get(&key)?.map(|record| decode(&key, &record)).transpose()
    }

    /// All records whose key begins with `prefix`, in the order of their keys (without the table's octet).
    pub fn scan<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, T), StoreError>> + use<T> {
        self.db.scan_prefix(full_key(table, prefix)).map(|row| {
            let (key, record) = row?;
            let value = decode(&key, &record)?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), value))
        })
    }

    /// Applies a batch; readers see it at once, a crash may forget it.
    ///
    /// # Errors
    /// The engine's.
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch.inner)?;
        self.sync.applied.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Applies a batch and makes it durable, together with all that others applied meanwhile. Blocks.
    ///
    /// # Errors
    /// The engine's or the operating system's.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.apply(batch)?;
        self.sync()
    }

    /// Makes all that was applied so far durable; nothing to do when it is. Blocks.
    ///
    /// # Errors
    /// The engine's or the operating system's.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mine = self.sync.applied.load(Ordering::Acquire);
        let mut synced = self.sync.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= mine {
            return Ok(());
        }
        let covered = self.sync.applied.load(Ordering::Acquire);
        self.db.flush()?;
        self.sync.file.sync_data()?;
        *synced = covered;
        Ok(())
    }
}

fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table.0], key].concat()
}

fn decode<T: DeserializeOwned>(key: &[u8], record: &[u8]) -> Result<T, StoreError> {
    let damaged = || StoreError::Damaged(key.iter().map(|b| format!("{b:02x}")).collect());
    let (sum, json) = record.split_at_checked(4).ok_or_else(damaged)?;
    if sum != crc(json).to_be_bytes() {
        return Err(damaged());
    }
    serde_json::from_slice(json).map_err(|_| damaged())
}

fn crc(octets: &[u8]) -> u32 {
    crc32c::crc32c(octets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const T: Table = Table(1);

    #[test]
    fn records_come_back_after_reopening_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        {
            let opened = Store::open(&path).unwrap();
            assert!(opened.fresh);
            let mut batch = Batch::default();
            batch.put(T, b"b", &2).unwrap();
            batch.put(T, b"a", &1).unwrap();
            batch.put(Table(2), b"a", &"other").unwrap();
            opened.store.commit(batch).unwrap();
        }
        let opened = Store::open(&path).unwrap();
        assert!(!opened.fresh);
        let rows: Vec<(Vec<u8>, u32)> = opened.store.scan(T, b"").collect::<Result<_, _>>().unwrap();
        assert_eq!(rows, [(b"a".to_vec(), 1), (b"b".to_vec(), 2)]);
        assert!(matches!(opened.store.get::<Vec<u8>>(T, b"a"), Err(StoreError::Damaged(_))));
        let mut big = Batch::default();
        assert!(matches!(big.put(T, b"c", &"x".repeat(20_000)), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn a_damaged_index_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("db"), b"rubbish").unwrap();
        std::fs::write(path.join("conf"), b"rubbish").unwrap();
        assert!(Store::open(&path).unwrap().fresh);
        assert!(!Store::open(&path).unwrap().fresh);
    }
}
