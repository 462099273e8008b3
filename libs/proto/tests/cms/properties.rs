//! Properties: any BER of a message scans alike, copies say what they should, and no octets make anything panic.

use crate::support::{Identity, copy_with, decode_lines, vectors};
use proptest::prelude::*;
use std::io::BufReader;
use std::sync::LazyLock;
use twinseal_proto::cms::algorithm::ContentKind;
use twinseal_proto::cms::assemble::{Alignment, CopyShape, LineEncoder};
use twinseal_proto::cms::choose::choose;
use twinseal_proto::cms::content::decrypt;
use twinseal_proto::cms::der::{HeaderOctets, Reader, Tag};
use twinseal_proto::cms::frame::{ContentAlgorithm, Frame, Limits, scan};
use twinseal_proto::cms::recipient::RecipientInfo;
use twinseal_proto::cms::unwrap::{Checked, PrivateKeyOps, unwrap};

/// DER messages to start from: the well-formed vectors that are DER, with the key that opens each.
static MESSAGES: LazyLock<Vec<(Vec<u8>, Identity)>> = LazyLock::new(|| {
    let mut messages = Vec::new();
    for name in ["rsa-v15-cbc128", "rsa-v15-gcm256", "p256-sha256", "rsa-oaep-sha256", "kek-and-password"] {
        let text = std::fs::read_to_string(vectors().join(format!("wellformed/{name}.txt"))).unwrap();
        let (header, body) = text.split_once("\n\n").unwrap();
        let key = header.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
        messages.push((openssl::base64::decode_block(&body.replace('\n', "")).unwrap(), Identity::of_vectors(key)));
    }
    messages
});

/// How the next value is written, and where the next string is cut: taken from random octets, which repeat.
struct Whims<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Whims<'_> {
    fn next(&mut self) -> u8 {
        *self.0.next().unwrap()
    }
}

/// One DER value in some BER encoding. Strings that may be cut into segments sometimes are.
fn ber(der: &mut Reader<'_>, whims: &mut Whims<'_>, out: &mut Vec<u8>) {
    let value = der.any().unwrap();
    let mut tag = value.tag;
    let mut content = Vec::new();
    let is_content = tag == Tag::context(0) && value.value.len() > 64;
    if tag.is_constructed() {
        let mut inner = Reader::new(value.value, "inner");
        while !inner.is_empty() {
            ber(&mut inner, whims, &mut content);
        }
    } else if (tag == Tag::OCTET_STRING || is_content) && whims.next().is_multiple_of(2) {
        tag = Tag(tag.0 | 0x20);
        segments(value.value, whims, &mut content, 3);
    } else {
        content = value.value.to_vec();
    }
    write(tag, &content, whims, out);
}

/// The octets in segments, some of them segmented again.
fn segments(mut octets: &[u8], whims: &mut Whims<'_>, out: &mut Vec<u8>, depth: u8) {
    while !octets.is_empty() {
        let (segment, rest) = octets.split_at(octets.len().min(usize::from(whims.next()) * 8));
        octets = rest;
        if depth > 0 && whims.next().is_multiple_of(4) {
            let mut inner = Vec::new();
            segments(segment, whims, &mut inner, depth - 1);
            write(Tag::SEGMENTED_OCTETS, &inner, whims, out);
        } else {
            write(Tag::OCTET_STRING, segment, whims, out);
        }
    }
}

fn write(tag: Tag, content: &[u8], whims: &mut Whims<'_>, out: &mut Vec<u8>) {
    match whims.next() % 3 {
        0 if tag.is_constructed() => {
            out.extend([tag.0, 0x80]);
            out.extend(content);
            out.extend([0, 0]);
        }
        1 => {
            // A length in more octets than it needs.
            out.extend([tag.0, 0x85]);
            out.extend(&(content.len() as u64).to_be_bytes()[3..]);
            out.extend(content);
        }
        _ => {
            out.extend(&*HeaderOctets::new(tag, content.len() as u64));
            out.extend(content);
        }
    }
}

/// All that a group does with a message.
fn whole_way(message: &[u8], frame: &Frame, group: &Identity) -> Vec<u8> {
    let key = group.software_key();
    let rejection = key.rejection_secret().unwrap();
    let infos: Vec<_> = frame.recipient_infos.iter().map(|info| RecipientInfo::decode(info).unwrap()).collect();
    let mut mine = infos.iter().flat_map(|info| info.recipient_ids().map(move |rid| (info, rid)));
    let (info, rid) = mine.find(|(_, rid)| group.is_named_by(rid)).unwrap();
    let cek = unwrap(info, rid, &key, &frame.content_algorithm, &rejection).unwrap().cek;
    decrypt(frame, message, &cek).unwrap().to_vec()
}

proptest! {
    #[test]
    fn any_ber_of_a_message_scans_alike(whims in prop::collection::vec(any::<u8>(), 1..200), which: prop::sample::Index, buffer in 1_usize..100) {
        let (der, group) = which.get(&MESSAGES);
        let mut message = Vec::new();
        // The content must be cut at least once in 2040 octets for the walk to end.
        let whims = [whims, vec![255, 3]].concat();
        ber(&mut Reader::new(der, "message"), &mut Whims(whims.iter().cycle()), &mut message);

        let expected = scan(der.as_slice(), &Limits::default()).unwrap();
        let frame = scan(BufReader::with_capacity(buffer, message.as_slice()), &Limits::default()).unwrap();
        prop_assert_eq!(&frame.recipient_infos, &expected.recipient_infos);
        prop_assert_eq!(frame.total, message.len() as u64);
        let same = |frame: &Frame| (frame.kind, frame.cms_version, frame.content_octets, frame.has_unprotected_attrs,
            frame.attributes_follow, frame.content_algorithm.clone());
        prop_assert_eq!(same(&frame), same(&expected));
        let plain = std::fs::read(vectors().join("plain.txt")).unwrap();
        prop_assert_eq!(&whole_way(&message, &frame, group), &plain);

        // A copy of it: definite around an unchanged tail.
        let copy = copy_with(&frame, &message, &group.member_key().wrap(&twinseal_proto::secret::Cek::new(
            zeroize::Zeroizing::new(vec![0; expected.content_algorithm.key_len().unwrap()])).unwrap()).unwrap());
        let copied = scan(copy.as_slice(), &Limits::default()).unwrap();
        prop_assert_eq!(&copy[copied.ri_end as usize..], &message[frame.ri_end as usize..frame.end as usize]);
        prop_assert_eq!(copied.end, copied.total, "no end-of-contents octets of outer levels");
        prop_assert_eq!(copied.recipient_infos.len(), 1);
    }

    #[test]
    fn heads_and_tails_join_for_every_alignment(info_len in 0_usize..1200, tail in prop::collection::vec(any::<u8>(), 2..600), auth: bool, attrs: bool, pieces in prop::collection::vec(1_usize..200, 1..20)) {
        let kind = if auth { ContentKind::AuthEnvelopedData } else { ContentKind::EnvelopedData };
        let shape = CopyShape::of(&frame_with(kind, tail.len() as u64, attrs));
        let info = [&*HeaderOctets::new(Tag::SEQUENCE, info_len as u64), &vec![7; info_len]].concat();
        let head = shape.head(&info, [tail[0], tail[1]]);
        let mut text = head.text.clone();
        prop_assert!(text.ends_with(b"\r\n") && !text.contains(&b'='), "complete, and nothing padded");

        let mut lines = LineEncoder::new();
        let mut rest = &tail[head.alignment.octets()..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            lines.push(now, &mut text);
            rest = later;
            if rest.is_empty() { break }
        }
        lines.finish(&mut text);
        prop_assert_eq!((text.len() - head.text.len()) as u64, shape.tail_text_len(head.alignment));

        let message = decode_lines(&text);
        let mut outer = Reader::new(&message, "ContentInfo");
        let mut fields = outer.enter(Tag::SEQUENCE, "ContentInfo").unwrap();
        prop_assert!(outer.is_empty());
        prop_assert_eq!(fields.oid().unwrap(), kind.oid());
        let mut enveloped = fields.enter(Tag::context_constructed(0), "content").unwrap().enter(Tag::SEQUENCE, "enveloped").unwrap();
        prop_assert_eq!(enveloped.small().unwrap(), if auth { 0 } else { 2 });
        prop_assert_eq!(enveloped.element(Tag::SET).unwrap().value, &info);
        prop_assert_eq!(enveloped.rest(), &tail);
    }

    #[test]
    fn no_octets_make_a_scan_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = scan(octets.as_slice(), &Limits::default());
    }

    #[test]
    fn no_change_makes_anything_panic(which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: Option<prop::sample::Index>) {
        let (der, group) = which.get(&MESSAGES);
        let mut message = der.clone();
        // Most octets are ciphertext: change what comes before it.
        let structure = message.len().min(700);
        for (at, octet) in changes {
            message[at.index(structure)] = octet;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(der.len()));
        }
        let Ok(frame) = scan(message.as_slice(), &Limits::default()) else { return Ok(()) };
        prop_assert!(frame.ri_start < frame.ri_end && frame.ri_end < frame.eci_end);
        prop_assert!(frame.eci_end <= frame.end && frame.end <= frame.total);
        let _ = choose(&frame.recipient_infos, |rid| group.is_named_by(rid).then_some(()));
        let key = group.software_key();
        for info in frame.recipient_infos.iter().filter_map(|info| RecipientInfo::decode(info).ok()) {
            for rid in info.recipient_ids() {
                let Ok(checked) = Checked::new(&info, rid, key.kind(), &frame.content_algorithm) else { continue };
                let Ok(opened) = checked.open(&key, &key.rejection_secret().unwrap()) else { continue };
                let _ = decrypt(&frame, &message, &opened.cek);
            }
        }
    }

    #[test]
    fn algorithms_are_short_texts(text in "(oid:)?[0-2](\\.[0-9]{1,3}){0,6}|(aes|des)-[0-9a-z-]{0,9}") {
        if let Ok(algorithm) = text.parse::<ContentAlgorithm>() {
            let json = serde_json::to_string(&algorithm).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<ContentAlgorithm>(&json).unwrap(), algorithm);
        }
    }
}

fn frame_with(kind: ContentKind, tail: u64, has_unprotected_attrs: bool) -> Frame {
    Frame {
        kind,
        cms_version: 0,
        ri_start: 0,
        ri_end: 100,
        eci_end: 100 + tail,
        end: 100 + tail,
        total: 100 + tail,
        has_unprotected_attrs,
        attributes_follow: has_unprotected_attrs,
        content_algorithm: ContentAlgorithm::Aes256Cbc,
        content_octets: 0,
        recipient_infos: Vec::new(),
    }
}

#[test]
fn every_alignment_occurs() {
    let shape = CopyShape::of(&frame_with(ContentKind::EnvelopedData, 5000, false));
    let alignment = |extra: usize| shape.head(&vec![0x30; 300 + extra], [1, 2]).alignment;
    let mut seen = [alignment(0), alignment(1), alignment(2)];
    seen.sort();
    assert_eq!(seen, Alignment::ALL);
}
