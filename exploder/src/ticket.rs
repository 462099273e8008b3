//! Step 4: groupsrv learns of an accepted message's wrapped key before its first use (DESIGN 3.2), as soon as it can,
//! since who joined later is decided by that moment.

use crate::engine::{AskError, Engine, GROUPSRV_AWAY};
use crate::events;
use crate::queue::Pause;
use crate::runner::{Turn, hold};
use std::time::Duration;
use twinseal_proto::api::tickets::{Register, RegisterRequest};
use twinseal_proto::ids::PostId;
use twinseal_svc::failpoint;

/// How long groupsrv may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Registers a message. Doing so twice is the same as once.
pub(crate) async fn register(engine: &Engine, id: PostId) -> Turn {
    let post = match engine.load(id) {
        Ok((post, _)) => post,
        Err(error) => {
            events::unreadable(id, &error);
            return hold(engine, id, "cannot be read from the spool");
        }
    };
    let request = RegisterRequest {
        group: post.group,
        recipient_info: post.recipient_info,
        content_algorithm: post.frame.content_algorithm,
    };
    let answer = tokio::select! {
        answer = engine.ask::<Register>(&request, PATIENCE) => answer,
        // A groupsrv that never answers must not hold up the end of the daemon. It is asked again after the start.
        () = engine.stop.cancelled() => Err(AskError::Away),
    };
    match answer {
        Ok(registered) => {
            events::registered(id, registered.repeated);
            failpoint::hit("exploder.register.after");
            Turn::Pause(Pause::Registered)
        }
        Err(AskError::Away) => Turn::Pause(Pause::Waiting(GROUPSRV_AWAY)),
        Err(AskError::Refused(problem)) => hold(engine, id, &format!("groupsrv: {}", problem.detail)),
    }
}
