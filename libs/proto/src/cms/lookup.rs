//! The values under which a wrapped key is registered (DESIGN 3.2). They are made from what fixes the key, never from the
//! DER around it, which anybody can write in another way.

use super::labels;
use super::unwrap::{Checked, Form};
use crate::encoding::Digest;
use crate::ids::{Epoch, GroupId};

/// The look-up values of one wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Of key agreement: either value alone names it.
    KeyAgreement {
        /// Over encryptedKey.
        encrypted_key: Digest,
        /// Over the ephemeral key's x: a point and its negative agree on the same secret.
        ephemeral: Digest,
    },
    /// Of key transport, over encryptedKey.
    KeyTransport(Digest),
}

impl Lookup {
    /// The values of a wrapped key for the key pair of `group` and `epoch`.
    #[must_use]
    pub fn of(group: &GroupId, epoch: Epoch, checked: &Checked<'_>) -> Self {
        match checked.form() {
            Form::KeyAgreement { curve, point, encrypted_key, .. } => Self::KeyAgreement {
                encrypted_key: value(labels::LOOKUP_KEY_AGREEMENT, group, epoch, encrypted_key),
                ephemeral: ephemeral(group, epoch, point.get(1..1 + curve.field_len()).unwrap_or_default()),
            },
            Form::KeyTransport { encrypted_key, .. } => Self::KeyTransport(key_transport(group, epoch, encrypted_key)),
        }
    }

    /// All values, for a store that looks them up.
    pub fn values(&self) -> impl Iterator<Item = Digest> {
        let (first, second) = match *self {
            Self::KeyAgreement { encrypted_key, ephemeral } => (encrypted_key, Some(ephemeral)),
            Self::KeyTransport(encrypted_key) => (encrypted_key, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// The value of key transport for an encryptedKey of exactly the modulus' length.
#[must_use]
pub fn key_transport(group: &GroupId, epoch: Epoch, encrypted_key: &[u8]) -> Digest {
    value(labels::LOOKUP_KEY_TRANSPORT, group, epoch, encrypted_key)
}

/// The value of key agreement for the big-endian x of the ephemeral key, of exactly the field's length.
#[must_use]
pub fn ephemeral(group: &GroupId, epoch: Epoch, x: &[u8]) -> Digest {
    value(labels::LOOKUP_EPHEMERAL, group, epoch, x)
}

/// Label, group and epoch have fixed lengths, so that no two inputs run together alike.
fn value(label: &[u8], group: &GroupId, epoch: Epoch, octets: &[u8]) -> Digest {
    Digest::of_parts(&[label, group.octets(), &epoch.0.to_be_bytes(), octets])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::cms::curve::Curve;
    use crate::cms::recipient::RecipientId;
    use crate::cms::recipient::{Originator, RecipientInfo};
    use crate::cms::unwrap::KeyKind;
    use crate::cms::wrap::{MemberKey, RsaScheme};
    use crate::secret::Cek;
    use openssl::ec::EcKey;
    use openssl::pkey::PKey;
    use zeroize::Zeroizing;

    fn lookup(info: &RecipientInfo, group: u8, epoch: u32) -> Lookup {
        let rid = info.recipient_ids().next().unwrap();
        let content = "aes-256-cbc".parse().unwrap();
        let checked = Checked::new(info, rid, KeyKind::Ec(Curve::P256), &content).unwrap();
        Lookup::of(&GroupId::from_random([group; 16]), Epoch(epoch), &checked)
    }

    fn agreement() -> RecipientInfo {
        let key = PKey::from_ec_key(EcKey::generate(Curve::P256.group().unwrap()).unwrap()).unwrap();
        let rid = RecipientId::SubjectKeyId(vec![1].into());
        let key = MemberKey::new(rid, &key.public_key_to_der().unwrap(), RsaScheme::default()).unwrap();
        let cek = Cek::new(Zeroizing::new(vec![1; 32])).unwrap();
        RecipientInfo::decode(&key.wrap(&cek).unwrap()).unwrap()
    }

    #[test]
    fn a_wrapped_key_has_the_same_values_however_it_is_written() {
        let info = agreement();
        let RecipientInfo::KeyAgreement(parts) = &info else { panic!("ECDH") };
        let Originator::Point { point, .. } = &parts.originator else { panic!("a point") };
        // Compressed with either sign: another encoding, and a point that agrees on the same secret.
        let mut ephemeral = Vec::new();
        for sign in [2, 3] {
            let mut parts = parts.clone();
            let compressed = [&[sign], &point[1..33]].concat();
            parts.originator = Originator::Point { parameters: crate::cms::der::NULL.to_vec(), point: compressed };
            ephemeral.push(lookup(&RecipientInfo::KeyAgreement(parts), 1, 1));
        }
        assert_eq!(ephemeral, [lookup(&info, 1, 1), lookup(&info, 1, 1)]);
        assert_eq!(lookup(&info, 1, 1).values().count(), 2);
    }

    #[test]
    fn values_differ_by_group_epoch_purpose_and_key() {
        let info = agreement();
        let group = GroupId::from_random([1; 16]);
        let octets = [7; 32];
        let mut values: Vec<Digest> = [lookup(&info, 1, 1), lookup(&info, 2, 1), lookup(&info, 1, 2)]
            .iter()
            .flat_map(Lookup::values)
            .chain([key_transport(&group, Epoch(1), &octets), ephemeral(&group, Epoch(1), &octets)])
            .collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 8);
    }
}
