#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

fn header(octets: &[u8]) -> Result<(Header, usize), Fault> {
    let mut rest = octets.iter();
    let header = Header::read(|| rest.next().copied().ok_or(Fault::Truncated), |fault| fault)?;
    Ok((header, octets.len() - rest.as_slice().len()))
}

proptest! {
    #[test]
    fn headers_read_back(tag in 1_u8..=255, bits in 0_u32..56, low: u64) {
        prop_assume!(tag & 0x1f != 0x1f);
        let length = (1_u64 << bits) | (low & ((1 << bits) - 1));
        let written = HeaderOctets::new(Tag(tag), length);
        let expected = Header { tag: Tag(tag), length: Length::Definite(length), shortest: true };
        prop_assert_eq!(header(&written), Ok((expected, written.len())));
        prop_assert_eq!(tlv_len(length), written.len() as u64 + length);
    }

    #[test]
    fn der_is_its_own_normal_form(depth in 0_usize..12, content in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut value = octet_string(&content);
        for _ in 0..depth {
            value = sequence(&[&value, NULL]);
        }
        prop_assert_eq!(normalise(&value, "value").unwrap(), value);
    }

    #[test]
    fn normal_forms_are_der(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(der) = normalise(&octets, "value") {
            prop_assert_eq!(normalise(&der, "value").unwrap(), der.clone());
            prop_assert!(Reader::all(&der, "value", Reader::any).is_ok());
        }
    }
}

#[test]
fn ber_becomes_der() {
    let ber = b"\x30\x80\x24\x80\x04\x01\xaa\x24\x81\x03\x04\x01\xbb\0\0\x02\x82\0\x01\x05\0\0";
    assert_eq!(normalise(ber, "value").unwrap(), b"\x30\x07\x04\x02\xaa\xbb\x02\x01\x05");
    for (octets, fault) in [
        (b"\x30\x80\0".as_slice(), Fault::Tag(0)),
        (b"\x30\x80\x05\0", Fault::Truncated),
        (b"\x04\x80\0\0", Fault::Length),
        (b"\x24\x03\x02\x01\0", Fault::Tag(2)),
        (b"\x05\0\0", Fault::Trailing),
        (b"\x30\x02\0\0", Fault::Tag(0)),
        (&[0x30, 0x80].repeat(17), Fault::Depth),
    ] {
        assert_eq!(normalise(octets, "value"), Err(fault.in_type("value")));
    }
}

#[test]
fn object_identifiers_are_shown_in_decimals() {
    let shown = |octets: &[u8]| Oid::new(octets).to_string();
    assert_eq!(shown(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"), "1.2.840.113549.1.7.3");
    assert_eq!(shown(b"\x2b\x81\x04\x01\x0b\x01"), "1.3.132.1.11.1");
    assert_eq!(shown(b"\x88\x37\x03"), "2.999.3");
    assert_eq!(shown(b""), "");
}

#[test]
fn numbers_are_read_in_their_shortest_form_only() {
    let read = |octets: &[u8]| Reader::all(octets, "value", |reader| reader.integer().map(<[u8]>::to_vec));
    assert_eq!(read(b"\x02\x02\0\x80").unwrap(), [0, 0x80]);
    for octets in [b"\x02\0".as_slice(), b"\x02\x02\0\x7f", b"\x02\x02\xff\x80"] {
        assert_eq!(read(octets), Err(Fault::Value.in_type("value")));
    }
}
