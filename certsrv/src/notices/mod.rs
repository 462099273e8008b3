//! Mail of certsrv's own: what is to be told to whom is a change like any other, so that a mail is owed from the moment
//! at which its cause is in the log.

use crate::app::App;
use crate::change::Change;
use crate::failure::Failure;
use crate::random;
use crate::rows::Notice;
use crate::store::Tx;
use twinseal_proto::ids::NoticeId;
use twinseal_proto::time::UnixTime;

/// Queues `notice`, where mail is configured. Returns whether it will be sent.
pub(crate) fn queue(app: &App, tx: &mut Tx<'_>, now: UnixTime, notice: Notice) -> Result<bool, Failure> {
    if app.config.mail.is_none() {
        return Ok(false);
    }
    let id = NoticeId::from_random(random::octets()?);
    tx.push(Change::NoticeQueued { id, notice, made: now })?;
    Ok(true)
}
