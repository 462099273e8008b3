//! The lab keeps its promises to those who script against it (DESIGN 6).

use crate::support::{Up, decrypt, encrypt};
use std::time::{Duration, Instant};

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn ports_and_state_survive_the_death_of_a_daemon() {
    let mut up = Up::new(&["--members", "2", "--sink-keep", "1"]);
    let sender = up.lab.members[0].address.clone();
    let (smtp, before) = (up.lab.smtp.clone(), up.lab.pids.exploder);
    kill(before);
    up.restart("exploder");
    assert_ne!(up.lab.pids.exploder, before, "lab.json has the new process");
    assert_eq!(up.lab.smtp, smtp);
    for text in ["first", "second"] {
        let mail = encrypt(&up.lab, &sender, text, &["-aes256"]);
        assert!(up.post(&sender, &mail).starts_with("250"));
        up.drained();
    }
    let member = &up.lab.members[1];
    let copies = up.copies(&member.address);
    assert_eq!((copies.len(), up.sink().delivered, up.sink().recipients), (1, 4, 2), "one kept each, all counted");
    assert_eq!(decrypt(member, &copies[0]).unwrap(), "first");
}

#[test]
fn the_daemons_die_with_the_lab() {
    let up = Up::new(&["--members", "1"]);
    let pids = [up.lab.pids.certsrv, up.lab.pids.groupsrv, up.lab.pids.exploder];
    assert!(pids.iter().all(|pid| lives(*pid)));
    kill(up.pid());
    let until = Instant::now() + Duration::from_secs(5);
    while pids.iter().any(|pid| lives(*pid)) {
        assert!(Instant::now() < until, "a daemon outlives its lab");
        std::thread::sleep(Duration::from_millis(20));
    }
}
