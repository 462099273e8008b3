//! The session as a state machine: octets in, [`Action`]s out; no socket, no clock, no task.
//!
//! The caller hands octets to [`Session::receive`] until it says [`Action::Read`], carries out every other action, and
//! sends what [`Session::replies`] has gathered before it waits for more octets. Three actions ask a question; the
//! session takes no octets until it was answered by [`Session::recipient`], [`Session::ready`] or [`Session::finished`].
//!
//! The verbs stand in `verbs.rs`. Another dialect (LMTP, RFC 2033) has another hello and answers the final dot once a
//! recipient; everything else is the same.

mod verbs;

use crate::smtp::command::{self, Command, MailParameters};
use crate::smtp::data::{DotReader, Piece};
use crate::smtp::line::{Line, LineReader};
use crate::smtp::path::{ForwardPath, ReversePath};
use crate::smtp::reply::{self, Reply};

/// What a session is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name that the greeting tells.
    pub host: String,
    /// Largest message in octets; told in EHLO (RFC 1870).
    pub max_size: u64,
    /// Most recipients of a transaction; at least 100 (RFC 5321 section 4.5.3.1.8).
    pub max_recipients: usize,
    /// Refused commands after which the connection ends; an accepted message starts the count again.
    pub max_errors: u32,
    /// Messages after which the connection ends.
    pub max_messages: u32,
}

impl Settings {
    /// The defaults, for a server that is called `host`.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            max_size: 25 * 1024 * 1024,
            max_recipients: 100,
            max_errors: 20,
            max_messages: 1000,
        }
    }
}

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name it gave; any word.
    pub name: String,
    /// Whether by EHLO, so that it may use the extensions that were offered.
    pub extended: bool,
}

impl Hello {
    /// The value of `with` in a Received field (RFC 3848).
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        if self.extended { "ESMTP" } else { "SMTP" }
    }
}

/// What is known since MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// How the client introduced itself.
    pub hello: Hello,
    /// Where the message says that it comes from.
    pub reverse_path: ReversePath,
    /// What MAIL said besides.
    pub parameters: MailParameters,
}

/// A complete envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<T> {
    /// What MAIL said.
    pub mail: Mail,
    /// The recipients that were taken, in order; at least one.
    pub recipients: Vec<ForwardPath>,
    /// The mailbox that all of them resolve to.
    pub mailbox: T,
}

/// What the caller has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a, T> {
    /// Send the replies, then read more octets.
    Read,
    /// Resolve this recipient, then call [`Session::recipient`].
    Recipient(Mail, ForwardPath),
    /// Open a message, then call [`Session::ready`].
    Begin(Envelope<T>),
    /// The next octets of the message, un-stuffed.
    Chunk(&'a [u8]),
    /// Forget the message: it will be refused.
    Abort,
    /// The message is complete: store it, then call [`Session::finished`].
    Finish,
    /// The question asked before has not been answered yet.
    Wait,
    /// Send the replies, then close the connection.
    Close,
}

/// Where the session stands, with what is known only there.
#[derive(Debug)]
enum Phase<T> {
    /// No hello yet.
    Connected,
    /// No transaction.
    Idle(Hello),
    /// MAIL was taken.
    Transaction(Transaction<T>),
    /// A recipient is being resolved.
    Resolving(Transaction<T>, ForwardPath),
    /// A message is being opened.
    Opening(Hello),
    /// The message is being received.
    Data(Hello, Receiving),
    /// The message is being stored.
    Storing(Hello),
    /// No more octets are taken.
    Closed,
}

/// An open transaction.
#[derive(Debug)]
struct Transaction<T> {
    mail: Mail,
    recipients: Vec<ForwardPath>,
    mailbox: Option<T>,
    /// Whether a RCPT was refused.
    refused: bool,
}

/// A message on its way in.
#[derive(Debug)]
struct Receiving {
    reader: DotReader,
    /// Octets so far, un-stuffed.
    octets: u64,
    /// Why it will be refused, once that is known, and whether the connection then ends.
    refusal: Option<(Reply, End)>,
}

/// What follows the reply to a refused message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The next command.
    Continue,
    /// The end of the connection, since the two sides may differ on where messages end.
    Close,
}

/// One connection. `T` is what recipients resolve to.
#[derive(Debug)]
pub struct Session<T> {
    settings: Settings,
    phase: Phase<T>,
    lines: LineReader,
    replies: Vec<u8>,
    errors: u32,
    messages: u32,
    /// The service stops: no further transaction.
    stopping: bool,
}

impl<T: PartialEq> Session<T> {
    /// A session that has greeted its client.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut replies = Vec::new();
        reply::greeting(&settings.host).write_to(&mut replies);
        let lines = LineReader::default();
        Self { settings, phase: Phase::Connected, lines, replies, errors: 0, messages: 0, stopping: false }
    }

    /// The replies that were not sent yet; the caller empties it.
    pub const fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.replies
    }

    /// Whether a message is being received or stored.
    #[must_use]
    pub const fn in_message(&self) -> bool {
        matches!(self.phase, Phase::Data(..) | Phase::Storing(_))
    }

    /// Takes octets from the front of `input`: how many, and what to do now. `input` has to begin with the octets that
    /// were not taken before.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> (usize, Action<'a, T>) {
        match self.phase {
            Phase::Closed => (input.len(), Action::Close),
            Phase::Resolving(..) | Phase::Opening(_) | Phase::Storing(_) => (0, Action::Wait),
            Phase::Data(..) => self.receive_data(input),
            Phase::Connected | Phase::Idle(_) | Phase::Transaction(_) => self.receive_commands(input),
        }
    }

    /// Carries out commands until one of them needs the caller.
    fn receive_commands<'a>(&mut self, input: &'a [u8]) -> (usize, Action<'a, T>) {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let (n, line) = self.lines.next(rest);
            used += n;
            let command = match line {
                Line::More => return (used, Action::Read),
                Line::Text(text) => command::parse(text),
                Line::TooLong => Err(reply::LINE_TOO_LONG),
                Line::Fault(fault) => return (input.len(), self.close(&reply::bad_line(fault))),
                Line::Endless => return (input.len(), self.close(&reply::LINE_TOO_LONG)),
            };
            let more = used < input.len();
            if more && self.must_be_last(&command) {
                return (input.len(), self.close(&reply::NOT_IN_STEP));
            }
            let action = match command {
                Ok(command) => self.carry_out(command),
                Err(refusal) => self.answer(&refusal),
            };
            if let Some(action) = action {
                return (used, action);
            }
        }
    }

    /// Whether octets behind this command show that the client does not wait where it has to: behind EHLO, HELO and
    /// DATA (RFC 2920 section 3.1), and behind anything where PIPELINING was not offered.
    fn must_be_last(&self, command: &Result<Command, Reply>) -> bool {
        let extended = match &self.phase {
            Phase::Connected => false,
            Phase::Idle(hello) => hello.extended,
            Phase::Transaction(transaction) => transaction.mail.hello.extended,
            _ => true,
        };
        !extended || matches!(command, Ok(Command::Ehlo(_) | Command::Helo(_) | Command::Data))
    }

    /// Takes octets of a message.
    fn receive_data<'a>(&mut self, input: &'a [u8]) -> (usize, Action<'a, T>) {
        let Phase::Data(_, receiving) = &mut self.phase else {
            return (0, Action::Wait);
        };
        let mut used = 0;
        loop {
            let (n, piece) = receiving.reader.next(input.get(used..).unwrap_or_default());
            used += n;
            match piece {
                Piece::More => return (used, Action::Read),
                Piece::End => {
                    if let Some(action) = self.end_of_data() {
                        return (used, action);
                    }
                    let (n, action) = self.receive_commands(input.get(used..).unwrap_or_default());
                    return (used + n, action);
                }
                Piece::Text(text) => {
                    receiving.octets += text.len() as u64;
                    let over = receiving.octets > self.settings.max_size;
                    if receiving.octets / 2 > self.settings.max_size {
                        let refusal = reply::too_large(self.settings.max_size);
                        return (input.len(), self.close(&refusal));
                    }
                    match &receiving.refusal {
                        Some(_) => {}
                        None if over => {
                            let refusal = reply::too_large(self.settings.max_size);
                            receiving.refusal = Some((refusal, End::Continue));
                            return (used, Action::Abort);
                        }
                        None => return (used, Action::Chunk(text)),
                    }
                }
                Piece::Fault(fault) => {
                    // A fault outranks what was found before: it ends the connection.
                    let before = receiving.refusal.replace((reply::bad_data(fault), End::Close));
                    if before.is_none() {
                        return (used, Action::Abort);
                    }
                    if let Some((_, End::Close)) = before {
                        receiving.refusal = before;
                    }
                }
            }
        }
    }

    /// The final dot was read. `None` when the next command may follow.
    fn end_of_data<'a>(&mut self) -> Option<Action<'a, T>> {
        let Phase::Data(hello, receiving) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Some(Action::Close);
        };
        match receiving.refusal {
            None => {
                self.phase = Phase::Storing(hello);
                Some(Action::Finish)
            }
            Some((refusal, End::Close)) => Some(self.close(&refusal)),
            Some((refusal, End::Continue)) => {
                self.phase = Phase::Idle(hello);
                self.answer(&refusal).or_else(|| self.stop())
            }
        }
    }

    /// Answers [`Action::Recipient`].
    pub fn recipient(&mut self, verdict: Result<T, Reply>) {
        let (mut transaction, path) = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Resolving(transaction, path) => (transaction, path),
            other => return self.phase = other,
        };
        let answer = match verdict {
            Ok(mailbox) if transaction.mailbox.as_ref().is_none_or(|first| *first == mailbox) => {
                transaction.mailbox = Some(mailbox);
                transaction.recipients.push(path);
                reply::RECIPIENT_OK
            }
            Ok(_) => reply::ONE_LIST,
            Err(refusal) => refusal,
        };
        transaction.refused |= answer.refuses();
        self.phase = Phase::Transaction(transaction);
        self.answer(&answer);
    }

    /// Answers [`Action::Begin`]. `early` tells that octets came in before the client could have seen a reply: it does
    /// not wait for 354, so whatever it sent is not trusted.
    pub fn ready(&mut self, verdict: Result<(), Reply>, early: bool) {
        let hello = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Opening(hello) => hello,
            other => return self.phase = other,
        };
        if early {
            self.close(&reply::NOT_IN_STEP);
            return;
        }
        let answer = match verdict {
            Ok(()) => {
                self.phase = Phase::Data(hello, Receiving { reader: DotReader::new(), octets: 0, refusal: None });
                reply::START_INPUT
            }
            Err(refusal) => {
                self.phase = Phase::Idle(hello);
                refusal
            }
        };
        self.answer(&answer);
    }

    /// The message will not be taken: it is read to its end, and then `refusal` is the reply.
    pub fn refuse(&mut self, refusal: Reply) {
        if let Phase::Data(_, receiving) = &mut self.phase {
            receiving.refusal.get_or_insert((refusal, End::Continue));
        }
    }

    /// Answers [`Action::Finish`].
    pub fn finished(&mut self, verdict: &Reply) {
        let hello = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Storing(hello) => hello,
            other => return self.phase = other,
        };
        self.phase = Phase::Idle(hello);
        if !verdict.refuses() {
            self.errors = 0;
        }
        self.answer(verdict);
        self.stop();
    }

    /// The service stops: a message on its way in is finished, everything else ends now (RFC 5321 section 3.8).
    pub fn shut_down(&mut self) {
        self.stopping = true;
        if !self.in_message() {
            self.stop();
        }
    }

    /// A deadline passed.
    pub fn time_out(&mut self) {
        self.close(&reply::TIMEOUT);
    }

    /// The client spoke before it was greeted (RFC 5321 section 4.3.1).
    pub fn spoke_early(&mut self) {
        self.replies.clear();
        self.close(&reply::NOT_IN_STEP);
    }

    fn stop<'a>(&mut self) -> Option<Action<'a, T>> {
        (self.stopping && !matches!(self.phase, Phase::Closed)).then(|| self.close(&reply::SHUTTING_DOWN))
    }

    /// Queues a reply, and counts it when it refuses. Says when the connection ends with it.
    fn answer<'a>(&mut self, answer: &Reply) -> Option<Action<'a, T>> {
        if answer.code() >= 500 {
            self.errors += 1;
            if self.errors >= self.settings.max_errors && !answer.closes() {
                return Some(self.close(&reply::TOO_MANY_ERRORS));
            }
        }
        if answer.closes() {
            return Some(self.close(answer));
        }
        answer.write_to(&mut self.replies);
        None
    }

    fn close<'a>(&mut self, answer: &Reply) -> Action<'a, T> {
        answer.write_to(&mut self.replies);
        self.phase = Phase::Closed;
        Action::Close
    }
}

#[cfg(test)]
mod tests;
