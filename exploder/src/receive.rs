//! Steps 1 to 3 put together: what the SMTP session asks, answered from the roster, the intake, the policy and the
//! spool. `250` is the answer only when the message is durable.

use crate::engine::Engine;
use crate::events;
use crate::groupkeys::GroupKeys;
use crate::headers::Posting;
use crate::intake::{Accepted, Head, Intake, IntakeError};
use crate::policy::{self, Refusal};
use crate::roster::List;
use crate::smtp::{Backend, Client, Envelope, ForwardPath, Mail, Reply, Sink};
use crate::spool::SpoolError;
use crate::spool::body::{Draft, SpoolWriter};
use crate::spool::post::SpooledPost;
use std::io;
use std::sync::Arc;
use twinseal_proto::cms::frame::{self, Frame, FrameError, Limits};
use twinseal_proto::ids::{ListAddress, MemberNumber};
use twinseal_proto::time::UnixTime;

/// Takes mail for the lists.
pub(crate) struct Receiver {
    engine: Arc<Engine>,
    keys: Arc<GroupKeys>,
    host: String,
    certsrv: String,
}

impl Receiver {
    /// `host` is our name; `certsrv` is where senders find a list's certificate.
    pub(crate) const fn new(engine: Arc<Engine>, keys: Arc<GroupKeys>, host: String, certsrv: String) -> Self {
        Self { engine, keys, host, certsrv }
    }

    fn refused(&self, refusal: &Refusal) -> Reply {
        let reply = refusal.reply();
        events::refused(reply.code(), reply.enhanced());
        self.engine.metrics.refused.with_label_values(&[reply.code().to_string()]).inc();
        reply
    }

    fn resolve(&self, mail: &Mail, to: &ForwardPath) -> Result<Arc<List>, Refusal> {
        let roster = &self.engine.roster;
        let address = match to {
            ForwardPath::Postmaster => return Err(Refusal::Postmaster),
            ForwardPath::Mailbox(mailbox) => mailbox.address().ok_or(Refusal::Relay)?,
        };
        let ours = || address.domain().eq_ignore_ascii_case(&self.host) || roster.serves(address.domain());
        let local = address.as_str().strip_suffix(address.domain()).unwrap_or_default();
        if local.eq_ignore_ascii_case("postmaster@") && ours() {
            return Err(Refusal::Postmaster);
        }
        if !roster.known() {
            return Err(Refusal::NoRoster);
        }
        let list = address.as_str().parse::<ListAddress>().ok().and_then(|list| roster.list(&list));
        let unknown = || if roster.serves(address.domain()) { Refusal::UnknownMailbox } else { Refusal::Relay };
        let list = list.ok_or_else(unknown)?;
        policy::may_address(&list.settings, mail)?;
        Ok(list)
    }
}

/// The post address of a list.
pub(crate) struct PostAddress(Arc<List>);

impl PartialEq for PostAddress {
    fn eq(&self, other: &Self) -> bool {
        self.0.group == other.0.group
    }
}

impl Backend for Arc<Receiver> {
    type Mailbox = PostAddress;
    type Sink = Receiving;

    async fn rcpt(&self, _: &Client, mail: &Mail, to: &ForwardPath) -> Result<PostAddress, Reply> {
        self.resolve(mail, to).map(PostAddress).map_err(|refusal| self.refused(&refusal))
    }

    async fn begin(&self, _: &Client, envelope: Envelope<PostAddress>) -> Result<Receiving, Reply> {
        let list = envelope.mailbox.0;
        let intake = Intake::new(list.list.clone(), list.settings.max_size, self.engine.spool.writer());
        let protocol = envelope.mail.hello.protocol();
        Ok(Receiving { receiver: Self::clone(self), list, protocol, intake, author_known: false })
    }
}

/// One message on its way in.
pub(crate) struct Receiving {
    receiver: Arc<Receiver>,
    list: Arc<List>,
    protocol: &'static str,
    intake: Intake<SpoolWriter>,
    /// The header came, and its author may post.
    author_known: bool,
}

/// Why a message does not become ours.
enum NotTaken {
    Refused(Refusal),
    NotStored(SpoolError),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<SpoolError> for NotTaken {
    fn from(error: SpoolError) -> Self {
        Self::NotStored(error)
    }
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::NotStored(error.into())
    }
}

impl From<IntakeError> for NotTaken {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Refused(refusal) => Self::Refused(refusal),
            IntakeError::Spool(error) => Self::NotStored(error.into()),
        }
    }
}

impl NotTaken {
    fn reply(self, receiver: &Receiver) -> Reply {
        match self {
            Self::Refused(refusal) => receiver.refused(&refusal),
            Self::NotStored(error) => {
                events::not_stored(&error, error.is_full());
                receiver.refused(&Refusal::Storage)
            }
        }
    }
}

impl Sink for Receiving {
    async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.push(octets).map_err(|refusal| refusal.reply(&self.receiver))
    }

    async fn finish(self) -> Reply {
        let receiver = Arc::clone(&self.receiver);
        self.take().await.unwrap_or_else(|refusal| refusal.reply(&receiver))
    }
}

impl Receiving {
    fn push(&mut self, octets: &[u8]) -> Result<(), NotTaken> {
        self.intake.push(octets)?;
        if !self.author_known
            && let Some(head) = self.intake.head()
        {
            may_post(&self.receiver, &self.list, head)?;
            self.author_known = true;
        }
        Ok(())
    }

    async fn take(self) -> Result<Reply, NotTaken> {
        let Self { receiver, list, protocol, intake, .. } = self;
        let engine = &receiver.engine;
        let (head, spooled) = intake.finish()?;
        may_post(&receiver, &list, &head)?;
        let author = author(&receiver, &list, &head);
        let (draft, scanned) = scan(spooled.finish()?).await?;
        let accepted = decide(&receiver, &list, head, scanned)?;
        let id = engine.spool.new_id();
        let posting = Posting {
            list: &list.list,
            description: &list.settings.description,
            host: &receiver.host,
            post: id,
            accepted: UnixTime::now(),
            protocol,
        };
        let post = SpooledPost { author, ..SpooledPost::new(accepted, list.group, draft.len(), &posting) };
        let record = serde_json::to_vec(&post).map_err(io::Error::from)?;
        engine.spool.accept(id, draft, &record).await?;
        events::accepted(id, &list.group, post.size);
        engine.metrics.accepted.inc();
        engine.add(id, post.summary());
        Ok(Reply::new(250, "2.0.0", format!("accepted as {id}")))
    }
}

fn may_post(receiver: &Receiver, list: &List, head: &Head) -> Result<(), Refusal> {
    let is_member = |address: &_| receiver.engine.roster.member_by_address(&list.group, address).is_some();
    policy::may_post(&list.settings, &head.from, is_member)
}

/// The one member who is the author.
fn author(receiver: &Receiver, list: &List, head: &Head) -> Option<MemberNumber> {
    let [author] = head.from.as_slice() else { return None };
    receiver.engine.roster.member_by_address(&list.group, author)
}

fn decide(
    receiver: &Receiver,
    list: &List,
    head: Head,
    scanned: Result<Frame, FrameError>,
) -> Result<Accepted, Refusal> {
    let keys = receiver.keys.of(&list.group);
    policy::accept(&list.settings, &keys, || keys.hint(&list.list, &receiver.certsrv), head, scanned)
}

/// Finds where things lie in the CMS message. A large one is read on a thread that may block.
async fn scan(draft: Draft) -> io::Result<(Draft, Result<Frame, FrameError>)> {
    let scan = |draft: &Draft| Ok::<_, io::Error>(frame::scan(draft.reader()?, &Limits::default()));
    if draft.in_record().is_some() {
        let scanned = scan(&draft)?;
        return Ok((draft, scanned));
    }
    let scanning = tokio::task::spawn_blocking(move || {
        let scanned = scan(&draft)?;
        io::Result::Ok((draft, scanned))
    });
    scanning.await.map_err(io::Error::other)?
}
