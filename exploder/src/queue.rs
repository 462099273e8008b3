//! Step 7: which message is due. In memory, rebuilt from the spool at the start; 12 octets a copy.
//!
//! * [`schedule`]: when a failed copy is tried again. [`gate`]: what waits while a peer is away.
//!
//! Waiting because a service is away or the lease has ended is not a try: the message stays due, and the runner does not
//! take it while the gate is closed.

pub(crate) mod gate;
pub(crate) mod schedule;

use crate::spool::post::Summary;
use crate::spool::record::{Recipient, State};
use crate::spool::{Recovered, fresh_copies};
use std::collections::{BTreeMap, BTreeSet};
use twinseal_proto::api::admin::exploder::QueuedPost;
use twinseal_proto::ids::{GroupId, MemberNumber, PostId};
use twinseal_proto::time::UnixTime;

/// A message that is not done.
pub(crate) struct Post {
    /// What is kept of its intake record.
    pub(crate) summary: Summary,
    /// How its copies stand, by member number; `None` until it is written down to whom it goes.
    pub(crate) copies: Option<Vec<Recipient>>,
    /// groupsrv knows its wrapped key. Asked again after a restart, which changes nothing there.
    registered: bool,
    /// Somebody works on it.
    busy: bool,
    /// When it is taken up next.
    due: UnixTime,
    /// How often it was held, or groupsrv had forgotten it, since a turn of it went well.
    refusals: u8,
    /// Members whom groupsrv did not know, and for whom it is asked once more.
    unknown: BTreeSet<MemberNumber>,
    /// Why it waits.
    waiting: Option<String>,
}

impl Post {
    fn new(summary: Summary, copies: Option<Vec<Recipient>>) -> Self {
        Self {
            due: summary.accepted,
            summary,
            copies,
            registered: false,
            busy: false,
            refusals: 0,
            unknown: BTreeSet::new(),
            waiting: None,
        }
    }

    fn count(&self, matches: impl Fn(State) -> bool) -> u32 {
        let copies = self.copies.as_deref().unwrap_or_default();
        u32::try_from(copies.iter().filter(|copy| matches(copy.state)).count()).unwrap_or(u32::MAX)
    }

    /// The copy for a member.
    pub(crate) fn copy_mut(&mut self, number: MemberNumber) -> Option<&mut Recipient> {
        let copies = self.copies.as_mut()?;
        let at = copies.binary_search_by_key(&number, |copy| copy.number).ok()?;
        copies.get_mut(at)
    }

    /// Notes that groupsrv does not know this member. `true`: for the first time; after a restart it is that again.
    pub(crate) fn note_unknown(&mut self, number: MemberNumber) -> bool {
        self.unknown.insert(number)
    }

    /// Copies that went out, and that failed.
    pub(crate) fn totals(&self) -> (u32, u32) {
        (self.count(|s| s == State::Sent), self.count(|s| s == State::Failed))
    }

    /// When the next copy is due; `None` when nothing is left to do.
    pub(crate) fn next_copy(&self) -> Option<UnixTime> {
        let copies = self.copies.as_deref().unwrap_or_default();
        copies.iter().filter(|copy| !copy.state.is_final()).map(|copy| UnixTime(copy.due.into())).min()
    }
}

/// How work on a message ended, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pause {
    /// groupsrv knows it now.
    Registered,
    /// It goes on with the next due copy; nothing stands in the way.
    NextCopy,
    /// groupsrv has forgotten it: register it again.
    Unregistered,
    /// What it needs is away, or the lease has ended. Not a try.
    Waiting(&'static str),
    /// Refused by groupsrv, or it cannot be worked on: held until then.
    Held(String, UnixTime),
    /// Something must be written into the spool first, and could not be: tried again then. Not a refusal.
    Unwritten(&'static str, UnixTime),
}

/// All messages that are not done.
#[derive(Default)]
pub(crate) struct Queue {
    posts: BTreeMap<PostId, Post>,
    /// The messages that nobody works on: those to register, and those to send.
    unregistered: BTreeSet<(UnixTime, PostId)>,
    idle: BTreeSet<(UnixTime, PostId)>,
    /// The messages with parked copies, and the place in the feed when they were parked.
    parked: BTreeMap<PostId, u64>,
}

impl Queue {
    /// The queue that a restart found.
    pub(crate) fn rebuilt(recovered: Vec<Recovered<Summary>>) -> Self {
        let mut queue = Self::default();
        for post in recovered {
            if post.copies.iter().flatten().any(|copy| copy.state == State::Parked) {
                queue.parked.insert(post.id, 0);
            }
            queue.insert(post.id, Post::new(post.summary, post.copies));
        }
        queue
    }

    /// Adds a message that was just accepted.
    pub(crate) fn add(&mut self, id: PostId, summary: Summary) {
        self.insert(id, Post::new(summary, None));
    }

    fn insert(&mut self, id: PostId, post: Post) {
        self.file(id, &post);
        self.posts.insert(id, post);
    }

    fn file(&mut self, id: PostId, post: &Post) {
        let place = if post.registered { &mut self.idle } else { &mut self.unregistered };
        place.insert((post.due, id));
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.posts.len()
    }

    /// When the oldest message was accepted.
    pub(crate) fn oldest(&self) -> Option<UnixTime> {
        // Numbers rise with time.
        self.posts.first_key_value().map(|(_, post)| post.summary.accepted)
    }

    /// A message.
    pub(crate) fn get(&self, id: PostId) -> Option<&Post> {
        self.posts.get(&id)
    }

    /// A message.
    pub(crate) fn get_mut(&mut self, id: PostId) -> Option<&mut Post> {
        self.posts.get_mut(&id)
    }

    /// Takes up the next message to register.
    pub(crate) fn take_unregistered(&mut self, now: UnixTime) -> Option<PostId> {
        Self::take(&mut self.unregistered, &mut self.posts, now)
    }

    /// Takes up the next message to send.
    pub(crate) fn take_due(&mut self, now: UnixTime) -> Option<PostId> {
        Self::take(&mut self.idle, &mut self.posts, now)
    }

    fn take(
        place: &mut BTreeSet<(UnixTime, PostId)>,
        posts: &mut BTreeMap<PostId, Post>,
        now: UnixTime,
    ) -> Option<PostId> {
        let first = *place.first().filter(|(due, _)| *due <= now)?;
        place.remove(&first);
        posts.get_mut(&first.1)?.busy = true;
        Some(first.1)
    }

    /// Whether another message could be sent now.
    pub(crate) fn others_due(&self, now: UnixTime) -> bool {
        self.idle.first().is_some_and(|(due, _)| *due <= now)
    }

    /// The earliest time at which something is to be done.
    pub(crate) fn next_due(&self) -> Option<UnixTime> {
        [self.idle.first(), self.unregistered.first()].into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Work on a message ended for now.
    pub(crate) fn put_back(&mut self, id: PostId, pause: Pause, now: UnixTime) {
        let Some(mut post) = self.posts.remove(&id) else { return };
        post.busy = false;
        post.waiting = None;
        post.due = now;
        match pause {
            Pause::Registered => post.registered = true,
            Pause::NextCopy => {
                post.refusals = 0;
                post.due = post.next_copy().unwrap_or(now).max(now);
            }
            Pause::Unregistered => {
                post.refusals = post.refusals.saturating_add(1);
                post.registered = false;
            }
            Pause::Waiting(reason) => post.waiting = Some(reason.to_owned()),
            Pause::Held(reason, until) => {
                post.refusals = post.refusals.saturating_add(1);
                post.waiting = Some(reason);
                post.due = until;
            }
            Pause::Unwritten(reason, until) => {
                post.waiting = Some(reason.to_owned());
                post.due = until;
            }
        }
        self.insert(id, post);
    }

    /// How often a message was held, or groupsrv had forgotten it, since a turn of it went well.
    pub(crate) fn refusals(&self, id: PostId) -> u8 {
        self.posts.get(&id).map_or(0, |post| post.refusals)
    }

    /// A message is done.
    pub(crate) fn remove(&mut self, id: PostId) {
        if let Some(post) = self.posts.remove(&id) {
            self.idle.remove(&(post.due, id));
            self.unregistered.remove(&(post.due, id));
        }
        self.parked.remove(&id);
    }

    /// Sets the members to whom a message goes.
    pub(crate) fn set_members(&mut self, id: PostId, members: Vec<MemberNumber>) {
        if let Some(post) = self.posts.get_mut(&id) {
            post.copies = Some(fresh_copies(members));
        }
    }

    /// Copies were parked at this place in the feed.
    pub(crate) fn note_parked(&mut self, id: PostId, sequence: u64) {
        self.parked.insert(id, sequence);
    }

    /// The feed came so far: parked copies are due again, since their members may have a live key now. Messages that
    /// somebody works on have their turn when this is told again.
    pub(crate) fn feed_moved(&mut self, sequence: u64, now: UnixTime) {
        self.parked.retain(|id, at| {
            let Some(post) = self.posts.get_mut(id).filter(|post| !post.busy && *at < sequence) else { return true };
            for copy in post.copies.iter_mut().flatten().filter(|copy| copy.state == State::Parked) {
                copy.due = seconds(now);
            }
            if self.idle.remove(&(post.due, *id)) {
                post.due = now;
                self.idle.insert((now, *id));
            }
            false
        });
    }

    /// The state of a message that nobody works on, for moving it; it counts as being worked on until it is put back.
    pub(crate) fn take_idle(&mut self, id: PostId) -> Option<Option<Vec<Recipient>>> {
        let post = self.posts.get_mut(&id).filter(|post| !post.busy)?;
        post.busy = true;
        let copies = post.copies.clone();
        let key = (post.due, id);
        self.idle.remove(&key);
        self.unregistered.remove(&key);
        Some(copies)
    }

    /// Ends [`Self::take_idle`]: the message is where it was.
    pub(crate) fn release(&mut self, id: PostId) {
        if let Some(mut post) = self.posts.remove(&id) {
            post.busy = false;
            self.insert(id, post);
        }
    }

    /// Everything, for administrators. `members` counts who is in a group now: to them goes what was not expanded yet.
    pub(crate) fn list(&self, members: impl Fn(&GroupId) -> usize) -> Vec<QueuedPost> {
        let row = |(id, post): (&PostId, &Post)| {
            let (sent, failed) = post.totals();
            QueuedPost {
                id: *id,
                list: post.summary.list.clone(),
                accepted: post.summary.accepted,
                size: post.summary.size,
                sent,
                pending: match post.copies {
                    Some(_) => post.count(|s| !s.is_final()),
                    None => u32::try_from(members(&post.summary.group)).unwrap_or(u32::MAX),
                },
                failed,
                waiting: post.waiting.clone().or_else(|| match post.count(|s| s == State::Parked) {
                    0 => None,
                    parked => Some(format!("{parked} members have no live key")),
                }),
                next_attempt: post.due,
            }
        };
        self.posts.iter().map(row).collect()
    }
}

/// A time as copies keep it.
pub(crate) fn seconds(time: UnixTime) -> u32 {
    u32::try_from(time.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn summary(age: u64) -> Summary {
        Summary {
            list: "team@lists.test".parse().unwrap(),
            group: GroupId::from_random([1; 16]),
            accepted: UnixTime(NOW.0 - age),
            size: 10,
        }
    }

    fn copy(number: u32, state: State, due: u64) -> Recipient {
        Recipient { number: MemberNumber(number), due: seconds(UnixTime(due)), attempts: 0, state }
    }

    #[test]
    fn a_message_is_registered_sent_and_removed() {
        let mut queue = Queue::default();
        queue.add(PostId(1), summary(5));
        assert_eq!((queue.take_due(NOW), queue.next_due()), (None, Some(UnixTime(NOW.0 - 5))));
        assert_eq!(queue.take_unregistered(NOW), Some(PostId(1)));
        assert_eq!((queue.take_unregistered(NOW), queue.take_idle(PostId(1))), (None, None));
        queue.put_back(PostId(1), Pause::Registered, NOW);
        assert_eq!(queue.take_due(NOW), Some(PostId(1)));
        queue.set_members(PostId(1), [3, 1].map(MemberNumber).to_vec());
        queue.get_mut(PostId(1)).unwrap().copy_mut(MemberNumber(1)).unwrap().state = State::Sent;
        *queue.get_mut(PostId(1)).unwrap().copy_mut(MemberNumber(3)).unwrap() = copy(3, State::Due, NOW.0 + 9);
        queue.put_back(PostId(1), Pause::NextCopy, NOW);
        assert_eq!((queue.take_due(NOW), queue.next_due()), (None, Some(NOW.plus(9))));
        let listed = &queue.list(|_| 0)[0];
        assert_eq!((listed.sent, listed.pending, listed.failed, listed.next_attempt), (1, 1, 0, NOW.plus(9)));
        queue.remove(PostId(1));
        assert_eq!((queue.len(), queue.next_due()), (0, None));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let copies = vec![copy(1, State::Sent, 0), copy(2, State::Due, NOW.0 + 50), copy(3, State::Failed, 0)];
        let recovered = vec![
            Recovered { id: PostId(4), summary: summary(100), copies: Some(copies) },
            Recovered { id: PostId(5), summary: summary(10), copies: None },
        ];
        let mut queue = Queue::rebuilt(recovered);
        assert_eq!((queue.len(), queue.oldest()), (2, Some(UnixTime(NOW.0 - 100))));
        for id in [4, 5] {
            assert_eq!(queue.take_unregistered(NOW), Some(PostId(id)), "oldest first; registered anew");
            queue.put_back(PostId(id), Pause::Registered, NOW);
        }
        assert_eq!(queue.take_due(NOW), Some(PostId(4)));
        queue.put_back(PostId(4), Pause::NextCopy, NOW);
        assert_eq!(queue.take_due(NOW), Some(PostId(5)));
        assert_eq!(queue.get(PostId(4)).unwrap().totals(), (1, 1));
    }

    #[test]
    fn waiting_is_told_and_held_messages_come_back() {
        let mut queue = Queue::default();
        queue.add(PostId(1), summary(0));
        queue.take_unregistered(NOW);
        queue.put_back(PostId(1), Pause::Waiting("groupsrv is away"), NOW);
        assert_eq!(queue.list(|_| 0)[0].waiting.as_deref(), Some("groupsrv is away"));
        assert_eq!(queue.take_unregistered(NOW), Some(PostId(1)), "still due");
        queue.put_back(PostId(1), Pause::Held("refused".into(), NOW.plus(60)), NOW);
        assert_eq!((queue.take_unregistered(NOW), queue.refusals(PostId(1))), (None, 1));
        assert_eq!(queue.take_unregistered(NOW.plus(60)), Some(PostId(1)));
        queue.put_back(PostId(1), Pause::Unwritten("full", NOW.plus(70)), NOW.plus(60));
        assert_eq!((queue.take_unregistered(NOW.plus(69)), queue.refusals(PostId(1))), (None, 1));
        assert_eq!(queue.list(|_| 0)[0].waiting.as_deref(), Some("full"));
    }

    #[test]
    fn parked_copies_are_due_when_the_feed_moves() {
        let copies = vec![copy(1, State::Parked, NOW.0 + 500), copy(2, State::Due, NOW.0 + 900)];
        let recovered = Recovered { id: PostId(4), summary: summary(100), copies: Some(copies) };
        let mut queue = Queue::rebuilt(vec![recovered]);
        queue.take_unregistered(NOW);
        queue.put_back(PostId(4), Pause::Registered, NOW);
        queue.take_due(NOW);
        queue.note_parked(PostId(4), 7);
        queue.put_back(PostId(4), Pause::NextCopy, NOW);
        assert_eq!(queue.list(|_| 0)[0].waiting.as_deref(), Some("1 members have no live key"));
        queue.feed_moved(7, NOW);
        assert_eq!(queue.next_due(), Some(NOW.plus(500)));
        queue.feed_moved(8, NOW.plus(1));
        assert_eq!(queue.take_due(NOW.plus(1)), Some(PostId(4)));
        queue.put_back(PostId(4), Pause::NextCopy, NOW.plus(1));
        assert_eq!(queue.next_due(), Some(NOW.plus(1)));
    }
}
