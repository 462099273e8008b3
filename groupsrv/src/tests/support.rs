//! What the tests stand on: an authority that certifies and feeds as certsrv does, members with keys, a sender.

use crate::config::Config;
use crate::run::build;
use crate::service::Service;
use crate::{expand, register};
use axum::Router;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Name, X509NameBuilder, X509Req};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use twinseal_proto::api::expand::{ExpandRequest, Expanded, Wrapped};
use twinseal_proto::api::feed::{Feed, FeedPage, FeedRequest};
use twinseal_proto::api::group_certificate::{GroupCertificate, GroupCertificateRequest, GroupCertificateResponse};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::api::tickets::{RegisterRequest, Registered};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::cert::{issuer_der, serial_octets};
use twinseal_proto::cms::algorithm::ContentAlgorithm;
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::cms::unwrap::{SoftwareKey, unwrap};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    DeliveryMode, ENTRY_CONTEXT, EntryHeader, GroupsrvChange, HEARTBEAT_CONTEXT, Heartbeat, History, LEASE_SECONDS,
    RecipientKey, SignedEntry, SignedHeartbeat, body_digest,
};
use twinseal_proto::ids::{FeedId, GroupId, Handle};
use twinseal_proto::secret::Cek;
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;
use twinseal_svc::follow::follow;
use twinseal_svc::http::{Caller, route, serve_tls};
use twinseal_svc::join::FeedTrust;
use twinseal_svc::pins::{Peer, Pins};
use twinseal_svc::tls::{Clients, Identity, acceptor};
use zeroize::Zeroizing;

pub(crate) const AES: ContentAlgorithm = ContentAlgorithm::Aes256Cbc;

pub(crate) fn ec(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

pub(crate) fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// The authority: root CA, feed, and the calls of certsrv that this service makes.
pub(crate) struct Authority {
    key: PKey<Private>,
    pub(crate) root: X509,
    serial: AtomicU64,
    feed_key: PKey<Private>,
    entries: Mutex<Vec<SignedEntry>>,
    /// The lease that heartbeats give.
    pub(crate) lease: AtomicU64,
}

const FEED: [u8; 16] = [0xfe; 16];

fn name(text: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, text).unwrap();
    name.build()
}

fn certificate<T: HasPublic>(
    subject: &str,
    serial: u64,
    key: &PKeyRef<T>,
    issuer: Option<&X509>,
    signer: &PKeyRef<Private>,
) -> X509 {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_dec_str(&serial.to_string()).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(issuer.map_or(&*name(subject), |issuer| issuer.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(1_700_000_000).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().build().unwrap()).unwrap();
    }
    let context = builder.x509v3_context(issuer.map(|issuer| &**issuer), None);
    let ski = SubjectKeyIdentifier::new().build(&context).unwrap();
    builder.append_extension(ski).unwrap();
    if issuer.is_some() {
        let context = builder.x509v3_context(issuer.map(|issuer| &**issuer), None);
        let aki = AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap();
        builder.append_extension(aki).unwrap();
    }
    builder.sign(signer, MessageDigest::sha256()).unwrap();
    builder.build()
}

impl Authority {
    pub(crate) fn new() -> Arc<Self> {
        let key = ec(Nid::X9_62_PRIME256V1);
        let root = certificate("root", 1, &key, None, &key);
        let feed_key = PKey::generate_ed25519().unwrap();
        let (entries, lease) = (Mutex::new(Vec::new()), AtomicU64::new(LEASE_SECONDS));
        Arc::new(Self { key, root, serial: AtomicU64::new(2), feed_key, entries, lease })
    }

    pub(crate) fn issue<T: HasPublic>(&self, subject: &str, key: &PKeyRef<T>) -> X509 {
        certificate(subject, self.serial.fetch_add(1, Ordering::Relaxed), key, Some(&self.root), &self.key)
    }

    pub(crate) fn identity(&self, subject: &str) -> Identity {
        let key = ec(Nid::X9_62_PRIME256V1);
        let certificate = self.issue(subject, &key);
        Identity::new(key, vec![certificate], self.root.clone())
    }

    pub(crate) fn trust(&self) -> FeedTrust {
        let key = B64(self.feed_key.public_key_to_der().unwrap());
        FeedTrust { feed: FeedId::from_random(FEED), generation: 1, key, resync: false }
    }

    fn sign(&self, context: &[u8], text: &str) -> B64 {
        let mut signer = Signer::new_without_digest(&self.feed_key).unwrap();
        B64(signer.sign_oneshot_to_vec(&[context, text.as_bytes()].concat()).unwrap())
    }

    /// Appends an entry; its sequence.
    pub(crate) fn say(&self, change: &GroupsrvChange) -> u64 {
        let mut entries = self.entries.lock().unwrap();
        let (salt, body) = (vec![5; 16], serde_json::to_string(change).unwrap());
        let previous = entries.last().map_or(Digest([0; 32]), |last| Digest::of(last.header.as_bytes()));
        let header = EntryHeader {
            feed: FeedId::from_random(FEED),
            generation: 1,
            sequence: entries.len() as u64 + 1,
            previous,
            issued: UnixTime::now(),
            certsrv: Digest([0; 32]),
            groupsrv: body_digest(&salt, &body),
            exploder: Digest([0; 32]),
            next_key: None,
        };
        let header = serde_json::to_string(&header).unwrap();
        let signature = self.sign(ENTRY_CONTEXT, &header);
        entries.push(SignedEntry { header, signature, salt: B64(salt), body, next_signature: None });
        entries.len() as u64
    }

    fn page(&self, request: &FeedRequest) -> FeedPage {
        let entries = self.entries.lock().unwrap();
        let new: Vec<_> = entries.iter().skip(request.after as usize).take(3).cloned().collect();
        let beat = Heartbeat {
            feed: FeedId::from_random(FEED),
            generation: 1,
            sequence: entries.len() as u64,
            head: entries.last().map_or(Digest([0; 32]), |last| Digest::of(last.header.as_bytes())),
            issued: UnixTime::now(),
            lease: self.lease.load(Ordering::Relaxed),
        };
        let text = serde_json::to_string(&beat).unwrap();
        let signature = self.sign(HEARTBEAT_CONTEXT, &text);
        FeedPage { entries: new, heartbeat: Some(SignedHeartbeat { text, signature }) }
    }

    /// Serves the calls; the client for them.
    pub(crate) async fn serve(self: &Arc<Self>, caller: &Identity, stop: &CancellationToken) -> Client {
        let identity = self.identity("certsrv");
        let known = caller.pin().unwrap();
        let acceptor = acceptor(&identity, Clients::Pinned(Arc::new(move |pin| *pin == known))).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = route::<Feed, _, _, _>(Router::new(), |this: Arc<Self>, _, request: FeedRequest| async move {
            let page = this.page(&request);
            if page.entries.is_empty() {
                // A short wait in place of a long one keeps the tests quick.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(page)
        });
        let router = route::<GroupCertificate, _, _, _>(
            router,
            |this: Arc<Self>, _, request: GroupCertificateRequest| async move {
                let csr = X509Req::from_der(request.csr.as_ref()).unwrap();
                let key = csr.public_key().unwrap();
                if !csr.verify(&key).unwrap() {
                    return Err(Problem::new(ProblemCode::BadRequest, "csr: bad signature"));
                }
                let certificate = B64(this.issue("list", &key).to_der().unwrap());
                Ok(GroupCertificateResponse { certificate, chain: vec![B64(this.root.to_der().unwrap())] })
            },
        );
        tokio::spawn(serve_tls(listener, acceptor, router.with_state(Arc::clone(self)), stop.clone()));
        let pin = identity.pin().unwrap();
        Client::pinned(&format!("https://{address}"), &self.root, pin, Some(caller)).unwrap()
    }
}

/// A member with a private key.
pub(crate) struct Member {
    pub(crate) handle: Handle,
    key: PKey<Private>,
    pub(crate) certificate: X509,
}

impl Member {
    pub(crate) fn new(authority: &Authority, number: u8, key: PKey<Private>) -> Self {
        let certificate = authority.issue("member", &key);
        Self { handle: Handle::from_random([number; 16]), key, certificate }
    }

    pub(crate) fn recipient(&self) -> RecipientKey {
        RecipientKey {
            issuer: B64(issuer_der(&self.certificate).unwrap()),
            serial: B64(serial_octets(&self.certificate).unwrap()),
            subject_key_id: None,
            public_key: B64(self.key.public_key_to_der().unwrap()),
        }
    }

    /// Opens a wrap as the member's mail program would.
    pub(crate) fn open(&self, wrapped: &Wrapped) -> Vec<u8> {
        let Wrapped::RecipientInfo(der) = wrapped else { panic!("{wrapped:?}") };
        let info = RecipientInfo::decode(der.as_ref()).unwrap();
        let rid = info.recipient_ids().next().unwrap().clone();
        let key = SoftwareKey::new(&self.key).unwrap();
        let rejection = key.rejection_secret().unwrap();
        unwrap(&info, &rid, &key, &AES, &rejection).unwrap().cek.expose().to_vec()
    }
}

pub(crate) fn cek(octet: u8) -> Cek {
    Cek::new(Zeroizing::new(vec![octet; 32])).unwrap()
}

/// Waits until `done`, at most 30 s.
pub(crate) async fn wait(done: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(std::time::Instant::now() < until, "waited for too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A running service with its authority.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) service: Arc<Service>,
    pub(crate) exploder: Caller,
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    certsrv: Client,
    dir: Arc<tempfile::TempDir>,
    stop: CancellationToken,
}

impl World {
    pub(crate) async fn new() -> Self {
        if std::env::var_os("TWINSEAL_LOG").is_some() {
            twinseal_svc::telemetry::init();
        }
        let authority = Authority::new();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = Config { state: dir.path().into(), evaluation: true, ..Config::default() };
        crate::keys::credential::Credential::make_if_missing(&config).unwrap();
        let identity = authority.identity("groupsrv");
        let stop = CancellationToken::new();
        let certsrv = authority.serve(&identity, &stop).await;
        let key = ec(Nid::X9_62_PRIME256V1);
        let certificate = authority.issue("exploder", &key);
        let pin = Digest::of(&key.public_key_to_der().unwrap());
        let mut pins = Pins::default();
        pins.set(Peer::Exploder, pin);
        pins.save(dir.path()).unwrap();
        let exploder = Caller::Certificate { pin, certificate: Arc::new(certificate) };
        let stop = CancellationToken::new();
        let service = build(&config, &identity, &authority.trust(), certsrv.clone(), stop.clone()).await.unwrap();
        let world = Self { authority, service, exploder, identity, config, certsrv, dir, stop };
        world.follow();
        world
    }

    fn follow(&self) {
        let (roster, lease) = (Arc::clone(&self.service.roster), self.service.lease.clone());
        let feed = Arc::clone(&self.service.feed);
        let news = crate::run::news(Arc::clone(&self.service));
        tokio::spawn(follow(roster, self.certsrv.clone(), feed, lease, news, self.stop.clone()));
    }

    /// Stops the service and starts it again on the same state, after `between`.
    pub(crate) async fn restart(self, between: impl FnOnce(&std::path::Path)) -> Result<Self, String> {
        let Self { authority, service, exploder, identity, config, certsrv, dir, stop } = self;
        stop.cancel();
        // The index is locked until its last holder has gone.
        let weak = Arc::downgrade(&service);
        drop(service);
        wait(|| weak.strong_count() == 0).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        between(dir.path());
        let stop = CancellationToken::new();
        let built = build(&config, &identity, &authority.trust(), certsrv.clone(), stop.clone()).await;
        let service = built.map_err(|error| format!("{error:#}"))?;
        let world = Self { authority, service, exploder, identity, config, certsrv, dir, stop };
        world.follow();
        Ok(world)
    }

    /// Says something in the feed, and waits until the service has heard it.
    pub(crate) async fn say(&self, change: &GroupsrvChange) -> u64 {
        let sequence = self.authority.say(change);
        self.caught_up(sequence).await;
        sequence
    }

    pub(crate) async fn caught_up(&self, sequence: u64) {
        wait(|| self.service.roster.sequence() >= sequence && self.service.is_ready()).await;
    }

    pub(crate) async fn group(&self, number: u8, history: History) -> GroupId {
        let group = GroupId::from_random([number; 16]);
        self.say(&GroupsrvChange::GroupCreated { group, mode: DeliveryMode::Expand, history, signed: false }).await;
        group
    }

    pub(crate) async fn join(&self, group: GroupId, member: &Member) -> u64 {
        let (handle, recipient) = (member.handle, member.recipient());
        self.say(&GroupsrvChange::MemberJoined { group, handle, recipient, signed: None }).await
    }

    /// Makes a group key; its certificate.
    pub(crate) async fn key(&self, group: GroupId, algorithm: KeyAlgorithm) -> X509 {
        let created = self.service.create_key(group, algorithm).await.unwrap();
        X509::from_pem(created.certificate.as_bytes()).unwrap()
    }

    pub(crate) async fn register(&self, group: GroupId, info: &[u8]) -> Result<Registered, Problem> {
        let request = RegisterRequest { group, recipient_info: B64(info.to_vec()), content_algorithm: AES };
        register::register(Arc::clone(&self.service), self.exploder.clone(), request).await
    }

    pub(crate) async fn expand(&self, group: GroupId, info: &[u8], handles: &[Handle]) -> Result<Expanded, Problem> {
        let (recipient_info, handles) = (B64(info.to_vec()), handles.to_vec());
        let request = ExpandRequest { group, recipient_info, content_algorithm: AES, handles };
        expand::expand(Arc::clone(&self.service), self.exploder.clone(), request).await
    }
}
