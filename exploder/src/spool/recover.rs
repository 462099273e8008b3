//! What a crash left: all segments are read once, in their order, and a new one is begun.

use super::body;
use super::record::{self, Accepted, Item, Items, Kind, Recipient, State};
use super::{Home, Ledger, Spool, segment_path};
use crate::events;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use twinseal_proto::ids::{MemberNumber, PostId};
use twinseal_svc::commit::Committer;
use twinseal_svc::durable;

/// A message that is not done.
pub(crate) struct Recovered<S> {
    /// The message.
    pub(crate) id: PostId,
    /// What the queue keeps of its intake record.
    pub(crate) summary: S,
    /// How its copies stand, by member number; `None` when it was not written down to whom it goes.
    pub(crate) copies: Option<Vec<Recipient>>,
}

struct Found<S> {
    home: Home,
    /// A later home, and how many copies' outcomes are still to come behind it.
    next_home: Option<(Home, usize)>,
    recovered: Recovered<S>,
}

pub(super) fn open<S>(
    dir: &Path,
    segment_limit: u64,
    summary: impl Fn(&[u8]) -> Option<S>,
) -> io::Result<(Spool, Vec<Recovered<S>>)> {
    let (bodies, tmp) = (dir.join("bodies"), dir.join("tmp"));
    durable::make_dir(&bodies)?;
    durable::make_dir(&tmp)?;
    let numbers = segments(dir)?;
    let mut found = HashMap::new();
    let mut damaged = HashSet::new();
    let mut live: BTreeMap<u32, usize> = numbers.iter().map(|number| (*number, 0)).collect();
    for number in &numbers {
        if !read_segment(dir, *number, numbers.last() == Some(number), &summary, &mut found)? {
            damaged.insert(*number);
        }
    }
    found.retain(|id, post| {
        let length = || fs::metadata(body::path(&bodies, *id)).map(|m| m.len());
        let whole = post.home.inline || length().is_ok_and(|length| length == post.home.body_len);
        if !whole {
            events::body_missing(*id);
        }
        whole
    });
    remove_others(&tmp, &HashSet::new())?;
    let wanted = found.iter().filter(|(_, post)| !post.home.inline);
    remove_others(&bodies, &wanted.map(|(id, _)| body::path(Path::new(""), *id).into_os_string()).collect())?;
    let number = numbers.last().map_or(1, |last| last + 1);
    let log = Committer::open(&segment_path(dir, number), 0)?;
    live.insert(number, 0);
    for post in found.values() {
        *live.entry(post.home.segment).or_default() += 1;
    }
    let homes = found.iter().map(|(id, post)| (*id, post.home)).collect();
    let mut recovered: Vec<Recovered<S>> = found.into_values().map(|post| post.recovered).collect();
    recovered.sort_by_key(|post| post.id);
    let ledger = Mutex::new(Ledger { number, ordinal: 0, log, homes, live });
    let spool = Spool { dir: dir.to_owned(), bodies, tmp, segment_limit, damaged, ledger };
    spool.sweep()?;
    Ok((spool, recovered))
}

/// The numbers of the segments in `dir`, in order.
fn segments(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u32> =
            name.to_str().and_then(|n| n.strip_prefix("seg-")?.strip_suffix(".log")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether all of it could be read, but for the end that a crash tore.
///
/// # Errors
/// The I/O error; `InvalidData` for an accepted message that was written whole and cannot be read: by another version.
/// Going on would forget it.
fn read_segment<S>(
    dir: &Path,
    number: u32,
    last: bool,
    summary: &impl Fn(&[u8]) -> Option<S>,
    found: &mut HashMap<PostId, Found<S>>,
) -> io::Result<bool> {
    let path = segment_path(dir, number);
    let segment = fs::read(&path)?;
    let mut whole = true;
    for item in Items::new(&segment) {
        match item {
            Item::Record(kind, offset, payload) => {
                if apply(found, number, kind, offset, payload, summary).is_none() {
                    events::record_unreadable(number, offset);
                    if kind == Kind::Accepted {
                        let what = format!(
                            "{}: the message at octet {offset} was written by another version; start that one",
                            path.display()
                        );
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                    whole = false;
                }
            }
            Item::Torn(at) if last => {
                events::segment_cut(number, at, segment.len() as u64 - at);
                let file = fs::OpenOptions::new().write(true).open(&path)?;
                file.set_len(at)?;
                file.sync_all()?;
            }
            Item::Torn(at) => {
                events::segment_damaged(number, at, segment.len() as u64);
                whole = false;
            }
            Item::Damage(range) => {
                events::segment_damaged(number, range.start, range.end);
                whole = false;
            }
        }
    }
    Ok(whole)
}

/// Takes one record. `None`: its payload is not what its kind says.
fn apply<S>(
    found: &mut HashMap<PostId, Found<S>>,
    segment: u32,
    kind: Kind,
    offset: u64,
    payload: &[u8],
    summary: &impl Fn(&[u8]) -> Option<S>,
) -> Option<()> {
    match kind {
        Kind::Accepted => {
            let accepted = Accepted::read(payload)?;
            let home = Home::of(segment, offset, &accepted);
            match found.get_mut(&accepted.id) {
                // Written again, so that its old segment can go: only when all of its state is behind it, or the state
                // would go with the old segment after a crash that tore what was being written.
                Some(post) => match post.recovered.copies.as_ref().map_or(0, Vec::len) {
                    0 => post.home = home,
                    copies => post.next_home = Some((home, copies)),
                },
                None => {
                    let recovered = Recovered { id: accepted.id, summary: summary(accepted.intake)?, copies: None };
                    found.insert(accepted.id, Found { home, next_home: None, recovered });
                }
            }
        }
        Kind::Recipients => {
            let (id, members) = record::read_recipients(payload)?;
            // What is known of the copies of a message that was written again stays.
            if let Some(post) = found.get_mut(&id) {
                post.recovered.copies.get_or_insert_with(|| fresh_copies(members));
            }
        }
        Kind::Outcomes => {
            let (id, outcomes) = record::read_outcomes(payload)?;
            let Some(post) = found.get_mut(&id) else { return Some(()) };
            if let Some((home, missing)) = post.next_home.as_mut().filter(|(home, _)| home.segment == segment) {
                *missing = missing.saturating_sub(outcomes.len());
                if *missing == 0 {
                    post.home = *home;
                }
            }
            if let Some(copies) = &mut post.recovered.copies {
                for outcome in outcomes {
                    let at = copies.binary_search_by_key(&outcome.number, |copy| copy.number);
                    if let Some(copy) = at.ok().and_then(|at| copies.get_mut(at)) {
                        *copy = outcome;
                    }
                }
            }
        }
        Kind::Done => {
            found.remove(&record::read_done(payload)?);
        }
    }
    Some(())
}

/// Copies that were never tried, by member number.
pub(crate) fn fresh_copies(mut members: Vec<MemberNumber>) -> Vec<Recipient> {
    members.sort_unstable();
    members.dedup();
    members.into_iter().map(|number| Recipient { number, due: 0, attempts: 0, state: State::Due }).collect()
}

/// Removes every file in `dir` but the wanted ones.
fn remove_others(dir: &Path, wanted: &HashSet<OsString>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !wanted.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
