//! Sends what is owed. A mail is owed until the log says that it is done; one that was sent when certsrv died, and whose
//! end was not in the log yet, goes a second time with the same Message-ID. Ends are committed together: a hundred at
//! most, or those of a tenth of a second.

use super::compose::{Composed, Draft, compose, together};
use super::letter::Letter;
use super::send::{Connection, Outcome, SendError, Smarthost};
use super::sign::{ListSigner, sign};
use super::{list_key, own, schedule};
use crate::app::App;
use crate::audit::Actor;
use crate::change::Change;
use crate::config::Mail;
use crate::events;
use crate::failure::Failure;
use crate::rows::{Notice, NoticeEnd, NoticeRow};
use crate::store::Tx;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinseal_proto::ids::{GroupId, MailAddress, NoticeId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;

/// Most ends in one commit, and the longest that one waits for others.
const TOGETHER: (usize, Duration) = (100, Duration::from_millis(100));
/// Most mails between two looks at what is owed: a token does not wait behind ten thousand welcomes.
const ROUND: usize = 500;
/// What is owed is looked at no more often than this, so that mails gather.
const GATHER: Duration = Duration::from_millis(20);
/// Seconds between two mails that tell an owner several things together (spec P17).
const OWNER_PAUSE: u64 = 3600;
/// Longest sleep in seconds.
const IDLE: u64 = 3600;
/// Most lists whose signing keys are kept in memory, and for how many seconds.
const SIGNERS: (usize, u64) = (256, 3600);

/// Sends until the service stops.
pub(crate) async fn run(app: Arc<App>, smarthost: Smarthost) {
    let Some(mail) = app.config.mail.clone() else { return };
    let mut head = app.registry.head();
    let stop = app.stop.clone();
    let mut outbox = Outbox::new(app, mail, smarthost);
    loop {
        head.borrow_and_update();
        let pause = match outbox.round().await {
            Ok(pause) => pause,
            Err(failure) => {
                failure.into_problem();
                60
            }
        };
        if pause > 0 {
            outbox.hang_up().await;
        }
        let woken = async {
            tokio::select! {
                _ = head.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            }
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! { () = woken => {}, () = stop.cancelled() => return }
    }
}

/// What is told together: its sort, the reader, the group.
type Key = (&'static str, MailAddress, Option<GroupId>);

struct Outbox {
    app: Arc<App>,
    mail: Mail,
    smarthost: Smarthost,
    connection: Option<Connection>,
    /// Mails that could not be sent: how often, and when they are tried again.
    tries: HashMap<NoticeId, (u32, UnixTime)>,
    /// The same for the smarthost itself.
    away: (u32, UnixTime),
    /// When an owner was told something last.
    told: HashMap<Key, UnixTime>,
    signers: HashMap<GroupId, (UnixTime, Arc<ListSigner>)>,
    /// Ends that are not in the log yet, and since when there are any.
    done: Vec<(NoticeId, NoticeEnd)>,
    since: Instant,
}

/// What became of a mail.
enum Step {
    /// It needs no more attention.
    End(NoticeEnd),
    /// It is tried again.
    Later,
    /// It cannot be composed yet.
    NotYet,
    /// The smarthost takes no mail.
    Away(SendError),
    /// The service stops.
    Stop,
}

impl Outbox {
    fn new(app: Arc<App>, mail: Mail, smarthost: Smarthost) -> Self {
        Self {
            app,
            mail,
            smarthost,
            connection: None,
            tries: HashMap::new(),
            away: (0, UnixTime(0)),
            told: HashMap::new(),
            signers: HashMap::new(),
            done: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Sends what is due. Returns for how many seconds nothing will be; 0 when more is due already.
    async fn round(&mut self) -> Result<u64, Failure> {
        let now = UnixTime::now();
        let rows = self.app.registry.view().notices()?;
        self.app.metrics.notices_waiting.set(i64::try_from(rows.len()).unwrap_or(i64::MAX));
        let ids: HashSet<NoticeId> = rows.iter().map(|row| row.id).collect();
        self.tries.retain(|id, _| ids.contains(id));
        self.told.retain(|_, at| now.since(*at) < OWNER_PAUSE);
        let (mut due, mut next) = self.due(rows, now);
        let more = due.len() > ROUND;
        due.truncate(ROUND);
        for mail in &due {
            if now < self.away.1 || self.app.stop.is_cancelled() {
                break;
            }
            match self.one(mail, now).await {
                Ok(Step::End(end)) => {
                    mail.iter().for_each(|row| self.ended(row.id, end));
                    if let Some((kind, to, group)) = mail.first().and_then(|row| together(&row.notice))
                        && end == NoticeEnd::Sent
                    {
                        self.told.insert((kind, to.clone(), group), now);
                    }
                }
                Ok(Step::Later) => mail.iter().for_each(|row| self.later(row.id, now, schedule::pause)),
                Ok(Step::NotYet) => mail.iter().for_each(|row| self.later(row.id, now, schedule::look)),
                Ok(Step::Away(error)) => {
                    self.connection = None;
                    let pause = schedule::pause(self.away.0 + 1);
                    self.away = (self.away.0.saturating_add(1), now.plus(pause));
                    events::smarthost_away(&error, pause);
                }
                Ok(Step::Stop) => break,
                Err(failure) => {
                    failure.into_problem();
                    mail.iter().for_each(|row| self.later(row.id, now, schedule::pause));
                }
            }
            if self.done.len() >= TOGETHER.0 || self.since.elapsed() >= TOGETHER.1 {
                self.flush().await?;
            }
        }
        self.flush().await?;
        if now < self.away.1 {
            return Ok(self.away.1.since(UnixTime::now()).max(1));
        }
        next.extend(self.tries.values().map(|(_, at)| *at));
        let soonest = next.into_iter().min().map_or(IDLE, |at| at.since(UnixTime::now()).clamp(1, IDLE));
        Ok(if more { 0 } else { soonest })
    }

    /// The mails that are due, each with the notices that it tells, urgent ones first; and when those come that are told
    /// together with others and have to wait. What is too old is given up here.
    fn due(&mut self, rows: Vec<NoticeRow>, now: UnixTime) -> (Vec<Vec<NoticeRow>>, Vec<UnixTime>) {
        let (mut due, mut next) = (Vec::new(), Vec::new());
        let mut gathered: BTreeMap<Key, Vec<NoticeRow>> = BTreeMap::new();
        for row in rows {
            if schedule::given_up(row.made, now) {
                self.ended(row.id, NoticeEnd::Dropped);
                continue;
            }
            if self.tries.get(&row.id).is_some_and(|(_, at)| now < *at) {
                continue;
            }
            match together(&row.notice) {
                Some((kind, to, group)) => gathered.entry((kind, to.clone(), group)).or_default().push(row),
                None => due.push(vec![row]),
            }
        }
        for (key, rows) in gathered {
            match self.told.get(&key) {
                Some(at) => next.push(at.plus(OWNER_PAUSE)),
                None => due.push(rows),
            }
        }
        due.sort_by_key(|rows| rows.first().map(|row| (!urgent(&row.notice), row.made)));
        (due, next)
    }

    async fn one(&mut self, rows: &[NoticeRow], now: UnixTime) -> Result<Step, Failure> {
        let Some(first) = rows.first() else { return Ok(Step::End(NoticeEnd::Dropped)) };
        let to = first.notice.to();
        let composed = {
            let view = self.app.registry.view();
            if own::is_own(&view, &self.mail, to)? {
                Composed::Gone
            } else {
                compose(&view, &self.mail, &self.app.post.key, rows, now)?
            }
        };
        let draft = match composed {
            Composed::Draft(draft) => draft,
            Composed::Gone => return Ok(Step::End(NoticeEnd::Dropped)),
            Composed::Later => return Ok(Step::NotYet),
        };
        let message = self.message(first, &draft, now).await?;
        hit("certsrv.notice.before-send");
        let stop = self.app.stop.clone();
        let sent = tokio::select! {
            sent = self.send(to, &message) => sent,
            () = stop.cancelled() => {
                self.connection = None;
                return Ok(Step::Stop);
            }
        };
        hit("certsrv.notice.after-send");
        Ok(match sent {
            Ok(outcome) => {
                self.away.0 = 0;
                match outcome {
                    Outcome::Taken => Step::End(NoticeEnd::Sent),
                    Outcome::Refused => Step::End(NoticeEnd::Refused),
                    Outcome::Later => Step::Later,
                }
            }
            Err(error) => Step::Away(error),
        })
    }

    /// The mail as it goes over the wire.
    async fn message(&mut self, row: &NoticeRow, draft: &Draft, now: UnixTime) -> Result<Vec<u8>, Failure> {
        let mut letter = Letter {
            id: row.id,
            at: now,
            name: &self.mail.name,
            from: &self.mail.from,
            reply_to: self.mail.contact.as_ref(),
            to: row.notice.to(),
            list: draft.list.as_ref(),
            domain: self.mail.from.domain(),
            subject: &draft.words.subject,
            body: &draft.words.body,
        };
        let (Some(signed), Some(list)) = (&draft.signed, &draft.list) else { return Ok(letter.plain()) };
        let content = self.app.registry.view().group(list)?.map(|group| group.settings.content).unwrap_or_default();
        let signer = match self.signers.get(&signed.group) {
            Some((at, signer)) if now.since(*at) < SIGNERS.1 && self.in_force(&signed.group, signer, now)? => {
                Arc::clone(signer)
            }
            _ => {
                let made = Arc::new(list_key::signer(&self.app, signed.group, list).await?);
                if self.signers.len() >= SIGNERS.0 {
                    self.signers.clear();
                }
                self.signers.insert(signed.group, (now, Arc::clone(&made)));
                made
            }
        };
        // The signer's certificate has the list's address: a reader compares it with From (RFC 8550 section 3).
        (letter.from, letter.reply_to) = (list.address(), Some(self.mail.contact()));
        let issuers = [self.app.members_ca.der()];
        let signature = sign(letter.entity().as_bytes(), &signer, &issuers, &signed.certificates, content, now)?;
        Ok(letter.signed(&signature))
    }

    /// Whether the group's newest signing certificate is this one, and neither revoked nor run out.
    fn in_force(&self, group: &GroupId, signer: &ListSigner, now: UnixTime) -> Result<bool, Failure> {
        let view = self.app.registry.view();
        let row = view.list_signer(group)?.map(|serial| view.certificate(&serial)).transpose()?.flatten();
        Ok(row.is_some_and(|row| row.live(now) && row.certificate.0 == signer.certificate))
    }

    /// Sends on the kept connection, or on a new one; on a new one too when the kept one turns out to be gone.
    async fn send(&mut self, to: &MailAddress, message: &[u8]) -> Result<Outcome, SendError> {
        if let Some(mut kept) = self.connection.take()
            && let Ok(outcome) = kept.send(to, message).await
        {
            self.connection = Some(kept);
            return Ok(outcome);
        }
        let mut new = self.smarthost.connect().await?;
        let outcome = new.send(to, message).await?;
        self.connection = Some(new);
        Ok(outcome)
    }

    async fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.quit().await;
        }
    }

    fn ended(&mut self, id: NoticeId, end: NoticeEnd) {
        if self.done.is_empty() {
            self.since = Instant::now();
        }
        self.done.push((id, end));
    }

    fn later(&mut self, id: NoticeId, now: UnixTime, pause: impl Fn(u32) -> u64) {
        let tries = self.tries.get(&id).map_or(0, |(tries, _)| *tries).saturating_add(1);
        self.tries.insert(id, (tries, now.plus(pause(tries))));
    }

    /// Puts the ends into the log.
    async fn flush(&mut self) -> Result<(), Failure> {
        if self.done.is_empty() {
            return Ok(());
        }
        let done = std::mem::take(&mut self.done);
        let ends = done.clone();
        let decide = move |tx: &mut Tx<'_>| {
            for (id, end) in ends {
                // An administrator may have dropped it.
                if tx.notice(&id)?.is_some() {
                    tx.push(Change::NoticeDone { id, end })?;
                }
            }
            Ok(())
        };
        self.app.registry.commit(Actor::Clock, decide).await?;
        done.iter().for_each(|(id, end)| self.app.metrics.notice_done(id, *end));
        Ok(())
    }
}

/// Somebody waits for it.
const fn urgent(notice: &Notice) -> bool {
    matches!(notice, Notice::LogIn { .. } | Notice::Confirm { .. })
}
