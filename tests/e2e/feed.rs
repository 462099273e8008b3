//! The feed over the life of an installation: its key is replaced while mail flows, certsrv is lost and restored from a
//! backup, its consumers refuse what they cannot know, and follow when their administrators say so.

use crate::support::{Up, decrypt, encrypt};
use std::path::Path;
use std::time::{Duration, Instant};

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what}: waited for too long");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn warnings(up: &Up, service: &str) -> String {
    let status: serde_json::Value = serde_json::from_str(&up.run(service, &["--json", "status"])).unwrap();
    status["warnings"].to_string()
}

fn metrics(url: &str) -> String {
    let output =
        std::process::Command::new("curl").args(["-sk", "--max-time", "5"]).arg(format!("{url}/metrics")).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

struct Story {
    up: Up,
    /// Copies that each member has to have.
    due: [usize; 3],
}

impl Story {
    fn post(&mut self, text: &str, readers: &[usize]) {
        let sender = self.up.lab.members[0].address.clone();
        let reply = self.up.post(&sender, &encrypt(&self.up.lab, &sender, text, &["-aes256"]));
        assert!(reply.starts_with("250"), "{text}: {reply}");
        readers.iter().for_each(|reader| self.due[*reader] += 1);
    }

    /// Waits until everybody has what is due, and nobody more.
    fn arrived(&self, text: &str, readers: &[usize]) {
        for (member, due) in self.up.lab.members.iter().zip(self.due) {
            self.up.wait_copies(&member.address, due);
        }
        self.up.drained();
        for (number, (member, due)) in self.up.lab.members.iter().zip(self.due).enumerate() {
            let copies = self.up.copies(&member.address);
            assert_eq!(copies.len(), due, "{text}: {}", member.address);
            if readers.contains(&number) {
                assert_eq!(decrypt(member, copies.last().unwrap()).unwrap(), text);
            }
        }
    }

    fn told(&mut self, text: &str, readers: &[usize]) {
        self.post(text, readers);
        self.arrived(text, readers);
    }

    fn member(&self, what: &str, number: usize) {
        self.up.run("certsrv", &["member", what, &self.up.lab.list, &self.up.lab.members[number].address]);
    }

    /// Waits until both consumers have come as far as certsrv.
    fn caught_up(&self) {
        let at = |service: &str| -> u64 {
            let status: serde_json::Value = serde_json::from_str(&self.up.run(service, &["--json", "status"])).unwrap();
            status["feed_sequence"].as_u64().unwrap()
        };
        until("the feed", || at("groupsrv") == at("certsrv") && at("exploder") == at("certsrv"));
    }

    fn log_of(&self, service: &str) -> String {
        std::fs::read_to_string(self.up.dir.join(format!("{service}.log"))).unwrap()
    }
}

#[test]
fn a_lost_certsrv_is_restored_and_followed_only_when_its_consumers_administrators_say_so() {
    let mut story = Story { up: Up::new(&["--members", "3"]), due: [0; 3] };
    story.told("at first", &[0, 1, 2]);
    story.member("remove", 2);

    // The key is replaced while mail flows.
    for round in 0..3 {
        story.post(&format!("before rotation {round}"), &[0, 1]);
        story.up.run("certsrv", &["feed", "rotate-key"]);
        story.post(&format!("after rotation {round}"), &[0, 1]);
    }
    story.arrived("", &[]);
    story.caught_up();
    for service in ["groupsrv", "exploder"] {
        assert!(!warnings(&story.up, service).contains("ALARM"), "{service}");
    }

    let backup = story.up.dir.join("backup");
    let shown = story.up.run("certsrv", &["backup", "--out", backup.to_str().unwrap()]);
    assert!(shown.contains("private keys of the CAs in it are sealed, and useless without the credential"), "{shown}");
    story.member("add", 2);
    story.member("remove", 1);
    story.caught_up();
    story.told("after the backup", &[0, 2]);

    lost_and_restored(&mut story, &backup);
    followed_again(&mut story);
    consumers_begin_anew(&mut story);
}

/// certsrv's host is lost. What is restored is refused: mail is taken, and nothing goes out.
fn lost_and_restored(story: &mut Story, backup: &Path) {
    story.up.stop("certsrv");
    std::fs::remove_dir_all(&story.up.lab.state.certsrv).unwrap();
    let told = story.up.run("certsrv", &["restore", "--from", backup.to_str().unwrap()]);
    assert!(told.contains("twinseal-exploder feed accept-generation 2"), "{told}");
    story.up.restart("certsrv");
    // Without the lease of before; groupsrv still has its own.
    story.up.restart("exploder");
    for service in ["groupsrv", "exploder"] {
        until("an alarm", || warnings(&story.up, service).contains("generation 2 where 1 is followed"));
        assert!(warnings(&story.up, service).contains("feed accept-generation"), "{service}: what to do");
        assert!(story.log_of(service).contains("ALARM"), "{service}");
    }
    assert!(metrics(&story.up.lab.exploder_http).contains("twinseal_exploder_feed_alarm 1"));
    story.post("in doubt", &[0, 1]);
    std::thread::sleep(Duration::from_secs(2));
    for member in &story.up.lab.members {
        let copies = story.up.copies(&member.address);
        let last = copies.last().map(|copy| decrypt(member, copy));
        assert_ne!(last, Some(Ok("in doubt".into())), "nothing leaves");
    }
    let queue = story.up.queue();
    assert_eq!(queue.as_array().unwrap().len(), 1);
    assert!(queue[0]["waiting"].as_str().unwrap().contains("lease"), "{queue}");
}

/// The administrators accept: the membership is the backup's, with m2 in it and m3 not, until that is put right.
fn followed_again(story: &mut Story) {
    let refused = story.up.bin("groupsrv", &["feed", "accept-generation", "0"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("never go back"));
    for service in ["groupsrv", "exploder"] {
        story.up.run(service, &["feed", "accept-generation", "2"]);
    }
    story.arrived("in doubt", &[0, 1]);
    story.caught_up();
    story.member("remove", 1);
    story.member("add", 2);
    story.caught_up();
    story.told("put right", &[0, 2]);
    for service in ["groupsrv", "exploder"] {
        assert!(warnings(&story.up, service).contains("over now"), "{service}: it is shown until it is understood");
        story.up.run(service, &["feed", "acknowledge"]);
        assert!(!warnings(&story.up, service).contains("alarm"), "{service}");
        assert!(story.log_of(service).contains("roster replaced by a snapshot"), "{service}");
    }
    assert!(metrics(&story.up.lab.exploder_http).contains("twinseal_exploder_feed_alarm 0"));
    assert!(story.up.run("groupsrv", &["audit", "show"]).contains("generation-accepted generation=2"));
    story.up.run("groupsrv", &["audit", "verify"]);
}

/// An exploder without its index, and a groupsrv that was itself put back, take certsrv's state.
fn consumers_begin_anew(story: &mut Story) {
    let snapshots =
        |story: &Story, service: &str| story.log_of(service).matches("roster replaced by a snapshot").count();
    let before = snapshots(story, "exploder");
    story.up.stop("exploder");
    std::fs::remove_dir_all(story.up.lab.state.exploder.join("index")).unwrap();
    story.up.restart("exploder");
    story.caught_up();
    assert_eq!(snapshots(story, "exploder"), before + 1);
    story.told("from a new index", &[0, 2]);

    let before = snapshots(story, "groupsrv");
    story.up.run("groupsrv", &["feed", "resync"]);
    until("the snapshot", || snapshots(story, "groupsrv") == before + 1);
    story.up.stop("groupsrv");
    assert!(story.up.run("groupsrv", &["feed", "resync"]).contains("snapshot"), "while it is stopped, too");
    story.up.restart("groupsrv");
    until("the snapshot", || snapshots(story, "groupsrv") == before + 2);
    story.told("at last", &[0, 2]);
    assert!(story.up.run("groupsrv", &["audit", "show"]).contains("roster-resync"));
}

#[test]
fn a_rotation_and_a_snapshot_survive_death_at_every_step() {
    let mut story = Story { up: Up::new(&["--members", "1"]), due: [0; 3] };
    // The next key's file, the entry, the index, feed.json.
    for point in [
        "durable.before-rename:1",
        "certsrv.commit.before-append",
        "certsrv.commit.after-append",
        "durable.before-rename:2",
        "certsrv.commit.after-apply",
    ] {
        story.up.restart_to_die("certsrv", point);
        assert!(!story.up.bin_briefly("certsrv", &["feed", "rotate-key"]).status.success(), "{point}");
        story.up.restart("certsrv");
        story.up.run("certsrv", &["feed", "rotate-key"]);
        story.caught_up();
        story.told(point, &[0]);
    }
    for point in ["groupsrv.roster.before-apply", "groupsrv.roster.after-apply"] {
        story.up.stop("groupsrv");
        story.up.run("groupsrv", &["feed", "resync"]);
        story.up.restart_to_die("groupsrv", point);
        let before = story.log_of("groupsrv").matches("roster replaced by a snapshot").count();
        story.up.restart("groupsrv");
        until("the snapshot", || {
            story.log_of("groupsrv").matches("roster replaced by a snapshot").count() == before + 1
        });
        story.told(point, &[0]);
    }
    for service in ["groupsrv", "exploder"] {
        assert!(!story.log_of(service).contains("ALARM"), "{service}");
    }
}
