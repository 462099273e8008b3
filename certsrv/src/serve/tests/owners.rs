//! Signed groups: what owners hand in, what is refused of it, and what the consumers are told.

use super::harness::{Joined, Running, call, config, group_request, key_and_csr};
use super::keeping::{Rows, Taken, follow, pages};
use crate::tests::{address, csr, ec_key};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::collections::BTreeSet;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{
    CreateGroup, CreateGroupRequest, JoinPolicy, MembersRequest, RemoveMembers, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::enrol::{membership_label, path};
use twinseal_proto::api::feed::{Feed, FeedRequest};
use twinseal_proto::api::groups::{DeleteGroup, ListRequest};
use twinseal_proto::api::members::{MemberSettings, SetMember, SetMemberRequest};
use twinseal_proto::api::owners::{
    GetRoster, GetStatements, RosterMember, RosterPage, RosterRequest, StatementsRequest, Submission, Submit,
    SubmitRequest,
};
use twinseal_proto::api::services::ServiceRole;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{Cursor, Delivery, ExploderChange, GroupsrvChange, View};
use twinseal_proto::roster::{
    Binding, Entry, EntryStatus, Head, OwnerRoster, OwnersChange, Removal, Role, SignedStatement, Statement,
    address_digest,
};
use twinseal_proto::time::UnixTime;
use twinseal_svc::client::Client;

const LIST: &str = "team@lists.test";
const SALT: [u8; 16] = [7; 16];

/// A certsrv with a signed group, and its owner.
struct Owned {
    certsrv: Running,
    client: Client,
    key: PKey<Private>,
    groupsrv: Joined,
    exploder: Joined,
    /// What the owner's tool would keep.
    roster: OwnerRoster,
}

/// What a consumer with the owner's pin made of the feed.
struct Followed {
    roster: OwnerRoster,
    kinds: Vec<String>,
}

fn name(key: &PKey<Private>) -> Digest {
    Digest::of(&key.public_key_to_der().unwrap())
}

impl Owned {
    async fn new(dir: &tempfile::TempDir) -> Self {
        let certsrv = Running::new(dir).await;
        let (groupsrv, exploder) =
            (certsrv.join(ServiceRole::Groupsrv).await, certsrv.join(ServiceRole::Exploder).await);
        let key = ec_key();
        let certificate = certsrv.account("owner", Some(&key)).await.unwrap();
        let client = certsrv.client(Some((&key, &certificate)));
        let request = CreateGroupRequest { signed: true, ..group_request(LIST, "owner", JoinPolicy::Closed) };
        let group = certsrv.admin::<CreateGroup>(&request).await.unwrap();
        let roster = OwnerRoster::pin(group.group, name(&key));
        Self { certsrv, client, key, groupsrv, exploder, roster }
    }

    async fn page(&self) -> RosterPage {
        call::<GetRoster>(&self.client, &RosterRequest { list: LIST.parse().unwrap(), after: None }).await.unwrap()
    }

    async fn member(&self, of: &str) -> RosterMember {
        self.page().await.members.into_iter().find(|member| member.address == address(of)).unwrap()
    }

    fn entry(&self, member: &RosterMember, sequence: u64) -> Entry {
        Entry {
            group: self.roster.state.group,
            handle: member.handle,
            sequence,
            role: if member.address == address("owner") { Role::Owner } else { Role::Member },
            key: member.key.unwrap(),
            address: address_digest(&SALT, &member.address),
            status: EntryStatus::Active,
            not_before: UnixTime::now(),
            not_after: UnixTime::now().plus(86_400),
        }
    }

    async fn submit(&self, statements: &[SignedStatement]) -> Result<u64, ProblemCode> {
        let salted = |statement: &SignedStatement| Submission {
            statement: statement.clone(),
            salt: statement.text.contains("\"entry\"").then(|| B64(SALT.to_vec())),
        };
        let request =
            SubmitRequest { list: LIST.parse().unwrap(), statements: statements.iter().map(salted).collect() };
        call::<Submit>(&self.client, &request).await.map(|done| done.feed).map_err(|problem| problem.code)
    }

    /// Signs for members, and the head, as the owner's tool does.
    async fn sign(&mut self, of: &[&str]) {
        let mut statements = Vec::new();
        for of in of {
            let member = self.member(of).await;
            let entry = Statement::Entry(self.entry(&member, self.roster.state.high + 1)).sign(&self.key).unwrap();
            self.roster.accept(&entry).unwrap();
            statements.push(entry);
        }
        statements.push(self.head());
        self.submit(&statements).await.unwrap();
    }

    async fn say(&mut self, statement: &Statement) {
        let signed = statement.sign(&self.key).unwrap();
        self.roster.accept(&signed).unwrap();
        self.submit(&[signed]).await.unwrap();
    }

    fn head(&mut self) -> SignedStatement {
        let (group, sequence, digest) = (self.roster.state.group, self.roster.state.high + 1, self.roster.digest());
        let head = Statement::Head(Head { group, sequence, digest, issued: UnixTime::now() });
        let head = head.sign(&self.key).unwrap();
        self.roster.accept(&head).unwrap();
        head
    }

    async fn changes<C: serde::de::DeserializeOwned>(&self, service: &Joined, view: View) -> Vec<C> {
        let mut cursor = Cursor::start(service.trust.feed, service.trust.generation);
        let mut changes = Vec::new();
        loop {
            let request = FeedRequest { after: cursor.sequence, wait: 0 };
            let page = call::<Feed>(&service.client, &request).await.unwrap();
            for entry in &page.entries {
                changes.extend(cursor.accept::<C>(entry, view, &service.feed_key()).unwrap());
            }
            if let Some(beat) = &page.heartbeat
                && cursor.heartbeat(beat, &service.feed_key()).unwrap().is_some()
            {
                return changes;
            }
        }
    }

    /// Follows the feed as groupsrv does: nothing in it may be refused.
    async fn groupsrv(&self) -> Followed {
        let mut roster = OwnerRoster::pin(self.roster.state.group, name(&self.key));
        let mut kinds = Vec::new();
        for change in self.changes::<GroupsrvChange>(&self.groupsrv, View::Groupsrv).await {
            kinds.push(serde_json::to_value(&change).unwrap()["kind"].as_str().unwrap().to_owned());
            match change {
                GroupsrvChange::GroupCreated { signed, .. } => assert!(signed),
                GroupsrvChange::MemberJoined { handle, recipient, signed, .. }
                | GroupsrvChange::MemberKeyChanged { handle, recipient, signed, .. } => {
                    let told = Binding::Key(recipient.public_key.as_ref());
                    roster.accept_member(signed.as_ref(), &handle, told).unwrap();
                }
                GroupsrvChange::MemberLeft { handle, .. } => roster.left(&handle),
                GroupsrvChange::Statement { statement, .. } => drop(roster.accept(&statement).unwrap()),
                _ => {}
            }
        }
        Followed { roster, kinds }
    }

    /// The same as the exploder.
    async fn exploder(&self) -> Followed {
        let mut roster = OwnerRoster::pin(self.roster.state.group, name(&self.key));
        let mut kinds = Vec::new();
        for change in self.changes::<ExploderChange>(&self.exploder, View::Exploder).await {
            kinds.push(serde_json::to_value(&change).unwrap()["kind"].as_str().unwrap().to_owned());
            match change {
                ExploderChange::GroupCreated { signed, .. } => assert!(signed),
                ExploderChange::MemberJoined { handle, address, salt, signed, .. } => {
                    let salt = salt.unwrap();
                    let told = Binding::Address { salt: salt.as_ref(), address: &address };
                    roster.accept_member(signed.as_ref(), &handle, told).unwrap();
                }
                ExploderChange::MemberLeft { handle, .. } => roster.left(&handle),
                ExploderChange::Statement { statement, .. } => drop(roster.accept(&statement).unwrap()),
                _ => {}
            }
        }
        Followed { roster, kinds }
    }

    /// What a snapshot of now says, and whether it is what the feed says.
    async fn snapshot<C>(&self, service: &Joined, view: View) -> Vec<C>
    where
        C: serde::de::DeserializeOwned + Taken + Clone,
    {
        let (key, start) = (service.feed_key(), Cursor::start(service.trust.feed, 1));
        let (mut at, mut followed, mut told) = (start.clone(), Rows::new(), Rows::new());
        follow::<C>(service, view, &mut at, &key, &mut followed).await.unwrap();
        let (first, texts) = pages(service, at.sequence).await;
        let (_, changes) = first.snapshot.open::<C>(&texts, view, &start, &key).unwrap();
        changes.iter().for_each(|(at, change)| change.clone().take(*at, &mut told));
        assert_eq!(told, followed);
        changes.into_iter().map(|(_, change)| change).collect()
    }

    /// Whether the owner's roster follows from a snapshot for whoever knows the pin alone, and for whoever was here at one
    /// of the moments before, without anything that is refused. Now is another moment.
    async fn retold(&self, moments: &mut Vec<OwnerRoster>) {
        let (mut said, mut gone) = ([Vec::new(), Vec::new()], [BTreeSet::new(), BTreeSet::new()]);
        for change in self.snapshot::<GroupsrvChange>(&self.groupsrv, View::Groupsrv).await {
            match change {
                GroupsrvChange::MemberJoined { signed, .. } => said[0].push(signed.unwrap()),
                GroupsrvChange::Statement { statement, .. } => said[0].push(statement),
                GroupsrvChange::MemberLeft { handle, .. } => drop(gone[0].insert(handle)),
                _ => {}
            }
        }
        for change in self.snapshot::<ExploderChange>(&self.exploder, View::Exploder).await {
            match change {
                ExploderChange::MemberJoined { signed, .. } => said[1].push(signed.unwrap()),
                ExploderChange::Statement { statement, .. } => said[1].push(statement),
                ExploderChange::MemberLeft { handle, .. } => drop(gone[1].insert(handle)),
                _ => {}
            }
        }
        moments.push(self.roster.clone());
        for (n, moment) in moments.iter().enumerate() {
            for (said, gone) in said.iter().zip(&gone) {
                let again = moment.resync(said, gone);
                assert_eq!(again.refused, [], "of moment {n}");
                let (now, then) = (&self.roster.state, &again.roster.state);
                assert_eq!((&now.owners, now.chain, now.head), (&then.owners, then.chain, then.head), "of moment {n}");
                assert_eq!(again.roster.live, self.roster.live, "of moment {n}");
            }
        }
    }

    async fn both(&self) -> [Followed; 2] {
        let both = [self.groupsrv().await, self.exploder().await];
        for followed in &both {
            assert_eq!(followed.roster, self.roster);
        }
        both
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_member_the_consumers_are_told_when_an_owner_has_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut owned = Owned::new(&dir).await;
    let ann_key = ec_key();
    owned.certsrv.account("ann", Some(&ann_key)).await;
    owned.certsrv.account("bob", Some(&ec_key())).await;
    owned.certsrv.account("new", None).await;
    owned.certsrv.put_in(LIST, &["ann", "bob", "new"]).await;
    let [groupsrv, exploder] = owned.both().await;
    assert_eq!((groupsrv.kinds, exploder.kinds), (vec!["group-created".to_owned()], vec!["group-created".to_owned()]));
    let page = owned.page().await;
    assert_eq!((page.first, page.sequence, page.members.len(), page.more), (None, 0, 4, false));
    assert!(page.members.iter().all(|member| member.entry.is_none() && member.salt.is_none()));
    assert_eq!(owned.member("ann").await.key, Some(name(&ann_key)));
    assert_eq!(owned.member("new").await.key, None);

    owned.sign(&["owner", "ann"]).await;
    let [groupsrv, exploder] = owned.both().await;
    let told = ["group-created", "member-joined", "member-joined", "statement"];
    assert_eq!(groupsrv.kinds, told);
    assert_eq!(exploder.kinds, told);
    let now = UnixTime::now();
    let handle = owned.member("ann").await.handle;
    assert_eq!(groupsrv.roster.serves(&handle, now).unwrap().key, name(&ann_key));

    // A new key waits, and the old one goes on, until an owner signs or the old certificate is revoked.
    let old = owned.certsrv.members(LIST).await.into_iter().find(|member| member.address == address("ann")).unwrap();
    let request = RevokeRequest { serial: old.serial.unwrap(), reason: RevocationReason::Superseded };
    owned.certsrv.admin::<Revoke>(&request).await.unwrap();
    assert_eq!(owned.both().await[0].kinds.last().unwrap(), "member-suspended");
    let (new_key, csr) = key_and_csr("ann");
    owned.certsrv.enrol(&super::harness::basic("ann"), &csr).await.unwrap();
    assert_eq!(owned.both().await[0].kinds.len(), 5, "nothing is told of the new key");
    owned.sign(&["ann"]).await;
    let [groupsrv, exploder] = owned.both().await;
    assert_eq!(groupsrv.kinds[5..], ["member-key-changed", "statement"]);
    assert_eq!(exploder.kinds[4..], ["statement", "statement"]);
    assert_eq!(groupsrv.roster.serves(&handle, now).unwrap().key, name(&new_key));

    // The owner takes ann out; an administrator takes bob out, who was never told of, and then the owner signs again.
    let sequence = owned.roster.state.high + 1;
    let removal = Statement::Removal(Removal { group: owned.roster.state.group, handle, sequence });
    let removal = removal.sign(&owned.key).unwrap();
    owned.roster.accept(&removal).unwrap();
    let head = owned.head();
    owned.submit(&[removal, head]).await.unwrap();
    let out = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("bob")] };
    owned.certsrv.admin::<RemoveMembers>(&out).await.unwrap();
    let head = owned.head();
    owned.submit(&[head]).await.unwrap();
    let [groupsrv, exploder] = owned.both().await;
    assert_eq!(groupsrv.kinds[7..], ["statement", "statement", "statement"]);
    assert_eq!(exploder.kinds[6..], ["statement", "statement", "statement"]);
    assert_eq!(owned.certsrv.members(LIST).await.len(), 2);

    // All of it is in the log.
    let request = StatementsRequest { list: LIST.parse().unwrap(), after: 2 };
    let said = call::<GetStatements>(&owned.client, &request).await.unwrap();
    assert_eq!((said.statements.len(), said.more), (6, false));
    let page = owned.page().await;
    owned.certsrv.stop().await;
    std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
    owned.certsrv = Running::start(&dir).await;
    let certificate = {
        let view = owned.certsrv.app.registry.view();
        let serial = view.account(&address("owner")).unwrap().unwrap().current.unwrap();
        X509::from_der(view.certificate(&serial).unwrap().unwrap().certificate.as_ref()).unwrap()
    };
    owned.client = owned.certsrv.client(Some((&owned.key, &certificate)));
    assert_eq!(owned.page().await, page);
    owned.certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_consumers_would_refuse_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut owned = Owned::new(&dir).await;
    let ann_key = ec_key();
    let certificate = owned.certsrv.account("ann", Some(&ann_key)).await.unwrap();
    owned.certsrv.put_in(LIST, &["ann"]).await;
    owned.sign(&["owner"]).await;
    let ann = owned.member("ann").await;
    let next = owned.roster.state.high + 1;
    let entry = owned.entry(&ann, next);
    let now = UnixTime::now();
    let group = owned.roster.state.group;
    let other_key = Entry { key: Digest([1; 32]), ..entry.clone() };
    let other_address = Entry { address: Digest([1; 32]), ..entry.clone() };
    let nobody = Entry { handle: twinseal_proto::ids::Handle::from_random([9; 16]), ..entry.clone() };
    let other_role = Entry { role: Role::Owner, ..entry.clone() };
    let over = Entry { not_before: UnixTime(1), not_after: now, ..entry.clone() };
    let replayed = Entry { sequence: 1, ..entry.clone() };
    for wrong in [other_key, other_address, nobody, other_role, over, replayed] {
        let signed = Statement::Entry(wrong.clone()).sign(&owned.key).unwrap();
        assert_eq!(owned.submit(&[signed]).await, Err(ProblemCode::Conflict), "{wrong:?}");
    }
    let head = |digest, issued| Statement::Head(Head { group, sequence: next, digest, issued });
    for wrong in [head(Digest([1; 32]), now), head(owned.roster.digest(), UnixTime(now.0 - 1000))] {
        assert_eq!(owned.submit(&[wrong.sign(&owned.key).unwrap()]).await, Err(ProblemCode::Conflict));
    }
    let by_ann = Statement::Entry(entry.clone()).sign(&ann_key).unwrap();
    assert_eq!(owned.submit(std::slice::from_ref(&by_ann)).await, Err(ProblemCode::Conflict));
    // Who is no owner is told nothing, and hands in nothing.
    let client = std::mem::replace(&mut owned.client, owned.certsrv.client(Some((&ann_key, &certificate))));
    assert_eq!(owned.submit(&[by_ann]).await, Err(ProblemCode::NotAuthorised));
    let request = RosterRequest { list: LIST.parse().unwrap(), after: None };
    assert_eq!(call::<GetRoster>(&owned.client, &request).await.unwrap_err().code, ProblemCode::NotAuthorised);
    owned.client = client;
    let salt = B64(vec![7; 15]);
    let statement = Statement::Entry(entry).sign(&owned.key).unwrap();
    let unsalted =
        SubmitRequest { list: LIST.parse().unwrap(), statements: vec![Submission { statement, salt: Some(salt) }] };
    assert_eq!(call::<Submit>(&owned.client, &unsalted).await.unwrap_err().code, ProblemCode::Conflict);
    // Nothing of all that was told.
    owned.both().await;
    owned.sign(&["ann"]).await;
    owned.both().await;
    // A group whose owners do not sign has no such calls.
    owned.certsrv.group("plain@lists.test", "owner", JoinPolicy::Closed).await;
    let request = RosterRequest { list: "plain@lists.test".parse().unwrap(), after: None };
    assert_eq!(call::<GetRoster>(&owned.client, &request).await.unwrap_err().code, ProblemCode::Conflict);
    owned.certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_what_owners_signed_to_whoever_begins_and_to_whoever_fell_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut owned = Owned::new(&dir).await;
    for name in ["ann", "bob", "cyd", "dan"] {
        owned.certsrv.account(name, Some(&ec_key())).await;
    }
    owned.certsrv.put_in(LIST, &["ann", "bob", "cyd", "dan"]).await;
    let mut moments = vec![owned.roster.clone()];
    owned.retold(&mut moments).await;
    owned.sign(&["owner", "ann", "bob", "cyd"]).await;
    owned.retold(&mut moments).await;

    // All of this after the head that counts ann, bob and cyd: bob is taken out by an administrator, ann's entry is renewed,
    // the owner takes cyd out, and there is another owner.
    let bob = owned.member("bob").await.handle;
    let out = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("bob")] };
    owned.certsrv.admin::<RemoveMembers>(&out).await.unwrap();
    owned.roster.left(&bob);
    owned.retold(&mut moments).await;
    for _ in 0..2 {
        let entry = owned.entry(&owned.member("ann").await, owned.roster.state.high + 1);
        owned.say(&Statement::Entry(entry)).await;
        owned.retold(&mut moments).await;
    }
    let (group, cyd) = (owned.roster.state.group, owned.member("cyd").await.handle);
    owned.say(&Statement::Removal(Removal { group, handle: cyd, sequence: owned.roster.state.high + 1 })).await;
    owned.retold(&mut moments).await;
    let second = name(&ec_key());
    let (sequence, previous) = (owned.roster.state.high + 1, owned.roster.state.chain);
    owned.say(&Statement::Owners(OwnersChange { group, sequence, previous, add: vec![second], remove: vec![] })).await;
    owned.retold(&mut moments).await;
    owned.sign(&["dan"]).await;
    owned.retold(&mut moments).await;

    // The certificate that was told stays the one that is told, while another key waits; so does that it is suspended.
    let members = owned.certsrv.members(LIST).await;
    let old = members.into_iter().find(|member| member.address == address("dan")).unwrap();
    let request = RevokeRequest { serial: old.serial.unwrap(), reason: RevocationReason::Superseded };
    owned.certsrv.admin::<Revoke>(&request).await.unwrap();
    owned.retold(&mut moments).await;
    let (_, csr) = key_and_csr("dan");
    owned.certsrv.enrol(&super::harness::basic("dan"), &csr).await.unwrap();
    owned.retold(&mut moments).await;
    owned.sign(&["dan"]).await;
    owned.retold(&mut moments).await;

    // A group that is no more leaves nothing behind, and the log says the same.
    let id = owned.roster.state.group;
    owned.certsrv.admin::<DeleteGroup>(&ListRequest { list: LIST.parse().unwrap() }).await.unwrap();
    for rebuilt in [false, true] {
        if rebuilt {
            owned.certsrv.stop().await;
            std::fs::remove_dir_all(config(&dir).state.join("index")).unwrap();
            owned.certsrv = Running::start(&dir).await;
        }
        let view = owned.certsrv.app.registry.view();
        assert!(view.roster(&id).unwrap().is_none() && view.entries(&id).unwrap().is_empty());
        assert!(view.statements(&id, 0, 1).unwrap().is_empty() && view.counted(&id).unwrap().is_empty());
    }
    owned.certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_begins_for_everybody_when_an_owner_has_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut owned = Owned::new(&dir).await;
    let ann_key = ec_key();
    let certificate = owned.certsrv.account("ann", Some(&ann_key)).await.unwrap();
    owned.certsrv.put_in(LIST, &["ann"]).await;
    let group = owned.roster.state.group;
    let row = |owned: &Owned| owned.certsrv.app.registry.view().member(&group, &address("ann")).unwrap().unwrap();
    assert_eq!(row(&owned).joined, 0);
    // What ann chooses is told with the membership.
    let request = SetMemberRequest {
        list: LIST.parse().unwrap(),
        address: Some(address("ann")),
        set: MemberSettings { delivery: Some(Delivery::Off), ..MemberSettings::default() },
    };
    owned.certsrv.admin::<SetMember>(&request).await.unwrap();
    assert_eq!(owned.both().await[1].kinds, ["group-created"]);
    // And there is no certificate that says since when it lasts.
    let at = path(&membership_label(&group, false), "simpleenroll");
    let asked = csr(&ec_key(), &[]);
    let refused = owned.certsrv.post_as(Some((&ann_key, &certificate)), &at, &asked).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NotAuthorised);
    assert!(refused.detail.contains("owner sign"), "{refused}");

    owned.sign(&["owner", "ann"]).await;
    let [groupsrv, exploder] = owned.both().await;
    assert_eq!(groupsrv.kinds, ["group-created", "member-joined", "member-joined", "statement"]);
    assert_eq!(exploder.kinds, ["group-created", "member-joined", "member-joined", "member-options", "statement"]);
    let changes = super::harness::groupsrv_changes(&owned.certsrv);
    let joins = changes.into_iter().filter(|(_, kind, _)| kind == "member-joined");
    assert_eq!(Some(row(&owned).joined), joins.map(|(at, ..)| at).next_back());
    owned.certsrv.post_as(Some((&ann_key, &certificate)), &at, &asked).await.unwrap();
    // From now on what ann chooses is told at once.
    let set = MemberSettings { delivery: Some(Delivery::On), ..MemberSettings::default() };
    owned.certsrv.admin::<SetMember>(&SetMemberRequest { set, ..request }).await.unwrap();
    assert_eq!(owned.both().await[1].kinds.last().unwrap(), "member-options");
    // Who goes is out of both at once, whatever owners say.
    let out = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("ann")] };
    let handle = row(&owned).handle;
    owned.certsrv.admin::<RemoveMembers>(&out).await.unwrap();
    owned.roster.left(&handle);
    for followed in owned.both().await {
        assert!(followed.kinds.iter().any(|kind| kind == "member-left"));
    }
    owned.certsrv.stop().await;
}
