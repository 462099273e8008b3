//! Command lines: CRLF only, of limited length, never more than one line in memory.

use crate::smtp::data::Fault;

/// Longest command line in octets with its CRLF: 512 (RFC 5321 section 4.5.3.1.4), 26 more for SIZE (RFC 1870) and 17
/// more for BODY (RFC 6152).
pub const MAX_LINE: usize = 512 + 26 + 17;
/// How long a line may be skipped before the connection is given up, in octets.
const MAX_SKIP: usize = 64 * 1024;

/// What [`LineReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its CRLF.
    Text(&'a [u8]),
    /// A line above [`MAX_LINE`]; it was skipped up to and with its CRLF.
    TooLong,
    /// An octet that no line may hold: the connection has to end.
    Fault(Fault),
    /// A line that does not end: the connection has to end.
    Endless,
    /// The input is used up.
    More,
}

/// Cuts the input into lines. One buffer serves all lines of a connection.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The line so far, up to [`MAX_LINE`].
    text: Vec<u8>,
    /// Its length, with what was skipped.
    length: usize,
    /// Its last octet was a CR.
    cr: bool,
    /// The line was given out; the next octet begins another.
    done: bool,
}

impl LineReader {
    /// Takes octets from the front of `input`: how many, and what they were.
    pub fn next(&mut self, input: &[u8]) -> (usize, Line<'_>) {
        if std::mem::take(&mut self.done) {
            self.text.clear();
            self.length = 0;
        }
        for (before, &octet) in input.iter().enumerate() {
            let after_cr = std::mem::replace(&mut self.cr, octet == b'\r');
            match octet {
                b'\n' if after_cr => {
                    self.done = true;
                    let fits = self.length <= MAX_LINE - 2;
                    return (before + 1, if fits { Line::Text(&self.text) } else { Line::TooLong });
                }
                _ if after_cr => return (before, Line::Fault(Fault::BareCr)),
                b'\n' => return (before, Line::Fault(Fault::BareLf)),
                0 => return (before, Line::Fault(Fault::Nul)),
                b'\r' => {}
                _ => {
                    self.length += 1;
                    if self.length <= MAX_LINE - 2 {
                        self.text.push(octet);
                    } else if self.length > MAX_SKIP {
                        return (before, Line::Endless);
                    }
                }
            }
        }
        (input.len(), Line::More)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    /// The lines as owned values, with `chunk` octets at a time.
    fn lines(input: &[u8], chunk: usize) -> Vec<String> {
        let mut reader = LineReader::default();
        let mut out = Vec::new();
        for mut part in input.chunks(chunk) {
            loop {
                let (used, line) = reader.next(part);
                part = &part[used..];
                match line {
                    Line::More => break,
                    Line::Text(text) => out.push(String::from_utf8_lossy(text).into_owned()),
                    Line::Fault(_) | Line::Endless => {
                        out.push(format!("{line:?}"));
                        return out;
                    }
                    Line::TooLong => out.push("too long".to_owned()),
                }
            }
        }
        out
    }

    #[test]
    fn lines_end_with_crlf_only_and_are_limited() {
        let long = |n: usize| format!("{}\r\nNOOP\r\n", "x".repeat(n)).into_bytes();
        for chunk in [1, 7, 100_000] {
            assert_eq!(lines(b"a\r\n\r\nb c\r\nrest", chunk), ["a", "", "b c"]);
            assert_eq!(lines(b"a\nb\r\n", chunk), ["Fault(BareLf)"]);
            assert_eq!(lines(b"a\rb\r\n", chunk), ["Fault(BareCr)"]);
            assert_eq!(lines(b"a\r\r\n", chunk), ["Fault(BareCr)"]);
            assert_eq!(lines(b"a\0\r\n", chunk), ["Fault(Nul)"]);
            assert_eq!(lines(&long(MAX_LINE - 2), chunk)[0].len(), MAX_LINE - 2);
            assert_eq!(lines(&long(MAX_LINE - 1), chunk), ["too long", "NOOP"]);
            assert_eq!(lines(&long(1_000_000), chunk), ["Endless"]);
        }
    }
}
