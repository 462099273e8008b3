//! The tables of accounts' certificates: whose they are, which keys are taken, and memberships' certificates.

use super::Tx;
use crate::cert::serial::Serial;
use crate::rows::{Account, Certificate};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{Handle, MailAddress};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::{StoreError, Table};

/// Folded address ‖ 0 ‖ serial → serial: an account's certificates.
const CERTIFICATES_OF: Table = Table(21);
/// Key digest → address: who had the key certified first.
const KEY_HOLDERS: Table = Table(22);
/// Handle ‖ serial → (serial, notAfter): the certificates of a membership that have not ended.
const MEMBERSHIP_CERTIFICATES: Table = Table(24);
/// Key digest → `true`: a membership's key.
const MEMBERSHIP_KEYS: Table = Table(25);
/// Serial → serial: certificates that other CAs issued and that have not ended.
const FOREIGN: Table = Table(26);

impl Tx<'_> {
    pub(crate) fn delete_account(&mut self, address: &MailAddress) {
        self.delete(super::ACCOUNTS, address.folded().as_bytes().to_vec());
    }

    /// Every account, by address.
    pub(crate) fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.scan(super::ACCOUNTS, &[])
    }

    pub(crate) fn put_certificate_of(&mut self, address: &MailAddress, row: &Certificate) -> Result<(), StoreError> {
        let key = [address.folded().as_bytes(), &[0], row.serial.octets()].concat();
        self.put(CERTIFICATES_OF, &key, &row.serial)?;
        if self.key_holder(&row.key)?.is_none() {
            self.put(KEY_HOLDERS, &row.key.0, address)?;
        }
        if row.foreign.is_some() {
            self.put(FOREIGN, row.serial.octets(), &row.serial)?;
        }
        Ok(())
    }

    /// Every certificate that the account ever had.
    pub(crate) fn certificates_of(&self, address: &MailAddress) -> Result<Vec<Certificate>, StoreError> {
        let serials: Vec<Serial> = self.scan(CERTIFICATES_OF, &[address.folded().as_bytes(), &[0]].concat())?;
        serials.iter().filter_map(|serial| self.certificate(serial).transpose()).collect()
    }

    /// The account that had this key certified first.
    pub(crate) fn key_holder(&self, key: &Digest) -> Result<Option<MailAddress>, StoreError> {
        self.get(KEY_HOLDERS, &key.0)
    }

    /// The certificates of other CAs that have not ended.
    pub(crate) fn foreign(&self) -> Result<Vec<Serial>, StoreError> {
        self.scan(FOREIGN, &[])
    }

    pub(crate) fn delete_foreign(&mut self, serial: &Serial) {
        self.delete(FOREIGN, serial.octets().to_vec());
    }

    pub(crate) fn put_membership_certificate(
        &mut self,
        handle: &Handle,
        serial: Serial,
        until: UnixTime,
        key: &Digest,
    ) -> Result<(), StoreError> {
        self.put(MEMBERSHIP_KEYS, &key.0, &true)?;
        self.put(MEMBERSHIP_CERTIFICATES, &membership_key(handle, &serial), &(serial, until))
    }

    pub(crate) fn delete_membership_certificate(&mut self, handle: &Handle, serial: &Serial) {
        self.delete(MEMBERSHIP_CERTIFICATES, membership_key(handle, serial));
    }

    /// The certificates of a membership that have not ended, each with its notAfter.
    pub(crate) fn membership_certificates(&self, handle: &Handle) -> Result<Vec<(Serial, UnixTime)>, StoreError> {
        self.scan(MEMBERSHIP_CERTIFICATES, handle.octets())
    }

    /// Whether this is the key of a membership's certificate.
    pub(crate) fn membership_has_key(&self, key: &Digest) -> Result<bool, StoreError> {
        Ok(self.get::<bool>(MEMBERSHIP_KEYS, &key.0)?.is_some())
    }

    pub(crate) fn delete_certificate(&mut self, serial: &Serial) {
        self.delete(super::CERTIFICATES, serial.octets().to_vec());
    }

    /// Forgets the unused enrolment tokens of an account.
    pub(crate) fn forget_tokens(&mut self, address: &MailAddress) -> Result<(), StoreError> {
        use crate::rows::{TokenPurpose, TokenRow};
        for (key, row) in self.scan_keyed::<TokenRow>(super::TOKENS, &[])? {
            let theirs = matches!(&row.purpose, TokenPurpose::Enrol { address: whose } if whose == address);
            if let (true, None, Ok(digest)) = (theirs, row.used, key.try_into()) {
                self.delete_token(row.expires, &Digest(digest));
            }
        }
        Ok(())
    }
}

fn membership_key(handle: &Handle, serial: &Serial) -> Vec<u8> {
    [handle.octets().as_slice(), serial.octets()].concat()
}
