//! What a path's label says the certificate is for (RFC 7030 section 3.2.2: additional path segments).

use crate::rows::KeyUse;
use std::str::FromStr;
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::ids::GroupId;

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// `smime`, `smime-sign`, `smime-encrypt`: S/MIME, one certificate for both uses or one for each (P4).
    Mail(KeyUse),
    /// `member-GROUP`, `member-GROUP-pseudonym`: belonging to a group (L7, L8).
    Member {
        /// The group.
        group: GroupId,
        /// With another name in each certificate.
        pseudonym: bool,
    },
}

impl FromStr for Label {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let unknown = || {
            let detail = "there is no such label: smime, smime-sign, smime-encrypt, member-GROUP or \
                          member-GROUP-pseudonym is wanted";
            Problem::new(ProblemCode::NotFound, detail)
        };
        match text {
            "smime" => return Ok(Self::Mail(KeyUse::Both)),
            "smime-sign" => return Ok(Self::Mail(KeyUse::Sign)),
            "smime-encrypt" => return Ok(Self::Mail(KeyUse::Encrypt)),
            _ => {}
        }
        let group = text.strip_prefix("member-").ok_or_else(unknown)?;
        let (group, pseudonym) = match group.strip_suffix("-pseudonym") {
            Some(group) => (group, true),
            None => (group, false),
        };
        Ok(Self::Member { group: group.parse().map_err(|_| unknown())?, pseudonym })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use twinseal_proto::api::enrol::membership_label;

    #[test]
    fn labels_are_read_as_they_are_written() {
        let group = GroupId::from_random([0xab; 16]);
        for pseudonym in [false, true] {
            let label = membership_label(&group, pseudonym);
            assert_eq!(label.parse::<Label>().unwrap(), Label::Member { group, pseudonym });
        }
        assert_eq!("smime-sign".parse::<Label>().unwrap(), Label::Mail(KeyUse::Sign));
        for unknown in ["", "smime2", "member-", "member-xyz", "member--pseudonym", "SMIME"] {
            assert_eq!(unknown.parse::<Label>().unwrap_err().status, 404, "{unknown}");
        }
    }
}
