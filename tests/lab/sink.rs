//! The smarthost of the lab: it takes every message, and writes it down.
//!
//! `DIR/sink/<recipient>/<n>.eml` is the message as it came over the wire, un-stuffed; `<n>.json` its envelope. Both
//! appear at once (rename), the envelope first, so that whoever sees the message can read both.

use anyhow::Result;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use twinseal_proto::encoding::Digest;

/// How the smarthost treats messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Takes them.
    #[default]
    Accept,
    /// Says 451 to each recipient.
    Defer,
    /// Says 550 to each recipient.
    Reject,
    /// Takes the data and does not answer until the behaviour changes.
    Stall,
    /// Takes the data and closes the connection without an answer; nothing is kept.
    Drop,
}

/// The envelope beside a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// The EHLO name.
    pub helo: String,
    /// The reverse-path.
    pub mail_from: String,
    /// The forward-paths.
    pub rcpt_to: Vec<String>,
    /// SHA-256 of the message.
    pub sha256: Digest,
}

/// What a sink got.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Copies that got a 250 after their data.
    pub delivered: u64,
    /// Their octets.
    pub octets: u64,
    /// Recipients with at least one copy.
    pub recipients: u64,
    /// SHA-256 over the digests of all copies, in the order of arrival.
    pub digest: String,
}

/// A recording smarthost.
pub struct Sink {
    dir: PathBuf,
    keep: Option<u64>,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    counts: HashMap<String, u64>,
    delivered: u64,
    octets: u64,
    digest: Option<Digest>,
}

impl Sink {
    /// A sink that writes below `dir`, at most `keep` messages a recipient.
    #[must_use]
    pub fn new(dir: PathBuf, keep: Option<u64>) -> Rc<Self> {
        Rc::new(Self { dir, keep, state: RefCell::default(), changed: Notify::new() })
    }

    /// Sets the behaviour from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.borrow_mut().behaviour = behaviour;
        self.changed.notify_waiters();
    }

    /// What came so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.state.borrow();
        Stats {
            delivered: state.delivered,
            octets: state.octets,
            recipients: state.counts.len() as u64,
            digest: state.digest.map(|d| d.to_string()).unwrap_or_default(),
        }
    }

    /// Takes connections for ever. Runs on the current thread.
    pub async fn run(self: Rc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let sink = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                let _ = Session { sink, stream, buffer: Vec::with_capacity(1 << 17), start: 0 }.run().await;
            });
        }
    }

    fn behaviour(&self) -> Behaviour {
        self.state.borrow().behaviour
    }

    fn record(&self, envelope: &Envelope, message: &[u8]) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.delivered += envelope.rcpt_to.len() as u64;
        state.octets += message.len() as u64;
        state.digest = Some(Digest::of_parts(&[&state.digest.unwrap_or(Digest([0; 32])).0, &envelope.sha256.0]));
        for recipient in &envelope.rcpt_to {
            let count = state.counts.entry(recipient.clone()).or_insert(0);
            *count += 1;
            if self.keep.is_none_or(|keep| *count <= keep) {
                keep_message(&self.dir.join(recipient.replace('/', "_")), *count, envelope, message)?;
            }
        }
        Ok(())
    }
}

fn keep_message(dir: &Path, number: u64, envelope: &Envelope, message: &[u8]) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for (ending, octets) in [("json", serde_json::to_vec(envelope)?.as_slice()), ("eml", message)] {
        let beside = dir.join(format!(".{number}.{ending}"));
        std::fs::write(&beside, octets)?;
        std::fs::rename(&beside, dir.join(format!("{number}.{ending}")))?;
    }
    Ok(())
}

struct Session {
    sink: Rc<Sink>,
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Session {
    async fn run(mut self) -> Result<()> {
        self.stream.set_nodelay(true)?;
        self.say("220 sink.test ESMTP\r\n").await?;
        let (mut helo, mut from, mut to) = (String::new(), String::new(), Vec::new());
        while let Some(line) = self.line().await? {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => {
                    helo = line.get(5..).unwrap_or_default().to_owned();
                    let all = "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n";
                    self.say(all).await?;
                }
                "MAIL" => {
                    from = path(&line);
                    to.clear();
                    self.say("250 2.1.0 ok\r\n").await?;
                }
                "RCPT" => match self.sink.behaviour() {
                    Behaviour::Defer => self.say("451 4.3.0 not now\r\n").await?,
                    Behaviour::Reject => self.say("550 5.1.1 no such mailbox\r\n").await?,
                    _ => {
                        to.push(path(&line));
                        self.say("250 2.1.5 ok\r\n").await?;
                    }
                },
                "DATA" if to.is_empty() => self.say("554 5.5.1 no recipients\r\n").await?,
                "DATA" => {
                    self.say("354 go on\r\n").await?;
                    let Some(message) = self.data().await? else { return Ok(()) };
                    while self.sink.behaviour() == Behaviour::Stall {
                        self.sink.changed.notified().await;
                    }
                    if self.sink.behaviour() == Behaviour::Drop {
                        return Ok(());
                    }
                    let sha256 = Digest::of(&message);
                    let envelope = Envelope {
                        helo: helo.clone(),
                        mail_from: from.clone(),
                        rcpt_to: std::mem::take(&mut to),
                        sha256,
                    };
                    self.sink.record(&envelope, &message)?;
                    self.say("250 2.0.0 kept\r\n").await?;
                }
                "RSET" | "NOOP" => self.say("250 2.0.0 ok\r\n").await?,
                "QUIT" => return self.say("221 2.0.0 bye\r\n").await,
                _ => self.say("500 5.5.2 what?\r\n").await?,
            }
        }
        Ok(())
    }

    async fn say(&mut self, text: &str) -> Result<()> {
        // Nothing is said while a whole further command is at hand: replies to a pipelined batch go out together.
        Ok(self.stream.write_all(text.as_bytes()).await?)
    }

    async fn fill(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    async fn line(&mut self) -> Result<Option<String>> {
        loop {
            let waiting = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(end) = memmem::find(waiting, b"\r\n") {
                let line = String::from_utf8_lossy(waiting.get(..end).unwrap_or_default()).into_owned();
                self.start += end + 2;
                return Ok(Some(line));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The message up to the final dot, un-stuffed.
    async fn data(&mut self) -> Result<Option<Vec<u8>>> {
        // Begin with the CRLF of the DATA line, so that a dot on the first line is found too.
        self.start -= 2;
        let mut searched = self.start;
        loop {
            if let Some(at) = memmem::find(self.buffer.get(searched..).unwrap_or_default(), b"\r\n.\r\n") {
                let end = searched + at;
                let raw = self.buffer.get(self.start + 2..end + 2).unwrap_or_default();
                let message = unstuff(raw);
                self.start = end + 5;
                return Ok(Some(message));
            }
            let seen = self.buffer.len() - self.start;
            if !self.fill().await? {
                return Ok(None);
            }
            searched = seen.saturating_sub(4);
        }
    }
}

fn unstuff(raw: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(raw.len());
    let mut rest = raw.strip_prefix(b".").unwrap_or(raw);
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        message.extend_from_slice(rest.get(..at + 2).unwrap_or_default());
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    message.extend_from_slice(rest);
    message
}

fn path(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(path, _)| path.to_owned())
}
