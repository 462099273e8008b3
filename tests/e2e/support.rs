//! A lab for a test, and what the tests do with it: encrypt, post, wait for copies, open them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use twinseal_tests::describe::{Lab, Member};
use twinseal_tests::sink::Stats;

/// A running lab; it ends with this value.
pub(crate) struct Up {
    pub(crate) lab: Lab,
    pub(crate) dir: PathBuf,
    child: Child,
    _home: tempfile::TempDir,
}

impl Up {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("lab");
        let child = Command::new(env!("CARGO_BIN_EXE_twinseal-lab"))
            .args(["up", "--dir"])
            .arg(&dir)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut up = Self { lab: empty_lab(), dir, child, _home: home };
        let until = Instant::now() + Duration::from_secs(180);
        while !up.dir.join("lab.json").exists() {
            assert!(up.child.try_wait().unwrap().is_none(), "the lab ended");
            assert!(Instant::now() < until, "the lab does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        up.reread();
        up
    }

    /// The lab's own process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn reread(&mut self) {
        self.lab = Lab::read(&self.dir).unwrap();
    }

    /// Runs a wrapper of the lab. The lab keeps a dead daemon's sockets open, so whoever asks one waits: not for long.
    pub(crate) fn bin(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new("timeout").arg("90").arg(self.lab.bin.join(name)).args(arguments).output().unwrap()
    }

    /// [`Self::bin`] for what may meet a dead daemon.
    pub(crate) fn bin_briefly(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new("timeout").arg("3").arg(self.lab.bin.join(name)).args(arguments).output().unwrap()
    }

    /// Runs a wrapper of the lab, which must succeed, and gives what it printed.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.bin(name, arguments);
        assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn restart(&mut self, name: &str) {
        self.run("restart", &[name]);
        self.reread();
    }

    /// Restarts a daemon that will die at `point`, which may be before it is ready.
    pub(crate) fn restart_to_die(&mut self, name: &str, point: &str) {
        self.bin("restart", &[name, "--env", &format!("TWINSEAL_FAILPOINT={point}")]);
        self.reread();
    }

    pub(crate) fn stop(&self, name: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_twinseal-lab"))
            .args(["stop", "--dir"])
            .arg(&self.dir)
            .arg(name)
            .output()
            .unwrap();
        assert!(output.status.success());
    }

    pub(crate) fn sink(&self) -> Stats {
        serde_json::from_str(&self.run("sink", &[])).unwrap()
    }

    pub(crate) fn queue(&self) -> serde_json::Value {
        serde_json::from_str(&self.run("exploder", &["--json", "queue", "list"])).unwrap()
    }

    /// Runs the member tool as `member` with `input` on its standard input.
    pub(crate) fn twinseal(&self, member: &Member, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("20").arg(self.lab.bin.join("twinseal")).args(arguments).env("TWINSEAL_HOME", &member.home);
        pipe(&mut command, input)
    }

    /// The copies that `address` got so far.
    pub(crate) fn copies(&self, address: &str) -> Vec<PathBuf> {
        let dir = self.lab.sink_dir.join(address);
        let mut found: Vec<(u64, PathBuf)> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "eml"))
            .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Waits until `address` has at least `count` copies and gives them.
    pub(crate) fn wait_copies(&self, address: &str, count: usize) -> Vec<PathBuf> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.copies(address);
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < until, "{address} has {} of {count} copies; queue: {}", found.len(), self.queue());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the queue is empty.
    pub(crate) fn drained(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.queue().as_array().is_none_or(|posts| !posts.is_empty()) {
            assert!(Instant::now() < until, "the queue does not drain: {}", self.queue());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Posts `message` to the list as `from` and gives the reply to the data, or the first refusal.
    pub(crate) fn post(&self, from: &str, message: &[u8]) -> String {
        post(&self.lab.smtp, from, &self.lab.list, message).expect("SMTP")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["certsrv", "groupsrv", "exploder"] {
                let log = std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}.log\n{}", lines[lines.len().saturating_sub(12)..].join("\n"));
            }
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn empty_lab() -> Lab {
    serde_json::from_value(serde_json::json!({
        "list": "", "smtp": "", "submission": "", "lmtp": "", "certsrv": "", "groupsrv": "", "exploder_http": "",
        "ocsp": "", "crl": "", "web": "", "ca": "", "group_cert": "", "group_certs": [], "sink_dir": "", "bin": "",
        "state": {"exploder": "", "groupsrv": "", "certsrv": ""}, "pids": {"exploder": 0, "groupsrv": 0, "certsrv": 0},
        "owner": {"address": "", "password": null, "home": ""}, "members": []
    }))
    .unwrap()
}

/// Runs a command with `input` on its standard input.
pub(crate) fn pipe(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Sends a message over SMTP; the last reply.
pub(crate) fn post(server: &str, from: &str, to: &str, message: &[u8]) -> std::io::Result<String> {
    let mut smtp = Smtp::connect(server)?;
    for line in ["EHLO sender.test".to_owned(), format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>")] {
        let reply = smtp.command(&line)?;
        if !reply.starts_with('2') {
            return Ok(reply);
        }
    }
    let reply = smtp.command("DATA")?;
    if !reply.starts_with('3') {
        return Ok(reply);
    }
    smtp.data(message)
}

/// A plain SMTP client.
pub(crate) struct Smtp(BufReader<TcpStream>);

impl Smtp {
    pub(crate) fn connect(server: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut smtp = Self(BufReader::new(stream));
        smtp.reply()?;
        Ok(smtp)
    }

    pub(crate) fn command(&mut self, line: &str) -> std::io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// The message, with CRLF line ends and stuffed dots, and the reply to it.
    pub(crate) fn data(&mut self, message: &[u8]) -> std::io::Result<String> {
        let mut wire = Vec::with_capacity(message.len() + message.len() / 32);
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            wire.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        self.0.get_mut().write_all(&wire)?;
        self.reply()
    }

    fn reply(&mut self) -> std::io::Result<String> {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            all.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(all);
            }
        }
    }
}

/// An ordinary signed-or-not entity to encrypt.
pub(crate) fn entity(text: &str) -> Vec<u8> {
    format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n").into_bytes()
}

/// `openssl cms -encrypt` to the list, as a whole message.
pub(crate) fn encrypt(lab: &Lab, from: &str, text: &str, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["cms", "-encrypt", "-from", from, "-to", &lab.list, "-subject", "to the team"]);
    command.args(options);
    if !options.contains(&"-recip") {
        command.arg(&lab.group_cert);
    }
    let output = pipe(&mut command, &entity(text));
    assert!(output.status.success(), "openssl {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `openssl cms -decrypt` of a copy by its reader; the text of the entity inside.
pub(crate) fn decrypt(member: &Member, copy: &Path) -> Result<String, String> {
    let output = Command::new("openssl")
        .args(["cms", "-decrypt", "-in"])
        .arg(copy)
        .arg("-recip")
        .arg(&member.cert)
        .arg("-inkey")
        .arg(&member.key)
        .output()
        .unwrap();
    if output.status.success() {
        let entity = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(entity.split_once("\r\n\r\n").map_or(entity.clone(), |(_, text)| text.trim_end().to_owned()))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The CMS octets of a message whose body is base64.
pub(crate) fn cms_of(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message).replace("\r\n", "\n");
    let (_, body) = text.split_once("\n\n").expect("a body");
    let body: String = body.split_whitespace().collect();
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).expect("base64")
}
