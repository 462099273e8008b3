//! certsrv's feed, really signed, and a groupsrv that does as it is told, behind one Unix socket.

use crate::deliver::tests::server::identity;
use axum::Router;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twinseal_proto::api::expand::{Denied, Expand, ExpandRequest, Expanded, Wrapped};
use twinseal_proto::api::feed::{Feed, FeedPage, FeedRequest};
use twinseal_proto::api::keys::{Certs, CertsPage, CertsRequest, EpochKey, EpochState, GroupKeys, KeyAlgorithm};
use twinseal_proto::api::tickets::{Register, RegisterRequest, Registered};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    ENTRY_CONTEXT, EntryHeader, ExploderChange, HEARTBEAT_CONTEXT, Heartbeat, SignedEntry, SignedHeartbeat, body_digest,
};
use twinseal_proto::ids::{Epoch, FeedId, GroupId, Handle};
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::{Caller, route};
use twinseal_svc::join::FeedTrust;

pub(super) fn group() -> GroupId {
    GroupId::from_random([2; 16])
}

pub(super) fn handle(number: u32) -> Handle {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&number.to_be_bytes());
    Handle::from_random(octets)
}

/// A KeyTransRecipientInfo that only this member has; its length depends on the member.
pub(super) fn recipient_info(number: u32) -> Vec<u8> {
    let key = [vec![0x5a; 20 + number as usize % 3], number.to_be_bytes().to_vec()].concat();
    let inner = [
        &[0x02, 0x01, 0x00, 0x30, 0x05, 0x30, 0x00, 0x02, 0x01, 0x07][..],
        &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00],
        &[0x04, key.len() as u8],
        &key,
    ]
    .concat();
    [&[0x30, inner.len() as u8][..], &inner].concat()
}

pub(super) struct FeedSource {
    key: PKey<Private>,
    log: Mutex<(Vec<SignedEntry>, Digest)>,
}

impl FeedSource {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { key: PKey::generate_ed25519().unwrap(), log: Mutex::new((Vec::new(), Digest([0; 32]))) })
    }

    pub(super) fn trust(&self) -> FeedTrust {
        let key = B64(self.key.public_key_to_der().unwrap());
        FeedTrust { feed: FeedId::from_random([1; 16]), generation: 1, key, resync: false }
    }

    fn sign(&self, context: &[u8], text: &str) -> B64 {
        let mut signer = Signer::new_without_digest(&self.key).unwrap();
        B64(signer.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).unwrap())
    }

    /// Says something to the exploder.
    pub(super) fn add(&self, change: &ExploderChange) {
        self.append(serde_json::to_string(change).unwrap());
    }

    /// Says something that is not for the exploder.
    pub(super) fn tick(&self) {
        self.append("null".to_owned());
    }

    fn append(&self, body: String) {
        let mut log = self.log.lock().unwrap();
        let salt = vec![7; 16];
        let none = Digest([0; 32]);
        let header = EntryHeader {
            feed: self.trust().feed,
            generation: 1,
            sequence: log.0.len() as u64 + 1,
            previous: log.1,
            issued: UnixTime::now(),
            certsrv: none,
            groupsrv: none,
            exploder: body_digest(&salt, &body),
            next_key: None,
        };
        let header = serde_json::to_string(&header).unwrap();
        log.1 = Digest::of(header.as_bytes());
        let signature = self.sign(ENTRY_CONTEXT, &header);
        log.0.push(SignedEntry { header, signature, salt: B64(salt), body, next_signature: None });
    }

    pub(super) fn length(&self) -> u64 {
        self.log.lock().unwrap().0.len() as u64
    }

    fn page(&self, after: u64) -> FeedPage {
        let log = self.log.lock().unwrap();
        let beat = Heartbeat {
            feed: self.trust().feed,
            generation: 1,
            sequence: log.0.len() as u64,
            head: log.1,
            issued: UnixTime::now(),
            lease: 300,
        };
        let text = serde_json::to_string(&beat).unwrap();
        let heartbeat = Some(SignedHeartbeat { signature: self.sign(HEARTBEAT_CONTEXT, &text), text });
        FeedPage {
            entries: log.0.iter().skip(usize::try_from(after).unwrap()).take(1000).cloned().collect(),
            heartbeat,
        }
    }
}

#[derive(Default)]
pub(super) struct Groupsrv {
    problem: Mutex<Option<ProblemCode>>,
    silent: AtomicBool,
    denied: Mutex<HashMap<Handle, Denied>>,
    spoilt: Mutex<HashSet<Handle>>,
    asked: AtomicUsize,
    registered: AtomicUsize,
    expanded: AtomicUsize,
    certificate: Mutex<Vec<u8>>,
}

impl Groupsrv {
    pub(super) fn new() -> (Arc<Self>, openssl::x509::X509) {
        let (_, certificate) = identity("team");
        let groupsrv = Self { certificate: Mutex::new(certificate.to_der().unwrap()), ..Self::default() };
        (Arc::new(groupsrv), certificate)
    }

    pub(super) fn problem(&self, code: Option<ProblemCode>) {
        *self.problem.lock().unwrap() = code;
    }

    /// Whether calls are taken and never answered.
    pub(super) fn silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    pub(super) fn deny(&self, number: u32, reason: Option<Denied>) {
        let mut denied = self.denied.lock().unwrap();
        match reason {
            Some(reason) => denied.insert(handle(number), reason),
            None => denied.remove(&handle(number)),
        };
    }

    /// Answers rubbish for this member.
    pub(super) fn spoil(&self, number: u32, spoilt: bool) {
        let mut all = self.spoilt.lock().unwrap();
        if spoilt {
            all.insert(handle(number))
        } else {
            all.remove(&handle(number))
        };
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn registrations(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    pub(super) fn expansions(&self) -> usize {
        self.expanded.load(Ordering::Relaxed)
    }

    async fn ask(&self, counter: &AtomicUsize) -> Result<(), Problem> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match *self.problem.lock().unwrap() {
            Some(code) => Err(Problem::new(code, "as the test wants")),
            None => {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn wrap(&self, handle: &Handle) -> Wrapped {
        match self.denied.lock().unwrap().get(handle) {
            Some(reason) => Wrapped::Denied(*reason),
            None if self.spoilt.lock().unwrap().contains(handle) => Wrapped::RecipientInfo(B64(vec![0x30, 1, 2])),
            None => {
                let number = u32::from_be_bytes(*handle.octets().first_chunk().unwrap());
                Wrapped::RecipientInfo(B64(recipient_info(number)))
            }
        }
    }
}

#[derive(Clone)]
struct Peers {
    feed: Arc<FeedSource>,
    groupsrv: Arc<Groupsrv>,
}

/// Serves both on a Unix socket.
pub(super) fn serve(path: &Path, feed: Arc<FeedSource>, groupsrv: Arc<Groupsrv>) {
    let router = route::<Feed, _, _, _>(Router::new(), async |peers: Peers, _: Caller, request: FeedRequest| {
        for _ in 0..request.wait * 50 {
            if peers.feed.length() > request.after {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(peers.feed.page(request.after))
    });
    let router = route::<Certs, _, _, _>(router, async |peers: Peers, _: Caller, request: CertsRequest| {
        if request.version == "1" {
            tokio::time::sleep(Duration::from_secs(request.wait)).await;
            return Ok(CertsPage { version: request.version, groups: None });
        }
        let key = EpochKey {
            epoch: Epoch(1),
            algorithm: KeyAlgorithm::P256,
            state: EpochState::Live,
            certificate: B64(peers.groupsrv.certificate.lock().unwrap().clone()),
        };
        Ok(CertsPage { version: "1".into(), groups: Some(vec![GroupKeys { group: group(), epochs: vec![key] }]) })
    });
    let router = route::<Register, _, _, _>(router, async |peers: Peers, _: Caller, _: RegisterRequest| {
        peers.groupsrv.ask(&peers.groupsrv.registered).await?;
        Ok(Registered { first_seen: 1, repeated: false })
    });
    let router = route::<Expand, _, _, _>(router, async |peers: Peers, _: Caller, request: ExpandRequest| {
        peers.groupsrv.ask(&peers.groupsrv.expanded).await?;
        assert!(request.handles.len() <= Expand::MAX_HANDLES);
        Ok(Expanded { wraps: request.handles.iter().map(|handle| peers.groupsrv.wrap(handle)).collect() })
    });
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let router = router.with_state(Peers { feed, groupsrv });
    tokio::spawn(twinseal_svc::admin::serve(listener, router, tokio_util::sync::CancellationToken::new()));
}
