//! Steps 5 and 7: what certsrv knows, and [`Registry::commit`], the only way in which it changes.

use crate::audit::{Actor, Record};
use crate::failure::{Failure, refuse};
use crate::layout::Layout;
use crate::log::line::FeedKey;
use crate::log::page::Pages;
use crate::log::replay::{ReplayError, replay};
use crate::log::{FeedLog, Head, LogError};
use crate::rows::FORMAT;
use crate::store::Tx;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit::Audit;
use twinseal_svc::failpoint::hit;
use twinseal_svc::store::{Store, StoreError};

/// Accounts, groups, memberships, certificates: the log, the index over it, and those who wait for news.
pub(crate) struct Registry {
    store: Store,
    pages: Arc<Pages>,
    key: Arc<FeedKey>,
    audit: Arc<Audit>,
    writer: Mutex<FeedLog>,
    head: watch::Sender<Head>,
    /// The log has entries that the index could not take: only a start repairs that.
    stuck: AtomicBool,
}

impl Registry {
    /// Opens log and index, and brings the index to the log's end.
    pub(crate) fn open(layout: &Layout, key: FeedKey, audit: Arc<Audit>) -> Result<Self, ReplayError> {
        let key = Arc::new(key);
        let mut store = Store::open(&layout.index())?.store;
        let found = match catch_up(layout, &key, &store) {
            Err(ReplayError::Log(LogError::OtherIndex)) => {
                tracing::error!("the index was made from another log or by another version: set aside and made anew");
                drop(store);
                set_aside(layout).map_err(StoreError::File)?;
                store = Store::open(&layout.index())?.store;
                catch_up(layout, &key, &store)?
            }
            other => other?,
        };
        let log = FeedLog::open(&layout.feed(), Arc::clone(&key), found)?;
        let head = watch::Sender::new(log.head());
        let pages = log.pages();
        Ok(Self { store, pages, key, audit, writer: Mutex::new(log), head, stuck: AtomicBool::new(false) })
    }

    /// A view of the present state. Rows are read when asked for; decisions that must hold are made in a commit.
    pub(crate) const fn view(&self) -> Tx<'_> {
        Tx::new(&self.store)
    }

    /// The last entry, and news of later ones.
    pub(crate) fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// The entries.
    pub(crate) const fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// The feed's identity and key.
    pub(crate) const fn key(&self) -> &Arc<FeedKey> {
        &self.key
    }

    /// The audit log.
    pub(crate) const fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Whether commits are taken.
    pub(crate) fn working(&self) -> bool {
        !self.stuck.load(Ordering::Acquire)
    }

    /// Changes the state, all or nothing: `decide` reads the view and pushes changes; they are audited, appended to the
    /// log, put into the index, and the consumers are woken. Returns what `decide` returned, and the feed's sequence
    /// with the changes in it. No change, no entry.
    pub(crate) async fn commit<T: Send + 'static>(
        self: &Arc<Self>,
        by: Actor,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<(T, u64), Failure> {
        let registry = Arc::clone(self);
        tokio::task::spawn_blocking(move || registry.commit_blocking(&by, decide)).await?
    }

    fn commit_blocking<T>(
        &self,
        by: &Actor,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure>,
    ) -> Result<(T, u64), Failure> {
        let mut log = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.working() {
            return Err(refuse(ProblemCode::Unavailable, "certsrv has to be restarted before anything can change"));
        }
        let now = UnixTime::now();
        let mut tx = Tx::new(&self.store);
        let value = decide(&mut tx)?;
        if tx.told().is_empty() {
            return Ok((value, log.head().sequence));
        }
        let records: Vec<Record<'_>> = tx.told().iter().map(|told| Record::change(now, by, &told.change)).collect();
        tokio::runtime::Handle::current().block_on(self.audit.record_all(&records))?;
        drop(records);
        hit("certsrv.commit.before-append");
        let head = log.append(tx.told(), now)?;
        hit("certsrv.commit.after-append");
        if let Err(error) = apply(tx, head) {
            // The change is made, since the log has it; but nothing can be decided on an index that lacks it.
            self.stuck.store(true, Ordering::Release);
            return Err(error.into());
        }
        hit("certsrv.commit.after-apply");
        self.head.send_replace(head);
        Ok((value, head.sequence))
    }
}

fn apply(mut tx: Tx<'_>, head: Head) -> Result<(), StoreError> {
    let mut applied = tx.applied()?;
    (applied.sequence, applied.head) = (head.sequence, head.digest);
    tx.put_applied(&applied)?;
    tx.commit()
}

/// Brings the index to the end of the log.
fn catch_up(layout: &Layout, key: &FeedKey, store: &Store) -> Result<crate::log::replay::Found, ReplayError> {
    let applied = Tx::new(store).applied()?;
    if applied.format != FORMAT {
        return Err(LogError::OtherIndex.into());
    }
    let from = Head { sequence: applied.sequence, digest: applied.head };
    // Many commits in one batch: a rebuild would else wait for the disk at each.
    let mut tx = Tx::new(store);
    let mut reached = from;
    let found = replay(&layout.feed(), key, from, |changes, head| {
        for change in &changes {
            crate::apply::apply(change, &mut tx)?;
        }
        if head.sequence - reached.sequence >= 1000 {
            reached = head;
            apply(std::mem::replace(&mut tx, Tx::new(store)), head)?;
        }
        Ok(())
    })?;
    if found.head != reached {
        apply(tx, found.head)?;
        tracing::info!(from = from.sequence, to = found.head.sequence, "index brought to the end of the feed log");
    }
    Ok(found)
}

fn set_aside(layout: &Layout) -> std::io::Result<()> {
    let aside = layout.index().with_extension("other");
    if aside.exists() {
        std::fs::remove_dir_all(&aside)?;
    }
    std::fs::rename(layout.index(), aside)
}
