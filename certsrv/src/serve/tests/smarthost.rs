//! A smarthost that takes mail and remembers it.

use crate::config::{Config, Mail, SmarthostTls};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail as it came.
#[derive(Debug, Clone)]
pub(super) struct Delivered {
    pub(super) sender: String,
    pub(super) to: String,
    pub(super) text: String,
}

impl Delivered {
    /// The token in it: the only word of 43 characters on a line of its own.
    pub(super) fn token(&self) -> String {
        let lines: Vec<&str> = self.text.lines().map(str::trim).filter(|line| line.len() == 43).collect();
        assert_eq!(lines.len(), 1, "{}", self.text);
        lines[0].to_owned()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What it says to RCPT, for each recipient's first tries: popped one after the other, then 250.
type Replies = Arc<Mutex<Vec<&'static str>>>;

#[derive(Clone)]
pub(super) struct Smarthost {
    address: String,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    pub(super) replies: Replies,
}

impl Smarthost {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let smarthost = Self { address, delivered: Arc::default(), replies: Arc::default() };
        let at = smarthost.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, at.clone()));
            }
        });
        smarthost
    }

    /// The harness's configuration with the way to this smarthost.
    pub(super) fn config(&self, dir: &TempDir) -> Config {
        let mail = Mail {
            smarthost: self.address.clone(),
            from: "noreply@lists.test".parse().unwrap(),
            url: "https://127.0.0.1:1".into(),
            name: "Twinseal".into(),
            contact: None,
            tls: SmarthostTls::Never,
            ca: None,
            user: None,
            password_file: None,
            hello: None,
            welcome: true,
            list_signing: true,
            registration_domains: vec!["members.test".into()],
            login_token_hours: 24,
            confirm_token_hours: 72,
        };
        Config { mail: Some(mail), ..super::harness::config(dir) }
    }

    pub(super) fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap().clone()
    }

    /// Waits for the next mails, so many, and takes them.
    pub(super) async fn wait(&self, count: usize) -> Vec<Delivered> {
        for _ in 0..1000 {
            {
                let mut all = self.delivered.lock().unwrap();
                if all.len() >= count {
                    return all.drain(..).collect();
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} of {count} mails", self.delivered().len());
    }
}

async fn session(stream: TcpStream, smarthost: Smarthost) {
    let mut stream = BufReader::new(stream);
    let mut mail = Delivered { sender: String::new(), to: String::new(), text: String::new() };
    let mut answer = "220 smarthost.test\r\n";
    loop {
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        answer = match line.trim_end() {
            path if path.starts_with("MAIL FROM:") => {
                mail.sender = path["MAIL FROM:".len()..].to_owned();
                "250 2.1.0 ok\r\n"
            }
            path if path.starts_with("RCPT TO:") => {
                mail.to = path["RCPT TO:<".len()..path.len() - 1].to_owned();
                let mut replies = smarthost.replies.lock().unwrap();
                if replies.is_empty() { "250 2.1.5 ok\r\n" } else { replies.remove(0) }
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n").await.unwrap();
                mail.text.clear();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if line == ".\r\n" {
                        break;
                    }
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                smarthost.delivered.lock().unwrap().push(mail.clone());
                "250 2.0.0 kept\r\n"
            }
            "QUIT" => "221 2.0.0 bye\r\n",
            _ => "250 ok\r\n",
        };
    }
}
