//! What a change tells groupsrv and the exploder (DESIGN 3.1): handles and keys to the one, handles and addresses to
//! the other. Asked before the change is applied, so that it can be compared with what was.

use crate::cert::serial::Serial;
use crate::change::Change;
use crate::owners;
use crate::rows::{Certificate, Holder, Member};
use crate::store::Tx;
use twinseal_proto::api::admin::certsrv::MemberState;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::recipient::RecipientId;
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{
    DeliveryMode, ExploderChange, GroupsrvChange, History, ListSettings, RecipientKey, RevokedMembership,
};
use twinseal_proto::ids::{GroupId, MailAddress};
use twinseal_svc::store::StoreError;

/// What the two consumers are told.
pub(crate) type Views = (Option<GroupsrvChange>, Option<ExploderChange>);

/// The two views of `change`, given what was before it.
pub(crate) fn of(change: &Change, before: &Tx<'_>) -> Result<Views, StoreError> {
    Ok(match change {
        Change::GroupCreated { group, list, mode, history, settings, signed, .. } => (
            Some(GroupsrvChange::GroupCreated { group: *group, mode: *mode, history: *history, signed: *signed }),
            Some(ExploderChange::GroupCreated {
                group: *group,
                list: list.clone(),
                settings: settings.clone(),
                signed: *signed,
            }),
        ),
        Change::GroupSet { group, mode, history, settings, .. } => group_set(group, *mode, *history, settings, before)?,
        Change::GroupDeleted { group } => {
            (Some(GroupsrvChange::GroupDeleted { group: *group }), Some(ExploderChange::GroupDeleted { group: *group }))
        }
        Change::MemberSet { group, address, options, .. } => match member(group, address, before)? {
            // Told when it is known to the exploder at all: `members::key_memberships`, `owners::submit`.
            Member { state: MemberState::Pending, .. } => (None, None),
            Member { handle, .. }
                if owners::is_signed(group, before)? && owners::told_key(group, &handle, before)?.is_none() =>
            {
                (None, None)
            }
            Member { handle, .. } => {
                let options = options.for_delivery();
                (None, Some(ExploderChange::MemberOptions { group: *group, handle, options }))
            }
        },
        Change::StatementTaken { group, statement, address, salt } => {
            owners::statement(*group, statement, address.as_ref(), salt.as_ref(), before)?
        }
        // Of a member of a signed group the two are told when an owner has signed, and not before.
        Change::MemberAdded { group, .. } if owners::is_signed(group, before)? => (None, None),
        Change::MemberKeyed { group, address, serial } if owners::is_signed(group, before)? => {
            owners::key_changed(*group, &member(group, address, before)?, serial, before)?
        }
        Change::MemberSuspended { group, address } | Change::MemberLeft { group, address }
            if owners::is_signed(group, before)?
                && owners::told_key(group, &member(group, address, before)?.handle, before)?.is_none() =>
        {
            (None, None)
        }
        Change::MemberAdded { group, address, handle, number, serial: Some(serial), .. } => {
            let member = ExploderChange::MemberJoined {
                group: *group,
                handle: *handle,
                number: *number,
                address: address.clone(),
                salt: None,
                signed: None,
            };
            let recipient = recipient(serial, before)?;
            (
                Some(GroupsrvChange::MemberJoined { group: *group, handle: *handle, recipient, signed: None }),
                Some(member),
            )
        }
        Change::MemberKeyed { group, address, serial } => {
            keyed(*group, &member(group, address, before)?, recipient(serial, before)?)
        }
        Change::MemberSuspended { group, address } => match member(group, address, before)? {
            Member { state: MemberState::Active, handle, .. } => {
                (Some(GroupsrvChange::MemberSuspended { group: *group, handle }), None)
            }
            _ => (None, None),
        },
        Change::MemberLeft { group, address } => match member(group, address, before)? {
            // Nobody was ever told of a pending one.
            Member { state: MemberState::Pending, .. } => (None, None),
            Member { handle, .. } => (
                Some(GroupsrvChange::MemberLeft { group: *group, handle }),
                Some(ExploderChange::MemberLeft { group: *group, handle }),
            ),
        },
        Change::CertificateRevoked { serial, .. } => match before.certificate(serial)? {
            Some(Certificate { holder: Holder::Membership { .. }, until, revoked: None, .. }) => {
                let certificates = vec![RevokedMembership { serial: B64(serial.octets().to_vec()), until }];
                (Some(GroupsrvChange::MembershipRevoked { certificates }), None)
            }
            _ => (None, None),
        },
        Change::MembershipsRevoked { certificates, .. } => {
            let certificates = certificates
                .iter()
                .map(|(serial, until)| RevokedMembership { serial: B64(serial.octets().to_vec()), until: *until })
                .collect();
            (Some(GroupsrvChange::MembershipRevoked { certificates }), None)
        }
        Change::PostingTokenMade { digest, address, expires, .. } => {
            (None, Some(ExploderChange::PostingToken { digest: *digest, address: address.clone(), expires: *expires }))
        }
        Change::PostingTokenEnded { digest, .. } => (None, Some(ExploderChange::PostingTokenEnded { digest: *digest })),
        _ => (None, None),
    })
}

/// Each is told what concerns it, if that changed.
fn group_set(
    group: &GroupId,
    mode: DeliveryMode,
    history: History,
    settings: &ListSettings,
    before: &Tx<'_>,
) -> Result<Views, StoreError> {
    let list = before.list_of(group)?.ok_or_else(|| inconsistent("a change names a group that is not there"))?;
    let was = before.group(&list)?.ok_or_else(|| inconsistent("a group without its list"))?;
    let signed = was.signed;
    let groupsrv = GroupsrvChange::GroupChanged { group: *group, mode, history, signed };
    let exploder = ExploderChange::GroupChanged { group: *group, settings: settings.clone(), signed };
    Ok((
        (was.mode != mode || was.history != history).then_some(groupsrv),
        (was.settings != *settings).then_some(exploder),
    ))
}

/// A membership's first certificate makes it known to both; a later one concerns groupsrv alone.
fn keyed(group: GroupId, member: &Member, recipient: RecipientKey) -> Views {
    let handle = member.handle;
    match member.state {
        MemberState::Pending => {
            let (number, address) = (member.number, member.address.clone());
            (
                Some(GroupsrvChange::MemberJoined { group, handle, recipient, signed: None }),
                Some(ExploderChange::MemberJoined { group, handle, number, address, salt: None, signed: None }),
            )
        }
        _ => (Some(GroupsrvChange::MemberKeyChanged { group, handle, recipient, signed: None }), None),
    }
}

fn member(group: &GroupId, address: &MailAddress, before: &Tx<'_>) -> Result<Member, StoreError> {
    before.member(group, address)?.ok_or_else(|| inconsistent("a membership that a change names is not there"))
}

/// A certificate as groupsrv is told of it.
pub(crate) fn recipient(serial: &Serial, before: &Tx<'_>) -> Result<RecipientKey, StoreError> {
    let row =
        before.certificate(serial)?.ok_or_else(|| inconsistent("a certificate that a change names is not there"))?;
    let unreadable = || inconsistent("a certificate that cannot be read");
    let key = CertificateKey::read(row.certificate.as_ref()).map_err(|_| unreadable())?;
    let RecipientId::IssuerAndSerial { issuer_der, serial } = key.issuer_and_serial else { return Err(unreadable()) };
    let subject_key_id = match key.subject_key_id {
        Some(RecipientId::SubjectKeyId(id)) => Some(id),
        _ => None,
    };
    Ok(RecipientKey { issuer: issuer_der, serial, subject_key_id, public_key: B64(key.spki.to_vec()) })
}

/// The index and the log disagree: a fault of ours.
pub(crate) fn inconsistent(what: &'static str) -> StoreError {
    StoreError::File(std::io::Error::other(what))
}
