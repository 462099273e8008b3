//! The two logs. The audit log is read by a thread of its own, and the feed log beside it: every change was recorded in
//! the audit log before it was appended to the feed, in the same order, so one walk over both finds each change's record.
//! Records without an entry are what a crash between the two leaves, and no finding.

use super::{DoctorError, Findings, said};
use crate::audit::{Actor, Record};
use crate::change::Change;
use crate::layout::Layout;
use crate::log::key::FeedKey;
use crate::log::replay::ReplayError;
use crate::registry::rebuild;
use crate::store::Tx;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use twinseal_proto::cms::der::{Reader, Tag};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use twinseal_svc::audit;
use twinseal_svc::store::{Batch, Store, StoreError, Table};

/// Records that are read ahead while a change's own is looked for: the largest import that was recorded and not made.
const AHEAD: usize = 500_000;
/// Changes without a record after which no more are looked for.
const MISSES: u32 = 20;
/// Serial numbers that are kept in memory before they go to the scratch file.
const FRESH: usize = 20_000;
/// Serial number → digest of what was signed.
const SIGNED: Table = Table(0);

/// What there was to look at.
pub(super) struct Counted {
    /// Entries of the feed.
    pub(super) entries: u64,
    /// Records of the audit log.
    pub(super) records: u64,
    /// Certificates in the feed.
    pub(super) certificates: u64,
    /// The feed log was read to its end.
    pub(super) feed_whole: bool,
}

/// Reads both logs; makes the index of the feed log in `rebuilt`. `serials` is an empty scratch file. Entries after
/// `until` were made while the audit log was read already: their records are not looked for.
pub(super) fn look(
    layout: &Layout,
    key: &FeedKey,
    until: u64,
    rebuilt: &Store,
    serials: Store,
    findings: &mut Findings,
) -> Result<Counted, DoctorError> {
    let (sender, receiver) = sync_channel(1024);
    let dir = layout.audit();
    let mut of_audit = Findings::default();
    let mut walk =
        Walk { audited: Audited::new(receiver), until, entries: 0, certificates: 0, misses: 0, at: layout.feed() };
    let (records, read) = std::thread::scope(|scope| {
        let auditor = scope.spawn(|| read_audit(&dir, Signed::new(serials), sender, &mut of_audit));
        let read = rebuild(layout, key, rebuilt, |change, tx| walk.change(change, tx, findings));
        // The audit log is read to its end, whether or not anybody listens.
        walk.audited.hang_up();
        (auditor.join(), read)
    });
    findings.0.append(&mut of_audit.0);
    let records =
        records.map_err(|_| DoctorError::Store(io::Error::other("the audit log's reader broke off").into()))??;
    let restore = "stop the service, keep a copy, restore the feed log from the backup";
    let feed_whole = match read {
        Ok(_) => true,
        Err(ReplayError::Log(error)) => {
            findings.add(said(&error), &layout.feed(), restore);
            false
        }
        Err(ReplayError::Store(error)) => {
            findings.add(format!("an entry cannot be applied: {}", said(&error)), &layout.feed(), restore);
            false
        }
    };
    Ok(Counted { entries: walk.entries, records, certificates: walk.certificates, feed_whole })
}

/// A record that may be a change's.
struct Recorded {
    /// Of the event, without time and actor.
    event: Digest,
    /// Of an issued certificate: what was recorded before as about to be signed.
    signed: Option<Digest>,
}

/// Reads the audit log, and tells the walk of every record that may be a change's. Returns their number.
fn read_audit(
    dir: &Path,
    mut signed: Signed,
    sender: SyncSender<Recorded>,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let (mut records, mut failed) = (0, None);
    let mut sender = Some(sender);
    let whole = audit::each(dir, |json| {
        records += 1;
        let told = match read_record(json, records, dir, &mut signed, findings) {
            Ok(told) => told,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        if let Some(told) = told
            && sender.as_ref().is_some_and(|s| s.send(told).is_err())
        {
            sender = None;
        }
    });
    if let Err(error) = whole {
        findings.add(
            said(&error),
            dir,
            "keep a copy; find out who changed it; what was recorded later cannot be trusted",
        );
    }
    failed.map_or(Ok(records), Err)
}

#[derive(Deserialize)]
struct AboutCertificate {
    serial: String,
    tbs: Option<B64>,
}

fn read_record(
    json: &str,
    number: u64,
    dir: &Path,
    signed: &mut Signed,
    findings: &mut Findings,
) -> Result<Option<Recorded>, StoreError> {
    let Some((name, event)) = event(json) else {
        findings.add(format!("record {number} is of another version"), dir, "read it with the version that wrote it");
        return Ok(None);
    };
    let about = || serde_json::from_str::<AboutCertificate>(json).ok();
    let mut before = None;
    match (name.as_str(), about()) {
        ("signing-certificate", Some(AboutCertificate { serial, tbs: Some(tbs) })) => {
            if !signed.put(serial.clone(), Digest::of(tbs.as_ref()))? {
                let remedy = "revoke the certificates of this number, and find out how it came about";
                findings.add(format!("record {number}: serial number {serial} is used a second time"), dir, remedy);
            }
            return Ok(None);
        }
        ("certificate-issued", Some(AboutCertificate { serial, .. })) => {
            before = signed.get(&serial)?;
            if before.is_none() {
                let what = format!("record {number}: certificate {serial} has no record of its signing before it");
                findings.add(what, dir, "revoke the certificate, and find out who signed it");
            }
        }
        _ => {}
    }
    Ok(Some(Recorded { event, signed: before }))
}

/// Name and digest of a record's event, without time and actor.
fn event(json: &str) -> Option<(String, Digest)> {
    let mut record: Map<String, Value> = serde_json::from_str(json).ok()?;
    record.remove("at");
    record.remove("by");
    let name = record.get("event")?.as_str()?.to_owned();
    Some((name, Digest::of(serde_json::to_string(&record).ok()?.as_bytes())))
}

/// The serial numbers that were about to be signed.
struct Signed {
    store: Store,
    fresh: HashMap<String, Digest>,
}

impl Signed {
    fn new(store: Store) -> Self {
        Self { store, fresh: HashMap::new() }
    }

    fn get(&self, serial: &str) -> Result<Option<Digest>, StoreError> {
        match self.fresh.get(serial) {
            Some(digest) => Ok(Some(*digest)),
            None => self.store.get(SIGNED, serial.as_bytes()),
        }
    }

    /// `false`: it was there before.
    fn put(&mut self, serial: String, tbs: Digest) -> Result<bool, StoreError> {
        if self.get(&serial)?.is_some() {
            return Ok(false);
        }
        self.fresh.insert(serial, tbs);
        if self.fresh.len() >= FRESH {
            let mut batch = Batch::default();
            for (serial, digest) in self.fresh.drain() {
                batch.put(SIGNED, serial.as_bytes(), &digest)?;
            }
            self.store.apply(batch)?;
        }
        Ok(true)
    }
}

/// The records, as they are asked for.
struct Audited {
    receiver: Option<Receiver<Recorded>>,
    ahead: VecDeque<Recorded>,
}

impl Audited {
    const fn new(receiver: Receiver<Recorded>) -> Self {
        Self { receiver: Some(receiver), ahead: VecDeque::new() }
    }

    fn hang_up(&mut self) {
        self.receiver = None;
    }

    /// The next record of this event; those before it are done with. `None` and nothing is done with: there is none.
    fn next(&mut self, event: Digest) -> Option<Recorded> {
        if let Some(at) = self.ahead.iter().position(|recorded| recorded.event == event) {
            return self.ahead.drain(..=at).next_back();
        }
        while self.ahead.len() < AHEAD {
            let recorded = self.receiver.as_ref()?.recv().ok()?;
            if recorded.event == event {
                self.ahead.clear();
                return Some(recorded);
            }
            self.ahead.push_back(recorded);
        }
        None
    }
}

/// The walk over the feed.
struct Walk {
    audited: Audited,
    until: u64,
    entries: u64,
    certificates: u64,
    misses: u32,
    at: std::path::PathBuf,
}

impl Walk {
    fn change(&mut self, change: &Change, tx: &Tx<'_>, findings: &mut Findings) -> Result<(), StoreError> {
        self.entries += 1;
        // Sequences jump where a generation begins.
        let entry = tx.at();
        let mut certified = None;
        if let Change::CertificateIssued { serial, certificate, .. } = change {
            self.certificates += 1;
            if tx.certificate(serial)?.is_some() {
                let remedy = "revoke both certificates, and find out how it came about";
                findings.add(format!("entry {entry}: serial number {serial} is used a second time"), &self.at, remedy);
            }
            certified = Some((serial, to_be_signed(certificate.as_ref()).map(Digest::of)));
        }
        if self.misses >= MISSES || entry > self.until {
            return Ok(());
        }
        let record = Record::change(UnixTime(0), &Actor::Clock, change);
        let json = serde_json::to_string(&record).map_err(io::Error::from)?;
        let Some((_, event)) = event(&json) else { return Ok(()) };
        match (self.audited.next(event), certified) {
            (None, _) => {
                self.misses += 1;
                let what = format!("entry {entry} has no record in the audit log, or not in its order");
                findings.add(
                    what,
                    &self.at,
                    "find out who wrote the entry; what the audit log lacks cannot be accounted for",
                );
            }
            (Some(recorded), Some((serial, signed))) if recorded.signed.is_some() && recorded.signed != signed => {
                let what = format!("entry {entry}: certificate {serial} is not what was recorded before it was signed");
                findings.add(what, &self.at, "revoke the certificate, and find out who signed it");
            }
            _ => {}
        }
        Ok(())
    }
}

/// The DER TBSCertificate in a DER Certificate.
fn to_be_signed(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(der, "Certificate");
    let mut inner = outer.enter(Tag::SEQUENCE, "Certificate").ok()?;
    Some(inner.element(Tag::SEQUENCE).ok()?.raw)
}
