//! Every form that the group opens, re-wrapped to every sort of member, read by the `openssl` command.

use crate::support::{Identity, copy_with, openssl_decrypts};
use std::io::{self, BufRead, BufReader, Read};
use twinseal_proto::cms::algorithm::ContentKind;
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::choose::{Choice, choose};
use twinseal_proto::cms::content::{Sealing, decrypt, encrypt};
use twinseal_proto::cms::frame::{FrameError, Limits, scan};
use twinseal_proto::cms::recipient::{Hash, RecipientInfo};
use twinseal_proto::cms::unwrap::unwrap;
use twinseal_proto::cms::wrap::{MemberKey, RsaScheme};

const NAMES: [&str; 4] = ["rsa2048", "rsa3072", "p256", "p384"];
const PLAIN: &[u8] = b"Content-Type: text/plain\r\n\r\nHello, list.\r\n";

/// The member's key in all ways in which it can be named and used.
fn member_keys(member: &Identity) -> Vec<MemberKey> {
    let der = member.der();
    let certificate = CertificateKey::read(&der).unwrap();
    let schemes = [RsaScheme::Pkcs1v15, RsaScheme::Oaep(Hash::Sha1), RsaScheme::Oaep(Hash::Sha256)];
    let rids = [certificate.issuer_and_serial.clone(), certificate.subject_key_id.clone().unwrap()];
    rids.iter()
        .flat_map(|rid| schemes.map(|scheme| MemberKey::new(rid.clone(), certificate.spki, scheme).unwrap()))
        .collect()
}

#[test]
fn what_we_write_openssl_reads_and_we_do() {
    for name in NAMES {
        let group = Identity::of_vectors(name);
        for sealing in [Sealing::Aes256Cbc, Sealing::Aes256Gcm] {
            let message = encrypt(PLAIN, sealing, &[group.member_key(), Identity::of_vectors("rsa2048").member_key()]);
            let message = message.unwrap();
            assert_eq!(openssl_decrypts(&message, &group).as_deref(), Some(PLAIN));

            let frame = scan(message.as_slice(), &Limits::default()).unwrap();
            let found = choose(&frame.recipient_infos, |rid| group.is_named_by(rid).then_some(()));
            // rsa2048 is named twice, with two different blocks: no key is asked two questions by one message.
            let Choice::Chosen(chosen) = found.unwrap() else {
                assert_eq!(name, "rsa2048");
                continue;
            };
            let info = RecipientInfo::decode_bounded(&chosen.der).unwrap();
            let key = group.software_key();
            let rejection = key.rejection_secret().unwrap();
            let cek = unwrap(&info, &chosen.rid, &key, &frame.content_algorithm, &rejection).unwrap().cek;
            assert_eq!(*decrypt(&frame, &message, &cek).unwrap(), PLAIN);

            for member in NAMES.map(Identity::of_vectors) {
                for key in member_keys(&member) {
                    let copy = copy_with(&frame, &message, &key.wrap(&cek).unwrap());
                    assert_eq!(openssl_decrypts(&copy, &member).as_deref(), Some(PLAIN));
                    assert_copy(&copy, &key);
                }
            }
        }
    }
}

/// A copy has the version of RFC 5652 section 6.1, one RecipientInfo and nothing around the message.
fn assert_copy(copy: &[u8], key: &MemberKey) {
    let frame = scan(copy, &Limits::default()).unwrap();
    let [info] = frame.recipient_infos.as_slice() else { panic!("one RecipientInfo") };
    let info = RecipientInfo::decode(info).unwrap();
    assert!(info.recipient_ids().eq([key.recipient_id()]));
    let named_by_serial = format!("{:?}", key.recipient_id()).starts_with("IssuerAndSerial");
    let plain_transport = matches!(info, RecipientInfo::KeyTransport(_)) && named_by_serial;
    let version = if frame.kind == ContentKind::AuthEnvelopedData || plain_transport { 0 } else { 2 };
    assert_eq!(frame.cms_version, version);
}

#[test]
fn a_content_of_any_size_takes_the_same_memory() {
    /// Gives the octets of a huge ciphertext without holding them.
    struct Huge {
        before: &'static [u8],
        zeros: u64,
    }
    impl Read for Huge {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("the scan reads through the buffer")
        }
    }
    impl BufRead for Huge {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
            let zeros = self.zeros.min(ZEROS.len() as u64) as usize;
            Ok(if self.before.is_empty() { &ZEROS[..zeros] } else { self.before })
        }
        fn consume(&mut self, octets: usize) {
            if self.before.is_empty() { self.zeros -= octets as u64 } else { self.before = &self.before[octets..] }
        }
    }
    // 2^40 octets in one primitive string: a length in 6 octets.
    let huge = Huge {
        before: b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80\x02\x01\x00\x31\x02\x30\x00\
            \x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\x30\x1d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\
            \x04\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\x85\x01\0\0\0\0",
        zeros: (1 << 32) + 8,
    };
    let frame = scan(huge, &Limits::default()).unwrap();
    assert_eq!(frame.content_octets, 1 << 32);
    assert_eq!(frame.end - frame.eci_end, 0);
    assert_eq!(frame.total - frame.end, 6, "three levels end");
}

#[test]
fn limits_of_the_caller_hold() {
    let key = Identity::of_vectors("p256").member_key();
    let message = encrypt(PLAIN, Sealing::Aes256Cbc, &[key]).unwrap();
    let limits = |recipient_set, recipients| Limits { recipient_set, recipients };
    assert!(scan(message.as_slice(), &limits(1000, 1)).is_ok());
    for limits in [limits(100, 1), limits(1000, 0)] {
        assert!(matches!(scan(message.as_slice(), &limits), Err(FrameError::TooLarge { .. })));
    }
}

#[test]
fn a_changed_content_is_refused() {
    let group = Identity::of_vectors("p256");
    let message = encrypt(PLAIN, Sealing::Aes256Gcm, &[group.member_key()]).unwrap();
    let frame = scan(message.as_slice(), &Limits::default()).unwrap();
    let info = RecipientInfo::decode(&frame.recipient_infos[0]).unwrap();
    let rid = info.recipient_ids().next().unwrap();
    let key = group.software_key();
    let cek = unwrap(&info, rid, &key, &frame.content_algorithm, &key.rejection_secret().unwrap()).unwrap().cek;
    for at in (frame.end - 20) as usize..frame.end as usize {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert!(decrypt(&frame, &changed, &cek).is_err(), "octet {at}");
    }
}

#[test]
fn a_source_that_fails_is_no_fault_of_the_message() {
    /// Is interrupted once, gives two octets, then fails.
    struct Failing(u8);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => (&b"\x30\x80"[..]).read(buffer),
                _ => Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
    let error = scan(BufReader::new(Failing(0)), &Limits::default());
    assert!(matches!(error, Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset));
}
