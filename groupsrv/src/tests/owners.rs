//! A certsrv that lies to groupsrv about a group whose owner was pinned.

use super::calls::sealed;
use super::support::{Member, World, ec};
use crate::owners;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::rosters::{AcknowledgeRequest, PinGroupRequest, Standing};
use twinseal_proto::api::expand::{Denied, Wrapped};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::encoding::Digest;
use twinseal_proto::feed::{Cursor, DeliveryMode, GroupsrvChange, History};
use twinseal_proto::ids::GroupId;
use twinseal_proto::roster::{
    Entry, EntryStatus, Head, OwnerRoster, OwnersChange, Removal, Role, SignedStatement, Statement,
};
use twinseal_proto::time::UnixTime;
use twinseal_svc::follow::Roster as _;
use twinseal_svc::http::Caller;

const NOBODY: Wrapped = Wrapped::Denied(Denied::NotAMember);

/// A group with its owner's key, and the owner's own view of the roster.
struct Signed {
    world: World,
    group: GroupId,
    owner: PKey<Private>,
    roster: OwnerRoster,
    info: Vec<u8>,
}

fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

fn name(key: &PKey<Private>) -> Digest {
    Digest::of(&key.public_key_to_der().unwrap())
}

fn entry(group: GroupId, member: &Member, sequence: u64) -> Statement {
    Statement::Entry(Entry {
        group,
        handle: member.handle,
        sequence,
        role: Role::Member,
        key: Digest::of(member.recipient().public_key.as_ref()),
        address: Digest([0; 32]),
        status: EntryStatus::Active,
        not_before: UnixTime(0),
        not_after: UnixTime::now().plus(1000),
    })
}

impl Signed {
    async fn new() -> Self {
        let world = World::new().await;
        let group = GroupId::from_random([1; 16]);
        let created =
            GroupsrvChange::GroupCreated { group, mode: DeliveryMode::Expand, history: History::All, signed: true };
        world.say(&created).await;
        let key = world.key(group, KeyAlgorithm::P256).await;
        let info = sealed(&key, 1);
        world.register(group, &info).await.unwrap();
        let owner = p256();
        let roster = OwnerRoster::pin(group, name(&owner));
        Self { world, group, owner, roster, info }
    }

    async fn pin(&self, owner: Digest, replace: bool) -> Result<Standing, ProblemCode> {
        let request = PinGroupRequest { group: self.group, owner, replace };
        owners::pin(Arc::clone(&self.world.service), Caller::Administrator, request).await.map_err(|p| p.code)
    }

    fn sign(&mut self, statement: &Statement) -> SignedStatement {
        let signed = statement.sign(&self.owner).unwrap();
        self.roster.accept(&signed).unwrap();
        signed
    }

    fn entry(&mut self, member: &Member) -> SignedStatement {
        let entry = entry(self.group, member, self.roster.state.high + 1);
        self.sign(&entry)
    }

    fn head(&mut self) -> SignedStatement {
        let (sequence, digest) = (self.roster.state.high + 1, self.roster.digest());
        self.sign(&Statement::Head(Head { group: self.group, sequence, digest, issued: UnixTime::now() }))
    }

    async fn tell(&self, statement: SignedStatement) {
        self.world.say(&GroupsrvChange::Statement { group: self.group, statement }).await;
    }

    async fn join(&self, member: &Member, signed: Option<SignedStatement>) {
        let (group, handle, recipient) = (self.group, member.handle, member.recipient());
        self.world.say(&GroupsrvChange::MemberJoined { group, handle, recipient, signed }).await;
    }

    fn standing(&self) -> Standing {
        self.world.service.roster.standings(UnixTime::now()).remove(0)
    }

    fn alarms(&self) -> u64 {
        self.standing().alarm.map_or(0, |alarm| alarm.number)
    }

    async fn expand(&self, members: &[&Member]) -> Vec<Wrapped> {
        let handles: Vec<_> = members.iter().map(|member| member.handle).collect();
        self.world.expand(self.group, &self.info, &handles).await.unwrap().wraps
    }

    fn member(&self, number: u8) -> Member {
        Member::new(&self.world.authority, number, p256())
    }
}

#[tokio::test]
async fn a_group_that_should_be_signed_is_not_served_before_its_owner_is_pinned() {
    let mut group = Signed::new().await;
    let (ann, ghost) = (group.member(1), group.member(2));
    let signed = group.entry(&ann);
    group.join(&ann, Some(signed)).await;
    // Nobody has told which owner to believe: certsrv's own would do as well.
    let forged = entry(group.group, &ghost, 2).sign(&p256()).unwrap();
    group.join(&ghost, Some(forged)).await;
    let refused = group.world.expand(group.group, &group.info, &[ann.handle]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(refused.detail.contains("no owner is pinned"), "{refused}");
    assert_eq!(group.standing().pinned, None);

    // Pinned, what was signed before counts, and nothing else; a head is wanted.
    let standing = group.pin(name(&group.owner), false).await.unwrap();
    assert_eq!((standing.members, standing.unserved.is_some()), (1, true));
    assert_eq!(standing.alarm.unwrap().number, 1);
    group.roster.state.high = 2;
    let head = group.head();
    group.tell(head).await;
    let wraps = group.expand(&[&ann, &ghost]).await;
    assert_eq!(ann.open(&wraps[0]), vec![1; 32]);
    assert_eq!(wraps[1], NOBODY);

    // Another pin is refused unless it is meant; then nothing that was signed counts.
    let thief = name(&p256());
    assert_eq!(group.pin(thief, false).await, Err(ProblemCode::Conflict));
    assert!(group.pin(name(&group.owner), false).await.is_ok());
    assert_eq!(group.expand(&[&ann]).await.len(), 1);
    assert_eq!(group.pin(thief, true).await.unwrap().members, 0);
    assert!(group.world.expand(group.group, &group.info, &[ann.handle]).await.is_err());
}

#[tokio::test]
async fn whatever_no_owner_signed_is_refused_and_the_others_go_on() {
    let mut group = Signed::new().await;
    group.pin(name(&group.owner), false).await.unwrap();
    let (ann, bob, ghost) = (group.member(1), group.member(2), group.member(3));
    let (of_ann, of_bob) = (group.entry(&ann), group.entry(&bob));
    group.join(&ann, Some(of_ann.clone())).await;
    group.join(&bob, Some(of_bob.clone())).await;
    let head = group.head();
    group.tell(head).await;
    assert_eq!(group.alarms(), 0);

    // A ghost: without a word, with another's, with its own.
    group.join(&ghost, None).await;
    group.join(&ghost, Some(of_ann.clone())).await;
    let own = entry(group.group, &ghost, 100).sign(&p256()).unwrap();
    group.join(&ghost, Some(own)).await;
    assert_eq!(group.alarms(), 3);
    let wraps = group.expand(&[&ann, &bob, &ghost]).await;
    assert_eq!(ann.open(&wraps[0]), vec![1; 32]);
    assert_eq!(bob.open(&wraps[1]), vec![1; 32]);
    assert_eq!(wraps[2], NOBODY);

    // A new owner whom no owner made.
    let thief = p256();
    let add = Statement::Owners(OwnersChange {
        group: group.group,
        sequence: group.roster.state.high + 1,
        previous: Digest([0; 32]),
        add: vec![name(&thief)],
        remove: vec![],
    });
    group.tell(add.sign(&thief).unwrap()).await;
    assert_eq!((group.alarms(), group.standing().owners.len()), (4, 1));

    // A swapped key, with the old entry and without any: the old key stays in force.
    let change = |signed| GroupsrvChange::MemberKeyChanged {
        group: group.group,
        handle: bob.handle,
        recipient: ghost.recipient(),
        signed,
    };
    group.world.say(&change(Some(of_bob.clone()))).await;
    assert_eq!(group.alarms(), 5);
    group.world.say(&change(None)).await;
    assert_eq!(group.alarms(), 5, "a key that waits for its signature is no lie");
    assert_eq!(bob.open(&group.expand(&[&bob]).await[0]), vec![1; 32]);

    // Not signed any more, says certsrv.
    let unsigned = GroupsrvChange::GroupChanged {
        group: group.group,
        mode: DeliveryMode::Expand,
        history: History::All,
        signed: false,
    };
    group.world.say(&unsigned).await;
    assert_eq!(group.alarms(), 6);
    group.join(&ghost, None).await;
    assert_eq!(group.expand(&[&ghost]).await, [NOBODY]);

    // Whom certsrv takes out is out, and does not come back by the old entry.
    group.world.say(&GroupsrvChange::MemberLeft { group: group.group, handle: bob.handle }).await;
    assert_eq!(group.expand(&[&bob]).await, [NOBODY]);
    group.join(&bob, Some(of_bob)).await;
    assert_eq!(group.alarms(), 8);
    assert_eq!(group.expand(&[&bob]).await, [NOBODY]);
    assert_eq!(ann.open(&group.expand(&[&ann]).await[0]), vec![1; 32]);
    let status = crate::admin::status(Arc::clone(&group.world.service), Caller::Administrator, Nothing {}).await;
    assert!(status.unwrap().warnings.iter().any(|warning| warning.contains("ALARM")));
    assert_eq!(group.world.service.roster.owners.counter.get(), 8);
}

#[tokio::test]
async fn a_removal_is_in_force_at_once_and_one_that_is_held_back_stops_the_next_head() {
    let mut group = Signed::new().await;
    group.pin(name(&group.owner), false).await.unwrap();
    let (ann, bob) = (group.member(1), group.member(2));
    let (of_ann, of_bob) = (group.entry(&ann), group.entry(&bob));
    group.join(&ann, Some(of_ann)).await;
    group.join(&bob, Some(of_bob.clone())).await;
    let head = group.head();
    group.tell(head).await;
    let sequence = group.roster.state.high + 1;
    let removal = group.sign(&Statement::Removal(Removal { group: group.group, handle: bob.handle, sequence }));
    let head = group.head();
    group.tell(head.clone()).await;
    assert!(group.standing().alarm.unwrap().reason.contains("held back"));
    group.tell(removal).await;
    assert_eq!(group.expand(&[&bob]).await, [NOBODY]);
    group.tell(head).await;
    assert_eq!(group.alarms(), 1);

    // An owner signs for a new key: from then on it counts.
    let after = group.member(1);
    let signed = Some(group.entry(&after));
    let recipient = after.recipient();
    let change = GroupsrvChange::MemberKeyChanged { group: group.group, handle: ann.handle, recipient, signed };
    group.world.say(&change).await;
    assert_eq!(after.open(&group.expand(&[&ann]).await[0]), vec![1; 32]);

    // All of it outlives a restart, and the pin a lost index too: then the feed is read again from its beginning.
    let number = group.alarms();
    let service = Arc::clone(&group.world.service);
    drop(service);
    let Signed { world, group: id, owner, roster, info } = group;
    let world = world.restart(|_| {}).await.unwrap();
    world.caught_up(1).await;
    let group = Signed { world, group: id, owner, roster, info };
    assert_eq!((group.alarms(), group.standing().members), (number, 1));
    assert_eq!(after.open(&group.expand(&[&ann]).await[0]), vec![1; 32]);
    let last = group.world.service.roster.sequence();
    let Signed { world, group: id, owner, roster, info } = group;
    let world = world.restart(|state| std::fs::remove_dir_all(state.join("index")).unwrap()).await.unwrap();
    world.caught_up(last).await;
    let group = Signed { world, group: id, owner, roster, info };
    assert_eq!(after.open(&group.expand(&[&ann]).await[0]), vec![1; 32]);
    assert_eq!(group.expand(&[&bob]).await, [NOBODY]);
    let request = AcknowledgeRequest { group: group.group };
    owners::acknowledge(Arc::clone(&group.world.service), Caller::Administrator, request).await.unwrap();
    assert_eq!(group.alarms(), 0);
}

#[tokio::test]
async fn what_owners_signed_outlives_a_roster_that_is_told_anew() {
    let mut group = Signed::new().await;
    group.pin(name(&group.owner), false).await.unwrap();
    let (ann, bob, cyd) = (group.member(1), group.member(2), group.member(3));
    let (of_ann, of_bob) = (group.entry(&ann), group.entry(&bob));
    group.join(&ann, Some(of_ann.clone())).await;
    group.join(&bob, Some(of_bob.clone())).await;
    let second = p256();
    let change = Statement::Owners(OwnersChange {
        group: group.group,
        sequence: group.roster.state.high + 1,
        previous: Digest([0; 32]),
        add: vec![name(&second)],
        remove: vec![name(&group.owner)],
    });
    let change = group.sign(&change);
    group.tell(change.clone()).await;
    group.owner = second;
    let head = group.head();
    group.tell(head.clone()).await;
    // Bob is taken out by certsrv alone: the head counts him.
    group.world.say(&GroupsrvChange::MemberLeft { group: group.group, handle: bob.handle }).await;
    group.roster.left(&bob.handle);
    let of_cyd = group.entry(&cyd);
    assert_eq!(group.alarms(), 0);

    let id = group.group;
    let joined = |member: &Member, signed: &SignedStatement| GroupsrvChange::MemberJoined {
        group: id,
        handle: member.handle,
        recipient: member.recipient(),
        signed: Some(signed.clone()),
    };
    let statement = |signed: &SignedStatement| GroupsrvChange::Statement { group: id, statement: signed.clone() };
    let (mode, history) = (DeliveryMode::Expand, History::All);
    let told = vec![
        GroupsrvChange::GroupCreated { group: id, mode, history, signed: true },
        statement(&change),
        statement(&of_bob),
        joined(&ann, &of_ann),
        joined(&cyd, &of_cyd),
        statement(&head),
        GroupsrvChange::MemberLeft { group: id, handle: bob.handle },
    ];
    let replace = async |world: &World, changes: Vec<GroupsrvChange>| {
        let roster = Arc::clone(&world.service.roster);
        let place = roster.cursor();
        let place = Cursor { generation: place.generation + 1, sequence: place.sequence + 100, ..place };
        let changes = changes.into_iter().map(|change| (place.sequence, change)).collect();
        tokio::task::spawn_blocking(move || roster.replace(changes, &place)).await.unwrap().unwrap();
    };
    replace(&group.world, told.clone()).await;
    let standing = group.standing();
    assert_eq!((standing.owners, standing.members, standing.unserved), (vec![name(&group.owner)], 2, None));
    assert_eq!(group.alarms(), 0);
    let wraps = group.expand(&[&ann, &bob, &cyd]).await;
    assert_eq!((ann.open(&wraps[0]), &wraps[1], cyd.open(&wraps[2])), (vec![1; 32], &NOBODY, vec![1; 32]));

    // A snapshot that brings bob back, or takes the signatures away, is a lie like any other.
    let mut lie = told.clone();
    lie.pop();
    lie.push(joined(&bob, &of_bob));
    lie[0] = GroupsrvChange::GroupCreated { group: id, mode, history, signed: false };
    replace(&group.world, lie).await;
    assert!(group.alarms() >= 2);
    assert_eq!(group.expand(&[&bob]).await, [NOBODY]);
    assert_eq!(ann.open(&group.expand(&[&ann]).await[0]), vec![1; 32]);

    // A group that is missing from a snapshot comes back with its pin.
    replace(&group.world, vec![]).await;
    assert!(group.world.expand(id, &group.info, &[ann.handle]).await.is_err());
    let lost = group.alarms();
    replace(&group.world, told).await;
    let standing = group.standing();
    assert_eq!((standing.pinned.is_some(), standing.owners), (true, vec![name(&group.owner)]));
    assert!(group.alarms() > lost, "who was out comes back with an owner's word only");
    assert_eq!(group.expand(&[&ann]).await, [NOBODY]);
}
