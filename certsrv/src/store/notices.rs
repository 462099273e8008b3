//! What the index knows of certsrv's own mail, and of posting tokens.

use super::{OUTBOX, Tx};
use crate::cert::serial::Serial;
use crate::rows::{Notice, NoticeRow, PostingRow};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{GroupId, ListAddress, MailAddress, NoticeId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::{StoreError, Table};

/// Kind ‖ folded address ‖ 0 ‖ what it is about → when such a notice was last queued.
const NOTICED: Table = Table(17);
/// Folded address → since when, and how many mails that anybody could ask for were queued for it.
const ASKED_FOR: Table = Table(27);
/// Group → serial: the newest certificate of its mail's signatures.
const LIST_SIGNERS: Table = Table(28);
/// Serial → days: the last warning that was given before a member's certificate ends.
const WARNED: Table = Table(29);
/// Folded address ‖ 0 ‖ digest → [`PostingRow`].
const POSTING_TOKENS: Table = Table(30);

impl Tx<'_> {
    pub(crate) fn put_notice(&mut self, row: &NoticeRow) -> Result<(), StoreError> {
        let key = noticed_key(&row.notice);
        self.put(NOTICED, &key, &row.made)?;
        match &row.notice {
            Notice::LogIn { to } | Notice::Confirm { to, .. } => {
                let (since, count) = self.asked_for(to, row.made)?;
                self.put(ASKED_FOR, to.folded().as_bytes(), &(since, count.saturating_add(1)))?;
            }
            Notice::Expiry { serial, days, .. } => self.put(WARNED, serial.octets(), days)?,
            _ => {}
        }
        self.put_notice_row(&row.id, row)
    }

    /// The present day of mails that anybody could ask for to be sent to this address: when it began, and how many were.
    pub(crate) fn asked_for(&self, address: &MailAddress, now: UnixTime) -> Result<(UnixTime, u32), StoreError> {
        let row = self.get::<(UnixTime, u32)>(ASKED_FOR, address.folded().as_bytes())?;
        Ok(row.filter(|(since, _)| now.since(*since) < 86_400).unwrap_or((now, 0)))
    }

    /// The last warning, in days before its end, that was queued about this certificate.
    pub(crate) fn warned(&self, serial: &Serial) -> Result<Option<u32>, StoreError> {
        self.get(WARNED, serial.octets())
    }

    pub(crate) fn delete_warned(&mut self, serial: &Serial) {
        self.delete(WARNED, serial.octets().to_vec());
    }

    pub(crate) fn put_list_signer(&mut self, group: &GroupId, serial: &Serial) -> Result<(), StoreError> {
        self.put(LIST_SIGNERS, group.octets(), serial)
    }

    /// The certificate with which mails in the list's name are signed.
    pub(crate) fn list_signer(&self, group: &GroupId) -> Result<Option<Serial>, StoreError> {
        self.get(LIST_SIGNERS, group.octets())
    }

    pub(crate) fn put_posting_token(&mut self, address: &MailAddress, row: &PostingRow) -> Result<(), StoreError> {
        self.put(POSTING_TOKENS, &posting_key(address, &row.digest), row)
    }

    pub(crate) fn delete_posting_token(&mut self, address: &MailAddress, digest: &Digest) {
        self.delete(POSTING_TOKENS, posting_key(address, digest));
    }

    /// Every posting token, with its account.
    pub(crate) fn all_posting_tokens(&self) -> Result<Vec<(MailAddress, PostingRow)>, StoreError> {
        let rows = self.scan_keyed::<PostingRow>(POSTING_TOKENS, &[])?;
        let address = |key: &[u8]| std::str::from_utf8(key.split(|octet| *octet == 0).next()?).ok()?.parse().ok();
        Ok(rows.into_iter().filter_map(|(key, row)| Some((address(&key)?, row))).collect())
    }

    /// An account's posting tokens, those that ran out included.
    pub(crate) fn posting_tokens(&self, address: &MailAddress) -> Result<Vec<PostingRow>, StoreError> {
        self.scan(POSTING_TOKENS, &[address.folded().as_bytes(), &[0]].concat())
    }

    pub(crate) fn delete_notice(&mut self, id: &NoticeId) {
        self.delete(OUTBOX, id.octets().to_vec());
    }

    /// When a notice of this kind, about the same, was last queued for this address.
    pub(crate) fn noticed(&self, notice: &Notice) -> Result<Option<UnixTime>, StoreError> {
        self.get(NOTICED, &noticed_key(notice))
    }

    /// The notices that are on their way.
    pub(crate) fn notices(&self) -> Result<Vec<NoticeRow>, StoreError> {
        self.scan(OUTBOX, &[])
    }
}

fn noticed_key(notice: &Notice) -> Vec<u8> {
    let (kind, about): (u8, Vec<u8>) = match notice {
        Notice::LogIn { .. } => (0, Vec::new()),
        Notice::Confirm { request, .. } => (1, request.octets().to_vec()),
        Notice::Waiting { request, group, .. } => (2, [request.octets().as_slice(), group.octets()].concat()),
        Notice::Rejected { list, .. } => (3, list.as_ref().map(list_key).unwrap_or_default()),
        Notice::Welcome { group, .. } => (4, group.octets().to_vec()),
        Notice::Goodbye { list, .. } => (5, list_key(list)),
        Notice::Expiry { serial, .. } => (6, serial.octets().to_vec()),
        Notice::KeyChanged { serial, .. } => (7, serial.octets().to_vec()),
        Notice::Membership { list, address, .. } => {
            (8, [list_key(list).as_slice(), address.folded().as_bytes()].concat())
        }
    };
    [&[kind], notice.to().folded().as_bytes(), &[0], &about].concat()
}

fn list_key(list: &ListAddress) -> Vec<u8> {
    list.address().folded().as_bytes().to_vec()
}

fn posting_key(address: &MailAddress, digest: &Digest) -> Vec<u8> {
    [address.folded().as_bytes(), &[0], &digest.0].concat()
}
