//! Every change that there is: certsrv's own body of a feed entry. The index follows from these, in order.

use crate::authn::password::PasswordHash;
use crate::cert::serial::Serial;
use crate::rows::{Foreign, Holder, KeyUse, Notice, NoticeEnd, Request, RequestEnd, TokenPurpose};
use serde::{Deserialize, Serialize};
use twinseal_proto::api::admin::certsrv::{JoinPolicy, MemberRole, RevocationReason};
use twinseal_proto::api::groups::{KeyChangePolicy, RosterVisibility};
use twinseal_proto::api::members::MemberOptions;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{DeliveryMode, History, ListSettings};
use twinseal_proto::ids::{BanPattern, GroupId, Handle, ListAddress, MailAddress, MemberNumber, NoticeId, RequestId};
use twinseal_proto::roster::SignedStatement;
use twinseal_proto::time::UnixTime;

/// A change. Facts only: what follows from a fact (an account's new certificate gives its memberships a key) is a
/// change of its own in the same commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Change {
    /// An account exists from now on.
    AccountAdded { address: MailAddress, password: Option<PasswordHash> },
    /// An account's log-ins come from this subject of the identity provider from now on.
    AccountBound { address: MailAddress, subject: Digest },
    /// The next log-in binds the account anew.
    AccountUnbound { address: MailAddress },
    /// A one-time token was made. Those that had expired at `made` are forgotten.
    TokenMade {
        digest: Digest,
        purpose: TokenPurpose,
        expires: UnixTime,
        #[serde(default)]
        made: UnixTime,
    },
    /// A certificate was issued; the token that asked for it is used up.
    CertificateIssued {
        serial: Serial,
        holder: Holder,
        certificate: B64,
        until: UnixTime,
        token: Option<Digest>,
        #[serde(default)]
        purpose: KeyUse,
    },
    /// An account brought a certificate that another CA issued; `serial` names it here.
    CertificateImported {
        serial: Serial,
        address: MailAddress,
        certificate: B64,
        until: UnixTime,
        token: Option<Digest>,
        purpose: KeyUse,
        foreign: Foreign,
    },
    /// An account has another password, or none.
    PasswordSet { address: MailAddress, password: Option<PasswordHash> },
    /// Nobody may log in to an account.
    AccountLocked { address: MailAddress },
    /// Its holder may log in again.
    AccountUnlocked { address: MailAddress },
    /// An account is no more.
    AccountRemoved { address: MailAddress },
    /// A membership's certificates let nobody in any more, since it ended or was suspended. Each with its notAfter.
    MembershipsRevoked { handle: Handle, certificates: Vec<(Serial, UnixTime)> },
    /// A certificate was revoked.
    CertificateRevoked {
        serial: Serial,
        reason: RevocationReason,
        #[serde(default)]
        at: UnixTime,
    },
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
    /// A group has these settings now.
    GroupSet {
        group: GroupId,
        join: JoinPolicy,
        key_change: KeyChangePolicy,
        mode: DeliveryMode,
        history: History,
        settings: ListSettings,
        roster: RosterVisibility,
        notices: bool,
    },
    /// A group is no more, nor its memberships and bans. Its requests and certificates ended in the same commit.
    GroupDeleted { group: GroupId },
    /// A group lets in nobody whom this pattern means, or does again.
    BanSet { group: GroupId, pattern: BanPattern, banned: bool },
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
    /// A membership has this role and these options now.
    MemberSet { group: GroupId, address: MailAddress, role: MemberRole, options: MemberOptions },
    /// A membership has no live certificate any more.
    MemberSuspended { group: GroupId, address: MailAddress },
    /// A membership ended.
    MemberLeft { group: GroupId, address: MailAddress },
    /// Something was asked for and waits.
    RequestMade { request: Request },
    /// The mailbox confirmed a request; the token with which it did so is used up.
    RequestConfirmed { request: RequestId, token: Option<Digest> },
    /// An owner of this group approved a request; without a group an administrator did.
    RequestApproved { request: RequestId, group: Option<GroupId> },
    /// A request waits no longer.
    RequestEnded { request: RequestId, end: RequestEnd },
    /// Somebody is to be told something by mail.
    NoticeQueued { id: NoticeId, notice: Notice, made: UnixTime },
    /// That mail needs no more attention.
    NoticeDone { id: NoticeId, end: NoticeEnd },
    /// An account has a token for posting.
    PostingTokenMade { digest: Digest, address: MailAddress, label: String, made: UnixTime, expires: UnixTime },
    /// That token is good no more.
    PostingTokenEnded { digest: Digest, address: MailAddress },
    /// The feed key was replaced: this one (DER SubjectPublicKeyInfo) signs what comes after. The last of its commit.
    FeedKeyRotated { key: B64 },
    /// certsrv was restored from a backup. What was made between the backup and the loss is unknown, so no token is good
    /// any more, and membership numbers go on far above those that were given.
    GenerationBegan { generation: u64 },
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
