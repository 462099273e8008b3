//! Starting a daemon as the service manager would: its sockets handed over by name, its life tied to ours.

use anyhow::{Context as _, Result, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use twinseal_proto::api::admin::{GetStatus, Nothing, Status};
use twinseal_svc::admin;

/// How long a daemon may take to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// One daemon of the lab, running or not.
pub struct Daemon {
    /// `certsrv`, `groupsrv` or `exploder`.
    pub name: &'static str,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its admin socket.
    pub admin: PathBuf,
    program: PathBuf,
    log: PathBuf,
    sockets: Vec<(&'static str, OwnedFd)>,
    child: Option<Child>,
}

impl Daemon {
    /// A daemon that is not running yet. `sockets` are kept open here, so ports survive its death.
    #[must_use]
    pub fn new(
        name: &'static str,
        programs: &Path,
        dir: &Path,
        admin: PathBuf,
        sockets: Vec<(&'static str, OwnedFd)>,
    ) -> Self {
        Self {
            name,
            config: dir.join(format!("{name}.toml")),
            admin,
            program: programs.join(format!("twinseal-{name}")),
            log: dir.join(format!("{name}.log")),
            sockets,
            child: None,
        }
    }

    /// The process id of the last start; 0 before it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Runs the daemon's tool to its end and gives what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails; the error has its standard error.
    pub fn tool(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program).arg("--config").arg(&self.config).args(arguments).output()?;
        if !output.status.success() {
            bail!("{} {}: {}", self.name, arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the daemon. Call from the main thread: the kernel ties the child's life to the thread that made it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, environment: &[(String, String)]) -> Result<()> {
        let log = File::options().append(true).create(true).open(&self.log)?;
        let mut names = Vec::new();
        let mut mappings = Vec::new();
        for (index, (name, socket)) in self.sockets.iter().enumerate() {
            names.push(*name);
            mappings.push(FdMapping { parent_fd: socket.try_clone()?, child_fd: 3 + i32::try_from(index)? });
        }
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(&self.program)
            .arg("--config")
            .arg(&self.config)
            .arg("serve")
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .fd_mappings(mappings)?
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the daemon says that it is ready.
    ///
    /// # Errors
    /// When it dies or takes too long; the error has the end of its log.
    pub async fn ready(&mut self) -> Result<Status> {
        let until = Instant::now() + PATIENCE;
        loop {
            // The socket is ours: it takes connections also while nobody serves it.
            let asked = admin::call::<GetStatus>(&self.admin, &Nothing {});
            if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_millis(500), asked).await
                && status.ready
            {
                return Ok(status);
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > until {
                bail!("{} is not ready ({ended:?}); its log ends:\n{}", self.name, self.log_end());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// Stops the daemon: SIGTERM, and SIGKILL after ten seconds.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(child.id())?) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        for _ in 0..500 {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}
