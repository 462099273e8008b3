//! What is trusted of the feed: which one, up to which generation, by which key (`feed.json`); and the alarm that is shown
//! when certsrv sends something else.

use crate::join::FeedTrust;
use openssl::pkey::{Id, PKey};
use prometheus::IntGauge;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use twinseal_proto::api::admin::feed::{AcceptGenerationRequest, FollowedFeed};
use twinseal_proto::feed::{Cursor, FeedError};
use twinseal_proto::time::UnixTime;

/// What an administrator said cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// An earlier generation.
    #[error("generation {asked} is before {present}, which is followed: consumers never go back")]
    Earlier {
        /// The one that was named.
        asked: u64,
        /// The one that is accepted.
        present: u64,
    },
    /// No Ed25519 key.
    #[error("the key is no feed key: the base64 text that certsrv's restore shows is wanted")]
    Key,
    /// `feed.json`.
    #[error("feed.json: {0}")]
    File(#[from] io::Error),
}

impl FeedTrust {
    /// Accepts a generation, and the key that signs it, if one is named.
    ///
    /// # Errors
    /// [`TrustError`]; nothing changed.
    pub fn accept(&mut self, request: &AcceptGenerationRequest) -> Result<(), TrustError> {
        let (asked, present) = (request.generation, self.generation);
        if asked < present {
            return Err(TrustError::Earlier { asked, present });
        }
        if let Some(key) = &request.key {
            let read = PKey::public_key_from_der(key.as_ref()).map_err(|_| TrustError::Key)?;
            if read.id() != Id::ED25519 {
                return Err(TrustError::Key);
            }
            self.key = key.clone();
        }
        self.generation = asked;
        Ok(())
    }

    /// As it is shown.
    #[must_use]
    pub fn shown(&self, alarm: Option<String>) -> FollowedFeed {
        FollowedFeed { feed: self.feed, generation: self.generation, resync: self.resync, alarm }
    }
}

struct Alarm {
    since: UnixTime,
    text: String,
    /// It was raised by the last try.
    stands: bool,
}

/// The feed as a running consumer follows it: shared by the one who follows and by the administrators' calls.
pub struct Followed {
    state: PathBuf,
    trust: Mutex<FeedTrust>,
    alarm: Mutex<Option<Alarm>>,
    gauge: IntGauge,
    changed: Notify,
}

impl Followed {
    /// `trust` was read from `feed.json` in `state`; `metric` is the name of the gauge for alarms.
    ///
    /// # Errors
    /// prometheus's, for a name that is none.
    pub fn new(state: &Path, trust: FeedTrust, metric: &str) -> Result<Arc<Self>, prometheus::Error> {
        let help =
            "1 while an alarm about the feed is shown: certsrv sent what does not follow from what it sent before";
        Ok(Arc::new(Self {
            state: state.to_owned(),
            trust: Mutex::new(trust),
            alarm: Mutex::default(),
            gauge: IntGauge::new(metric, help)?,
            changed: Notify::new(),
        }))
    }

    /// The gauge for alarms, to be registered.
    #[must_use]
    pub fn gauge(&self) -> IntGauge {
        self.gauge.clone()
    }

    fn lock(&self) -> MutexGuard<'_, FeedTrust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alarm(&self) -> MutexGuard<'_, Option<Alarm>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is trusted now.
    #[must_use]
    pub fn trust(&self) -> FeedTrust {
        self.lock().clone()
    }

    /// As it is shown.
    #[must_use]
    pub fn shown(&self) -> FollowedFeed {
        self.trust().shown(self.warning())
    }

    /// Accepts a generation: durable when this returns, and followed from now on.
    ///
    /// # Errors
    /// [`TrustError`]; nothing changed.
    pub fn accept(&self, request: &AcceptGenerationRequest) -> Result<FollowedFeed, TrustError> {
        self.change(|trust| trust.accept(request))
    }

    /// Wants a snapshot in place of the roster.
    ///
    /// # Errors
    /// [`TrustError::File`]; nothing changed.
    pub fn resync(&self) -> Result<FollowedFeed, TrustError> {
        self.change(|trust| {
            trust.resync = true;
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut FeedTrust) -> Result<(), TrustError>,
    ) -> Result<FollowedFeed, TrustError> {
        {
            let mut trust = self.lock();
            let mut changed = trust.clone();
            change(&mut changed)?;
            changed.save(&self.state)?;
            *trust = changed;
        }
        self.changed.notify_one();
        Ok(self.shown())
    }

    /// Shows the alarm no longer; one that still stands comes again.
    pub fn acknowledge(&self) -> FollowedFeed {
        *self.alarm() = None;
        self.gauge.set(0);
        self.changed.notify_one();
        self.shown()
    }

    /// What an operator should read: the alarm, and what to do.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.alarm().as_ref().map(|alarm| {
            let Alarm { since, text, .. } = alarm;
            if alarm.stands {
                format!("FEED ALARM since {since}: {text}; nothing is sent or opened once the lease has run out")
            } else {
                format!("feed alarm of {since}, over now: {text}; when it is understood: feed acknowledge")
            }
        })
    }

    /// An administrator changed something.
    pub(super) async fn told(&self) {
        self.changed.notified().await;
    }

    pub(super) fn raise(&self, error: &FeedError) {
        let text = format!("{error} ({})", error.advice());
        let mut alarm = self.alarm();
        let since = alarm.as_ref().filter(|alarm| alarm.stands && alarm.text == text).map(|alarm| alarm.since);
        *alarm = Some(Alarm { since: since.unwrap_or_else(UnixTime::now), text, stands: true });
        self.gauge.set(1);
    }

    pub(super) fn calm(&self) {
        if let Some(alarm) = self.alarm().as_mut() {
            alarm.stands = false;
        }
    }

    /// The roster is at `place`, durably: `feed.json` gets the key that was moved to, so that a roster which is lost is
    /// fetched again by that key. `anew`: by a snapshot.
    pub(super) fn reached(&self, place: &Cursor, anew: bool) {
        let mut trust = self.lock();
        let mut changed = trust.clone();
        // The key of an earlier generation than the accepted one says nothing about the accepted one's.
        if let Some(key) = place.key.as_ref().filter(|_| place.generation >= trust.generation) {
            changed.key.clone_from(key);
        }
        changed.resync &= !anew;
        if changed != *trust {
            match changed.save(&self.state) {
                Ok(()) => *trust = changed,
                // The roster's place names the key too; only an index that is lost before the next start would miss it.
                Err(error) => tracing::error!(%error, "feed.json not written"),
            }
        }
    }
}
