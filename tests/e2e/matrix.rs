//! Every form that `openssl cms` writes, through the running services, to members of every kind of key.

use crate::support::{Up, cms_of, decrypt, encrypt};
use std::io::Cursor;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::frame::{Frame, Limits, scan};
use twinseal_proto::cms::recipient::RecipientInfo;

const CIPHERS: [&str; 4] = ["-aes128", "-aes192", "-aes256", "-aes-256-gcm"];

/// The options of one wrapped key: everything but the recipient.
struct Transport {
    name: &'static str,
    options: &'static [&'static str],
}

const RSA: [Transport; 3] = [
    Transport { name: "v1.5", options: &[] },
    Transport { name: "OAEP SHA-1", options: &["-keyopt", "rsa_padding_mode:oaep"] },
    Transport { name: "OAEP SHA-256", options: &["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"] },
];
const EC: [Transport; 2] = [
    Transport { name: "ECDH sha1", options: &[] },
    Transport { name: "ECDH sha256", options: &["-keyopt", "ecdh_kdf_md:sha256"] },
];

#[test]
fn rsa_group() {
    run("rsa3072", &RSA);
}

#[test]
fn p256_group() {
    run("p256", &EC);
}

fn run(group: &str, transports: &[Transport]) {
    let up = Up::new(&["--members", "4", "--group-alg", group, "--member-alg", "rsa2048,rsa3072,p256,p384"]);
    let sender = up.lab.members[0].address.clone();
    let list = up.lab.group_cert.display().to_string();
    let other = up.lab.members[1].cert.display().to_string();
    let mut sent: Vec<(String, Vec<u8>)> = Vec::new();
    for transport in transports {
        for cipher in CIPHERS {
            for stream in [false, true] {
                for key_id in [false, true] {
                    for second in [false, true] {
                        let text = format!("{} {cipher} {stream} {key_id} {second}", transport.name);
                        let mut options = vec![cipher];
                        if stream {
                            options.push("-stream");
                        }
                        if key_id {
                            options.push("-keyid");
                        }
                        if second {
                            options.extend(["-recip", &other]);
                        }
                        options.extend(["-recip", &list]);
                        options.extend(transport.options);
                        let mail = encrypt(&up.lab, &sender, &text, &options);
                        let reply = up.post(&sender, &mail);
                        assert!(reply.starts_with("250"), "{text}: {reply}");
                        sent.push((text, mail));
                    }
                }
            }
        }
    }
    let refused = encrypt(&up.lab, &sender, "weak", &["-des3"]);
    let reply = up.post(&sender, &refused);
    assert!(reply.starts_with("550 5.7.6") && reply.contains("-aes256"), "{reply}");
    for member in &up.lab.members {
        let copies = up.wait_copies(&member.address, sent.len());
        let certificate =
            openssl::x509::X509::from_pem(&std::fs::read(&member.cert).unwrap()).unwrap().to_der().unwrap();
        let own = CertificateKey::read(&certificate).unwrap();
        let mut read = Vec::new();
        for copy in &copies {
            let text = decrypt(member, copy)
                .unwrap_or_else(|e| panic!("{} cannot read {}: {e}", member.address, copy.display()));
            let (_, original) =
                sent.iter().find(|(name, _)| *name == text).unwrap_or_else(|| panic!("who sent {text:?}?"));
            let (new, old) = (cms_of(&std::fs::read(copy).unwrap()), cms_of(original));
            let (frame, before) = (look(&new), look(&old));
            assert_eq!(frame.recipient_infos.len(), 1, "{text}: one RecipientInfo");
            let info = RecipientInfo::decode_bounded(&frame.recipient_infos[0]).unwrap();
            assert!(info.recipient_ids().all(|id| own.is_named_by(id)), "{text}: the reader's");
            assert_eq!(content(&new, &frame), content(&old, &before), "{text}: the content as it was sent");
            read.push(text);
        }
        read.sort();
        read.dedup();
        assert_eq!(read.len(), sent.len(), "{}: each message once", member.address);
    }
    println!("{group}: {} messages to {} members", sent.len(), up.lab.members.len());
}

fn look(cms: &[u8]) -> Frame {
    scan(Cursor::new(cms), &Limits::default()).unwrap()
}

fn content<'a>(cms: &'a [u8], frame: &Frame) -> &'a [u8] {
    &cms[usize::try_from(frame.ri_end).unwrap()..usize::try_from(frame.eci_end).unwrap()]
}
