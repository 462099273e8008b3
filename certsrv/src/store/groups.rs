//! The tables that belong to groups alone: bans, and what waits in each group.

use super::{GROUPS, LISTS, Tx, member_key};
use crate::rows::Request;
use twinseal_proto::api::members::MemberRole;
use twinseal_proto::ids::{BanPattern, GroupId, ListAddress, MailAddress, RequestId};
use twinseal_svc::store::{StoreError, Table};

/// Group ‖ pattern → [`BanPattern`].
const BANS: Table = Table(18);
/// Group ‖ request → request: what waits for a group's owners, or for whom they invited.
const REQUESTS_IN: Table = Table(19);
/// Group ‖ folded address → address: the owners among the members, so that telling them does not read all members.
const OWNERS: Table = Table(20);

impl Tx<'_> {
    pub(super) fn note_owner(
        &mut self,
        group: &GroupId,
        address: &MailAddress,
        role: MemberRole,
    ) -> Result<(), StoreError> {
        match role {
            MemberRole::Owner => self.put(OWNERS, &member_key(group, address), address),
            MemberRole::Member => {
                self.forget_owner(group, address);
                Ok(())
            }
        }
    }

    pub(super) fn forget_owner(&mut self, group: &GroupId, address: &MailAddress) {
        self.delete(OWNERS, member_key(group, address));
    }

    /// Who owns a group, by address.
    pub(crate) fn owners(&self, group: &GroupId) -> Result<Vec<MailAddress>, StoreError> {
        self.scan(OWNERS, group.octets())
    }

    /// What waits in this group: requests to join it, and invitations.
    pub(crate) fn requests_in(&self, group: &GroupId) -> Result<Vec<Request>, StoreError> {
        let ids: Vec<RequestId> = self.scan(REQUESTS_IN, group.octets())?;
        ids.iter().filter_map(|id| self.request(id).transpose()).collect()
    }

    pub(super) fn put_request_in(&mut self, group: &GroupId, id: &RequestId) -> Result<(), StoreError> {
        self.put(REQUESTS_IN, &request_in_key(group, id), id)
    }

    pub(super) fn delete_request_in(&mut self, group: &GroupId, id: &RequestId) {
        self.delete(REQUESTS_IN, request_in_key(group, id));
    }

    pub(crate) fn delete_group(&mut self, group: &GroupId, list: &ListAddress) {
        self.delete(GROUPS, group.octets().to_vec());
        self.delete(LISTS, list.address().folded().as_bytes().to_vec());
    }

    pub(crate) fn put_ban(&mut self, group: &GroupId, pattern: &BanPattern) -> Result<(), StoreError> {
        self.put(BANS, &ban_key(group, pattern), pattern)
    }

    pub(crate) fn delete_ban(&mut self, group: &GroupId, pattern: &BanPattern) {
        self.delete(BANS, ban_key(group, pattern));
    }

    /// The bans of a group.
    pub(crate) fn bans(&self, group: &GroupId) -> Result<Vec<BanPattern>, StoreError> {
        self.scan(BANS, group.octets())
    }

    /// Whether there is this very ban.
    pub(crate) fn ban(&self, group: &GroupId, pattern: &BanPattern) -> Result<bool, StoreError> {
        Ok(self.get::<BanPattern>(BANS, &ban_key(group, pattern))?.is_some())
    }
}

fn request_in_key(group: &GroupId, id: &RequestId) -> Vec<u8> {
    [group.octets().as_slice(), id.octets()].concat()
}

fn ban_key(group: &GroupId, pattern: &BanPattern) -> Vec<u8> {
    [group.octets().as_slice(), pattern.as_str().as_bytes()].concat()
}
