//! What each view has come to, for a consumer that cannot or need not go through all entries: a new one, one whose
//! certsrv was restored, one that was restored itself. Made from the index while nothing can change, signed once for both
//! views, kept for as long as somebody fetches its pages.

use crate::app::App;
use crate::authn::service;
use crate::events;
use crate::failure::{Failure, refuse};
use crate::log::page::Pages;
use crate::log::{Head, LogError};
use crate::owners;
use crate::random;
use crate::rows::{Certificate, Group, Holder, Member};
use crate::store::Tx;
use crate::views::recipient;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use twinseal_proto::api::admin::certsrv::MemberState;
use twinseal_proto::api::feed::{SnapshotPage, SnapshotRequest};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    DeliveryOptions, ExploderChange, GroupsrvChange, RevokedMembership, Rotation, SNAPSHOT_PAGE, SignedSnapshot,
    SnapshotHeader, View, snapshot_digest,
};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

/// A snapshot that nobody asked about for so long is forgotten.
const KEPT: Duration = Duration::from_secs(120);
/// Whoever begins takes one that was made so shortly ago.
const FRESH: Duration = Duration::from_secs(10);
/// Snapshots that are kept at once: they are in memory.
const MOST: usize = 4;

/// The snapshots that are kept.
#[derive(Default)]
pub(crate) struct Snapshots {
    kept: Mutex<Vec<Kept>>,
    /// Held while one is made: who comes meanwhile takes it.
    making: tokio::sync::Mutex<()>,
}

struct Kept {
    snapshot: Arc<Made>,
    made: Instant,
    asked: Instant,
}

struct Made {
    digest: Digest,
    sequence: u64,
    groupsrv: Viewed,
    exploder: Viewed,
}

struct Viewed {
    signed: SignedSnapshot,
    pages: Vec<String>,
}

impl Snapshots {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first that fits.
    fn find(&self, fits: impl Fn(&Kept) -> bool) -> Option<Arc<Made>> {
        let mut all = self.kept();
        let found = all.iter_mut().find(|kept| fits(kept))?;
        found.asked = Instant::now();
        Some(Arc::clone(&found.snapshot))
    }

    fn keep(&self, snapshot: Made) -> Arc<Made> {
        let (snapshot, now) = (Arc::new(snapshot), Instant::now());
        let mut all = self.kept();
        if all.len() >= MOST {
            all.sort_by_key(|kept| kept.asked);
            all.remove(0);
        }
        all.push(Kept { snapshot: Arc::clone(&snapshot), made: now, asked: now });
        snapshot
    }

    /// Forgets what nobody asks about. `true`: there is none left.
    fn forget(&self) -> bool {
        let mut all = self.kept();
        all.retain(|kept| kept.asked.elapsed() < KEPT);
        all.is_empty()
    }
}

/// `FeedSnapshot`.
pub(crate) async fn snapshot(app: Arc<App>, caller: Caller, request: SnapshotRequest) -> Result<SnapshotPage, Problem> {
    page(&app, &caller, &request).await.map_err(Failure::into_problem)
}

async fn page(app: &Arc<App>, caller: &Caller, request: &SnapshotRequest) -> Result<SnapshotPage, Failure> {
    let role = service::role(app, caller)?;
    let made = match request.snapshot {
        Some(digest) => app
            .snapshots
            .find(|kept| kept.snapshot.digest == digest)
            .ok_or_else(|| refuse(ProblemCode::Conflict, "this snapshot is not kept any more: begin another"))?,
        None => begun(app, request.after).await?,
    };
    let viewed = match role {
        ServiceRole::Groupsrv => &made.groupsrv,
        ServiceRole::Exploder => &made.exploder,
    };
    let number = usize::try_from(request.page).unwrap_or(usize::MAX);
    let text = viewed
        .pages
        .get(number)
        .cloned()
        .ok_or_else(|| refuse(ProblemCode::BadRequest, format!("page: there are {}", viewed.pages.len())))?;
    Ok(SnapshotPage { snapshot: viewed.signed.clone(), pages: viewed.pages.len() as u64, text })
}

/// A snapshot that is not of before entry `after`.
async fn begun(app: &Arc<App>, after: u64) -> Result<Arc<Made>, Failure> {
    let _making = app.snapshots.making.lock().await;
    let fresh = |kept: &Kept| kept.made.elapsed() < FRESH && kept.snapshot.sequence >= after;
    if let Some(made) = app.snapshots.find(fresh) {
        return Ok(made);
    }
    let at = Arc::clone(app);
    let made = tokio::task::spawn_blocking(move || make(&at)).await??;
    let octets = made.groupsrv.pages.iter().chain(&made.exploder.pages).map(String::len).sum();
    events::snapshot_made(made.sequence, octets);
    let at = Arc::clone(app);
    tokio::spawn(async move {
        loop {
            tokio::select! { () = tokio::time::sleep(KEPT) => {}, () = at.stop.cancelled() => return }
            if at.snapshots.forget() {
                return;
            }
        }
    });
    Ok(app.snapshots.keep(made))
}

fn make(app: &App) -> Result<Made, Failure> {
    let key = app.registry.key();
    app.registry.frozen(|tx, log| {
        let head = log.head();
        let (for_groupsrv, for_exploder) = views(tx, head)?;
        let salts = [B64(random::octets()?.to_vec()), B64(random::octets()?.to_vec())];
        let [for_groupsrv, for_exploder] = [for_groupsrv, for_exploder].map(Lines::pages);
        let header = SnapshotHeader {
            feed: key.feed(),
            generation: key.generation(),
            sequence: head.sequence,
            head: head.digest,
            issued: UnixTime::now(),
            groupsrv: snapshot_digest(salts[0].as_ref(), &for_groupsrv),
            exploder: snapshot_digest(salts[1].as_ref(), &for_exploder),
        };
        let (header, signature) = key.snapshot(header)?;
        let digest = Digest::of(header.as_bytes());
        let rotations = rotations(&log.pages(), &key.rotations())?;
        let [groupsrv, exploder] = salts.map(|salt| SignedSnapshot {
            header: header.clone(),
            signature: signature.clone(),
            salt,
            rotations: rotations.clone(),
        });
        Ok(Made {
            digest,
            sequence: head.sequence,
            groupsrv: Viewed { signed: groupsrv, pages: for_groupsrv },
            exploder: Viewed { signed: exploder, pages: for_exploder },
        })
    })
}

/// The entries by which the feed key was replaced.
fn rotations(pages: &Pages, sequences: &[u64]) -> Result<Vec<Rotation>, LogError> {
    let mut all = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let (entries, _) = pages.read(sequence.saturating_sub(1), *sequence, View::Groupsrv)?;
        let proof = entries.into_iter().next().and_then(|entry| {
            let (header, signature, next_signature) = (entry.header, entry.signature, entry.next_signature?);
            Some(Rotation { header, signature, next_signature })
        });
        all.push(proof.ok_or(LogError::Key)?);
    }
    Ok(all)
}

/// The body of one view.
#[derive(Default)]
struct Lines {
    full: Vec<String>,
    last: String,
}

impl Lines {
    fn push<T: Serialize>(&mut self, sequence: u64, change: &T) -> Result<(), Failure> {
        let line = serde_json::to_string(&(sequence, change)).map_err(LogError::from)?;
        if !self.last.is_empty() && self.last.len() + line.len() + 1 > SNAPSHOT_PAGE {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.push_str(&line);
        self.last.push('\n');
        Ok(())
    }

    fn pages(mut self) -> Vec<String> {
        self.full.push(self.last);
        self.full
    }
}

/// Both views of the state at `head`, as changes for an empty roster.
fn views(tx: &Tx<'_>, head: Head) -> Result<(Lines, Lines), Failure> {
    let (mut groupsrv, mut exploder) = (Lines::default(), Lines::default());
    for group in tx.groups()? {
        let Group { group: id, list, mode, history, settings, signed, .. } = group;
        groupsrv.push(head.sequence, &GroupsrvChange::GroupCreated { group: id, mode, history, signed })?;
        exploder.push(head.sequence, &ExploderChange::GroupCreated { group: id, list, settings, signed })?;
        if signed {
            let (for_groupsrv, for_exploder) = owners::retold(id, head.sequence, tx)?;
            for_groupsrv.iter().try_for_each(|(sequence, change)| groupsrv.push(*sequence, change))?;
            for_exploder.iter().try_for_each(|(sequence, change)| exploder.push(*sequence, change))?;
            continue;
        }
        for member in tx.members(&id)? {
            let Member { address, handle, number, state, serial, joined, options, .. } = member;
            // Nobody was told of a pending one.
            let (Some(serial), MemberState::Active | MemberState::Suspended) = (serial, state) else { continue };
            let recipient = recipient(&serial, tx)?;
            groupsrv.push(joined, &GroupsrvChange::MemberJoined { group: id, handle, recipient, signed: None })?;
            if state == MemberState::Suspended {
                groupsrv.push(head.sequence, &GroupsrvChange::MemberSuspended { group: id, handle })?;
            }
            let member = ExploderChange::MemberJoined { group: id, handle, number, address, salt: None, signed: None };
            exploder.push(joined, &member)?;
            let options = options.for_delivery();
            if options != DeliveryOptions::default() {
                exploder.push(head.sequence, &ExploderChange::MemberOptions { group: id, handle, options })?;
            }
        }
    }
    let certificates = revoked_memberships(tx)?;
    if !certificates.is_empty() {
        groupsrv.push(head.sequence, &GroupsrvChange::MembershipRevoked { certificates })?;
    }
    for (address, row) in tx.all_posting_tokens()? {
        let (digest, expires) = (row.digest, row.expires);
        exploder.push(head.sequence, &ExploderChange::PostingToken { digest, address, expires })?;
    }
    Ok((groupsrv, exploder))
}

/// The membership certificates that were revoked and have not ended.
fn revoked_memberships(tx: &Tx<'_>) -> Result<Vec<RevokedMembership>, Failure> {
    let mut found = Vec::new();
    for serial in tx.ended(UnixTime(u64::MAX), usize::MAX)? {
        if let Some(Certificate { holder: Holder::Membership { .. }, revoked: Some(_), until, .. }) =
            tx.certificate(&serial)?
        {
            found.push(RevokedMembership { serial: B64(serial.octets().to_vec()), until });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use twinseal_proto::ids::FeedId;

    #[test]
    fn pages_end_at_line_ends_and_are_not_longer_than_they_need_be() {
        let mut lines = Lines::default();
        let texts = [SNAPSHOT_PAGE / 2, SNAPSHOT_PAGE / 3, SNAPSHOT_PAGE / 3, 2 * SNAPSHOT_PAGE, 5];
        for (sequence, length) in (1..).zip(texts) {
            lines.push(sequence, &"x".repeat(length)).unwrap();
        }
        let pages = lines.pages();
        assert_eq!(pages.iter().map(|page| page.lines().count()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert!(pages.iter().all(|page| page.ends_with('\n')));
        assert!(pages.iter().all(|page| page.len() <= SNAPSHOT_PAGE || page.lines().count() == 1));
        assert_eq!(Lines::default().pages(), [""], "there is always a page");
    }

    #[test]
    fn few_snapshots_are_kept_and_those_that_are_being_fetched() {
        let kept = Snapshots::default();
        let made = |n: u8| {
            let signed = SignedSnapshot {
                header: FeedId::from_random([n; 16]).to_string(),
                signature: B64(Vec::new()),
                salt: B64(Vec::new()),
                rotations: Vec::new(),
            };
            let viewed = || Viewed { signed: signed.clone(), pages: Vec::new() };
            Made { digest: Digest([n; 32]), sequence: u64::from(n), groupsrv: viewed(), exploder: viewed() }
        };
        let there = |n: u8| kept.find(|kept| kept.snapshot.digest == Digest([n; 32])).is_some();
        for n in 0..4 {
            kept.keep(made(n));
        }
        // The first is being fetched; so the second goes.
        assert!(there(0));
        kept.keep(made(4));
        assert_eq!([0, 1, 2, 3, 4].map(there), [true, false, true, true, true]);
        assert!(!kept.forget(), "all were asked about just now");
        kept.kept().iter_mut().for_each(|kept| kept.asked = Instant::now().checked_sub(KEPT).unwrap());
        assert!(kept.forget() && !there(0));
    }
}
