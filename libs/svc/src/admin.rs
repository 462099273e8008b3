//! The admin socket (DESIGN 3): the same typed calls over a Unix socket of mode 0600, for root and the service's own user.

use crate::client::{CallError, Client};
use crate::http::{Caller, serve_connection};
use axum::Router;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use twinseal_proto::api::{Endpoint, Problem};

/// Longest time that an administrator waits for an answer; imports are long.
const PATIENCE: Duration = Duration::from_secs(600);

/// Serves `router` on the admin socket until `stop`.
pub async fn serve(listener: UnixListener, router: Router, stop: CancellationToken) {
    let own = rustix::process::geteuid().as_raw();
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept on the admin socket failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == own => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "refused on the admin socket");
                continue;
            }
            Err(_) => continue,
        }
        tasks.spawn(serve_connection(stream, router.clone(), Caller::Administrator, stop.clone()));
    }
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await;
}

/// Makes one call on the admin socket at `path`; for command lines.
///
/// # Errors
/// [`AdminError`] whose text says what to try.
pub async fn call<E: Endpoint>(path: &Path, request: &E::Request) -> Result<E::Response, AdminError> {
    Client::unix(path.to_owned()).call::<E>(request, PATIENCE).await.map_err(|error| match error {
        CallError::Away(why) if denied(path) => AdminError::NotAllowed { path: path.to_owned(), why },
        CallError::Away(why) => AdminError::Away { path: path.to_owned(), why },
        CallError::Refused(problem) => AdminError::Refused(problem),
    })
}

/// Whether it is the socket's mode that keeps us out.
fn denied(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}

/// An administrator's call was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers.
    #[error("{path}: no answer ({why})\ntry: is the service running, and are you root or its user?")]
    Away {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The socket is not for us.
    #[error("{path}: no answer ({why})\ntry: is the service running, and are you root or its user?")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The daemon said no.
    #[error("{}", .0.detail)]
    Refused(Problem),
}
