//! Files that are whole or absent: written under a temporary name in the same folder, synced, renamed into place,
//! and the folder synced, so that neither a crash nor a reader ever meets half a file under a real name.
//!
//! Invariant: a temporary file is locked for as long as its owner lives, so that whoever can lock one knows that the
//! owner is gone and may remove it; no process id, no clock.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

const TEMPORARY_PREFIX: &str = ".offprint-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file being written beside its final place. Dropped without [`PendingFile::publish`], it leaves nothing behind;
/// what a killed process left is removed by the next one that is created in the folder.
#[derive(Debug)]
pub struct PendingFile {
    writer: BufWriter<NamedTempFile>,
    target: PathBuf,
}

impl PendingFile {
    /// Opens a temporary file in the folder of `target`, which need not exist yet; missing parents are an error.
    pub fn create(target: &Path) -> io::Result<Self> {
        let folder = parent(target);
        remove_orphans(folder, TEMPORARY_PREFIX, |path| fs::remove_file(path));
        let file = create_locked(folder, TEMPORARY_PREFIX)?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), target: target.to_owned() })
    }

    /// The place that [`PendingFile::publish`] will fill.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Brings what was written so far to the disk, so that [`PendingFile::publish`] needs no more space for it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().as_file().sync_all()
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

/// Puts the folder `built` in the place of `target`: an old folder there is set aside first and removed last, so that
/// a whole one is there at any moment but between two renames.
pub fn replace_folder(built: &Path, target: &Path) -> io::Result<()> {
    let folder = parent(target);
    for entry in fs::read_dir(built)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(built)?;
    if target.exists() {
        let aside = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(".old").tempdir_in(folder)?;
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

/// Removes a file for good; one that is not there is no error.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.and_then(|()| sync_folder(parent(path))),
    }
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

/// Opens a temporary file `<prefix>*.tmp` in `folder`, locked until it is closed.
///
/// Between making the file and locking it, another process may take it for an orphan and remove it: then once more.
/// Where the file system has no locks, nobody can take it for an orphan either.
pub(crate) fn create_locked(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new().prefix(prefix).suffix(TEMPORARY_SUFFIX).tempfile_in(folder)?;
        match file.as_file().lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(()) if matches!(file.path().try_exists(), Ok(false)) => {}
            _ => return Ok(file),
        }
    }
}

/// Removes the files `<prefix>*.tmp` in `folder` whose owner is gone, each by `remove` while it is locked. What cannot
/// be looked at, locked or removed stays, and so does all that is no plain file.
pub(crate) fn remove_orphans(folder: &Path, prefix: &str, remove: fn(&Path) -> io::Result<()>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(prefix) && name.ends_with(TEMPORARY_SUFFIX)) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
            && let Err(error) = remove(&entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "an orphaned temporary file stays");
        }
    }
}

/// Temporary files are private (0600); a result is readable like any file that the user makes (0644).
#[cfg(unix)]
pub(crate) fn set_ordinary_mode(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(crate) fn set_ordinary_mode(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    const CHILD_TARGET: &str = "OFFPRINT_TEST_PENDING_TARGET";

    fn temporary_files(folder: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_string_lossy().ends_with(TEMPORARY_SUFFIX)).collect()
    }

    /// Runs as a child of the test below, until its input ends; on its own it has nothing to do.
    #[test]
    fn child_that_writes() {
        let Some(target) = std::env::var_os(CHILD_TARGET) else { return };
        let target = Path::new(&target);
        let mut pending = PendingFile::create(target).unwrap();
        pending.write_all(b"half").unwrap();
        pending.flush().unwrap();
        fs::write(target.with_extension("ready"), "").unwrap();
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }

    fn writing_child(target: &Path) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durable::tests::child_that_writes", "--test-threads=1"])
            .env(CHILD_TARGET, target)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let asked = Instant::now();
        while !target.with_extension("ready").exists() {
            assert!(asked.elapsed() < Duration::from_secs(60), "the child did not start");
            thread::sleep(Duration::from_millis(5));
        }
        child
    }

    #[test]
    fn what_another_process_writes_stays_until_that_process_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = writing_child(&folder.path().join("theirs.txt"));
        let theirs = temporary_files(folder.path());
        assert_eq!(theirs.len(), 1);
        replace_file(&folder.path().join("ours.txt"), b"first").unwrap();
        assert_eq!(temporary_files(folder.path()), theirs);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(temporary_files(folder.path()), theirs, "a killed process cleans nothing up");
        let pending = PendingFile::create(&folder.path().join("ours.txt")).unwrap();
        assert!(!theirs[0].exists());
        drop(pending);
        assert!(temporary_files(folder.path()).is_empty());
    }

    #[test]
    fn only_unlocked_files_of_our_name_are_orphans() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path(".offprint-dead.tmp"), "half").unwrap();
        for other in [".offprint-dead", "offprint-dead.tmp", ".part-dead.tmp", "notes.tmp"] {
            fs::write(path(other), "not ours").unwrap();
        }
        fs::create_dir(path(".offprint-folder.tmp")).unwrap();
        let mut living = PendingFile::create(&path("x.txt")).unwrap();
        assert!(!path(".offprint-dead.tmp").exists());
        living.write_all(b"living").unwrap();
        replace_file(&path("y.txt"), b"second").unwrap();
        living.publish().unwrap();
        assert_eq!(fs::read_to_string(path("x.txt")).unwrap(), "living");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4 + 1 + 2);
    }

    /// A file between its making and its lock looks like an orphan to its fellows.
    #[test]
    fn writers_in_one_folder_never_remove_each_others_files() {
        let root = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for writer in 0..4 {
                let target = root.path().join(format!("{writer}.txt"));
                scope.spawn(move || {
                    for round in 0..200 {
                        let mut pending = PendingFile::create(&target).unwrap();
                        write!(pending, "{round}").unwrap();
                        pending.publish().unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4);
    }

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
