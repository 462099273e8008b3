//! `expand` (L11): one wrapped key in, one for each member out. The steps of the service, from top to bottom.

use crate::authn::Caller;
use crate::authz::{Ask, Decision, Grant, Message, admit, decide};
use crate::parse::{self, Presented, present};
use crate::record::{Call, Event};
use crate::register::stopped;
use crate::roster::{Member, Selected};
use crate::service::{Service, internal};
use std::sync::Arc;
use twinseal_proto::api::expand::{Denied, ExpandRequest, Expanded, Wrapped};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cms::unwrap::{self, UnwrapError};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_proto::secret::Cek;
use twinseal_proto::time::UnixTime;
use twinseal_svc::{failpoint, http};

/// Fewest members for which wrapping is spread over the cores: below, handing the work around costs more.
const SPREAD: usize = 32;

/// `POST /v1/expand`.
pub(crate) async fn expand(
    service: Arc<Service>,
    caller: http::Caller,
    request: ExpandRequest,
) -> Result<Expanded, Problem> {
    let timer = service.metrics.expand_seconds.start_timer();
    // 1. Authentication.
    let caller = service.caller(&caller);
    let group = request.group;
    let mut message = None;
    let outcome = match steps(&service, caller, request, &mut message).await {
        Ok(expanded) => Ok(expanded),
        Err(problem) => Err(service.refuse(caller, Call::Expand, group, message, problem).await),
    };
    timer.observe_duration();
    failpoint::hit("groupsrv.expand.before-reply");
    // 7. Answer.
    outcome
}

/// `named`: the look-up value of the message, as soon as it is known.
async fn steps(
    service: &Arc<Service>,
    caller: Caller,
    request: ExpandRequest,
    named: &mut Option<Digest>,
) -> Result<Expanded, Problem> {
    // 2. Parsing, and all checks that need no private key. Whether the caller may ask, and whether the roster is fresh,
    // comes before: with a roster that is being rebuilt nothing else could be said rightly.
    let call = admit(caller, Ask::Expand, service.lease.left()).map_err(stopped)?;
    parse::handles(&request)?;
    let ExpandRequest { group, recipient_info, content_algorithm, handles } = request;
    let presented = present(&service.ring(), &service.roster, &group, recipient_info.as_ref(), content_algorithm)
        .map_err(|refused| refused.problem())?;
    let (message, epoch) = (presented.message(), presented.key.epoch);
    *named = Some(message);
    let presented = Arc::new(presented);

    // 3. Authorisation: of the message, then of each member.
    let first_seen = registered(service, &presented).await?;
    let mut seen = call.about(first_seen).map_err(stopped)?;
    let select = || service.roster.select(&group, &handles, UnixTime::now());
    let grant = decisions(&seen, &handles, &select()?).find_map(|decision| match decision {
        Decision::Grant(grant) => Some(grant),
        Decision::Denied(_) => None,
    });

    // 4. Opening, if there is anybody to open it for. The opened key may turn out to be an earlier message's.
    let opened = match grant {
        Some(grant) => Some(open(service, grant, presented, group, seen.first_seen()).await?),
        None => None,
    };
    if let Some(opened) = &opened {
        seen.seen_at(opened.first_seen);
    }
    failpoint::hit("groupsrv.expand.after-unwrap");

    // 5 and 6. Wrapping on all cores, while the record becomes durable and with it what the opening told. The roster is
    // asked again: whoever left while the key was opened gets nothing.
    let selected = select()?;
    let decisions: Vec<Decision> = decisions(&seen, &handles, &selected).collect();
    let (granted, denied) = sorted(&handles, &decisions);
    count(service, granted.len(), &denied);
    let identity = opened.as_ref().map(|opened| opened.identity);
    let first_seen = seen.first_seen();
    let caller = caller.digest();
    let event = Event::Expanded { caller, group, epoch, message, identity, first_seen, granted, denied };
    let cek = opened.map(|opened| opened.cek);
    let (wraps, recorded, synced) = tokio::join!(
        wrap_all(decisions.into_iter().zip(selected.members).collect(), cek),
        service.record(event),
        sync(service, identity.is_some()),
    );
    recorded?;
    synced?;
    failpoint::hit("groupsrv.expand.after-audit");
    Ok(Expanded { wraps: wraps? })
}

/// The decision about each member, in order, as the roster is at one moment.
fn decisions(seen: &Message, handles: &[Handle], selected: &Selected) -> impl Iterator<Item = Decision> {
    let standings = selected.members.iter().map(|member| member.as_ref().map(|member| member.standing()));
    handles.iter().zip(standings).map(|(handle, standing)| decide(seen, selected.history, *handle, standing))
}

/// The first-seen of a registered key; `None` if one of its look-up values is not registered.
async fn registered(service: &Arc<Service>, presented: &Arc<Presented>) -> Result<Option<u64>, Problem> {
    let wanted = Arc::clone(presented);
    let found = service
        .blocking(move |service| {
            wanted.lookup.iter().map(|value| service.index.registration(value)).collect::<Result<Vec<_>, _>>()
        })
        .await?
        .map_err(|error| internal("index", &error))?;
    if found.iter().flatten().any(|known| known.content_algorithm != presented.content) {
        return Err(Problem::new(ProblemCode::Conflict, "content_algorithm: another than was registered"));
    }
    let all: Option<Vec<u64>> = found.into_iter().map(|known| known.map(|known| known.first_seen)).collect();
    Ok(all.and_then(|all| all.into_iter().min()))
}

/// An opened key.
struct Opened {
    cek: Cek,
    identity: Digest,
    /// The earliest first-seen of all its wrappings.
    first_seen: u64,
}

/// Spends `grant` for the one private-key operation of the call.
async fn open(
    service: &Arc<Service>,
    grant: Grant,
    presented: Arc<Presented>,
    group: GroupId,
    first_seen: u64,
) -> Result<Opened, Problem> {
    let work = move |service: &Service| {
        let Presented { key, rid, info, content, .. } = &*presented;
        let opened =
            key.check(info, rid, content).map_err(UnwrapError::from).and_then(|checked| key.open(grant, &checked));
        service.metrics.unwraps.inc();
        let unwrap::Opened { cek, substituted } = opened.map_err(|error| match error {
            UnwrapError::Key(error) => {
                internal("group key", &error);
                Problem::new(ProblemCode::Unavailable, "the group's key does not answer")
            }
            // One answer for all that is wrong from here on.
            UnwrapError::Public(_) | UnwrapError::Refused => {
                Problem::new(ProblemCode::Refused, "the wrapped key does not open")
            }
        })?;
        let identity = service.identity.identity(&group, &cek).map_err(|error| internal("identity", &error))?;
        let known = service.index.opened(&identity, presented.message(), first_seen);
        let known = known.map_err(|error| internal("index", &error))?;
        // A wrapped key counts once, however many calls it takes.
        service.count_substituted(group, substituted.unwrap_u8() & u8::from(known.new), UnixTime::now());
        Ok(Opened { cek, identity, first_seen: known.first_seen })
    };
    service.blocking(work).await?
}

/// Who gets it, and who does not.
fn sorted(handles: &[Handle], decisions: &[Decision]) -> (Vec<Handle>, Vec<(Handle, Denied)>) {
    let (mut granted, mut denied) = (Vec::new(), Vec::new());
    for (handle, decision) in handles.iter().zip(decisions) {
        match decision {
            Decision::Grant(grant) => granted.push(grant.handle()),
            Decision::Denied(reason) => denied.push((*handle, *reason)),
        }
    }
    (granted, denied)
}

fn count(service: &Service, granted: usize, denied: &[(Handle, Denied)]) {
    service.metrics.wraps.inc_by(granted as u64);
    for (reason, name) in [
        (Denied::NotAMember, "not-a-member"),
        (Denied::JoinedLater, "joined-later"),
        (Denied::NoLiveKey, "no-live-key"),
    ] {
        let number = denied.iter().filter(|(_, denied)| *denied == reason).count();
        if number > 0 {
            service.metrics.refused(name, number);
        }
    }
}

async fn sync(service: &Arc<Service>, wanted: bool) -> Result<(), Problem> {
    if wanted {
        service.blocking(|service| service.index.sync()).await?.map_err(|error| internal("index", &error))?;
    }
    Ok(())
}

/// What one answer is made of.
type Part = (Decision, Option<Arc<Member>>);

/// Makes all answers, in order, on as many cores as it pays to use.
async fn wrap_all(parts: Vec<Part>, cek: Option<Cek>) -> Result<Vec<Wrapped>, Problem> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = parts.len().div_ceil(cores).max(SPREAD);
    let cek = cek.map(Arc::new);
    let mut wraps = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter();
    let mut tasks = Vec::with_capacity(cores);
    loop {
        let part: Vec<Part> = parts.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let cek = cek.clone();
        tasks.push(tokio::task::spawn_blocking(move || wrap_some(part, cek.as_deref())));
    }
    for task in tasks {
        wraps.extend(task.await.map_err(|error| internal("task", &error))??);
    }
    Ok(wraps)
}

fn wrap_some(parts: Vec<Part>, cek: Option<&Cek>) -> Result<Vec<Wrapped>, Problem> {
    let wrapped = |(decision, member): Part| match decision {
        Decision::Denied(reason) => Ok(Wrapped::Denied(reason)),
        Decision::Grant(grant) => wrap(grant, member.as_deref(), cek),
    };
    parts.into_iter().map(wrapped).collect()
}

/// Spends a grant: the key of the message under the key of the member.
fn wrap(grant: Grant, member: Option<&Member>, cek: Option<&Cek>) -> Result<Wrapped, Problem> {
    let handle = grant.spend();
    let key = member.and_then(|member| member.key.as_ref());
    let (Some(key), Some(cek)) = (key, cek) else {
        // A grant was made for a member with a key, and the first of them opened the message.
        tracing::error!(%handle, "granted without a key");
        return Err(Problem::new(ProblemCode::Internal, "wrapping failed"));
    };
    key.wrap(cek).map(|info| Wrapped::RecipientInfo(B64(info))).map_err(|error| internal("wrapping", &error))
}
