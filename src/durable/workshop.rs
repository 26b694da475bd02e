//! A folder under a temporary name, in which a result is made that is a folder itself. Knows not what is made.
//!
//! Invariant: a file in it is locked for as long as the owner lives. Whoever can lock that file knows that the owner is
//! gone and may remove the folder; one without that file is removed only if nothing is in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::{TEMPORARY_PREFIX, TEMPORARY_SUFFIX, disk, is_temporary};

/// The file that is locked.
const LOCK_FILE: &str = "lock";

/// A folder that is removed when it is dropped; what a killed process left is removed by the next one that is created
/// beside it.
#[derive(Debug)]
pub struct Workshop {
    // Dropped in this order: the folder is gone before another process could take it for an orphan.
    folder: TempDir,
    _lock: File,
}

impl Workshop {
    /// Makes `.offprint-*.tmp` in the existing folder `parent`, and removes those whose owner is gone.
    pub fn create(parent: &Path) -> io::Result<Self> {
        remove_orphans(parent);
        loop {
            let folder =
                tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).tempdir_in(parent)?;
            let path = folder.path().join(LOCK_FILE);
            // Until it is locked, another process may take the folder for an orphan and remove it: then once more. Where
            // the file system has no locks, nobody can.
            let lock = match File::create(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            };
            match lock.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(()) if matches!(path.try_exists(), Ok(false)) => {}
                _ => return Ok(Self { folder, _lock: lock }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders `.offprint-*.tmp` in `parent` whose owner is gone. What cannot be looked at, locked or removed
/// stays.
fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !(is_folder && is_temporary(&entry.file_name().to_string_lossy(), TEMPORARY_PREFIX)) {
            continue;
        }
        let folder = entry.path();
        let removed = match File::options().write(true).open(folder.join(LOCK_FILE)) {
            // Locked until it is removed.
            Ok(lock) if lock.try_lock().is_ok() => disk::remove_folder(&folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk::remove_empty_folder(&folder),
            _ => continue,
        };
        if let Err(error) = removed {
            tracing::debug!(path = %folder.display(), %error, "an orphaned temporary folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str, files: &[&str]| {
            let folder = place.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|file| fs::write(folder.join(file), "x").unwrap());
            folder
        };
        let living = Workshop::create(place.path()).unwrap();
        fs::write(living.path().join("model.onnx"), "x").unwrap();
        let orphan = folder(".offprint-dead.tmp", &[LOCK_FILE, "model.onnx"]);
        let empty = folder(".offprint-empty.tmp", &[]);
        let unknown = folder(".offprint-unknown.tmp", &["notes.txt"]);
        // It may hold the only copy of an older result.
        let aside = folder(".offprint-aside.old", &[LOCK_FILE]);
        let foreign = folder("mine.tmp", &[LOCK_FILE]);
        let next = Workshop::create(place.path()).unwrap();
        assert!(!orphan.exists() && !empty.exists());
        for kept in [living.path(), next.path(), &unknown, &aside, &foreign] {
            assert!(kept.exists(), "{}", kept.display());
        }
        let paths = [living.path().to_owned(), next.path().to_owned()];
        drop((living, next));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
