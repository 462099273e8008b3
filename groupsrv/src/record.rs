//! Step 6: what the audit log says. One record a call, durable before the call's answer; never a key.

use crate::keys::file::KeyName;
use serde::{Deserialize, Serialize};
use std::fmt;
use twinseal_proto::api::expand::Denied;
use twinseal_proto::cms::algorithm::ContentAlgorithm;
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::{Epoch, GroupId, Handle};
use twinseal_proto::time::UnixTime;

/// A record, with the time at which it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When.
    pub(crate) time: UnixTime,
    /// What.
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened. Callers are named by the digest of their public key, messages by the first look-up value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A wrapped key was registered.
    Registered {
        /// Who asked.
        caller: Digest,
        /// For which group.
        group: GroupId,
        /// For which of its epochs.
        epoch: Epoch,
        /// The look-up values: one or two.
        message: Vec<Digest>,
        /// The message's content encryption.
        content_algorithm: ContentAlgorithm,
        /// The place in the feed at which the message was first seen.
        first_seen: u64,
        /// It was known already.
        repeated: bool,
    },
    /// A wrapped key was opened for some members, or for none of those that were asked about.
    Expanded {
        /// Who asked.
        caller: Digest,
        /// For which group.
        group: GroupId,
        /// For which of its epochs.
        epoch: Epoch,
        /// The message.
        message: Digest,
        /// The identity of its key; `None` when nobody could be granted it and it stayed closed.
        identity: Option<Digest>,
        /// The place in the feed at which the message was first seen, under this or another wrapping.
        first_seen: u64,
        /// Who got it.
        granted: Vec<Handle>,
        /// Who did not.
        denied: Vec<(Handle, Denied)>,
    },
    /// A whole call was refused.
    Refused {
        /// Who asked.
        caller: Digest,
        /// For what.
        call: Call,
        /// For which group, as the caller named it.
        group: GroupId,
        /// For which message; `None` when it was refused before that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Digest>,
        /// Why.
        reason: String,
    },
    /// A key pair was certified and is in use from now on.
    KeyCreated {
        /// Which one.
        #[serde(flatten)]
        key: KeyName,
        /// SHA-256 of its public key.
        public_key: Digest,
    },
    /// An administrator let an exploder call, or no longer.
    ExploderPinned {
        /// SHA-256 of its public key.
        pin: Digest,
        /// Whether it may call from now on.
        allowed: bool,
    },
    /// An administrator accepted a generation of certsrv's feed.
    GenerationAccepted {
        /// The generation.
        generation: u64,
        /// SHA-256 of the feed key that was accepted with it, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// An administrator had the roster replaced by certsrv's state.
    RosterResync,
    /// An administrator pinned a group's first owner, in the place of another one if there was one.
    OwnerPinned {
        /// The group.
        group: GroupId,
        /// SHA-256 of the owner's public key.
        owner: Digest,
    },
    /// An administrator has seen to the alarms of a group.
    AlarmsAcknowledged {
        /// The group.
        group: GroupId,
    },
}

/// The calls that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Of registration.
    Register,
    /// Of expansion.
    Expand,
}

impl Event {
    /// The group that it is about, if it is about one.
    pub(crate) const fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Registered { group, .. } | Self::Expanded { group, .. } | Self::Refused { group, .. } => Some(group),
            Self::KeyCreated { key, .. } => Some(&key.group),
            Self::ExploderPinned { .. } | Self::GenerationAccepted { .. } | Self::RosterResync => None,
            Self::OwnerPinned { group, .. } | Self::AlarmsAcknowledged { group } => Some(group),
        }
    }

    /// Whether it names the message.
    pub(crate) fn names_message(&self, wanted: &Digest) -> bool {
        match self {
            Self::Registered { message, .. } => message.contains(wanted),
            Self::Expanded { message, .. } => message == wanted,
            Self::Refused { message, .. } => message.as_ref() == Some(wanted),
            Self::KeyCreated { .. }
            | Self::ExploderPinned { .. }
            | Self::GenerationAccepted { .. }
            | Self::RosterResync => false,
            Self::OwnerPinned { .. } | Self::AlarmsAcknowledged { .. } => false,
        }
    }

    /// Whether it names the member.
    pub(crate) fn names_member(&self, wanted: &Handle) -> bool {
        match self {
            Self::Expanded { granted, denied, .. } => {
                granted.contains(wanted) || denied.iter().any(|(handle, _)| handle == wanted)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Record {
    /// One line for people; numbers of members in place of their handles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.time)?;
        match &self.event {
            Event::Registered { group, epoch, message, content_algorithm, first_seen, repeated, .. } => {
                let message = message.first().copied().unwrap_or(Digest([0; 32]));
                write!(f, "registered group={group} epoch={epoch} message={message} content={content_algorithm}")?;
                write!(f, " first_seen={first_seen} repeated={repeated}")
            }
            Event::Expanded { group, epoch, message, first_seen, granted, denied, .. } => {
                let (granted, denied) = (granted.len(), denied.len());
                write!(f, "expanded group={group} epoch={epoch} message={message} first_seen={first_seen}")?;
                write!(f, " granted={granted} denied={denied}")
            }
            Event::Refused { caller, call, group, message, reason } => {
                write!(f, "refused call={call:?} caller={caller} group={group}")?;
                message.iter().try_for_each(|message| write!(f, " message={message}"))?;
                write!(f, " reason={reason:?}")
            }
            Event::KeyCreated { key, public_key } => {
                let algorithm = crate::keys::file::algorithm_name(key.algorithm);
                write!(f, "key-created group={} epoch={} {algorithm} public_key={public_key}", key.group, key.epoch)
            }
            Event::ExploderPinned { pin, allowed } => write!(f, "exploder-pinned pin={pin} allowed={allowed}"),
            Event::GenerationAccepted { generation, key } => {
                write!(f, "generation-accepted generation={generation}")?;
                key.iter().try_for_each(|key| write!(f, " key={key}"))
            }
            Event::RosterResync => f.write_str("roster-resync"),
            Event::OwnerPinned { group, owner } => write!(f, "owner-pinned group={group} owner={owner}"),
            Event::AlarmsAcknowledged { group } => write!(f, "alarms-acknowledged group={group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use twinseal_proto::api::keys::KeyAlgorithm;

    #[test]
    fn records_are_read_as_they_were_written() {
        let group = GroupId::from_random([1; 16]);
        let (one, two) = (Handle::from_random([2; 16]), Handle::from_random([3; 16]));
        let digest = Digest([4; 32]);
        let key = KeyName { group, epoch: Epoch(2), algorithm: KeyAlgorithm::P256 };
        for event in [
            Event::Expanded {
                caller: digest,
                group,
                epoch: Epoch(1),
                message: digest,
                identity: None,
                first_seen: 7,
                granted: vec![one],
                denied: vec![(two, Denied::JoinedLater)],
            },
            Event::Refused {
                caller: digest,
                call: Call::Expand,
                group,
                message: Some(digest),
                reason: "no".to_owned(),
            },
            Event::Refused { caller: digest, call: Call::Register, group, message: None, reason: String::new() },
            Event::KeyCreated { key, public_key: digest },
            Event::ExploderPinned { pin: digest, allowed: false },
            Event::GenerationAccepted { generation: 2, key: None },
            Event::RosterResync,
            Event::OwnerPinned { group, owner: digest },
            Event::AlarmsAcknowledged { group },
        ] {
            let record = Record { time: UnixTime(5), event };
            let json = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record, "{json}");
        }
    }
}
