//! Nobody sees what they must not: the text, the key, the subject and the addresses of one mail are looked for in the
//! files, the logs and the memory of each service.

use crate::support::{Up, cms_of, encrypt};
use std::fs;
use std::io::{Cursor, Read as _, Seek as _};
use std::path::Path;
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::cms::unwrap::{RejectionSecret, SoftwareKey, unwrap};

#[test]
fn text_key_subject_and_addresses_stay_where_they_belong() {
    let up = Up::new(&["--members", "3"]);
    let sender = up.lab.members[0].address.clone();
    let text = "canary-text-7f3a91c2 ".repeat(40);
    let mail = encrypt(&up.lab, &sender, &text, &["-aes256"]);
    let mail = String::from_utf8(mail).unwrap().replace("Subject: to the team", "Subject: canary-subject-5d20b8e1");
    up.run("sink", &["stall"]);
    assert!(up.post(&sender, mail.as_bytes()).starts_with("250"));
    // Looked at while copies are under way, and again afterwards.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let body_piece = cms_of(mail.as_bytes());
    let body_piece = &body_piece[body_piece.len() - 200..body_piece.len() - 100];
    search(&up, body_piece, None);
    up.run("sink", &["accept"]);
    let copies = up.wait_copies(&sender, 1);
    up.drained();
    let cek = cek(&up, &fs::read(&copies[0]).unwrap());
    search(&up, body_piece, Some(&cek));
}

/// The message's content-encryption key, by the member's own key.
fn cek(up: &Up, copy: &[u8]) -> Vec<u8> {
    let member = &up.lab.members[0];
    let key = openssl::pkey::PKey::private_key_from_pem(&fs::read(&member.key).unwrap()).unwrap();
    let frame = scan(Cursor::new(cms_of(copy)), &Limits::default()).unwrap();
    let info = RecipientInfo::decode_bounded(&frame.recipient_infos[0]).unwrap();
    let rid = info.recipient_ids().next().unwrap().clone();
    let rejection = RejectionSecret::new(zeroize::Zeroizing::new([0; 32]));
    let key = SoftwareKey::new(&key).unwrap();
    unwrap(&info, &rid, &key, &frame.content_algorithm, &rejection).unwrap().cek.expose().to_vec()
}

fn search(up: &Up, body_piece: &[u8], cek: Option<&[u8]>) {
    let text = b"canary-text-7f3a91c2".as_slice();
    let subject = b"canary-subject-5d20b8e1".as_slice();
    let address = up.lab.members[1].address.as_bytes();
    let exploder: Vec<(&str, &[u8])> =
        [("text", text)].into_iter().chain(cek.map(|cek| ("message key", cek))).collect();
    let mut groupsrv = vec![("text", text), ("subject", subject), ("member's address", address), ("body", body_piece)];
    if let Some(cek) = cek {
        groupsrv.push(("message key", cek));
    }
    // What each of them does know must be found, or the search shows nothing.
    let (list, issuer) = (up.lab.list.as_bytes(), b"Twinseal members".as_slice());
    look("exploder", &up.lab.state.exploder, &up.dir.join("exploder.log"), up.lab.pids.exploder, &exploder, list);
    look("groupsrv", &up.lab.state.groupsrv, &up.dir.join("groupsrv.log"), up.lab.pids.groupsrv, &groupsrv, issuer);
    let certsrv = [("text", text), ("subject", subject), ("body", body_piece)];
    look("certsrv", &up.lab.state.certsrv, &up.dir.join("certsrv.log"), up.lab.pids.certsrv, &certsrv, address);
}

fn look(service: &str, state: &Path, log: &Path, pid: u32, needles: &[(&str, &[u8])], known: &[u8]) {
    let mut files = vec![log.to_owned()];
    collect(state, &mut files);
    for path in files {
        let octets = fs::read(&path).unwrap_or_default();
        for (what, needle) in needles {
            assert!(memchr::memmem::find(&octets, needle).is_none(), "{service}: {what} in {}", path.display());
        }
    }
    let regions = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut control = false;
    for line in regions.lines().filter(|l| l.contains(" rw") && !l.contains("[vvar]")) {
        let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut octets = vec![0; usize::try_from(end - start).unwrap()];
        memory.seek(std::io::SeekFrom::Start(start)).unwrap();
        if memory.read_exact(&mut octets).is_err() {
            continue;
        }
        control |= memchr::memmem::find(&octets, known).is_some();
        for (what, needle) in needles {
            assert!(memchr::memmem::find(&octets, needle).is_none(), "{service}: {what} in memory, {line}");
        }
    }
    assert!(control, "{service}: its memory could not be searched");
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
