//! `notice`, and what `status` says of the mail that waits.

use super::{At, Outcome};
use crate::cli::Notice;
use serde_json::{Value, json};
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::notices::{DropNotice, DropNoticeRequest, ListNotices};
use twinseal_proto::time::UnixTime;

/// How much mail waits.
pub(super) struct Waiting {
    count: usize,
    oldest: Option<UnixTime>,
}

impl Waiting {
    /// A line for people, where there is anything to tell.
    pub(super) fn text(&self) -> String {
        let since = |oldest| format!("\nmails waiting: {}, the oldest since {oldest}", self.count);
        self.oldest.map(since).unwrap_or_default()
    }

    /// The same for programs.
    pub(super) fn put_into(&self, status: &mut Value) {
        if let Some(status) = status.as_object_mut() {
            status.insert("mails_waiting".into(), json!(self.count));
        }
    }
}

impl At<'_> {
    pub(super) async fn waiting(&self) -> Outcome<Waiting> {
        let waiting = self.call::<ListNotices>(&Nothing {}).await?;
        Ok(Waiting { count: waiting.len(), oldest: waiting.first().map(|first| first.made) })
    }

    pub(super) async fn notice(&self, command: Notice) -> Outcome<()> {
        match command {
            Notice::List => {
                let waiting = self.call::<ListNotices>(&Nothing {}).await?;
                let lines = waiting.iter().map(|one| format!("{}\t{}\t{}\t{}", one.id, one.made, one.kind, one.to));
                self.show(&waiting, &lines.collect::<Vec<_>>().join("\n"))
            }
            Notice::Drop { id } => {
                self.call::<DropNotice>(&DropNoticeRequest { id }).await?;
                self.show(&json!({ "dropped": id }), &format!("{id} dropped"))
            }
        }
    }
}
