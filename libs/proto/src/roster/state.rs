//! What follows from the statements of a group's owners, in the order of their sequences.

use super::statement::{Binding, Entry, Head, OwnersChange, Removal, Role, SignedStatement, Statement};
use super::{HEAD_SECONDS, SKEW_SECONDS};
use crate::encoding::Digest;
use crate::ids::{GroupId, Handle};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most owners of a group.
pub const MAX_OWNERS: usize = 64;

/// Why a statement is not taken. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Text, key or signature is longer than any that we make.
    #[error("the statement is too long")]
    TooLong,
    /// Not a statement.
    #[error("the statement cannot be read: {0}")]
    Malformed(String),
    /// Not a key that owners sign with.
    #[error("the statement's key is none that owners may sign with: RSA of 2048 to 8192 bits, P-256 or P-384")]
    Key,
    /// Not signed by the key that it names.
    #[error("the statement's signature is wrong")]
    Signature,
    /// Signed by somebody who is no owner.
    #[error("the statement is signed by {0}, which is no owner's key")]
    NotAnOwner(Digest),
    /// About another group.
    #[error("the statement is about another group, {0}")]
    OtherGroup(GroupId),
    /// Not after what was taken before: an old statement that somebody tells again.
    #[error("the statement has number {sequence}, and the group is at {high}: it is replayed, or out of order")]
    Replayed {
        /// Its number.
        sequence: u64,
        /// The highest so far.
        high: u64,
    },
    /// Made upon other owners than these.
    #[error("the change of owners does not follow the one before")]
    Chain,
    /// Nobody would be left.
    #[error("the change would leave the group without an owner")]
    NoOwners,
    /// More owners than there may be.
    #[error("the change would give the group more than {MAX_OWNERS} owners")]
    TooManyOwners,
    /// An entry that holds at no time.
    #[error("the entry ends before it begins")]
    Period,
    /// Not the roster that the owner vouches for.
    #[error("the owner's head names another roster than the one here: a removal was held back, or somebody was put in")]
    OtherRoster,
    /// A membership without an owner's word.
    #[error("no owner signed it")]
    Unsigned,
    /// The statement that came with a membership is not an entry.
    #[error("the statement is no entry")]
    NotAnEntry,
    /// The statement that came with a membership is about another one.
    #[error("the entry is another member's")]
    OtherHandle,
    /// The key that came with an entry is not the one in it.
    #[error("the key is not the one that the owner signed")]
    OtherKey,
    /// The address that came with an entry is not the one in it.
    #[error("the address is not the one that the owner signed")]
    OtherAddress,
    /// The times in it do not fit the present.
    #[error("the statement's times do not fit the present time: check the clock")]
    Time,
}

/// Why nothing is made for a member, or for a whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// No owner has vouched for the roster yet.
    #[error("no owner has signed the roster's head yet; an owner does: twinseal owner head LIST")]
    NoHead,
    /// The last head is too old, or not good yet.
    #[error(
        "the roster's head of {issued} is not good now (for 30 days from then on); an owner renews it: twinseal owner head LIST"
    )]
    StaleHead {
        /// When it was signed.
        issued: UnixTime,
    },
    /// No owner has put the member in, or an owner or certsrv took it out.
    #[error("not in the owners' roster")]
    NotLive,
    /// The entry does not hold at this time.
    #[error("the owner's entry does not hold now")]
    Period,
}

/// A member that an owner put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEntry {
    /// SHA-256 of the entry's text.
    pub digest: Digest,
    /// The entry's number.
    pub sequence: u64,
    /// What the member may do.
    pub role: Role,
    /// [`Entry::key`].
    pub key: Digest,
    /// [`Entry::address`].
    pub address: Digest,
    /// [`Entry::not_before`].
    pub not_before: UnixTime,
    /// [`Entry::not_after`].
    pub not_after: UnixTime,
}

impl LiveEntry {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        self.not_before <= now.plus(SKEW_SECONDS) && now < self.not_after
    }
}

/// The newest head that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveHead {
    /// Its number.
    pub sequence: u64,
    /// When it was signed.
    pub issued: UnixTime,
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// A member is in, or stays in on other terms.
    Entry(Handle, LiveEntry),
    /// A member is out.
    Removal(Handle),
    /// The owners changed.
    Owners,
    /// The roster is vouched for.
    Head,
    /// The member is in by this very statement already.
    Known(Handle),
}

/// Everything of an [`OwnerRoster`] but its entries: small, whatever the size of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerState {
    /// The group.
    pub group: GroupId,
    /// Digests of the keys of those who may sign now.
    pub owners: BTreeSet<Digest>,
    /// SHA-256 of the text of the last change of owners; zeros when there was none.
    pub chain: Digest,
    /// The highest number of a statement so far.
    pub high: u64,
    /// The newest head.
    pub head: Option<LiveHead>,
}

impl OwnerState {
    /// A group whose first owner has this key; nothing was said yet.
    #[must_use]
    pub fn pin(group: GroupId, first: Digest) -> Self {
        Self { group, owners: BTreeSet::from([first]), chain: Digest([0; 32]), high: 0, head: None }
    }

    /// Takes a statement. `entry_of` gives the live entry of a handle, `roster` is [`live_digest`] of the whole roster: for
    /// those who keep the entries elsewhere. What it did to the entries, the caller does.
    ///
    /// # Errors
    /// [`RosterError`]; nothing changed.
    pub fn accept(
        &mut self,
        signed: &SignedStatement,
        entry_of: impl FnOnce(&Handle) -> Option<Digest>,
        roster: impl FnOnce(&Self) -> Digest,
    ) -> Result<Accepted, RosterError> {
        let statement = signed.read()?;
        if statement.group() != self.group {
            return Err(RosterError::OtherGroup(statement.group()));
        }
        let sequence = statement.sequence();
        if sequence <= self.high {
            return match statement {
                // It is in force: whoever tells it once more tells nothing new.
                Statement::Entry(Entry { handle, .. }) if entry_of(&handle) == Some(signed.digest()) => {
                    Ok(Accepted::Known(handle))
                }
                _ => Err(RosterError::Replayed { sequence, high: self.high }),
            };
        }
        // Cheaper than the signature, and says more when the key is somebody else's.
        let signer = signed.signer();
        if !self.owners.contains(&signer) {
            return Err(RosterError::NotAnOwner(signer));
        }
        signed.verify()?;
        let accepted = match statement {
            Statement::Entry(entry) => {
                if entry.not_before >= entry.not_after {
                    return Err(RosterError::Period);
                }
                Accepted::Entry(entry.handle, live(&entry, signed.digest()))
            }
            Statement::Removal(Removal { handle, .. }) => Accepted::Removal(handle),
            Statement::Owners(change) => {
                self.owners = self.changed(&change)?;
                self.chain = signed.digest();
                Accepted::Owners
            }
            Statement::Head(Head { digest, issued, .. }) => {
                if roster(self) != digest {
                    return Err(RosterError::OtherRoster);
                }
                self.head = Some(LiveHead { sequence, issued });
                Accepted::Head
            }
        };
        self.high = sequence;
        Ok(accepted)
    }

    fn changed(&self, change: &OwnersChange) -> Result<BTreeSet<Digest>, RosterError> {
        if change.previous != self.chain {
            return Err(RosterError::Chain);
        }
        let mut owners = self.owners.clone();
        owners.extend(&change.add);
        owners.retain(|owner| !change.remove.contains(owner));
        match owners.len() {
            0 => Err(RosterError::NoOwners),
            1..=MAX_OWNERS => Ok(owners),
            _ => Err(RosterError::TooManyOwners),
        }
    }

    /// Whether the group is served at all at `now`: an owner vouched for its roster not too long ago.
    ///
    /// # Errors
    /// [`Unserved::NoHead`], [`Unserved::StaleHead`].
    pub fn fresh(&self, now: UnixTime) -> Result<(), Unserved> {
        let LiveHead { issued, .. } = self.head.ok_or(Unserved::NoHead)?;
        let good = issued <= now.plus(SKEW_SECONDS) && now < issued.plus(HEAD_SECONDS);
        if good { Ok(()) } else { Err(Unserved::StaleHead { issued }) }
    }
}

const fn live(entry: &Entry, digest: Digest) -> LiveEntry {
    let Entry { sequence, role, key, address, not_before, not_after, .. } = *entry;
    LiveEntry { digest, sequence, role, key, address, not_before, not_after }
}

/// What a [`Head`] names: SHA-256 over `twinseal roster live` ‖ 0x00 ‖ group (16 octets) ‖ [`OwnerState::chain`] (32) ‖ and for
/// each live entry, in the order of the handles: handle (16) ‖ SHA-256 of the entry's text (32). The chain is in it, so that
/// a change of owners cannot be held back either.
pub fn live_digest<'a>(
    group: &GroupId,
    chain: &Digest,
    entries: impl IntoIterator<Item = (&'a Handle, &'a Digest)>,
) -> Digest {
    let sorted: BTreeMap<&Handle, &Digest> = entries.into_iter().collect();
    let mut parts: Vec<&[u8]> = vec![b"twinseal roster live\0", group.octets(), &chain.0];
    for (handle, digest) in sorted {
        parts.push(handle.octets());
        parts.push(&digest.0);
    }
    Digest::of_parts(&parts)
}

/// A group's roster as its owners signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRoster {
    /// All but the entries.
    pub state: OwnerState,
    /// The members that are in.
    pub live: BTreeMap<Handle, LiveEntry>,
}

/// A roster that was told anew, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resynced {
    /// The roster.
    pub roster: OwnerRoster,
    /// The statements that were not taken, by their place in what was given.
    pub refused: Vec<(usize, RosterError)>,
}

impl OwnerRoster {
    /// A group whose first owner has this key; nobody is in yet.
    #[must_use]
    pub fn pin(group: GroupId, first: Digest) -> Self {
        Self { state: OwnerState::pin(group, first), live: BTreeMap::new() }
    }

    /// Takes a statement.
    ///
    /// # Errors
    /// [`RosterError`]; nothing changed.
    pub fn accept(&mut self, signed: &SignedStatement) -> Result<Accepted, RosterError> {
        let Self { state, live } = self;
        let accepted = state.accept(
            signed,
            |handle| live.get(handle).map(|entry| entry.digest),
            |state| digest_of(state, live),
        )?;
        match &accepted {
            Accepted::Entry(handle, entry) => drop(live.insert(*handle, entry.clone())),
            Accepted::Removal(handle) => drop(live.remove(handle)),
            Accepted::Owners | Accepted::Head | Accepted::Known(_) => {}
        }
        Ok(accepted)
    }

    /// Takes the statement that came with a membership. One that is an owner's entry for somebody is taken for what it is,
    /// also when the rest of what came with it is wrong: the owner did sign it, and the next head counts it.
    ///
    /// # Errors
    /// [`RosterError`]: the membership is not to be acted on. [`RosterError::OtherKey`] and [`RosterError::OtherAddress`]
    /// come after the entry was taken.
    pub fn accept_member(
        &mut self,
        signed: Option<&SignedStatement>,
        handle: &Handle,
        told: Binding<'_>,
    ) -> Result<Accepted, RosterError> {
        let signed = signed.ok_or(RosterError::Unsigned)?;
        match signed.read()? {
            Statement::Entry(entry) if entry.handle == *handle => {
                let accepted = self.accept(signed)?;
                told.check(&entry.key, &entry.address)?;
                Ok(accepted)
            }
            Statement::Entry(_) => Err(RosterError::OtherHandle),
            _ => Err(RosterError::NotAnEntry),
        }
    }

    /// certsrv says that the member is out. That is always believed: it only protects.
    pub fn left(&mut self, handle: &Handle) {
        self.live.remove(handle);
    }

    /// What a head over the present roster names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(&self.state, &self.live)
    }

    /// The entry by which a member is served at `now`.
    ///
    /// # Errors
    /// [`Unserved`].
    pub fn serves(&self, handle: &Handle, now: UnixTime) -> Result<&LiveEntry, Unserved> {
        self.state.fresh(now)?;
        let entry = self.live.get(handle).ok_or(Unserved::NotLive)?;
        if entry.holds(now) { Ok(entry) } else { Err(Unserved::Period) }
    }

    /// The roster after all of it was told anew, in any order: what a snapshot of the feed brings, or what was kept of a
    /// group before its owner was pinned. Of what is not above [`OwnerState::high`] only the very entries stay that were in
    /// before; the rest is taken in the order of the sequences. Whoever is not told again is out, and so is whoever is
    /// `gone`. Entries of those, and entries after which there is a newer word about the member, are told for the sake of
    /// the heads that counted them: they are no replay. A head that does not fit counts for nothing; it is refused unless
    /// there is a newer one that fits.
    #[must_use]
    pub fn resync(&self, statements: &[SignedStatement], gone: &BTreeSet<Handle>) -> Resynced {
        let mut refused = Vec::new();
        let mut ordered = Vec::with_capacity(statements.len());
        for (place, signed) in statements.iter().enumerate() {
            match signed.read() {
                Ok(statement) => ordered.push((statement.sequence(), place, statement, signed)),
                Err(error) => refused.push((place, error)),
            }
        }
        ordered.sort_by_key(|(sequence, place, ..)| (*sequence, *place));
        let mut newest = BTreeMap::new();
        for (sequence, _, statement, _) in &ordered {
            if let Statement::Entry(Entry { handle, .. }) | Statement::Removal(Removal { handle, .. }) = statement {
                newest.insert(*handle, *sequence);
            }
        }
        let mut roster = Self { state: self.state.clone(), live: BTreeMap::new() };
        let high = self.state.high;
        let mut unfit = Vec::new();
        for (sequence, place, statement, signed) in ordered {
            match statement {
                _ if sequence > high => match roster.accept(signed) {
                    Ok(_) => {}
                    Err(RosterError::OtherRoster) => unfit.push((sequence, place)),
                    Err(error) => refused.push((place, error)),
                },
                Statement::Entry(Entry { handle, .. }) => match self.live.get(&handle) {
                    Some(entry) if entry.digest == signed.digest() => drop(roster.live.insert(handle, entry.clone())),
                    _ if gone.contains(&handle) || newest.get(&handle).is_some_and(|last| sequence < *last) => {}
                    _ => refused.push((place, RosterError::Replayed { sequence, high })),
                },
                // What these did is in the state already.
                Statement::Removal(_) | Statement::Owners(_) | Statement::Head(_) => {}
            }
        }
        roster.live.retain(|handle, _| !gone.contains(handle));
        let fits = roster.state.head.map_or(0, |head| head.sequence);
        unfit.retain(|(sequence, _)| *sequence > fits);
        refused.extend(unfit.into_iter().map(|(_, place)| (place, RosterError::OtherRoster)));
        refused.sort_by_key(|(place, _)| *place);
        Resynced { roster, refused }
    }
}

fn digest_of(state: &OwnerState, live: &BTreeMap<Handle, LiveEntry>) -> Digest {
    live_digest(&state.group, &state.chain, live.iter().map(|(handle, entry)| (handle, &entry.digest)))
}
