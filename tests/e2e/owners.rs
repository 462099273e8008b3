//! Owner-signed lists: whom an owner signs for reads, and a certsrv that lies changes nothing. The lying certsrv is the
//! real one: entries that it would never write are put behind its feed log, signed with its own feed key.

use crate::support::{Up, decrypt, encrypt, post};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::feed::{
    DeliveryMode, ENTRY_CONTEXT, EntryHeader, ExploderChange, GroupsrvChange, History, ListSettings, PostLevel,
    RecipientKey, body_digest,
};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress, MemberNumber};
use twinseal_proto::roster::{Head, OwnerRoster, OwnersChange, SignedStatement, Statement};
use twinseal_proto::time::UnixTime;
use twinseal_tests::describe::{Lab, Member};

const LIST: &str = "signed@lists.test";

/// A lab with a second list, whose owner is its first member.
struct Signed {
    up: Up,
    group: GroupId,
    /// The lab as if this list were the one it is about.
    lab: Lab,
}

impl Signed {
    fn new() -> Self {
        let up = Up::new(&["--members", "4", "--member-alg", "p256"]);
        let member = |n: usize| up.lab.members[n].address.clone();
        let made: Value = serde_json::from_str(&up.run(
            "certsrv",
            &[
                "--json",
                "group",
                "create",
                LIST,
                "--owner",
                &member(0),
                "--post",
                "from",
                "--history",
                "all",
                "--signed",
            ],
        ))
        .unwrap();
        up.run("certsrv", &["member", "add", LIST, &member(1), &member(2)]);
        let group = made["group"].as_str().unwrap().to_owned();
        let until = Instant::now() + Duration::from_secs(20);
        let certificate = loop {
            let output = up.bin("groupsrv", &["key", "create", &group, "--algorithm", "p256"]);
            if output.status.success() {
                break output.stdout;
            }
            assert!(Instant::now() < until, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(50));
        };
        let path = up.dir.join("signed.pem");
        std::fs::write(&path, certificate).unwrap();
        let mut lab = Lab::read(&up.dir).unwrap();
        (lab.list, lab.group_cert) = (LIST.to_owned(), path);
        let signed = Self { up, group: group.parse().unwrap(), lab };
        // The exploder follows within a moment.
        signed.until("the exploder knows the list", || signed.post("nobody@members.test", "x").contains("550 5.7.2"));
        signed
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < until, "{what}: {} {}", self.list("groupsrv"), self.list("exploder"));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn member(&self, n: usize) -> &Member {
        &self.up.lab.members[n]
    }

    fn owner(&self, arguments: &[&str]) -> String {
        let arguments = [&["owner"], arguments].concat();
        let output = self.up.twinseal(self.member(0), &arguments, b"");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn pin(&self) {
        let certificate = self.member(0).cert.display().to_string();
        self.up.run("groupsrv", &["group", "pin", &self.group.to_string(), "--owner-cert", &certificate]);
        self.up.run("exploder", &["group", "pin", LIST, "--owner-cert", &certificate]);
    }

    fn post(&self, from: &str, text: &str) -> String {
        post(&self.lab.smtp, from, LIST, &encrypt(&self.lab, from, text, &["-aes256"])).unwrap()
    }

    /// Posts as the owner; waits until these members, and nobody else, have read it.
    fn read_by(&self, text: &str, readers: &[usize]) {
        let before: Vec<usize> = (0..4).map(|n| self.up.copies(&self.member(n).address).len()).collect();
        assert!(self.post(&self.member(0).address, text).starts_with("250"));
        for &n in readers {
            let copies = self.up.wait_copies(&self.member(n).address, before[n] + 1);
            assert_eq!(decrypt(self.member(n), copies.last().unwrap()).unwrap(), text);
        }
        self.up.drained();
        for n in (0..4).filter(|n| !readers.contains(n)) {
            assert_eq!(self.up.copies(&self.member(n).address).len(), before[n], "member {n} reads");
        }
    }

    fn list(&self, service: &str) -> Value {
        serde_json::from_str(&self.up.run(service, &["--json", "group", "list"])).unwrap()
    }

    fn standing(&self, service: &str) -> Value {
        let group = self.group.to_string();
        let list = self.list(service);
        list.as_array().unwrap().iter().find(|of| of["group"] == group.as_str()).cloned().unwrap_or_default()
    }

    fn alarms(&self, service: &str) -> u64 {
        self.standing(service)["alarm"]["number"].as_u64().unwrap_or(0)
    }

    fn served(&self) {
        self.until("both vouch for the roster", || {
            ["groupsrv", "exploder"].iter().all(|service| {
                let standing = self.standing(service);
                standing["pinned"].is_string() && standing["unserved"].is_null()
            })
        });
    }

    fn key(&self, n: usize) -> PKey<Private> {
        PKey::private_key_from_pem(&std::fs::read(&self.member(n).key).unwrap()).unwrap()
    }

    /// What the owner's tool keeps.
    fn roster(&self) -> OwnerRoster {
        let path = self.member(0).home.join(format!("rosters/{LIST}.json"));
        let kept: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        serde_json::from_value(kept["roster"].clone()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.up.lab.state.certsrv.join("feed/feed-000001.log")
    }

    /// The bodies that the consumers were told so far: groupsrv's and the exploder's.
    fn told(&self) -> Vec<(Option<GroupsrvChange>, Option<ExploderChange>)> {
        let body = |line: &Value, view: &str| line[view]["body"].as_str().unwrap().to_owned();
        let lines = std::fs::read_to_string(self.log()).unwrap();
        lines
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let groupsrv = serde_json::from_str(&body(&line, "groupsrv")).unwrap();
                (groupsrv, serde_json::from_str(&body(&line, "exploder")).unwrap())
            })
            .collect()
    }

    /// certsrv tells this, whatever it knows itself; waits until both have heard it.
    fn lie(&mut self, lies: &[(Option<GroupsrvChange>, Option<ExploderChange>)]) {
        self.up.stop("certsrv");
        let feed = self.up.lab.state.certsrv.join("feed");
        let key = PKey::private_key_from_pem(&std::fs::read(feed.join("feed.key")).unwrap()).unwrap();
        let mut log = std::fs::read_to_string(self.log()).unwrap();
        for (groupsrv, exploder) in lies {
            let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
            let last = last["header"].as_str().unwrap();
            let before: EntryHeader = serde_json::from_str(last).unwrap();
            // Of itself it says something that changes nothing.
            let own = json!({ "change": {
                "kind": "token-made", "digest": Digest([0; 32]), "expires": 1,
                "purpose": { "for": "enrol", "address": self.member(0).address },
            }});
            let bodies =
                [own.to_string(), serde_json::to_string(groupsrv).unwrap(), serde_json::to_string(exploder).unwrap()];
            let salt = [9; 16];
            let header = EntryHeader {
                sequence: before.sequence + 1,
                previous: Digest::of(last.as_bytes()),
                issued: UnixTime::now().max(before.issued),
                certsrv: body_digest(&salt, &bodies[0]),
                groupsrv: body_digest(&salt, &bodies[1]),
                exploder: body_digest(&salt, &bodies[2]),
                ..before
            };
            let header = serde_json::to_string(&header).unwrap();
            let mut signer = Signer::new_without_digest(&key).unwrap();
            let signature = signer.sign_oneshot_to_vec(&[ENTRY_CONTEXT, header.as_bytes()].concat()).unwrap();
            let salted = |body: &String| json!({ "salt": B64(salt.to_vec()), "body": body });
            let line = json!({
                "header": header, "signature": B64(signature), "certsrv": salted(&bodies[0]),
                "groupsrv": salted(&bodies[1]), "exploder": salted(&bodies[2]),
            });
            log.push_str(&format!("{line}\n"));
        }
        std::fs::write(self.log(), log).unwrap();
        self.up.restart("certsrv");
        let status = |service: &str| -> u64 {
            let status: Value = serde_json::from_str(&self.up.run(service, &["--json", "status"])).unwrap();
            status["feed_sequence"].as_u64().unwrap()
        };
        let wanted = status("certsrv");
        self.until("both hear the lies", || ["groupsrv", "exploder"].iter().all(|of| status(of) == wanted));
    }
}

/// What groupsrv was told of the key of this member.
fn recipient(told: &[(Option<GroupsrvChange>, Option<ExploderChange>)], key: &PKey<Private>) -> RecipientKey {
    let public = B64(key.public_key_to_der().unwrap());
    told.iter()
        .find_map(|(groupsrv, _)| match groupsrv {
            Some(GroupsrvChange::MemberJoined { recipient, .. }) if recipient.public_key == public => Some(recipient),
            _ => None,
        })
        .unwrap()
        .clone()
}

#[test]
fn whom_an_owner_signs_for_reads_and_who_was_taken_out_does_not() {
    let signed = Signed::new();
    let (two, three) = (signed.member(1).address.clone(), signed.member(2).address.clone());
    let pending: Value = serde_json::from_str(&signed.owner(&["pending", LIST, "--json"])).unwrap();
    assert_eq!(pending["waiting"].as_array().unwrap().len(), 3, "{pending}");
    signed.owner(&["sign", LIST, "--all", "--yes"]);
    // Both wait for the pin, and mail waits with them.
    signed.until("the members are told of", || {
        signed.post(&signed.member(0).address, "Signed and sealed.").starts_with("250")
    });
    signed.until("the message waits", || signed.up.queue()[0]["waiting"].to_string().contains("no owner is pinned"));
    assert!(signed.up.copies(&two).is_empty());
    signed.pin();
    for n in 0..3 {
        let copies = signed.up.wait_copies(&signed.member(n).address, 1);
        assert_eq!(decrypt(signed.member(n), &copies[0]).unwrap(), "Signed and sealed.");
    }
    signed.up.drained();
    signed.owner(&["remove", LIST, &three, "--yes"]);
    signed.read_by("Without three.", &[0, 1]);
    // A second owner signs for somebody whom an administrator puts in.
    signed.owner(&["add-owner", LIST, &two, "--yes"]);
    signed.up.run("certsrv", &["member", "add", LIST, &signed.member(3).address]);
    let output = signed.up.twinseal(signed.member(1), &["owner", "sign", LIST, "--all", "--yes"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the first owner"));
    signed.until("four is told of", || signed.standing("exploder")["members"] == 3);
    signed.read_by("With four.", &[0, 1, 3]);
    let refused = signed.up.twinseal(signed.member(3), &["owner", "pending", LIST], b"");
    assert_eq!(refused.status.code(), Some(77), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!((signed.alarms("groupsrv"), signed.alarms("exploder")), (0, 0));
}

#[test]
fn a_certsrv_that_lies_changes_nothing_and_the_list_keeps_working() {
    let mut signed = Signed::new();
    signed.pin();
    signed.owner(&["sign", LIST, "--all", "--yes"]);
    signed.served();
    signed.read_by("Before.", &[0, 1, 2]);
    let three = signed.member(2).address.clone();
    signed.owner(&["remove", LIST, &three, "--yes"]);
    signed.read_by("Without three.", &[0, 1]);

    let told = signed.told();
    let (group, list): (GroupId, ListAddress) = (signed.group, LIST.parse().unwrap());
    let of = |address: &str| -> (GroupsrvChange, ExploderChange) {
        told.iter()
            .find_map(|(groupsrv, exploder)| match (groupsrv, exploder) {
                (Some(groupsrv), Some(exploder @ ExploderChange::MemberJoined { group: of, address: to, .. }))
                    if *of == group && to.as_str() == address =>
                {
                    Some((groupsrv.clone(), exploder.clone()))
                }
                _ => None,
            })
            .unwrap()
    };
    let (two_at_groupsrv, two_at_exploder) = of(&signed.member(1).address);
    let GroupsrvChange::MemberJoined { handle: two, signed: Some(entry), .. } = two_at_groupsrv else { panic!() };
    let ExploderChange::MemberJoined { salt, number, .. } = two_at_exploder else { panic!() };
    let replayed = of(&three);
    let thief: MailAddress = signed.member(3).address.parse().unwrap();
    let thiefs = recipient(&told, &signed.key(3));

    // A ghost reader, without a word and with another's.
    let ghost = |statement: Option<&SignedStatement>| {
        let (handle, signed) = (Handle::from_random([0x66; 16]), statement.cloned());
        let recipient = thiefs.clone();
        let at_groupsrv = GroupsrvChange::MemberJoined { group, handle, recipient, signed: signed.clone() };
        let (number, address, salt) = (MemberNumber(4_000_000), thief.clone(), salt.clone());
        let at_exploder = ExploderChange::MemberJoined { group, handle, number, address, salt, signed };
        (Some(at_groupsrv), Some(at_exploder))
    };
    let ghosts = [ghost(None), ghost(Some(&entry))];
    // An owner of certsrv's own making.
    let roster = signed.roster();
    let usurper = Statement::Owners(OwnersChange {
        group,
        sequence: roster.state.high + 1,
        previous: roster.state.chain,
        add: vec![Digest::of(thiefs.public_key.as_ref())],
        remove: vec![],
    });
    let usurper = usurper.sign(&signed.key(3)).unwrap();
    // A key of certsrv's choice, an address of certsrv's choice.
    let swapped =
        GroupsrvChange::MemberKeyChanged { group, handle: two, recipient: thiefs.clone(), signed: Some(entry.clone()) };
    let diverted =
        ExploderChange::MemberJoined { group, handle: two, number, address: thief, salt, signed: Some(entry) };
    // A removal that is held back: the head after it comes alone.
    let mut of_owner = roster.clone();
    of_owner.left(&two);
    let head = Head { group, sequence: roster.state.high + 2, digest: of_owner.digest(), issued: UnixTime::now() };
    let head = Statement::Head(head).sign(&signed.key(0)).unwrap();
    // A group that is not signed any more, and another one in its place.
    let settings = ListSettings { post: PostLevel::From, ..ListSettings::default() };
    let (mode, history) = (DeliveryMode::Expand, History::All);
    let unsigned = (
        Some(GroupsrvChange::GroupChanged { group, mode, history, signed: false }),
        Some(ExploderChange::GroupChanged { group, settings: settings.clone(), signed: false }),
    );
    let other = GroupId::from_random([0x77; 16]);
    let replaced = (
        Some(GroupsrvChange::GroupCreated { group: other, mode, history, signed: false }),
        Some(ExploderChange::GroupCreated { group: other, list, settings, signed: false }),
    );
    let statement = |statement: SignedStatement| {
        (
            Some(GroupsrvChange::Statement { group, statement: statement.clone() }),
            Some(ExploderChange::Statement { group, statement }),
        )
    };
    let [one, another] = ghosts;
    let lies = [
        one,
        another,
        statement(usurper),
        (Some(swapped), Some(diverted)),
        (Some(replayed.0), Some(replayed.1)),
        statement(head),
        unsigned,
        replaced,
    ];
    signed.lie(&lies);
    // Of the group that took the list's place groupsrv alone sees nothing wrong; it has no key.
    assert_eq!((signed.alarms("groupsrv"), signed.alarms("exploder")), (7, 8));
    for service in ["groupsrv", "exploder"] {
        let status = signed.up.run(service, &["status"]);
        assert!(status.contains("ALARM"), "{service}: {status}");
    }
    signed.read_by("After all that.", &[0, 1]);

    // Owner and certsrv go on; only the administrators forget the alarms.
    signed.up.run("certsrv", &["member", "add", LIST, &signed.member(3).address]);
    signed.owner(&["sign", LIST, "--all", "--yes"]);
    signed.until("four is told of", || signed.standing("exploder")["members"] == 3);
    signed.read_by("With four.", &[0, 1, 3]);
    assert_eq!((signed.alarms("groupsrv"), signed.alarms("exploder")), (7, 8));
    for service in ["groupsrv", "exploder"] {
        signed.up.run(service, &["group", "acknowledge", &group.to_string()]);
        assert_eq!(signed.alarms(service), 0);
    }
}
