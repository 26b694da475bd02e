//! Every step by which the program changes what must outlive it, so that a test can fail each of them or die at it.
//!
//! Must not know what is written. Invariant: outside of this file nothing creates, writes, syncs, renames or removes a
//! result, a part of the cache, or a folder that holds them.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{TEMPORARY_SUFFIX, parent};

/// A file under a temporary name, locked until it is closed; dropped before [`TemporaryFile::publish`], it is removed.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: NamedTempFile,
    /// What its steps are about: the file that it will become, or the folder it lies in if only its content will tell.
    place: PathBuf,
}

impl TemporaryFile {
    /// Opens `<prefix>*.tmp` in `folder`.
    ///
    /// Between making the file and locking it, another process may take it for an orphan and remove it: then once more.
    /// Where the file system has no locks, nobody can take it for an orphan either.
    pub(crate) fn create(folder: &Path, prefix: &str, place: &Path) -> io::Result<Self> {
        reach("create", place)?;
        loop {
            let file = tempfile::Builder::new().prefix(prefix).suffix(TEMPORARY_SUFFIX).tempfile_in(folder)?;
            match file.as_file().lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(()) if matches!(file.path().try_exists(), Ok(false)) => {}
                _ => return Ok(Self { file, place: place.to_owned() }),
            }
        }
    }

    /// Makes what was written so far outlive a loss of power, though not yet under its name.
    pub(crate) fn sync(&self) -> io::Result<()> {
        reach("sync", &self.place)?;
        self.file.as_file().sync_all()
    }

    /// Syncs, renames over `target` and syncs the folder; on failure before the rename the file is removed. The mode is
    /// that of an ordinary new file.
    pub(crate) fn publish(self, target: &Path) -> io::Result<()> {
        set_ordinary_mode(self.file.as_file())?;
        self.sync()?;
        reach("rename", target)?;
        self.file.persist(target).map_err(|error| error.error)?;
        sync_folder(parent(target))
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        reach("write", &self.place)?;
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for TemporaryFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.as_file_mut().seek(position)
    }
}

/// Makes a folder and those above it, where they are missing.
pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    reach("make folder", folder)?;
    fs::create_dir_all(folder)
}

/// Moves a file; one that is gone already is no error.
pub(crate) fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    reach("move aside", from)?;
    ignore_missing(fs::rename(from, to))
}

/// Gives a file that is complete its name, in the place of an older one.
pub(crate) fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    reach("rename", to)?;
    fs::rename(from, to)
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    reach("remove", path)?;
    ignore_missing(fs::remove_file(path))
}

/// Makes what was written into a file outlive a loss of power.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    reach("sync", path)?;
    File::open(path)?.sync_all()
}

/// Makes renames and removals in `folder` outlive a loss of power.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    reach("sync folder", folder)?;
    File::open(folder)?.sync_all()
}

/// Gives the folder `from` the name `to`, under which there is nothing.
pub(crate) fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    reach("rename", to)?;
    fs::rename(from, to)
}

/// Exchanges the names of two folders in one step. An error of kind `Unsupported` where system or file system cannot.
pub(crate) fn exchange_folders(one: &Path, other: &Path) -> io::Result<()> {
    reach("exchange", other)?;
    exchange(one, other)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        outcome => outcome.map_err(io::Error::from),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether `path` still leads to this open file: it was not removed, moved or made anew.
#[cfg(unix)]
pub(crate) fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn leads_to(path: &Path, _: &File) -> bool {
    path.exists()
}

/// Removes a folder and all in it.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    reach("remove folder", folder)?;
    fs::remove_dir_all(folder)
}

/// Removes a folder in which nothing is; else an error.
pub(crate) fn remove_empty_folder(folder: &Path) -> io::Result<()> {
    reach("remove empty folder", folder)?;
    fs::remove_dir(folder)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Temporary files are private (0600); a result is readable like any file that the user makes (0644).
#[cfg(unix)]
fn set_ordinary_mode(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_ordinary_mode(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "the test build fails here")]
fn reach(_action: &'static str, _path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use super::fail_points::reach;
