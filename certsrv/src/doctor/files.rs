//! Modes and owners: nothing in the state directory is others' to write, and no secret is others' to read.

use super::{DoctorError, Findings};
use crate::layout::Layout;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// How deep directories are walked: the engine of the index has two of its own.
const DEPTH: u32 = 5;

pub(super) fn look(layout: &Layout, findings: &mut Findings) -> Result<(), DoctorError> {
    let state = layout.state();
    let failed = |e| DoctorError::Scratch(state.to_owned(), e);
    let owner = std::fs::metadata(state).map_err(failed)?;
    if owner.mode() & 0o077 != 0 {
        findings.add("others may look into the state directory", state, "chmod 700");
    }
    walk(state, owner.uid(), DEPTH, findings).map_err(failed)
}

fn walk(dir: &Path, owner: u32, depth: u32, findings: &mut Findings) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let met = match std::fs::symlink_metadata(&path) {
            // The engine of the index removes files while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if met.file_type().is_symlink() {
            continue;
        }
        if met.uid() != owner {
            findings.add("another user's", &path, "chown to the service's user");
        }
        if met.mode() & 0o022 != 0 {
            findings.add("others may write to it", &path, "chmod go-w");
        } else if met.is_file() && secret(&path) && met.mode() & 0o077 != 0 {
            findings.add("others may read a secret", &path, "chmod 600; and think of the key as known to them");
        }
        if met.is_dir() && depth > 0 {
            walk(&path, owner, depth - 1, findings)?;
        }
    }
    Ok(())
}

/// Keys, the credential, and what a replacement of one that broke off left.
fn secret(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.contains(".key") || name.contains("key.") || name.contains("credential")
}
