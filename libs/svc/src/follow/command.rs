//! `feed …` on the command lines of groupsrv and the exploder: a call on the admin socket, or a change of `feed.json`
//! while the service is stopped.

use super::trust::TrustError;
use crate::admin::{self, AdminError};
use crate::join::FeedTrust;
use std::path::Path;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::feed::{
    AcceptGeneration, AcceptGenerationRequest, AcknowledgeAlarm, FollowedFeed, ResyncFeed,
};
use twinseal_proto::encoding::B64;

/// What an administrator says about the feed.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum FeedCommand {
    /// Follow certsrv into the generation that its restore began; the roster is replaced by its state
    AcceptGeneration {
        /// The generation, as `twinseal-certsrv restore` told it
        generation: u64,
        /// The feed key (base64), when the backup was made before the last change of the feed key
        #[arg(long, value_parser = base64)]
        key: Option<B64>,
    },
    /// Take certsrv's state in place of the roster: after this service was restored from a backup
    Resync,
    /// The alarm that status shows is understood
    Acknowledge,
}

fn base64(text: &str) -> Result<B64, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
}

impl FeedCommand {
    /// The generation that it accepts, if it accepts one.
    #[must_use]
    pub fn accepts(&self) -> Option<AcceptGenerationRequest> {
        match self {
            Self::AcceptGeneration { generation, key } => {
                Some(AcceptGenerationRequest { generation: *generation, key: key.clone() })
            }
            Self::Resync | Self::Acknowledge => None,
        }
    }

    /// Asks the running service.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn call(&self, socket: &Path) -> Result<FollowedFeed, AdminError> {
        match self {
            Self::Resync => admin::call::<ResyncFeed>(socket, &Nothing {}).await,
            Self::Acknowledge => admin::call::<AcknowledgeAlarm>(socket, &Nothing {}).await,
            Self::AcceptGeneration { generation, key } => {
                let request = AcceptGenerationRequest { generation: *generation, key: key.clone() };
                admin::call::<AcceptGeneration>(socket, &request).await
            }
        }
    }

    /// Does it on the files in `state`, whose lock the caller holds; the service acts on it at its next start.
    ///
    /// # Errors
    /// [`TrustError`]; nothing changed.
    pub fn offline(&self, state: &Path) -> Result<FollowedFeed, TrustError> {
        let mut trust = FeedTrust::load(state)?;
        match self {
            Self::AcceptGeneration { generation, key } => {
                trust.accept(&AcceptGenerationRequest { generation: *generation, key: key.clone() })?;
            }
            Self::Resync => trust.resync = true,
            // Alarms are forgotten when the service stops.
            Self::Acknowledge => {}
        }
        trust.save(state)?;
        Ok(trust.shown(None))
    }
}

/// The answer for people.
#[must_use]
pub fn shown(feed: &FollowedFeed) -> String {
    let mut text = format!("feed {}, generation {} accepted", feed.feed, feed.generation);
    if feed.resync {
        text.push_str("\na snapshot is taken next");
    }
    if let Some(alarm) = &feed.alarm {
        text.push_str(&format!("\nwarning: {alarm}"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use twinseal_proto::ids::FeedId;

    #[test]
    fn what_is_said_while_the_service_is_stopped_waits_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let key = openssl::pkey::PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
        let accept = |generation, key| FeedCommand::AcceptGeneration { generation, key };
        assert!(matches!(FeedCommand::Resync.offline(dir.path()), Err(TrustError::File(_))), "it has not joined");
        let joined =
            FeedTrust { feed: FeedId::from_random([1; 16]), generation: 2, key: B64(key.clone()), resync: false };
        joined.save(dir.path()).unwrap();
        let refused = accept(1, None).offline(dir.path());
        assert!(matches!(refused, Err(TrustError::Earlier { asked: 1, present: 2 })));
        let rsa = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
        let rsa = B64(rsa.public_key_to_der().unwrap());
        assert!(matches!(accept(3, Some(rsa)).offline(dir.path()), Err(TrustError::Key)));
        FeedCommand::Acknowledge.offline(dir.path()).unwrap();
        assert_eq!(FeedTrust::load(dir.path()).unwrap(), joined);

        let other = openssl::pkey::PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
        let text = serde_json::to_value(B64(other.clone())).unwrap();
        let said = accept(3, Some(base64(text.as_str().unwrap()).unwrap()));
        assert_eq!(said.accepts().unwrap().generation, 3);
        let told = said.offline(dir.path()).unwrap();
        assert!(shown(&told).contains("generation 3 accepted"));
        let told = FeedCommand::Resync.offline(dir.path()).unwrap();
        assert!(shown(&told).contains("snapshot"));
        let kept = FeedTrust::load(dir.path()).unwrap();
        assert_eq!(kept, FeedTrust { generation: 3, key: B64(other), resync: true, ..joined });
    }
}
