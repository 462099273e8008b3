//! Base64 (RFC 2045 section 6.8), decoded as it comes.
//!
//! Line ends and spaces may stand anywhere; anything else that is not of the alphabet is refused and not skipped, since
//! readers differ on what it means. Padding ends the data.

use super::IntakeError;
use crate::policy::Refusal;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use memchr::memchr3;
use std::io::Write;

/// Characters gathered before they are decoded: a multiple of 4.
const BLOCK: usize = 32 * 1024;

/// Decodes into a writer.
#[derive(Debug)]
pub struct Decoder<W> {
    out: W,
    /// Characters not yet decoded, white space taken out; fewer than [`BLOCK`].
    text: Vec<u8>,
    octets: Vec<u8>,
    /// The padding was seen.
    ended: bool,
}

impl<W: Write> Decoder<W> {
    /// A decoder that writes to `out`.
    #[must_use]
    pub const fn new(out: W) -> Self {
        Self { out, text: Vec::new(), octets: Vec::new(), ended: false }
    }

    /// Takes the next characters.
    ///
    /// # Errors
    /// [`Refusal::BadBase64`], or the writer's failure.
    pub fn push(&mut self, characters: &[u8]) -> Result<(), IntakeError> {
        let space = |b: &u8| matches!(b, b'\r' | b'\n' | b' ');
        let mut rest = characters;
        while !rest.is_empty() {
            let run = memchr3(b'\r', b'\n', b' ', rest).unwrap_or(rest.len());
            let (mut run, after) = rest.split_at_checked(run).unwrap_or_default();
            let spaces = after.iter().position(|b| !space(b)).unwrap_or(after.len());
            rest = after.get(spaces..).unwrap_or_default();
            while !run.is_empty() {
                let (now, later) = run.split_at_checked(BLOCK - self.text.len()).unwrap_or((run, &[]));
                self.text.extend_from_slice(now);
                run = later;
                if self.text.len() == BLOCK {
                    self.decode()?;
                }
            }
        }
        Ok(())
    }

    /// The end of the body: decodes the rest and gives the writer back.
    ///
    /// # Errors
    /// As [`Decoder::push`]; also when characters are missing.
    pub fn finish(mut self) -> Result<W, IntakeError> {
        self.decode()?;
        Ok(self.out)
    }

    fn decode(&mut self) -> Result<(), IntakeError> {
        if self.text.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err(Refusal::BadBase64.into());
        }
        self.octets.clear();
        STANDARD.decode_vec(&self.text, &mut self.octets).map_err(|_| Refusal::BadBase64)?;
        self.ended = self.text.last() == Some(&b'=');
        self.text.clear();
        self.out.write_all(&self.octets)?;
        Ok(())
    }
}
