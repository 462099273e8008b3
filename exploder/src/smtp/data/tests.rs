#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

/// What came out: the text, the faults, and whether (and with how many octets left) the end was found.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    text: Vec<u8>,
    faults: Vec<Fault>,
    left: Option<usize>,
}

fn read(chunks: &[&[u8]]) -> Seen {
    let mut reader = DotReader::new();
    let mut seen = Seen { text: Vec::new(), faults: Vec::new(), left: None };
    for (i, chunk) in chunks.iter().enumerate() {
        let mut rest = *chunk;
        loop {
            let (used, piece) = reader.next(rest);
            rest = &rest[used..];
            match piece {
                Piece::Text(text) => {
                    assert!(!text.is_empty());
                    seen.text.extend_from_slice(text);
                }
                Piece::Fault(fault) => seen.faults.push(fault),
                Piece::More => {
                    assert!(rest.is_empty());
                    break;
                }
                Piece::End => {
                    seen.left = Some(rest.len() + chunks[i + 1..].iter().map(|c| c.len()).sum::<usize>());
                    return seen;
                }
            }
        }
    }
    seen
}

/// The client's side of RFC 5321 section 4.5.2.
fn stuff(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[test]
fn only_a_dot_alone_between_two_crlf_ends_a_message() {
    let rows: [(&[u8], &[u8], Option<usize>); 6] = [
        (b".\r\n", b"", Some(0)),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", Some(6)),
        (b"..\r\n.\r\n", b".\r\n", Some(0)),
        (b".a\r\n...b\r\n.\r\n", b"a\r\n..b\r\n", Some(0)),
        (b"a.\r\n", b"a.\r\n", None),
        (b"\r\n\r\n.\r\n", b"\r\n\r\n", Some(0)),
    ];
    for (input, text, left) in rows {
        assert_eq!(read(&[input]), Seen { text: text.to_vec(), faults: vec![], left });
    }
}

#[test]
fn lookalikes_of_the_end_are_faults() {
    for (input, fault) in [
        (&b"a\n.\n"[..], Fault::BareLf),
        (b"a\n.\r\n", Fault::BareLf),
        (b"a\r\n.\n", Fault::BareLf),
        (b"a\r.\r", Fault::BareCr),
        (b"a\r.\r\n", Fault::BareCr),
        (b"a\r\n.\rb", Fault::BareCr),
        (b"a\r\n\0.\r\n", Fault::Nul),
        (b"a\r\n.\0\r\n", Fault::Nul),
        (b"a\r\n.\r\r\n", Fault::BareCr),
    ] {
        let seen = read(&[input]);
        assert_eq!((seen.faults.first(), seen.left), (Some(&fault), None), "{input:?}");
    }
    // A CR too much, and then a true end.
    let seen = read(&[b"a\r\r\n.\r\n"]);
    assert_eq!((seen.faults, seen.left), (vec![Fault::BareCr], Some(0)));
}

proptest! {
    #[test]
    fn what_was_stuffed_comes_back(lines in proptest::collection::vec("[.a-z]{0,6}", 0..20)) {
        let text: Vec<u8> = lines.iter().flat_map(|l| format!("{l}\r\n").into_bytes()).collect();
        let seen = read(&[&stuff(&text)]);
        prop_assert_eq!(seen, Seen { text, faults: vec![], left: Some(0) });
    }

    #[test]
    fn cuts_in_the_input_change_nothing(
        input in proptest::collection::vec(proptest::sample::select(b".\r\n\0a".to_vec()), 0..40),
        cuts in proptest::collection::vec(0_usize..40, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        let whole = read(&[&input]);
        prop_assert_eq!(&read(&chunks), &whole);
        prop_assert_eq!(&read(&bytes), &whole);
    }
}
