//! What joining and leaving cost: how long a change takes until it is durable and until both consumers have it, how long a
//! member waits, and what a certsrv with a hundred thousand accounts takes to start, to hold and to keep.
//!
//! `cargo bench -p twinseal-tests --bench membership`, with the release programs built; writes docs/bench/membership.md. The
//! floor is what the disk gives in the same run: three durable appends, one after the other, since a change is durable in the
//! audit log, in the feed log and in the index before it is answered.

#![allow(clippy::indexing_slicing)]
use anyhow::{Context as _, Result, ensure};
use openssl::x509::X509;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, AddMembers, CreateGroup, CreateGroupRequest, JoinPolicy, MembersRequest,
    NewAccount, RemoveMembers,
};
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::api::groups::{Join, Leave, ListRequest};
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_svc::client::Client;
use twinseal_svc::pins::Pins;
use twinseal_svc::tls::Identity;
use twinseal_tests::describe::Lab;

/// Members of the list that changes.
const MEMBERS: usize = 1000;
/// Changes that are timed.
const CHANGES: usize = 1000;
/// Joins and leaves of members that are timed.
const JOINS: usize = 500;
const ACCOUNTS: usize = 100_000;
const GROUPS: usize = 1000;
/// Accounts in one call.
const CHUNK: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let mut page = Page::default();
    {
        let up = Up::new(MEMBERS)?;
        page.floor = floor(&up.dir)?;
        propagation(&up, &mut page).await?;
        joins(&up, &mut page).await?;
    }
    large(&mut page).await?;
    let text = page.text();
    println!("{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/membership.md");
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// Three durable appends of 1 kB, one after the other.
fn floor(dir: &Path) -> Result<Times> {
    let mut files = [0, 1, 2].map(|n| File::create(dir.join(format!("floor-{n}"))));
    let mut times = Times::default();
    for _ in 0..CHANGES {
        let start = Instant::now();
        for file in &mut files {
            let file = file.as_mut().map_err(|e| anyhow::anyhow!("{e}"))?;
            file.write_all(&[b'x'; 1000])?;
            file.sync_data()?;
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Changes one after the other: until certsrv answers, and from there until each consumer acts on it.
async fn propagation(up: &Up, page: &mut Page) -> Result<()> {
    let (certsrv, groupsrv, exploder) = (up.admin("certsrv")?, up.admin("groupsrv")?, up.admin("exploder")?);
    let list: ListAddress = up.lab.list.parse()?;
    let addresses: Vec<MailAddress> = vec![up.lab.members[0].address.parse()?];
    let request = MembersRequest { list, addresses };
    let mut commits = Times::default();
    let mut reached = [Times::default(), Times::default()];
    for number in 0..CHANGES {
        let start = Instant::now();
        let changed = if number % 2 == 0 {
            certsrv.call::<RemoveMembers>(&request, PATIENCE).await?
        } else {
            certsrv.call::<AddMembers>(&request, PATIENCE).await?
        };
        commits.push(start.elapsed());
        let answered = Instant::now();
        let wait = async |consumer: &Client| -> Result<Duration> {
            loop {
                if consumer.call::<GetStatus>(&Nothing {}, PATIENCE).await?.feed_sequence >= changed.sequence {
                    return Ok(answered.elapsed());
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        let (at_groupsrv, at_exploder) = tokio::join!(wait(&groupsrv), wait(&exploder));
        reached[0].push(at_groupsrv?);
        reached[1].push(at_exploder?);
    }
    page.row("a change, until certsrv answers (durable)", &commits);
    let [at_groupsrv, at_exploder] = reached;
    page.row("from that answer until groupsrv acts on it", &at_groupsrv);
    page.row("from that answer until the exploder acts on it", &at_exploder);
    Ok(())
}

/// A member who leaves and joins again, over a kept connection.
async fn joins(up: &Up, page: &mut Page) -> Result<()> {
    let member = &up.lab.members[1];
    let root = X509::from_pem(&fs::read(&up.lab.ca)?)?;
    let key = openssl::pkey::PKey::private_key_from_pem(&fs::read(&member.key)?)?;
    let identity = Identity::new(key, X509::stack_from_pem(&fs::read(&member.cert)?)?, root.clone());
    let pin = Pins::load(&up.lab.state.groupsrv)?.certsrv.context("no pin")?;
    let certsrv = Client::pinned(&up.lab.certsrv, &root, pin, Some(&identity))?;
    let request = ListRequest { list: up.lab.list.parse()? };
    let (mut leaving, mut joining) = (Times::default(), Times::default());
    for _ in 0..JOINS {
        let start = Instant::now();
        certsrv.call::<Leave>(&request, PATIENCE).await?;
        leaving.push(start.elapsed());
        let start = Instant::now();
        certsrv.call::<Join>(&request, PATIENCE).await?;
        joining.push(start.elapsed());
    }
    page.row("a member leaves, mutual TLS, kept connection", &leaving);
    page.row("a member joins, mutual TLS, kept connection", &joining);
    Ok(())
}

/// A hundred thousand accounts in a thousand groups.
async fn large(page: &mut Page) -> Result<()> {
    let mut up = Up::new(1)?;
    let certsrv = up.admin("certsrv")?;
    let address = |n: usize| format!("p{n}@members.test").parse::<MailAddress>();
    let start = Instant::now();
    for first in (0..ACCOUNTS).step_by(CHUNK) {
        let accounts = (first..first + CHUNK)
            .map(|n| Ok(NewAccount { address: address(n)?, password: None, public_key: None }))
            .collect::<Result<_>>()?;
        certsrv.call::<AddAccounts>(&AddAccountsRequest { accounts }, PATIENCE).await?;
    }
    let each = ACCOUNTS / GROUPS;
    for n in 0..GROUPS {
        let list: ListAddress = format!("list{n}@lists.test").parse()?;
        let owner = address(n * each)?;
        let (mode, history, settings) = Default::default();
        let join = JoinPolicy::Closed;
        let group = CreateGroupRequest { list: list.clone(), owner, mode, history, join, signed: false, settings };
        certsrv.call::<CreateGroup>(&group, PATIENCE).await?;
        let addresses = (n * each + 1..(n + 1) * each).map(address).collect::<Result<_, _>>()?;
        certsrv.call::<AddMembers>(&MembersRequest { list, addresses }, PATIENCE).await?;
    }
    page.line(format!("import of {ACCOUNTS} accounts into {GROUPS} groups: {:.1} s", start.elapsed().as_secs_f64()));
    let state = up.lab.state.certsrv.clone();
    for part in ["feed", "index", "audit"] {
        page.line(format!("disk, {part}: {:.1} MB", octets(&state.join(part))? as f64 / 1e6));
    }
    page.line(format!("memory of certsrv after the import: {:.0} MB", up.resident()?));
    page.line(format!("start until ready, with its index: {:.2} s", up.restart(|| Ok(()))?.as_secs_f64()));
    page.line(format!("memory of certsrv after that start: {:.0} MB", up.resident()?));
    let lose = || Ok(fs::remove_dir_all(state.join("index"))?);
    page.line(format!("start until ready, index lost and made anew: {:.2} s", up.restart(lose)?.as_secs_f64()));
    page.line(format!("memory of certsrv after that start: {:.0} MB", up.resident()?));
    Ok(())
}

/// Octets of all files below `dir`.
fn octets(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { octets(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that this share of all did not exceed, in milliseconds.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
        sorted[at - 1].as_secs_f64() * 1e3
    }
}

#[derive(Default)]
struct Page {
    floor: Times,
    rows: String,
    lines: String,
}

impl Page {
    fn row(&mut self, what: &str, times: &Times) {
        let (half, most) = (times.quantile(0.5), times.quantile(0.99));
        let ratio = half / self.floor.quantile(0.5);
        let _ = writeln!(self.rows, "| {what} | {} | {half:.2} | {most:.2} | {ratio:.2} |", times.0.len());
    }

    fn line(&mut self, text: String) {
        println!("{text}");
        let _ = writeln!(self.lines, "- {text}");
    }

    fn text(&self) -> String {
        let (half, most) = (self.floor.quantile(0.5), self.floor.quantile(0.99));
        format!(
            "# Joining and leaving\n\nWritten by `cargo bench -p twinseal-tests --bench membership`, which `make bench` runs: the lab on \
             loopback, {MEMBERS} members on the list.\nTimes in milliseconds. The floor is three durable appends of 1 kB, one after the \
             other, on the same disk in the same\nrun: a change is durable in the audit log, the feed log and the index before it is \
             answered.\n\n| measured | times | p50 | p99 | p50 / floor |\n|---|---|---|---|---|\n| floor: three durable appends | {} | \
             {half:.2} | {most:.2} | 1.00 |\n{}\nA certsrv with {ACCOUNTS} accounts, each in one of {GROUPS} groups:\n\n{}",
            self.floor.0.len(),
            self.rows,
            self.lines
        )
    }
}

/// A lab that is up; it ends with this value.
struct Up {
    lab: Lab,
    dir: PathBuf,
    child: Child,
    _home: tempfile::TempDir,
}

impl Up {
    fn new(members: usize) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("lab");
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinseal-lab"))
            .args(["up", "--sink-keep", "1", "--members", &members.to_string(), "--dir"])
            .arg(&dir)
            .stdout(Stdio::null())
            .spawn()?;
        while !dir.join("lab.json").exists() {
            ensure!(child.try_wait()?.is_none(), "the lab ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { lab: Lab::read(&dir)?, dir, child, _home: home })
    }

    /// A daemon's admin socket, as its configuration names it.
    fn admin(&self, name: &str) -> Result<Client> {
        let text = fs::read_to_string(self.dir.join(format!("{name}.toml")))?;
        let line = text.lines().find_map(|line| line.strip_prefix("admin_socket = ")).context("no admin socket")?;
        Ok(Client::unix(line.trim_matches('"').into()))
    }

    /// Stops certsrv, does something, and starts it again; the time until it is ready.
    fn restart(&mut self, between: impl FnOnce() -> Result<()>) -> Result<Duration> {
        self.control(&["stop", "--dir"], &["certsrv"])?;
        between()?;
        let start = Instant::now();
        self.control(&["restart", "--dir"], &["certsrv"])?;
        let took = start.elapsed();
        self.lab = Lab::read(&self.dir)?;
        Ok(took)
    }

    fn control(&self, before: &[&str], after: &[&str]) -> Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinseal-lab"));
        let status = command.args(before).arg(&self.dir).args(after).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{before:?} {after:?}");
        Ok(())
    }

    /// certsrv's resident memory in MB.
    fn resident(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.lab.pids.certsrv))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = child.wait();
}
