//! Which of a message's RecipientInfos is opened for the group (DESIGN 2).

use super::der::DerError;
use super::labels::MAX_RECIPIENT_INFO;
use super::recipient::RecipientId;
use super::recipient::{KeyAgreement, KeyAgreementAlgorithm, KeyTransportAlgorithm, Originator, RecipientInfo};

/// What [`choose`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<K> {
    /// This one.
    Chosen(Chosen<K>),
    /// Two RecipientInfos that differ name the same key. One message would open two keys: refused.
    Conflicting,
    /// None names a key of the group.
    NotForGroup,
    /// The one for the group has so many octets, over [`MAX_RECIPIENT_INFO`].
    TooLong(usize),
    /// Those for the group have algorithms that are not opened.
    Unsupported,
}

/// The RecipientInfo to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<K> {
    /// The group's key that it names.
    pub key: K,
    /// The id by which it names it.
    pub rid: RecipientId,
    /// Its DER. What it held for others is cut out.
    pub der: Vec<u8>,
}

/// The forms, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    KeyAgreement,
    Oaep,
    Pkcs1v15,
    Unsupported,
}

/// Chooses among a message's DER RecipientInfos. `key_of` knows the ids of the group's live keys, and says which key an
/// id names: each key has two.
///
/// # Errors
/// [`DerError`] if one of them, be it for whom it may, is not a RecipientInfo.
pub fn choose<K: Eq>(
    recipient_infos: &[Vec<u8>],
    key_of: impl Fn(&RecipientId) -> Option<K>,
) -> Result<Choice<K>, DerError> {
    let mut found: Vec<(Form, Chosen<K>)> = Vec::new();
    for der in recipient_infos {
        let info = RecipientInfo::decode(der)?;
        for (index, rid) in info.recipient_ids().enumerate() {
            let Some(key) = key_of(rid) else {
                continue;
            };
            let chosen = Chosen { key, rid: rid.clone(), der: only(&info, index).unwrap_or_else(|| der.clone()) };
            match found.iter().find(|(_, other)| other.key == chosen.key) {
                Some((_, same)) if *same == chosen => {}
                Some(_) => return Ok(Choice::Conflicting),
                None => found.push((form(&info), chosen)),
            }
        }
    }
    // Of equals, min_by_key takes the first.
    Ok(match found.into_iter().min_by_key(|(form, _)| *form) {
        None => Choice::NotForGroup,
        Some((Form::Unsupported, _)) => Choice::Unsupported,
        Some((_, chosen)) if chosen.der.len() > MAX_RECIPIENT_INFO => Choice::TooLong(chosen.der.len()),
        Some((_, chosen)) => Choice::Chosen(chosen),
    })
}

fn form(info: &RecipientInfo) -> Form {
    match info {
        RecipientInfo::KeyTransport(info) => match &info.algorithm {
            KeyTransportAlgorithm::RsaOaep(parameters) if parameters.label.is_empty() => Form::Oaep,
            KeyTransportAlgorithm::RsaPkcs1v15 => Form::Pkcs1v15,
            _ => Form::Unsupported,
        },
        RecipientInfo::KeyAgreement(KeyAgreement {
            originator: Originator::Point { .. },
            algorithm: KeyAgreementAlgorithm::EcDh { .. },
            ..
        }) => Form::KeyAgreement,
        _ => Form::Unsupported,
    }
}

/// The key agreement with its recipient number `index` alone; `None` if there are no others.
fn only(info: &RecipientInfo, index: usize) -> Option<Vec<u8>> {
    match info {
        RecipientInfo::KeyAgreement(info) if info.recipients.len() > 1 => {
            let recipients = info.recipients.get(index).cloned().into_iter().collect();
            Some(RecipientInfo::KeyAgreement(KeyAgreement { recipients, ..info.clone() }).encode())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::cms::der;
    use crate::cms::keywrap::WrapAlgorithm;
    use crate::cms::recipient::{Hash, KeyTransport, Oaep, RecipientEncryptedKey};

    fn rid(id: u8) -> RecipientId {
        RecipientId::SubjectKeyId(vec![id].into())
    }

    fn transport(id: u8, algorithm: KeyTransportAlgorithm, block: u8) -> Vec<u8> {
        RecipientInfo::KeyTransport(KeyTransport { rid: rid(id), algorithm, encrypted_key: vec![block; 256] }).encode()
    }

    fn pkcs1(id: u8, block: u8) -> Vec<u8> {
        transport(id, KeyTransportAlgorithm::RsaPkcs1v15, block)
    }

    fn oaep(id: u8, label: &[u8]) -> Vec<u8> {
        let parameters = Oaep { label: label.to_vec(), ..Oaep::with(Hash::Sha256) };
        transport(id, KeyTransportAlgorithm::RsaOaep(parameters), 1)
    }

    fn agreement(ids: &[u8]) -> Vec<u8> {
        let recipients =
            ids.iter().map(|id| RecipientEncryptedKey { rid: rid(*id), encrypted_key: vec![*id; 40] }).collect();
        RecipientInfo::KeyAgreement(KeyAgreement {
            originator: Originator::Point { parameters: Vec::new(), point: vec![4; 65] },
            ukm: None,
            algorithm: KeyAgreementAlgorithm::EcDh {
                cofactor: false,
                hash: Hash::Sha256,
                wrap: WrapAlgorithm::for_cek(32),
            },
            recipients,
        })
        .encode()
    }

    /// The group's keys: ids 1 and 2 name key A, 3 and 4 key B, 5 key C. What is chosen, by key and DER.
    fn run(infos: &[Vec<u8>]) -> Choice<char> {
        choose(infos, |rid| match rid {
            RecipientId::SubjectKeyId(id) => match id.0.as_slice() {
                [1 | 2] => Some('A'),
                [3 | 4] => Some('B'),
                [5] => Some('C'),
                _ => None,
            },
            RecipientId::IssuerAndSerial { .. } => None,
        })
        .unwrap()
    }

    fn key(choice: &Choice<char>) -> Option<char> {
        match choice {
            Choice::Chosen(chosen) => Some(chosen.key),
            _ => None,
        }
    }

    #[test]
    fn the_best_form_is_chosen_wherever_it_stands() {
        assert_eq!(key(&run(&[pkcs1(1, 0), oaep(3, b""), agreement(&[5])])), Some('C'));
        assert_eq!(key(&run(&[pkcs1(1, 0), oaep(3, b"")])), Some('B'));
        assert_eq!(key(&run(&[pkcs1(9, 0), pkcs1(1, 0), pkcs1(3, 0)])), Some('A'), "of equals the first");
        assert_eq!(key(&run(&[oaep(3, b"label"), pkcs1(1, 0)])), Some('A'), "what is not opened comes last");
    }

    #[test]
    fn one_key_is_asked_one_question() {
        assert_eq!(run(&[pkcs1(1, 0), pkcs1(1, 7)]), Choice::Conflicting, "two blocks");
        assert_eq!(run(&[pkcs1(1, 0), pkcs1(2, 0)]), Choice::Conflicting, "two names of one key");
        assert_eq!(run(&[pkcs1(1, 0), oaep(1, b"")]), Choice::Conflicting, "two forms");
        assert_eq!(run(&[agreement(&[5, 5])]), run(&[agreement(&[5])]), "the same twice");
        assert_eq!(key(&run(&[pkcs1(1, 0), pkcs1(9, 3), pkcs1(1, 0)])), Some('A'), "the same twice");
    }

    #[test]
    fn strangers_are_no_concern_of_the_group() {
        let foreign = der::tlv(der::Tag::context_constructed(3), &[&[4, 0]]);
        assert_eq!(run(&[pkcs1(9, 0), agreement(&[8]), foreign]), Choice::NotForGroup);
        assert_eq!(run(&[]), Choice::NotForGroup);
        assert_eq!(run(&[oaep(1, b"label")]), Choice::Unsupported);
        assert!(choose(&[vec![0x30, 0]], |_| Some(())).is_err());
        let long = RecipientInfo::KeyTransport(KeyTransport {
            rid: rid(1),
            algorithm: KeyTransportAlgorithm::RsaPkcs1v15,
            encrypted_key: vec![0; MAX_RECIPIENT_INFO],
        });
        assert!(matches!(run(&[long.encode()]), Choice::TooLong(4097..)));
    }
}
