//! Listening sockets: handed over by the service manager by name (sd_listen_fds(3)), else bound here.

use listenfd::ListenFd;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::net::{TcpListener, UnixListener};

/// The sockets that came with the process.
pub struct Sockets {
    fds: ListenFd,
    names: Vec<String>,
}

impl Sockets {
    /// Takes `LISTEN_FDS` and `LISTEN_FDNAMES`; none is fine.
    #[must_use]
    pub fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { fds: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name).filter(|i| *i < self.fds.len())
    }

    /// The TCP socket called `name`, or one bound to `address`; `None` when there is neither.
    ///
    /// # Errors
    /// The I/O error of taking or binding it, with the name.
    pub fn tcp(&mut self, name: &str, address: Option<&str>) -> io::Result<Option<TcpListener>> {
        let context = |e: io::Error| io::Error::new(e.kind(), format!("socket {name}: {e}"));
        let handed = self.index(name).map(|i| self.fds.take_tcp_listener(i)).transpose().map_err(context)?.flatten();
        let listener = match (handed, address) {
            (Some(listener), _) => listener,
            (None, Some(address)) => std::net::TcpListener::bind(address).map_err(context)?,
            (None, None) => return Ok(None),
        };
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Some)
    }

    /// The Unix socket called `name`, or one bound to `path` with mode `mode`; a dead socket in its place is removed.
    ///
    /// # Errors
    /// The I/O error of taking or binding it, with the name.
    pub fn unix(&mut self, name: &str, path: Option<&Path>, mode: u32) -> io::Result<Option<UnixListener>> {
        let context = |e: io::Error| io::Error::new(e.kind(), format!("socket {name}: {e}"));
        let handed = self.index(name).map(|i| self.fds.take_unix_listener(i)).transpose().map_err(context)?.flatten();
        let listener = match (handed, path) {
            (Some(listener), _) => listener,
            (None, Some(path)) => {
                if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path).map_err(context)?;
                }
                let listener = std::os::unix::net::UnixListener::bind(path).map_err(context)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(context)?;
                listener
            }
            (None, None) => return Ok(None),
        };
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Some)
    }
}
