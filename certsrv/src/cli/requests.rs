//! `request`: what waits, and the administrator's word on it.

use super::run::{At, Outcome};
use clap::Subcommand;
use twinseal_proto::api::groups::WaitsFor;
use twinseal_proto::api::requests::{
    ApproveRequest, ListRequests, ListRequestsRequest, RejectRequest, Request as Waiting, RequestRequest, Wish,
};
use twinseal_proto::ids::{ListAddress, RequestId};

#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// Lists what waits
    List {
        /// One list's only
        list: Option<ListAddress>,
    },
    /// Says yes in place of the owners
    Approve {
        /// The request
        request: RequestId,
    },
    /// Says no: the request ends
    Reject {
        /// The request
        request: RequestId,
    },
}

pub(super) async fn run(at: &At<'_>, command: Request) -> Outcome<()> {
    match command {
        Request::List { list } => {
            let found = at.call::<ListRequests>(&ListRequestsRequest { list }).await?;
            at.show(&found, &found.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Request::Approve { request } => {
            let approved = at.call::<ApproveRequest>(&RequestRequest { request }).await?;
            let text = match approved.waits_for {
                None => format!("approved and done (feed at {})", approved.sequence),
                Some(WaitsFor::Nothing) => "approved: it is done when it is asked for again".to_owned(),
                Some(still) => format!("approved; it waits for {} still", waits(still)),
            };
            at.show(&approved, &text)
        }
        Request::Reject { request } => at.changed(&at.call::<RejectRequest>(&RequestRequest { request }).await?),
    }
}

fn line(request: &Waiting) -> String {
    let wish = match (request.wish, &request.list, &request.key) {
        (Wish::Join, Some(list), _) => format!("wants to join {list}"),
        (Wish::Invitation, Some(list), _) => format!("is invited to {list}"),
        (Wish::Key, _, Some(key)) => format!("wants the key {key}"),
        _ => "asks".to_owned(),
    };
    format!("{}\t{}\t{wish}\twaits for {}", request.id, request.address, waits(request.waits_for))
}

const fn waits(what: WaitsFor) -> &'static str {
    match what {
        WaitsFor::Mailbox => "the mailbox",
        WaitsFor::Owner => "an owner",
        WaitsFor::Account => "an account",
        WaitsFor::Nothing => "nothing",
    }
}
