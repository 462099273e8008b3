//! One transaction on a kept connection: one recipient, one copy.

use super::wire::Wire;
use super::{Outcome, Reason, classify, is_closing};
use crate::assemble::Text;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::response::Response;
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use twinseal_proto::ids::MailAddress;
use twinseal_svc::failpoint;

/// Times that the smarthost may take for its replies (RFC 5321 section 4.5.3.2).
const COMMAND: Duration = Duration::from_secs(300);
const DATA: Duration = Duration::from_secs(120);
const FINAL: Duration = Duration::from_secs(600);
/// How long a farewell may take.
const QUIT: Duration = Duration::from_secs(5);

/// A copy as it is sent. Its text is canonical: CRLF, dot-stuffed, lines of at most 998 octets, ASCII.
pub(crate) struct Message<'a> {
    /// The envelope sender.
    pub(crate) sender: &'a [u8],
    /// The one recipient.
    pub(crate) recipient: &'a MailAddress,
    /// The header, with its empty line.
    pub(crate) header: &'a [u8],
    /// The copy's own part of the body.
    pub(crate) head: &'a [u8],
    /// The part of the body that copies share; ends with CRLF.
    pub(crate) tail: &'a Text,
}

/// Memory that is used again for each copy.
#[derive(Default)]
pub(crate) struct Buffers {
    envelope: Vec<u8>,
    joined: Vec<u8>,
}

/// How a transaction ended.
pub(crate) enum Sent {
    /// With this outcome.
    Outcome(Outcome),
    /// The connection, kept from before, was gone already: nothing was tried yet.
    Stale,
    /// On a new connection the smarthost answers the first command with 421: it wants no mail now from anybody.
    Turned(Reason),
}

/// A connection on which transactions are made.
pub(crate) struct Session {
    smtp: AsyncSmtpConnection,
    wire: Wire,
    pipelining: bool,
    smtp_utf8: bool,
    /// Transactions so far.
    used: bool,
    broken: bool,
}

/// How far the envelope came.
enum Envelope {
    /// 354: the data is awaited.
    Open,
    /// Refused, the connection ready for another.
    Closed(Outcome),
    /// MAIL was not answered, or with 421: the connection is gone, and nothing was tried.
    Gone(Outcome),
}

impl Session {
    pub(super) const fn new(smtp: AsyncSmtpConnection, wire: Wire, pipelining: bool, smtp_utf8: bool) -> Self {
        Self { smtp, wire, pipelining, smtp_utf8, used: false, broken: false }
    }

    /// Whether it can take another transaction.
    pub(crate) const fn is_usable(&self) -> bool {
        !self.broken
    }

    /// Says good-bye.
    pub(crate) async fn quit(mut self) {
        if !self.broken {
            // The smarthost may be gone by now; so are we.
            let _ = timeout(QUIT, self.smtp.quit()).await;
        }
    }

    /// Sends a copy.
    pub(crate) async fn send(&mut self, message: &Message<'_>, buffers: &mut Buffers) -> Sent {
        let utf8 = !message.recipient.as_str().is_ascii();
        if utf8 && !self.smtp_utf8 {
            return Sent::Outcome(Outcome::Fail(Reason::NoSmtpUtf8));
        }
        let kept = std::mem::replace(&mut self.used, true);
        let envelope = if self.pipelining {
            self.envelope_at_once(message, utf8, buffers).await
        } else {
            self.envelope_by_steps(message, utf8, buffers).await
        };
        match envelope {
            Envelope::Closed(outcome) => return Sent::Outcome(outcome),
            Envelope::Gone(_) if kept => return Sent::Stale,
            Envelope::Gone(Outcome::Defer(reason @ Reason::Reply(..))) => return Sent::Turned(reason),
            Envelope::Gone(outcome) => return Sent::Outcome(outcome),
            Envelope::Open => {}
        }
        failpoint::hit("exploder.deliver.before-dot");
        if self.data(message, buffers).await.is_err() {
            self.broken = true;
            return Sent::Outcome(Outcome::Defer(Reason::Lost));
        }
        let reply = self.reply(FINAL).await;
        failpoint::hit("exploder.deliver.after-reply");
        Sent::Outcome(match reply {
            Ok(_) => Outcome::Sent,
            Err(refusal) => refusal.outcome(),
        })
    }

    /// MAIL, RCPT and DATA in one write (RFC 2920), then the three replies.
    async fn envelope_at_once(&mut self, message: &Message<'_>, utf8: bool, buffers: &mut Buffers) -> Envelope {
        buffers.envelope.clear();
        write_mail(message, utf8, &mut buffers.envelope);
        write_rcpt(message, &mut buffers.envelope);
        buffers.envelope.extend_from_slice(b"DATA\r\n");
        if self.wire.write_all(&[&buffers.envelope], &mut buffers.joined).await.is_err() {
            self.broken = true;
            return Envelope::Gone(Outcome::Defer(Reason::Lost));
        }
        let mail = self.reply(COMMAND).await;
        if let (true, Err(refusal)) = (self.broken, &mail) {
            return Envelope::Gone(refusal.outcome());
        }
        let rcpt = self.reply(COMMAND).await;
        let data = self.reply(DATA).await;
        match (mail, rcpt, data) {
            (Ok(_), Ok(_), Ok(_)) => Envelope::Open,
            (mail, rcpt, data) => {
                // All three replies have been read: what is left is to end the transaction, if one is open.
                let ended = if data.is_ok() { self.empty_data(buffers).await } else { self.reset(buffers).await };
                let first = [mail, rcpt, data].into_iter().find_map(Result::err);
                let _ = ended.inspect_err(|_| self.broken = true);
                Envelope::Closed(first.map_or(Outcome::Defer(Reason::Lost), |refusal| refusal.outcome()))
            }
        }
    }

    /// One command after the other.
    async fn envelope_by_steps(&mut self, message: &Message<'_>, utf8: bool, buffers: &mut Buffers) -> Envelope {
        for step in 0..3 {
            buffers.envelope.clear();
            match step {
                0 => write_mail(message, utf8, &mut buffers.envelope),
                1 => write_rcpt(message, &mut buffers.envelope),
                _ => buffers.envelope.extend_from_slice(b"DATA\r\n"),
            }
            let refusal = match self.wire.write_all(&[&buffers.envelope], &mut buffers.joined).await {
                Ok(()) => match self.reply(if step < 2 { COMMAND } else { DATA }).await {
                    Ok(_) => continue,
                    Err(refusal) => refusal,
                },
                Err(_) => Refusal::Silence,
            };
            self.broken |= matches!(refusal, Refusal::Silence);
            if self.broken && step == 0 {
                return Envelope::Gone(refusal.outcome());
            }
            if step > 0 {
                let _ = self.reset(buffers).await.inspect_err(|_| self.broken = true);
            }
            return Envelope::Closed(refusal.outcome());
        }
        Envelope::Open
    }

    /// After DATA was taken although no recipient was: an empty message ends it (RFC 2920 section 3.1). Its reply does
    /// not matter.
    async fn empty_data(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        self.wire.write_all(&[b".\r\n"], &mut buffers.joined).await?;
        let _ = self.reply(FINAL).await;
        Ok(())
    }

    /// Ends a transaction that MAIL began.
    async fn reset(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        self.wire.write_all(&[b"RSET\r\n"], &mut buffers.joined).await?;
        if self.reply(COMMAND).await.is_err() {
            self.broken = true;
        }
        Ok(())
    }

    /// Header, head, tail and the final dot.
    async fn data(&mut self, message: &Message<'_>, buffers: &mut Buffers) -> io::Result<()> {
        const DOT: &[u8] = b".\r\n";
        match message.tail {
            Text::Memory(tail) => {
                self.wire.write_all(&[message.header, message.head, tail, DOT], &mut buffers.joined).await
            }
            Text::File(file, length) => {
                self.wire.write_all(&[message.header, message.head], &mut buffers.joined).await?;
                self.wire.write_file(file, *length, &mut buffers.joined).await?;
                self.wire.write_all(&[DOT], &mut buffers.joined).await
            }
        }
    }

    async fn reply(&mut self, patience: Duration) -> Result<Response, Refusal> {
        if self.broken {
            return Err(Refusal::Silence);
        }
        match timeout(patience, self.smtp.read_response()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                self.broken = is_closing(&error);
                Err(if error.status().is_some() { Refusal::Reply(error) } else { Refusal::Silence })
            }
            Err(_) => {
                self.broken = true;
                Err(Refusal::Silence)
            }
        }
    }
}

/// Not a positive reply.
enum Refusal {
    /// A negative one.
    Reply(Error),
    /// None, in time or at all.
    Silence,
}

impl Refusal {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Reply(error) => classify(error),
            Self::Silence => Outcome::Defer(Reason::Lost),
        }
    }
}

fn write_mail(message: &Message<'_>, utf8: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"MAIL FROM:<");
    out.extend_from_slice(message.sender);
    out.extend_from_slice(if utf8 { b"> SMTPUTF8\r\n" } else { b">\r\n" });
}

fn write_rcpt(message: &Message<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"RCPT TO:<");
    out.extend_from_slice(message.recipient.as_str().as_bytes());
    out.extend_from_slice(b">\r\n");
}
