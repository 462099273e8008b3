//! A service that is away delays mail; it never loses, bounces or bares it.

use crate::support::{Up, decrypt, encrypt};
use std::time::Duration;

#[test]
fn mail_waits_for_groupsrv_certsrv_and_the_smarthost() {
    let mut up = Up::new(&["--members", "2"]);
    let sender = up.lab.members[0].address.clone();
    let mut expected = 0;
    for away in ["groupsrv", "certsrv"] {
        up.stop(away);
        let mail = encrypt(&up.lab, &sender, &format!("while {away} is away"), &["-aes256"]);
        assert!(up.post(&sender, &mail).starts_with("250"), "taken while {away} is away");
        expected += 1;
        if away == "groupsrv" {
            std::thread::sleep(Duration::from_millis(500));
            assert!(up.copies(&sender).len() < expected, "nothing can go out without groupsrv");
            assert_eq!(up.queue().as_array().unwrap().len(), 1);
        }
        up.restart(away);
        for member in &up.lab.members {
            let copies = up.wait_copies(&member.address, expected);
            assert_eq!(decrypt(member, copies.last().unwrap()).unwrap(), format!("while {away} is away"));
        }
        up.drained();
    }
    for behaviour in ["defer", "drop"] {
        up.run("sink", &[behaviour]);
        let mail = encrypt(&up.lab, &sender, &format!("the smarthost says {behaviour}"), &["-aes256"]);
        assert!(up.post(&sender, &mail).starts_with("250"));
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(up.copies(&sender).len(), expected);
        up.run("sink", &["accept"]);
        expected += 1;
        for member in &up.lab.members {
            up.wait_copies(&member.address, expected);
        }
        up.drained();
    }
    assert_eq!(up.sink().delivered, 2 * expected as u64, "each copy once");
    for member in &up.lab.members {
        for copy in up.copies(&member.address) {
            assert!(!std::fs::read_to_string(copy).unwrap().contains("is away\r\n"), "nothing in clear");
        }
    }
}
