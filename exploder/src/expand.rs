//! Step 5: at send time, and for the members to whom a copy is due now, groupsrv wraps the message key again
//! (DESIGN 3.3). Whoever left in between gets nothing.

use crate::deliver::lanes::Copy;
use crate::engine::{AskError, Engine};
use crate::roster::Member;
use crate::spool::post::SpooledPost;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::expand::{Denied, Expand, ExpandRequest, Wrapped};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::ids::MemberNumber;
use twinseal_svc::failpoint;

/// Members in the first call for a message, so that sending begins early, and in later ones.
pub(crate) const BATCH: (usize, usize) = (100, 500);
/// How long groupsrv may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a batch.
pub(crate) struct Expansion {
    /// The copies that may be sent.
    pub(crate) copies: Vec<Copy>,
    /// The members who get none, with the reason.
    pub(crate) denied: Vec<(MemberNumber, Denied)>,
    /// The members for whom groupsrv answered with something that is no RecipientInfo for one reader.
    pub(crate) unusable: Vec<MemberNumber>,
}

/// Why a batch was not expanded.
pub(crate) enum NotExpanded {
    /// groupsrv is away, or not ready.
    Away,
    /// groupsrv does not know the message's key: register it again.
    NotRegistered,
    /// It will not open the message, for nobody.
    Refused(Problem),
}

/// Asks for the wrapped keys of some members.
pub(crate) async fn expand(
    engine: &Engine,
    post: &SpooledPost,
    members: Vec<(MemberNumber, Arc<Member>)>,
) -> Result<Expansion, NotExpanded> {
    let request = ExpandRequest {
        group: post.group,
        recipient_info: post.recipient_info.clone(),
        content_algorithm: post.frame.content_algorithm.clone(),
        handles: members.iter().map(|(_, member)| member.handle).collect(),
    };
    let answer = engine.ask::<Expand>(&request, PATIENCE).await.map_err(|error| match error {
        AskError::Away => NotExpanded::Away,
        AskError::Refused(problem) if problem.code == ProblemCode::NotRegistered => NotExpanded::NotRegistered,
        AskError::Refused(problem) => NotExpanded::Refused(problem),
    })?;
    failpoint::hit("exploder.expand.after");
    if answer.wraps.len() != members.len() {
        let detail = format!("{} answers for {} members", answer.wraps.len(), members.len());
        return Err(NotExpanded::Refused(Problem::new(ProblemCode::Internal, detail)));
    }
    let mut expansion =
        Expansion { copies: Vec::with_capacity(members.len()), denied: Vec::new(), unusable: Vec::new() };
    for ((number, _), wrap) in members.into_iter().zip(answer.wraps) {
        match wrap {
            // A copy with anything else in it would be delivered, and nobody could ever read it.
            Wrapped::RecipientInfo(octets) if !is_for_one(&octets.0) => expansion.unusable.push(number),
            Wrapped::RecipientInfo(octets) => expansion.copies.push(Copy { number, recipient_info: octets.0 }),
            Wrapped::Denied(reason) => expansion.denied.push((number, reason)),
        }
    }
    Ok(expansion)
}

fn is_for_one(der: &[u8]) -> bool {
    RecipientInfo::decode_bounded(der).is_ok_and(|info| info.recipient_ids().count() == 1)
}
