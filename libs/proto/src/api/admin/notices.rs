//! certsrv's administration: the mail of its own that is on its way.

use super::Nothing;
use crate::api::Endpoint;
use crate::ids::{MailAddress, NoticeId};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// The mails that wait, oldest first.
pub struct ListNotices;

impl Endpoint for ListNotices {
    const PATH: &'static str = "/v1/admin/notices/list";
    const MAX_BODY: usize = 4096;
    type Request = Nothing;
    type Response = Vec<WaitingNotice>;
}

/// A mail that waits for its smarthost. What it says follows from the present state when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitingNotice {
    /// Its name.
    pub id: NoticeId,
    /// What sort of mail it is.
    pub kind: String,
    /// Where it goes.
    pub to: MailAddress,
    /// When it was caused.
    pub made: UnixTime,
}

/// Forgets a mail that waits.
pub struct DropNotice;

impl Endpoint for DropNotice {
    const PATH: &'static str = "/v1/admin/notices/drop";
    const MAX_BODY: usize = 4096;
    type Request = DropNoticeRequest;
    type Response = Nothing;
}

/// The mail to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropNoticeRequest {
    /// Its name.
    pub id: NoticeId,
}
