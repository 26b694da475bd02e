//! Files that are whole or absent: written under a temporary name in the same folder, synced, renamed into place,
//! and the folder synced, so that neither a crash nor a reader ever meets half a file under a real name.
//!
//! Invariant: a temporary file is locked for as long as its owner lives, so that whoever can lock one knows that the
//! owner is gone and may remove it; no process id, no clock. Every single change of the disk is a step of `disk`.

pub(crate) mod aside;
pub(crate) mod disk;
#[cfg(test)]
pub(crate) mod fail_points;
#[cfg(test)]
mod tests;
mod workshop;

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use disk::TemporaryFile;

pub use workshop::Workshop;

/// Start of the temporary names of results.
pub(crate) const TEMPORARY_PREFIX: &str = ".offprint-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file being written beside its final place. Dropped without [`PendingFile::publish`], it leaves nothing behind;
/// what a killed process left is removed by the next one that is created in the folder.
#[derive(Debug)]
pub struct PendingFile {
    writer: BufWriter<TemporaryFile>,
    target: PathBuf,
}

impl PendingFile {
    /// Opens a temporary file in the folder of `target`, which need not exist yet; missing parents are an error.
    pub fn create(target: &Path) -> io::Result<Self> {
        remove_orphans(parent(target), TEMPORARY_PREFIX);
        let file = TemporaryFile::create(parent(target), TEMPORARY_PREFIX, target)?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), target: target.to_owned() })
    }

    /// The place that [`PendingFile::publish`] will fill.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Brings what was written so far to the disk, so that [`PendingFile::publish`] needs no more space for it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync()
    }

    /// Flushes, syncs, renames over the target and syncs the folder. The mode is that of an ordinary new file.
    pub fn publish(self) -> io::Result<()> {
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.publish(&self.target)
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for PendingFile {
    /// Flushes what was buffered so far.
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer.seek(position)
    }
}

/// Replaces `target` by `bytes`, whole or not at all.
pub fn replace_file(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut pending = PendingFile::create(target)?;
    pending.write_all(bytes)?;
    pending.publish()
}

/// Puts the folder `built` in the place of `target`. Where the file system can exchange two names, there is a whole
/// folder under `target` at any moment; elsewhere an old one is set aside first, and for a moment there is none.
pub fn replace_folder(built: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(built)? {
        disk::sync_file(&entry?.path())?;
    }
    disk::sync_folder(built)?;
    if !target.exists() {
        disk::rename_folder(built, target)?;
        return disk::sync_folder(parent(target));
    }
    match disk::exchange_folders(built, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return replace_in_two_steps(built, target),
        Err(error) => return Err(error),
    }
    disk::sync_folder(parent(target))?;
    disk::remove_folder(built)
}

fn replace_in_two_steps(built: &Path, target: &Path) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(".old").tempdir_in(parent(target))?;
    // From now on it goes by a step of its own or not at all: for a moment it holds the only copy of the old folder.
    let aside = aside.keep();
    let old = aside.join("old");
    let named = |error: io::Error| {
        let kind = error.kind();
        io::Error::new(kind, SetAside { target: target.to_owned(), old: old.clone(), source: error })
    };
    if let Err(error) = disk::rename_folder(target, &old) {
        // Empty: a leftover costs nothing.
        let _ = disk::remove_empty_folder(&aside);
        return Err(error);
    }
    if let Err(error) = disk::rename_folder(built, target) {
        disk::rename_folder(&old, target).map_err(named)?;
        let _ = disk::remove_empty_folder(&aside);
        return Err(error);
    }
    disk::sync_folder(parent(target)).map_err(named)?;
    disk::remove_folder(&aside)
}

/// A folder could neither be replaced nor be put back.
#[derive(Debug, thiserror::Error)]
#[error("what was in `{}` lies in `{}` now", target.display(), old.display())]
struct SetAside {
    target: PathBuf,
    old: PathBuf,
    source: io::Error,
}

/// Removes a file for good; one that is not there is no error.
pub fn remove_file(path: &Path) -> io::Result<()> {
    disk::remove(path)?;
    disk::sync_folder(parent(path))
}

/// The folder that holds `path`; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a file of this name is, or was left by, a writer whose temporary files begin with `prefix`.
pub(crate) fn is_temporary(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix) && name.ends_with(TEMPORARY_SUFFIX)
}

/// Removes the files `<prefix>*.tmp` in `folder` whose owner is gone, each while it is locked. What cannot be looked
/// at, locked or removed stays, and so does all that is no plain file.
pub(crate) fn remove_orphans(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !is_temporary(&name.to_string_lossy(), prefix) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
            && let Err(error) = disk::remove(&entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "an orphaned temporary file stays");
        }
    }
}
