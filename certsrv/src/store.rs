//! The index of certsrv over the feed log: its tables, and the transaction in which a commit reads, decides and
//! writes. What a transaction wrote it reads back, so that many changes in one commit see each other.

mod enrolment;
mod groups;
mod notices;
mod owners;
mod revocations;

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::rows::{Account, Applied, Certificate, Group, GroupKey, Member, NoticeRow, Pin, Request, TokenRow};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{ExploderChange, GroupsrvChange};
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress, NoticeId, RequestId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::{Batch, Store, StoreError, Table};

/// One row: how far the log was followed.
const APPLIED: Table = Table(0);
/// Folded address → [`Account`].
const ACCOUNTS: Table = Table(1);
/// Serial number → [`Certificate`].
const CERTIFICATES: Table = Table(2);
/// Folded list address → [`Group`].
const LISTS: Table = Table(3);
/// Group → list address.
const GROUPS: Table = Table(4);
/// Group ‖ folded address → [`Member`].
const MEMBERS: Table = Table(5);
/// Folded address ‖ 0 ‖ group → group: an account's memberships.
const MEMBERSHIPS: Table = Table(6);
/// Token digest → [`TokenRow`].
const TOKENS: Table = Table(7);
/// Key digest → [`Pin`].
const PINS: Table = Table(8);
/// Key digest → [`GroupKey`].
const GROUP_KEYS: Table = Table(9);
/// Group ‖ epoch ‖ serial → serial: a group's certificates.
const GROUP_CERTIFICATES: Table = Table(10);
/// notAfter ‖ serial → serial: when members' certificates run out.
const ENDS: Table = Table(11);
/// Key digest → `true`: compromised, never certified again.
const COMPROMISED: Table = Table(12);
/// Expiry ‖ token digest → both: when tokens are forgotten.
const TOKEN_ENDS: Table = Table(13);
/// Request → [`Request`].
const REQUESTS: Table = Table(14);
/// Folded address ‖ 0 ‖ request → request: what is asked for an address.
const REQUESTS_OF: Table = Table(15);
/// Notice → [`NoticeRow`].
const OUTBOX: Table = Table(16);

/// A change with what it tells the two consumers.
pub(crate) struct Told {
    pub(crate) change: Change,
    pub(crate) groupsrv: Option<GroupsrvChange>,
    pub(crate) exploder: Option<ExploderChange>,
}

/// A consistent view of the index, and what a commit is about to change in it.
pub(crate) struct Tx<'a> {
    store: &'a Store,
    written: BTreeMap<(u8, Vec<u8>), Option<Box<RawValue>>>,
    told: Vec<Told>,
    at: u64,
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $get:ident, $put:ident, $table:ident, $row:ty, |$id:ident: $key:ty| $octets:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $get(&self, $id: &$key) -> Result<Option<$row>, StoreError> {
                self.get($table, $octets)
            }

            pub(crate) fn $put(&mut self, $id: &$key, row: &$row) -> Result<(), StoreError> {
                self.put($table, $octets, row)
            }
        )*
    };
}

impl<'a> Tx<'a> {
    /// A view of `store` as it is.
    pub(crate) const fn new(store: &'a Store) -> Self {
        Self { store, written: BTreeMap::new(), told: Vec::new(), at: 0 }
    }

    /// Makes a change: it is in the view from here on, and in the log and the index when the commit is done.
    pub(crate) fn push(&mut self, change: Change) -> Result<(), StoreError> {
        let follows = crate::membership::follows(&change, self)?;
        self.at = self.applied()?.sequence + 1 + self.told.len() as u64;
        let (groupsrv, exploder) = crate::views::of(&change, self)?;
        crate::apply::apply(&change, self)?;
        self.told.push(Told { change, groupsrv, exploder });
        follows.map_or(Ok(()), |follows| self.push(follows))
    }

    /// The sequence of the entry of the change that is being applied.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Says it of a change that is replayed.
    pub(crate) const fn set_at(&mut self, sequence: u64) {
        self.at = sequence;
    }

    /// The changes so far.
    pub(crate) fn told(&self) -> &[Told] {
        &self.told
    }

    /// Puts all that was written into the index; durable when this returns.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        drop(self.told);
        let mut batch = Batch::default();
        for ((table, key), row) in self.written {
            match row {
                Some(row) => batch.put(Table(table), &key, &row)?,
                None => batch.delete(Table(table), &key),
            }
        }
        self.store.commit(batch)
    }

    accessors! {
        /// The account with this address.
        account, put_account, ACCOUNTS, Account, |address: MailAddress| address.folded().as_bytes();
        /// The certificate with this serial number.
        certificate, put_certificate, CERTIFICATES, Certificate, |serial: Serial| serial.octets();
        /// The group with this list.
        group, put_group, LISTS, Group, |list: ListAddress| list.address().folded().as_bytes();
        /// The list of this group.
        list_of, put_list_of, GROUPS, ListAddress, |group: GroupId| group.octets();
        /// The token with this digest.
        token, put_token, TOKENS, TokenRow, |digest: Digest| &digest.0;
        /// The service with this key.
        pin, put_pin, PINS, Pin, |digest: Digest| &digest.0;
        /// The notice with this name, while it is on its way.
        notice, put_notice_row, OUTBOX, NoticeRow, |id: NoticeId| id.octets();
        /// The request with this name, while it waits.
        request, put_request_row, REQUESTS, Request, |id: RequestId| id.octets();
        /// The group with this key.
        group_key, put_group_key, GROUP_KEYS, GroupKey, |digest: Digest| &digest.0;
    }

    /// The membership of this account in this group.
    pub(crate) fn member(&self, group: &GroupId, address: &MailAddress) -> Result<Option<Member>, StoreError> {
        self.get(MEMBERS, &member_key(group, address))
    }

    pub(crate) fn put_member(&mut self, group: &GroupId, member: &Member) -> Result<(), StoreError> {
        self.put(MEMBERSHIPS, &membership_key(&member.address, group), group)?;
        self.note_owner(group, &member.address, member.role)?;
        self.put(MEMBERS, &member_key(group, &member.address), member)
    }

    pub(crate) fn delete_member(&mut self, group: &GroupId, address: &MailAddress) {
        self.delete(MEMBERSHIPS, membership_key(address, group));
        self.forget_owner(group, address);
        self.delete(MEMBERS, member_key(group, address));
    }

    pub(crate) fn put_token_end(&mut self, expires: UnixTime, digest: &Digest) -> Result<(), StoreError> {
        self.put(TOKEN_ENDS, &token_end_key(expires, digest), &(expires, digest))
    }

    /// The tokens that expired at `at` or before. Follows from the log alone: what was written is seen too.
    pub(crate) fn expired_tokens(&self, at: UnixTime) -> Result<Vec<(UnixTime, Digest)>, StoreError> {
        let mut found = BTreeMap::new();
        let past = token_end_key(at.plus(1), &Digest([0; 32]));
        for row in self.store.scan(TOKEN_ENDS, &[]) {
            let (key, end) = row?;
            if key >= past {
                break;
            }
            found.insert(key, end);
        }
        for ((_, key), row) in self.written.range((TOKEN_ENDS.0, Vec::new())..(TOKEN_ENDS.0, past)) {
            match row {
                Some(row) => found.insert(key.clone(), read(row)?),
                None => found.remove(key),
            };
        }
        Ok(found.into_values().collect())
    }

    pub(crate) fn delete_token(&mut self, expires: UnixTime, digest: &Digest) {
        self.delete(TOKEN_ENDS, token_end_key(expires, digest));
        self.delete(TOKENS, digest.0.to_vec());
    }

    pub(crate) fn delete_pin(&mut self, digest: &Digest) {
        self.delete(PINS, digest.0.to_vec());
    }

    /// Whether this key was revoked as compromised.
    pub(crate) fn compromised(&self, key: &Digest) -> Result<bool, StoreError> {
        Ok(self.get::<bool>(COMPROMISED, &key.0)?.is_some())
    }

    pub(crate) fn put_compromised(&mut self, key: &Digest) -> Result<(), StoreError> {
        self.put(COMPROMISED, &key.0, &true)
    }

    pub(crate) fn put_request(&mut self, request: &Request) -> Result<(), StoreError> {
        self.put(REQUESTS_OF, &request_key(request.wish.address(), &request.id), &request.id)?;
        if let Some(group) = request.wish.group() {
            self.put_request_in(group, &request.id)?;
        }
        self.put_request_row(&request.id, request)
    }

    pub(crate) fn delete_request(&mut self, request: &Request) {
        self.delete(REQUESTS_OF, request_key(request.wish.address(), &request.id));
        if let Some(group) = request.wish.group() {
            self.delete_request_in(group, &request.id);
        }
        self.delete(REQUESTS, request.id.octets().to_vec());
    }

    /// Everything that waits.
    pub(crate) fn requests(&self) -> Result<Vec<Request>, StoreError> {
        self.scan(REQUESTS, &[])
    }

    /// What waits for this address.
    pub(crate) fn requests_of(&self, address: &MailAddress) -> Result<Vec<Request>, StoreError> {
        let ids: Vec<RequestId> = self.scan(REQUESTS_OF, &[address.folded().as_bytes(), &[0]].concat())?;
        ids.iter().filter_map(|id| self.request(id).transpose()).collect()
    }

    pub(crate) fn put_end(&mut self, until: UnixTime, serial: &Serial) -> Result<(), StoreError> {
        self.put(ENDS, &end_key(until, serial), serial)
    }

    pub(crate) fn delete_end(&mut self, until: UnixTime, serial: &Serial) {
        self.delete(ENDS, end_key(until, serial));
    }

    pub(crate) fn put_group_certificate(
        &mut self,
        group: &GroupId,
        epoch: u32,
        serial: &Serial,
    ) -> Result<(), StoreError> {
        let key = [group.octets().as_slice(), &epoch.to_be_bytes(), serial.octets()].concat();
        self.put(GROUP_CERTIFICATES, &key, serial)
    }

    /// Every group, by list address.
    pub(crate) fn groups(&self) -> Result<Vec<Group>, StoreError> {
        self.scan(LISTS, &[])
    }

    /// Everybody who belongs to a group, by address.
    pub(crate) fn members(&self, group: &GroupId) -> Result<Vec<Member>, StoreError> {
        self.scan(MEMBERS, group.octets())
    }

    /// The groups that an account belongs to.
    pub(crate) fn memberships(&self, address: &MailAddress) -> Result<Vec<GroupId>, StoreError> {
        self.scan(MEMBERSHIPS, &[address.folded().as_bytes(), &[0]].concat())
    }

    /// The serial numbers of a group's certificates, oldest epoch first.
    pub(crate) fn group_certificates(&self, group: &GroupId) -> Result<Vec<Serial>, StoreError> {
        self.scan(GROUP_CERTIFICATES, group.octets())
    }

    /// Every pin with its service.
    pub(crate) fn pins(&self) -> Result<Vec<(Digest, Pin)>, StoreError> {
        let rows = self.scan_keyed::<Pin>(PINS, &[])?;
        Ok(rows.into_iter().filter_map(|(key, pin)| Some((Digest(key.try_into().ok()?), pin))).collect())
    }

    /// Members' certificates that ended at `now` or before and that nobody has seen to yet; at most `limit`.
    pub(crate) fn ended(&self, now: UnixTime, limit: usize) -> Result<Vec<Serial>, StoreError> {
        let mut found = Vec::new();
        for row in self.store.scan::<Serial>(ENDS, &[]) {
            let (key, serial) = row?;
            if found.len() >= limit || key.get(..8).is_none_or(|at| at > now.0.to_be_bytes().as_slice()) {
                break;
            }
            found.push(serial);
        }
        Ok(found)
    }

    /// Members' certificates that end after `from` and not after `to`, soonest first.
    pub(crate) fn ending(&self, from: UnixTime, to: UnixTime) -> Result<Vec<Serial>, StoreError> {
        let mut found = Vec::new();
        for row in self.store.scan::<Serial>(ENDS, &[]) {
            let (key, serial) = row?;
            let at = key.first_chunk::<8>().map_or(UnixTime(u64::MAX), |at| UnixTime(u64::from_be_bytes(*at)));
            if at > to {
                break;
            }
            if at > from {
                found.push(serial);
            }
        }
        Ok(found)
    }

    /// How far the index has followed.
    pub(crate) fn applied(&self) -> Result<Applied, StoreError> {
        Ok(self.get(APPLIED, &[])?.unwrap_or_default())
    }

    pub(crate) fn put_applied(&mut self, applied: &Applied) -> Result<(), StoreError> {
        self.put(APPLIED, &[], applied)
    }

    fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        if self.written.is_empty() {
            return self.store.get(table, key);
        }
        match self.written.get(&(table.0, key.to_vec())) {
            Some(Some(row)) => read(row).map(Some),
            Some(None) => Ok(None),
            None => self.store.get(table, key),
        }
    }

    fn put<T: Serialize>(&mut self, table: Table, key: &[u8], row: &T) -> Result<(), StoreError> {
        let json = to_raw_value(row).map_err(std::io::Error::from)?;
        self.written.insert((table.0, key.to_vec()), Some(json));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.written.insert((table.0, key), None);
    }

    fn scan<T: DeserializeOwned>(&self, table: Table, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        Ok(self.scan_keyed(table, prefix)?.into_iter().map(|(_, row)| row).collect())
    }

    fn scan_keyed<T: DeserializeOwned>(&self, table: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let mut rows: BTreeMap<Vec<u8>, T> = self.store.scan(table, prefix).collect::<Result<_, _>>()?;
        let from = (table.0, prefix.to_vec());
        let own = self.written.range(from..).take_while(|((t, key), _)| *t == table.0 && key.starts_with(prefix));
        for ((_, key), row) in own {
            match row {
                Some(row) => rows.insert(key.clone(), read(row)?),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().collect())
    }
}

fn read<T: DeserializeOwned>(row: &RawValue) -> Result<T, StoreError> {
    serde_json::from_str(row.get()).map_err(|e| StoreError::File(e.into()))
}

fn member_key(group: &GroupId, address: &MailAddress) -> Vec<u8> {
    [group.octets().as_slice(), address.folded().as_bytes()].concat()
}

fn membership_key(address: &MailAddress, group: &GroupId) -> Vec<u8> {
    [address.folded().as_bytes(), &[0], group.octets()].concat()
}

fn token_end_key(expires: UnixTime, digest: &Digest) -> Vec<u8> {
    [expires.0.to_be_bytes().as_slice(), &digest.0].concat()
}

fn end_key(until: UnixTime, serial: &Serial) -> Vec<u8> {
    [until.0.to_be_bytes().as_slice(), serial.octets()].concat()
}

fn request_key(address: &MailAddress, id: &RequestId) -> Vec<u8> {
    [address.folded().as_bytes(), &[0], id.octets()].concat()
}

#[cfg(test)]
mod tests {
    /// A number that two tables had would mix their rows.
    #[test]
    fn every_table_has_a_number_of_its_own() {
        let sources = [
            include_str!("store.rs"),
            include_str!("store/enrolment.rs"),
            include_str!("store/groups.rs"),
            include_str!("store/notices.rs"),
            include_str!("store/owners.rs"),
            include_str!("store/revocations.rs"),
        ];
        let mut numbers: Vec<&str> = sources
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.starts_with("const ") && line.contains(": Table = Table("))
            .filter_map(|line| line.split(['(', ')']).nth(1))
            .collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(count > 30 && numbers.len() == count, "{count} tables, {} numbers", numbers.len());
    }
}
