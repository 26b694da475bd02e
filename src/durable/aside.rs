//! Folders that are removed in two steps: moved to another name, at which nobody looks for them, then emptied. So nobody ever
//! finds half of one, and what a removal leaves that was killed is known by its name.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk;

/// Start of the name of a folder that is being removed.
const PREFIX: &str = ".pruned-";

/// Moves `folder`, which lies in `root`, out of the way for good; where it is now.
pub(crate) fn move_aside(root: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let aside = root.join(format!("{PREFIX}{name}-{}-{nanos}", std::process::id()));
    disk::rename_folder(folder, &aside)?;
    disk::sync_folder(root)?;
    Ok(aside)
}

/// Removes what was moved aside. Another process may be removing the same.
pub(crate) fn remove_aside(path: &Path) -> io::Result<()> {
    match disk::remove_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes what a process that was killed had moved aside. What cannot be removed stays for the next one.
pub(crate) fn remove_leftovers(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(error) = remove_aside(&entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "a removed folder was not removed to its end");
        }
    }
}
