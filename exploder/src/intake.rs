//! The receiving pass over one message: pure, fed with octets as they come, in memory that does not grow with the body.
//!
//! 1. The header is gathered (bounded) and examined once, in [`head`]: who wrote it, whether it loops, whether it
//!    announces one part of CMS in base64. Most refusals fall here, before any body was kept.
//! 2. The body is decoded on the way, in [`base64`], and the octets of the CMS message go to the caller's spool.
//! 3. The caller scans the spooled CMS and asks [`crate::policy`], which makes an [`Accepted`] of it.
//!
//! OpenPGP is recognised in order to say that S/MIME is wanted.

mod accepted;
pub mod base64;
pub mod head;

pub use accepted::{Accepted, FrameFacts};
pub use head::Head;

use crate::intake::base64::Decoder;
use crate::mime::MAX_HEADER;
use crate::policy::Refusal;
use std::io::{self, Write};
use twinseal_proto::ids::ListAddress;

/// Why a message is not taken any further.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The sender is told.
    #[error("{0}")]
    Refused(Refusal),
    /// The spool could not take the octets.
    #[error("the spool cannot be written")]
    Spool(#[from] io::Error),
}

impl From<Refusal> for IntakeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How much of a text is looked at for OpenPGP's armour.
const PEEK: usize = 1024;
/// How OpenPGP begins in a text (RFC 9580 section 6.2).
const ARMOUR: &[u8] = b"-----BEGIN PGP ";

/// One message on its way in.
#[derive(Debug)]
pub struct Intake<W> {
    list: ListAddress,
    max_size: u64,
    octets: u64,
    stage: Stage<W>,
}

#[derive(Debug)]
enum Stage<W> {
    /// The header so far, and where the body will go.
    Header(Vec<u8>, W),
    /// The beginning of a text that will be refused.
    Text(Vec<u8>),
    /// The header was taken; the body is decoded.
    Body(Head, Decoder<W>),
    /// It was refused.
    Refused(Refusal),
}

impl<W: Write> Intake<W> {
    /// A message to `list` of at most `max_size` octets; its CMS goes to `spool`.
    #[must_use]
    pub const fn new(list: ListAddress, max_size: u64, spool: W) -> Self {
        Self { list, max_size, octets: 0, stage: Stage::Header(Vec::new(), spool) }
    }

    /// The header, as soon as it is known and taken.
    #[must_use]
    pub const fn head(&self) -> Option<&Head> {
        match &self.stage {
            Stage::Body(head, _) => Some(head),
            _ => None,
        }
    }

    /// Takes the next octets of the message.
    ///
    /// # Errors
    /// The refusal, as soon as it is certain; the same again on every later call.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), IntakeError> {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        let pushed = if self.octets > self.max_size {
            Err(Refusal::TooLarge { limit: self.max_size }.into())
        } else {
            self.push_stage(octets)
        };
        if let Err(IntakeError::Refused(refusal)) = &pushed {
            self.stage = Stage::Refused(refusal.clone());
        }
        pushed
    }

    fn push_stage(&mut self, octets: &[u8]) -> Result<(), IntakeError> {
        match &mut self.stage {
            Stage::Refused(refusal) => Err(refusal.clone().into()),
            Stage::Body(_, decoder) => decoder.push(octets),
            Stage::Text(text) => {
                text.extend_from_slice(octets.get(..PEEK.saturating_sub(text.len())).unwrap_or(octets));
                if text.len() >= PEEK { Err(text_refusal(text).into()) } else { Ok(()) }
            }
            Stage::Header(header, _) => {
                let before = header.len();
                // The empty line may lie across the joint. One octet more than is allowed tells that there is too much.
                let room = (MAX_HEADER + 3).saturating_sub(before);
                header.extend_from_slice(octets.get(..room).unwrap_or(octets));
                let from = before.saturating_sub(3);
                let end = if header.starts_with(b"\r\n") {
                    Some((0, 2))
                } else {
                    memchr::memmem::find(header.get(from..).unwrap_or_default(), b"\r\n\r\n")
                        .map(|at| (from + at + 2, from + at + 4))
                };
                match end {
                    Some((end, body)) if end <= MAX_HEADER => {
                        self.end_of_header(end, octets.get(body.saturating_sub(before)..).unwrap_or_default())
                    }
                    None if header.len() <= MAX_HEADER + 2 => Ok(()),
                    _ => Err(Refusal::LongHeader.into()),
                }
            }
        }
    }

    /// The header has `end` octets; `body` follows its empty line.
    fn end_of_header(&mut self, end: usize, body: &[u8]) -> Result<(), IntakeError> {
        let Stage::Header(mut header, spool) = std::mem::replace(&mut self.stage, Stage::Text(Vec::new())) else {
            return Ok(());
        };
        header.truncate(end);
        match head::examine(&header, &self.list)? {
            head::Verdict::Cms(head) => self.stage = Stage::Body(head, Decoder::new(spool)),
            head::Verdict::Text => {}
        }
        self.push_stage(body)
    }

    /// The message is complete: its header, and the spool with the CMS message in it.
    ///
    /// # Errors
    /// The refusal, or the spool's failure.
    pub fn finish(mut self) -> Result<(Head, W), IntakeError> {
        if let Stage::Header(header, _) = &self.stage {
            // A message may end with its header.
            let end = header.len();
            self.end_of_header(end, b"")?;
        }
        match self.stage {
            Stage::Body(head, decoder) => Ok((head, decoder.finish()?)),
            Stage::Text(text) => Err(text_refusal(&text).into()),
            Stage::Refused(refusal) => Err(refusal.into()),
            // `end_of_header` leaves no such stage.
            Stage::Header(..) => Err(Refusal::NotEncrypted.into()),
        }
    }
}

fn text_refusal(text: &[u8]) -> Refusal {
    if memchr::memmem::find(text, ARMOUR).is_some() { Refusal::OpenPgp } else { Refusal::NotEncrypted }
}

#[cfg(test)]
mod tests;
