//! Small files that are replaced as a whole: written beside, made durable, renamed, the directory made durable.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces `path` with `contents` (mode 0600). After `Ok` the new contents survive a power loss; after a crash at any
/// moment the file has the old contents or the new.
///
/// # Errors
/// The I/O error of the step that failed; `path` is then unchanged.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("no file name"))?.to_string_lossy();
    let beside = parent.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    crate::failpoint::hit("durable.before-rename");
    fs::rename(&beside, path)?;
    sync_dir(parent)
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// The I/O error of opening or syncing it.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory of mode 0700 with its parents, their names durable; it may exist already.
///
/// # Errors
/// The I/O error of making it, or of making its name durable.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // What is synced inside a directory is lost with the directory's own name.
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or_else(|| Path::new(".")))?;
    }
    Ok(())
}

/// Reads a file that holds a secret.
///
/// # Errors
/// `PermissionDenied` when group or others may read it; else the I/O error of reading it.
pub fn read_secret(path: &Path) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let mode = Permissions::mode(&fs::metadata(path)?.permissions());
    if mode & 0o077 != 0 {
        let text = format!("{}: mode {:o} lets others read a secret; try: chmod 600", path.display(), mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    fs::read(path).map(zeroize::Zeroizing::new)
}

/// Takes the lock of a state directory, so that offline commands and a running daemon keep apart. Held until dropped.
///
/// # Errors
/// `WouldBlock` when somebody else holds it; else the I/O error of opening it.
pub fn lock_state(state: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(state.join("lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_kept_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"two");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn directories_are_made_with_their_parents_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        make_dir(&deep).unwrap();
        make_dir(&deep).unwrap();
        for made in [&deep, &dir.path().join("a")] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(make_dir(&dir.path().join("file/b")).is_err());
    }

    #[test]
    fn one_holder_of_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock_state(dir.path()).unwrap();
        assert_eq!(lock_state(dir.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock_state(dir.path()).unwrap();
    }
}
