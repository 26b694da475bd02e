//! Files that are whole or absent: written under a temporary name in the same folder, synced, renamed into place,
//! and the folder synced, so that neither a crash nor a reader ever meets half a file under a real name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file being written beside its final place. Dropped without [`PendingFile::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct PendingFile {
    writer: BufWriter<tempfile::NamedTempFile>,
    target: PathBuf,
}

impl PendingFile {
    /// Opens a temporary file in the folder of `target`, which need not exist yet; missing parents are an error.
    pub fn create(target: &Path) -> io::Result<Self> {
        let folder = parent(target);
        let file = tempfile::Builder::new().prefix(".offprint-").suffix(".tmp").tempfile_in(folder)?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), target: target.to_owned() })
    }

    /// The place that [`PendingFile::publish`] will fill.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The file itself, for writers that seek; flushes what was buffered so far.
    pub fn file_mut(&mut self) -> io::Result<&mut File> {
        self.writer.flush()?;
        Ok(self.writer.get_mut().as_file_mut())
    }

    /// Flushes, syncs, renames over the target and syncs the folder. The mode is that of an ordinary new file.
    pub fn publish(self) -> io::Result<()> {
        let target = self.target;
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        set_ordinary_mode(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|error| error.error)?;
        sync_folder(parent(&target))
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

/// Replaces `target` by `bytes`, whole or not at all.
pub fn replace_file(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut pending = PendingFile::create(target)?;
    pending.write_all(bytes)?;
    pending.publish()
}

/// Puts the folder `built` in the place of `target`: an old folder there is set aside first and removed last, so that
/// a whole one is there at any moment but between two renames.
pub fn replace_folder(built: &Path, target: &Path) -> io::Result<()> {
    let folder = parent(target);
    for entry in fs::read_dir(built)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(built)?;
    if target.exists() {
        let aside = tempfile::Builder::new().prefix(".offprint-").suffix(".old").tempdir_in(folder)?;
        let old = aside.path().join("old");
        fs::rename(target, &old)?;
        if let Err(error) = fs::rename(built, target) {
            fs::rename(&old, target)?;
            return Err(error);
        }
    } else {
        fs::rename(built, target)?;
    }
    sync_folder(folder)
}

/// Makes a rename or a removal in `folder` survive a power loss.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that holds `path`; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_the_place_of_another() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("bundle");
        for content in ["first", "second"] {
            let built = root.path().join("built");
            fs::create_dir(&built).unwrap();
            fs::write(built.join("x"), content).unwrap();
            replace_folder(&built, &target).unwrap();
            assert_eq!(fs::read_to_string(target.join("x")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unpublished_file_leaves_nothing_and_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.txt");
        fs::write(&target, "old").unwrap();
        let mut pending = PendingFile::create(&target).unwrap();
        pending.write_all(b"half").unwrap();
        drop(pending);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        replace_file(&target, b"new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }
}
