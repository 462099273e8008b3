//! Every change that there is: certsrv's own body of a feed entry. The index follows from these, in order.

use crate::authn::password::PasswordHash;
use crate::cert::serial::Serial;
use crate::rows::{Holder, TokenPurpose};
use serde::{Deserialize, Serialize};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole, RevocationReason};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::roster::SignedStatement;
use twinseal_proto::time::UnixTime;

/// A change. Facts only: what follows from a fact (an account's new certificate gives its memberships a key) is a
/// change of its own in the same commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Change {
    /// An account exists from now on.
    AccountAdded { address: MailAddress, password: Option<PasswordHash> },
    /// A one-time token was made. Those that had expired at `made` are forgotten.
    TokenMade {
        digest: Digest,
        purpose: TokenPurpose,
        expires: UnixTime,
        #[serde(default)]
        made: UnixTime,
    },
    /// A certificate was issued; the token that asked for it is used up.
    CertificateIssued { serial: Serial, holder: Holder, certificate: B64, until: UnixTime, token: Option<Digest> },
    /// A certificate was revoked.
    CertificateRevoked { serial: Serial, reason: RevocationReason },
    /// A member's certificate ran out.
    CertificateEnded { serial: Serial },
    /// A group exists from now on.
    GroupCreated {
        group: GroupId,
        list: ListAddress,
        owner: MailAddress,
        join: JoinPolicy,
        mode: DeliveryMode,
        history: History,
        settings: ListSettings,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    /// An account belongs to a group; without a serial number its membership is pending.
    MemberAdded {
        group: GroupId,
        address: MailAddress,
        handle: Handle,
        number: MemberNumber,
        role: MemberRole,
        serial: Option<Serial>,
    },
    /// A membership has this certificate now: its first, or another one.
    MemberKeyed { group: GroupId, address: MailAddress, serial: Serial },
    /// A membership has no live certificate any more.
    MemberSuspended { group: GroupId, address: MailAddress },
    /// A membership ended.
    MemberLeft { group: GroupId, address: MailAddress },
    /// The first owner of a signed group is the one with this key.
    RosterPinned { group: GroupId, owner: Digest },
    /// An owner said something; with an entry come the member's address and the salt of its digest.
    StatementTaken { group: GroupId, statement: SignedStatement, address: Option<MailAddress>, salt: Option<B64> },
}

/// Certsrv's own body as it is written: the change, and whether more of the same commit follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    /// The change.
    pub(crate) change: Change,
    /// The commit is not whole without the next entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// [`Body`] for writing, without a copy.
#[derive(Serialize)]
pub(crate) struct BodyRef<'a> {
    pub(crate) change: &'a Change,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}
