//! The groups and their members, in memory and ready to wrap for: fed by certsrv's feed, kept in the index.

use crate::authz::Standing;
use crate::owners;
use crate::parse;
use crate::store::{GroupRow, Index, MemberRow, RosterBatch};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use twinseal_proto::api::admin::rosters;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cms::recipient::RecipientId;
use twinseal_proto::cms::wrap::{MemberKey, MemberKeyError, RsaScheme};
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{Cursor, GroupsrvChange, History, RecipientKey, View};
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::roster::{Accepted, Binding, SignedStatement};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint;
use twinseal_svc::follow;
use twinseal_svc::owners::{Membership, OwnerBook, Turn};
use twinseal_svc::store::StoreError;

/// A membership, its key parsed once: that is seven times the cost of a wrap.
pub(crate) struct Member {
    joined: u64,
    /// `None` while the membership is suspended.
    pub(crate) key: Option<MemberKey>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) key_digest: Option<Digest>,
}

impl Member {
    fn new(handle: &Handle, row: &MemberRow) -> Arc<Self> {
        let key = row.recipient.as_ref().and_then(|recipient| match member_key(recipient) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(%handle, %error, "a member's key that cannot be wrapped for");
                None
            }
        });
        let key_digest = row.recipient.as_ref().map(|recipient| Digest::of(recipient.public_key.as_ref()));
        Arc::new(Self { joined: row.joined, key, key_digest })
    }

    /// The same, as if it were suspended.
    pub(crate) const fn without_key(&self) -> Self {
        Self { joined: self.joined, key: None, key_digest: None }
    }

    /// What authorisation looks at.
    pub(crate) const fn standing(&self) -> Standing {
        Standing { joined: self.joined, has_key: self.key.is_some() }
    }
}

/// Wraps go to issuer and serial number with PKCS #1 v1.5, or ECDH: the forms that every client reads (DESIGN 2).
fn member_key(recipient: &RecipientKey) -> Result<MemberKey, MemberKeyError> {
    let (issuer_der, serial) = (recipient.issuer.clone(), recipient.serial.clone());
    let rid = RecipientId::IssuerAndSerial { issuer_der, serial };
    MemberKey::new(rid, recipient.public_key.as_ref(), RsaScheme::default())
}

struct Group {
    row: GroupRow,
    members: HashMap<Handle, Arc<Member>>,
}

struct Live {
    cursor: Cursor,
    groups: HashMap<GroupId, Group>,
}

/// The roster.
pub(crate) struct Roster {
    index: Arc<Index>,
    /// What owners signed.
    pub(crate) owners: OwnerBook,
    live: RwLock<Live>,
    complete: AtomicBool,
}

/// What a call needs of a group: taken at one moment.
pub(crate) struct Selected {
    /// Which messages its members may open.
    pub(crate) history: History,
    /// The members behind the handles, in their order.
    pub(crate) members: Vec<Option<Arc<Member>>>,
}

impl Roster {
    /// Reads the roster out of the index; `start` is the place before the first entry of the feed that was joined.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn load(index: Arc<Index>, start: Cursor) -> Result<Self, StoreError> {
        let cursor = index.cursor()?.unwrap_or(start);
        let complete = AtomicBool::new(index.is_complete()?);
        let mut groups = HashMap::new();
        for (id, row) in index.groups()? {
            let mut members = HashMap::new();
            for member in index.members(&id) {
                let (handle, member) = member?;
                members.insert(handle, Member::new(&handle, &member));
            }
            groups.insert(id, Group { row, members });
        }
        let owners = index.owner_book()?;
        Ok(Self { index, owners, live: RwLock::new(Live { cursor, groups }), complete })
    }

    fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the group exists now.
    pub(crate) fn has_group(&self, group: &GroupId) -> bool {
        self.read().groups.get(group).is_some_and(|group| !group.row.deleted)
    }

    /// Whether the group is known to have been deleted.
    pub(crate) fn is_deleted(&self, group: &GroupId) -> bool {
        self.read().groups.get(group).is_some_and(|group| group.row.deleted)
    }

    /// The members of `group` behind `handles` at `now`, as far as its owners signed for them.
    ///
    /// # Errors
    /// There is no such group, or no owner vouches for its roster: what the caller is told.
    pub(crate) fn select(&self, group: &GroupId, handles: &[Handle], now: UnixTime) -> Result<Selected, Problem> {
        let live = self.read();
        let known = live.groups.get(group).filter(|group| !group.row.deleted);
        let known = known.ok_or_else(|| parse::Refused::NoGroup.problem())?;
        if let Some(reason) = self.owners.unserved(group, known.row.signed, now) {
            return Err(Problem::new(ProblemCode::Conflict, format!("group: {reason}")));
        }
        let signed = self.owners.get(group);
        let member = |handle| {
            let member = known.members.get(handle)?;
            match &signed {
                Some(pinned) => owners::admitted(&pinned.roster, handle, member, now),
                None => Some(Arc::clone(member)),
            }
        };
        Ok(Selected { history: known.row.history, members: handles.iter().map(member).collect() })
    }

    /// How the groups stand whose owners sign, or should.
    pub(crate) fn standings(&self, now: UnixTime) -> Vec<rosters::Standing> {
        let live = self.read();
        let signed = live.groups.iter().filter(|(_, group)| group.row.signed && !group.row.deleted);
        let mut groups = self.owners.groups();
        groups.extend(signed.map(|(group, _)| *group));
        let is_signed = |group: &GroupId| live.groups.get(group).is_some_and(|group| group.row.signed);
        groups.into_iter().filter_map(|group| self.owners.standing(&group, is_signed(&group), now)).collect()
    }

    /// The place in the feed.
    pub(crate) fn sequence(&self) -> u64 {
        self.read().cursor.sequence
    }

    /// Whether the roster was complete once since it was last begun anew. Before that, its place in the feed says nothing
    /// about when a message was first seen.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Notes that it is. Blocks the first time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn set_complete(&self) -> Result<(), StoreError> {
        if !self.is_complete() {
            self.index.set_complete()?;
            self.complete.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl follow::Roster for Roster {
    type Change = GroupsrvChange;
    const VIEW: View = View::Groupsrv;

    fn cursor(&self) -> Cursor {
        self.read().cursor.clone()
    }

    fn apply(&self, changes: Vec<(u64, GroupsrvChange)>, cursor: &Cursor) -> Result<(), StoreError> {
        failpoint::hit("groupsrv.roster.before-apply");
        let mut page = Page {
            roster: self,
            batch: RosterBatch::default(),
            groups: HashMap::new(),
            members: HashMap::new(),
            owners: self.owners.turn(),
        };
        for (sequence, change) in changes {
            page.take(sequence, change)?;
        }
        let Page { mut batch, groups, members, owners, .. } = page;
        let signed = owners.finish(batch.inner())?;
        let members: Vec<_> = members
            .into_iter()
            .map(|((group, handle), row)| (group, handle, row.map(|row| Member::new(&handle, &row))))
            .collect();
        self.index.commit(batch, cursor)?;
        failpoint::hit("groupsrv.roster.after-apply");
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        signed.in_force();
        for (id, row) in groups {
            let group = live.groups.entry(id).or_insert_with(|| Group { row, members: HashMap::new() });
            group.row = row;
        }
        for (id, handle, member) in members {
            let Some(group) = live.groups.get_mut(&id) else { continue };
            match member {
                Some(member) => group.members.insert(handle, member),
                None => group.members.remove(&handle),
            };
        }
        live.cursor = cursor.clone();
        Ok(())
    }
}

/// The changes of one page: later ones build upon earlier ones.
struct Page<'a> {
    roster: &'a Roster,
    batch: RosterBatch,
    groups: HashMap<GroupId, GroupRow>,
    /// `None`: the membership ended.
    members: HashMap<(GroupId, Handle), Option<MemberRow>>,
    owners: Turn<'a>,
}

impl Page<'_> {
    fn take(&mut self, sequence: u64, change: GroupsrvChange) -> Result<(), StoreError> {
        use GroupsrvChange as C;
        match change {
            C::GroupCreated { group, mode, history, signed } | C::GroupChanged { group, mode, history, signed } => {
                self.owners.told_signed(group, signed);
                self.put_group(group, GroupRow { mode, history, deleted: false, signed })
            }
            C::GroupDeleted { group } => {
                self.owners.deleted(&group);
                self.delete_group(group)
            }
            C::MemberJoined { group, handle, recipient, signed } => {
                match self.owners.member(group, handle, signed.as_ref(), Binding::Key(recipient.public_key.as_ref())) {
                    Membership::Unpinned | Membership::Signed => {
                        self.put_member(group, handle, MemberRow { joined: sequence, recipient: Some(recipient) })
                    }
                    Membership::Refused => Ok(()),
                }
            }
            C::MemberKeyChanged { group, handle, recipient, signed } => {
                self.signed_key(group, handle, recipient, signed.as_ref())
            }
            C::MemberSuspended { group, handle } => self.change_key(group, handle, None),
            C::MemberLeft { group, handle } => {
                self.owners.left(&group, &handle)?;
                self.delete_member(group, handle);
                Ok(())
            }
            C::Statement { group, statement } => {
                if let Some(Accepted::Removal(handle)) = self.owners.statement(group, &statement) {
                    self.delete_member(group, handle);
                }
                Ok(())
            }
        }
    }

    fn delete_member(&mut self, group: GroupId, handle: Handle) {
        self.batch.delete_member(&group, &handle);
        self.members.insert((group, handle), None);
    }

    /// In a pinned group a key changes when an owner signed for the new one; until then the old one stays in force.
    fn signed_key(
        &mut self,
        group: GroupId,
        handle: Handle,
        recipient: RecipientKey,
        signed: Option<&SignedStatement>,
    ) -> Result<(), StoreError> {
        if signed.is_none() && self.owners.is_pinned(&group) {
            tracing::info!(%group, %handle, "a member's new key waits for an owner's signature");
            return Ok(());
        }
        match self.owners.member(group, handle, signed, Binding::Key(recipient.public_key.as_ref())) {
            Membership::Unpinned | Membership::Signed => self.change_key(group, handle, Some(recipient)),
            Membership::Refused => Ok(()),
        }
    }

    fn put_group(&mut self, group: GroupId, row: GroupRow) -> Result<(), StoreError> {
        self.groups.insert(group, row);
        self.batch.put_group(&group, &row)
    }

    fn delete_group(&mut self, group: GroupId) -> Result<(), StoreError> {
        let known = self.groups.get(&group).copied();
        let known = known.or_else(|| self.roster.read().groups.get(&group).map(|group| group.row));
        let handles: Vec<Handle> = {
            let live = self.roster.read();
            let before = live.groups.get(&group).into_iter().flat_map(|group| group.members.keys().copied());
            let in_page = self.members.keys().filter(|(of, _)| *of == group).map(|(_, handle)| *handle);
            before.chain(in_page).collect()
        };
        for handle in handles {
            self.batch.delete_member(&group, &handle);
            self.members.insert((group, handle), None);
        }
        match known {
            Some(row) => self.put_group(group, GroupRow { deleted: true, ..row }),
            None => Ok(()),
        }
    }

    fn put_member(&mut self, group: GroupId, handle: Handle, row: MemberRow) -> Result<(), StoreError> {
        self.batch.put_member(&group, &handle, &row)?;
        self.members.insert((group, handle), Some(row));
        Ok(())
    }

    /// A new key, or none for the time being; the place of joining stays.
    fn change_key(
        &mut self,
        group: GroupId,
        handle: Handle,
        recipient: Option<RecipientKey>,
    ) -> Result<(), StoreError> {
        let joined = match self.members.get(&(group, handle)) {
            Some(row) => row.as_ref().map(|row| row.joined),
            None => {
                let live = self.roster.read();
                live.groups.get(&group).and_then(|group| group.members.get(&handle)).map(|member| member.joined)
            }
        };
        match joined {
            Some(joined) => self.put_member(group, handle, MemberRow { joined, recipient }),
            None => {
                tracing::error!(%group, %handle, "the feed changes a key of nobody's");
                Ok(())
            }
        }
    }
}
