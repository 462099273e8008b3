//! The octets between `354` and the final dot (RFC 5321 sections 4.1.1.4 and 4.5.2).
//!
//! Only `<CRLF>.<CRLF>` ends a message. A CR or LF that stands alone, and a NUL, are faults: the message will be
//! refused, but it is still read to its true end, so that nothing inside it can be taken for a command.

use memchr::memchr3;

/// An octet that no line may hold (RFC 5321 section 2.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A CR that is not followed by LF.
    BareCr,
    /// An LF that does not follow CR.
    BareLf,
    /// The octet 0.
    Nul,
}

/// What [`DotReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Octets of the message, un-stuffed; never empty.
    Text(&'a [u8]),
    /// A fault, after the text before it was given out.
    Fault(Fault),
    /// The final dot; what follows in the input is not part of the message.
    End,
    /// The input is used up.
    More,
}

/// Where in a line the reader stands. What was read and not yet given out is part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Just behind a CRLF.
    LineStart,
    /// Inside a line.
    Text,
    /// A CR was read.
    Cr,
    /// A dot was read at the start of a line.
    Dot,
    /// The same, and a CR.
    DotCr,
}

/// Finds the end of the message and takes away the dots that the client added (RFC 5321 section 4.5.2). It keeps no
/// octets of its own: text is given out as slices of the input.
#[derive(Debug)]
pub struct DotReader {
    at: At,
}

impl Default for DotReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DotReader {
    /// A reader at the start of a message: the CRLF of the DATA command stands before it.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// Takes octets from the front of `input`: how many, and what they were. Call again with the rest until it says
    /// [`Piece::More`] or [`Piece::End`].
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let Some(&octet) = rest.first() else {
                return (used, Piece::More);
            };
            match (self.at, octet) {
                (At::LineStart, b'.') => {
                    self.at = At::Dot;
                    used += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    used += 1;
                }
                // The dot of a longer line was stuffed, or is dropped all the same: section 4.5.2.
                (At::LineStart | At::Dot, _) => self.at = At::Text,
                (At::DotCr, b'\n') => return (used + 1, Piece::End),
                (At::Cr, b'\n') => {
                    self.at = At::LineStart;
                    return (used + 1, Piece::Text(b"\r\n"));
                }
                (At::Cr | At::DotCr, _) => {
                    self.at = At::Text;
                    return (used, Piece::Fault(Fault::BareCr));
                }
                (At::Text, _) => {
                    let (n, piece) = self.text(rest);
                    return (used + n, piece);
                }
            }
        }
    }

    /// Reads on inside a line, over as many whole lines as need no change. `rest` is not empty.
    fn text<'a>(&mut self, rest: &'a [u8]) -> (usize, Piece<'a>) {
        let mut from = 0;
        loop {
            let Some(found) = rest.get(from..).and_then(|r| memchr3(b'\r', b'\n', 0, r)) else {
                return (rest.len(), Piece::Text(rest));
            };
            let here = from + found;
            let fault = match (rest.get(here), rest.get(here + 1), rest.get(here + 2)) {
                (Some(b'\r'), Some(b'\n'), Some(b'.') | None) => {
                    self.at = At::LineStart;
                    return piece(rest, here + 2, here + 2);
                }
                (Some(b'\r'), Some(b'\n'), Some(_)) => {
                    from = here + 2;
                    continue;
                }
                (Some(b'\r'), None, _) => {
                    self.at = At::Cr;
                    return piece(rest, here, here + 1);
                }
                (Some(b'\r'), _, _) => Fault::BareCr,
                (Some(b'\n'), _, _) => Fault::BareLf,
                _ => Fault::Nul,
            };
            // The text before a fault goes out first; the fault is then met again, at the front.
            return if here == 0 { (1, Piece::Fault(fault)) } else { piece(rest, here, here) };
        }
    }
}

/// The first `length` octets of `rest` as text, `used` taken.
fn piece(rest: &[u8], length: usize, used: usize) -> (usize, Piece<'_>) {
    match rest.get(..length) {
        Some(text) if !text.is_empty() => (used, Piece::Text(text)),
        _ => (used, Piece::More),
    }
}

#[cfg(test)]
mod tests;
