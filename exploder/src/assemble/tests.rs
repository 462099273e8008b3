#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::intake::FrameFacts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use std::io::{Cursor, Seek as _};
use twinseal_proto::cms::frame::{ContentAlgorithm, Limits, scan};
use twinseal_proto::cms::labels;
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::GroupId;
use twinseal_proto::time::UnixTime;

/// A tail: EncryptedContentInfo of `blocks` AES blocks, as DER.
fn eci(blocks: usize) -> Vec<u8> {
    let content = vec![0xab; blocks * 16];
    let wrapped = [header(0x80, content.len()), content].concat();
    let oid = labels::DATA.octets();
    let data = [header(0x06, oid.len()), oid.to_vec()].concat();
    // AES-256-CBC with its IV.
    let aes =
        [&[0x30, 0x1d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a, 0x04, 0x10][..], &[9; 16]]
            .concat();
    let inner = [data, aes, wrapped].concat();
    [header(0x30, inner.len()), inner].concat()
}

fn header(tag: u8, length: usize) -> Vec<u8> {
    let octets: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
    match length {
        0..128 => vec![tag, length as u8],
        _ => [&[tag, 0x80 | octets.len() as u8][..], &octets].concat(),
    }
}

/// A KeyTransRecipientInfo with an encryptedKey of `length` octets.
fn recipient_info(length: usize) -> Vec<u8> {
    let rid = [&[0x30, 0x05][..], &[0x30, 0x00], &[0x02, 0x01, 0x07]].concat();
    let algorithm =
        [&[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00][..]].concat();
    let key = [header(0x04, length), vec![0x55; length]].concat();
    let inner = [&[0x02, 0x01, 0x00][..], &rid, &algorithm, &key].concat();
    [header(0x30, inner.len()), inner].concat()
}

/// The assembler for a message whose tail stands after `before` octets, with the body in memory or in a file.
fn assembler(tail: &[u8], before: usize, in_file: bool, tmp: &Path) -> Assembler {
    let octets = [vec![1; before], tail.to_vec(), vec![0, 0]].concat();
    let body = if in_file {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&octets).unwrap();
        file.rewind().unwrap();
        Body::in_file(file).unwrap()
    } else {
        Body::in_memory(octets.into())
    };
    Assembler::new(&post(facts(before, tail.len())), body, tmp).unwrap()
}

fn post(frame: FrameFacts) -> SpooledPost {
    SpooledPost {
        list: "team@lists.test".parse().unwrap(),
        group: GroupId::from_random([1; 16]),
        author: None,
        accepted: UnixTime(0),
        size: 0,
        header: ".a: b\r\nc: d\r\n\r\n".to_owned(),
        frame,
        recipient_info: B64(Vec::new()),
    }
}

fn facts(before: usize, tail: usize) -> FrameFacts {
    FrameFacts {
        authenticated: false,
        tail_start: before as u64,
        tail_end: (before + tail) as u64,
        unprotected_attributes: false,
        content_algorithm: ContentAlgorithm::Aes256Cbc,
    }
}

async fn copy(assembler: &Assembler, info: &[u8]) -> Vec<u8> {
    let head = assembler.head(info);
    let tail = match assembler.tail(head.alignment).await.unwrap() {
        Text::Memory(text) => text.to_vec(),
        Text::File(file, length) => {
            let mut text = vec![0; usize::try_from(*length).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&**file, &mut text, 0).unwrap();
            text
        }
    };
    [head.text, tail].concat()
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    assert_eq!(lines.last(), Some(&&b""[..]));
    assert!(lines.iter().rev().skip(1).all(|line| line.ends_with(b"\r") && line.len() <= 77));
    let characters: Vec<u8> = text.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
    STANDARD.decode(characters).unwrap()
}

#[tokio::test]
async fn a_copy_is_the_readers_recipient_info_and_the_tail_as_it_was_in_every_alignment() {
    let tmp = tempfile::tempdir().unwrap();
    for in_file in [false, true] {
        for blocks in [1, 7, 8000] {
            let tail = eci(blocks);
            let assembler = assembler(&tail, 1001, in_file, tmp.path());
            assert_eq!(assembler.header(), b"..a: b\r\nc: d\r\n\r\n");
            let mut alignments = std::collections::BTreeSet::new();
            for length in 256..262 {
                let info = recipient_info(length);
                alignments.insert(assembler.head(&info).alignment);
                let octets = decoded(&copy(&assembler, &info).await);
                let frame = scan(Cursor::new(&octets), &Limits::default()).unwrap();
                assert_eq!(frame.recipient_infos, [info]);
                assert_eq!(&octets[frame.ri_end as usize..frame.end as usize], tail);
                assert_eq!(frame.total as usize, octets.len());
            }
            assert_eq!(alignments.len(), 3);
        }
    }
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0, "the files have no names");
}

#[test]
fn a_body_that_is_not_the_records_is_refused() {
    let post = |tail_end| SpooledPost { frame: FrameFacts { tail_end, ..facts(5, 20) }, ..post(facts(5, 20)) };
    let body = || Body::in_memory(vec![0; 30].into());
    assert!(Assembler::new(&post(30), body(), Path::new("/")).is_ok());
    for tail_end in [31, 6, 0] {
        assert!(Assembler::new(&post(tail_end), body(), Path::new("/")).is_err());
    }
}

proptest! {
    #[test]
    fn stuffed_text_reads_back(text in "[.a\r\n]{0,40}") {
        let stuffed = String::from_utf8(dot_stuffed(text.as_bytes())).unwrap();
        let back: String = stuffed.split_inclusive('\n').map(|l| l.strip_prefix('.').unwrap_or(l)).collect();
        prop_assert_eq!(back, text.clone());
        prop_assert!(!stuffed.split('\n').any(|line| line.trim_end() == "."));
    }
}
