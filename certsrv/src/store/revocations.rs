//! What the index knows of revoked certificates, by the CA that publishes them.

use super::{CERTIFICATES, Tx};
use crate::cert::serial::Serial;
use crate::rows::{Certificate, Published, Revocation};
use twinseal_proto::time::UnixTime;
use twinseal_svc::store::{StoreError, Table};

/// CA ‖ serial number → [`Revocation`].
const REVOKED: Table = Table(31);
/// CA → how many revocations there were, changed reasons included.
const REVOCATIONS: Table = Table(32);

impl Tx<'_> {
    /// The revocation of this certificate.
    pub(crate) fn revocation(&self, by: Published, serial: &Serial) -> Result<Option<Revocation>, StoreError> {
        self.get(REVOKED, &revoked_key(by, serial))
    }

    /// Every revoked certificate of a CA, by serial number.
    pub(crate) fn revoked(&self, by: Published) -> Result<Vec<Revocation>, StoreError> {
        self.scan(REVOKED, &[by.octet()])
    }

    /// How many revocations there were under a CA: another number, another CRL.
    pub(crate) fn revocations(&self, by: Published) -> Result<u64, StoreError> {
        Ok(self.get(REVOCATIONS, &[by.octet()])?.unwrap_or_default())
    }

    pub(crate) fn put_revocation(&mut self, by: Published, row: &Revocation) -> Result<(), StoreError> {
        let count = self.revocations(by)? + 1;
        self.put(REVOCATIONS, &[by.octet()], &count)?;
        self.put(REVOKED, &revoked_key(by, &row.serial), row)
    }

    /// The serial number of every certificate that is in force at `now`.
    pub(crate) fn live_certificates(&self, now: UnixTime) -> Result<Vec<(Serial, Published)>, StoreError> {
        let mut found = Vec::new();
        for row in self.store.scan::<Certificate>(CERTIFICATES, &[]) {
            let (_, row) = row?;
            if row.live(now) {
                found.extend(Published::of(&row).map(|by| (row.serial, by)));
            }
        }
        Ok(found)
    }
}

fn revoked_key(by: Published, serial: &Serial) -> Vec<u8> {
    [&[by.octet()], serial.octets().as_slice()].concat()
}
