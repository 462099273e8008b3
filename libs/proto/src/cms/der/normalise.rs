//! BER made into DER.

use super::{DerError, Fault, Header, HeaderOctets, Length, Tag};
use crate::cms::labels::MAX_DEPTH;

/// One BER value as DER: definite, shortest lengths; segmented OCTET STRINGs joined. The order inside a SET is kept, and
/// so is the content of primitives: what was wrong in there stays wrong.
///
/// # Errors
/// [`DerError`] if the octets are not exactly one value, or nest deeper than [`MAX_DEPTH`].
pub fn normalise(ber: &[u8], what: &'static str) -> Result<Vec<u8>, DerError> {
    let mut rest = ber;
    let der = normalise_next(&mut rest, what)?;
    if rest.is_empty() { Ok(der) } else { Err(Fault::Trailing.in_type(what)) }
}

/// Takes the next BER value off `rest`, as [`normalise`] makes it.
pub(crate) fn normalise_next(rest: &mut &[u8], what: &'static str) -> Result<Vec<u8>, DerError> {
    let mut der = Vec::new();
    normalise_one(rest, &mut der, MAX_DEPTH).map_err(|fault| fault.in_type(what))?;
    Ok(der)
}

fn normalise_one(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
    let header = take_header(rest)?;
    if !header.tag.is_constructed() {
        let value = take_content(rest, header.length)?;
        out.extend_from_slice(&HeaderOctets::new(header.tag, value.len() as u64));
        out.extend_from_slice(value);
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or(Fault::Depth)?;
    let mut content = Vec::new();
    each_inner(rest, header.length, |inner| {
        if header.tag == Tag::SEGMENTED_OCTETS {
            join_segments(inner, &mut content, depth)
        } else {
            normalise_one(inner, &mut content, depth)
        }
    })?;
    let tag = if header.tag == Tag::SEGMENTED_OCTETS { Tag::OCTET_STRING } else { header.tag };
    out.extend_from_slice(&HeaderOctets::new(tag, content.len() as u64));
    out.append(&mut content);
    Ok(())
}

/// Appends the octets of one segment of an OCTET STRING, which may itself be segmented (X.690 section 8.7.3).
fn join_segments(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
    let header = take_header(rest)?;
    match header.tag {
        Tag::OCTET_STRING => out.extend_from_slice(take_content(rest, header.length)?),
        Tag::SEGMENTED_OCTETS => {
            let depth = depth.checked_sub(1).ok_or(Fault::Depth)?;
            each_inner(rest, header.length, |inner| join_segments(inner, out, depth))?;
        }
        other => return Err(Fault::Tag(other.0)),
    }
    Ok(())
}

/// Calls `read` for each value inside a constructed one, of either form of length.
fn each_inner(
    rest: &mut &[u8],
    length: Length,
    mut read: impl FnMut(&mut &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if let Length::Definite(_) = length {
        let mut inner = take_content(rest, length)?;
        while !inner.is_empty() {
            read(&mut inner)?;
        }
        return Ok(());
    }
    loop {
        match rest {
            [0, 0, after @ ..] => {
                *rest = after;
                return Ok(());
            }
            [0, ..] => return Err(Fault::Tag(0)),
            _ => read(rest)?,
        }
    }
}

fn take_header(rest: &mut &[u8]) -> Result<Header, Fault> {
    let mut octets = rest.iter();
    let header = Header::read(|| octets.next().copied().ok_or(Fault::Truncated), |fault| fault)?;
    *rest = octets.as_slice();
    Ok(header)
}

fn take_content<'a>(rest: &mut &'a [u8], length: Length) -> Result<&'a [u8], Fault> {
    let Length::Definite(length) = length else {
        return Err(Fault::Length);
    };
    let length = usize::try_from(length).map_err(|_| Fault::Overrun)?;
    let (value, after) = rest.split_at_checked(length).ok_or(Fault::Overrun)?;
    *rest = after;
    Ok(value)
}
