//! A part while it is written: a temporary file, hashed on the way, that gets its name from its own content.
//!
//! Must not know Arrow. Invariant: the temporary file is locked for as long as its owner lives, see `durable`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::durable::{self, disk::TemporaryFile};

/// Start of a temporary file's name.
const TEMPORARY_PREFIX: &str = ".part-";
const BUFFER_BYTES: usize = 256 << 10;

/// Writes bytes, then becomes `<BLAKE3 of them>.arrow`. Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct PendingPart {
    writer: BufWriter<HashedFile>,
    folder: PathBuf,
}

#[derive(Debug)]
struct HashedFile {
    file: TemporaryFile,
    hasher: blake3::Hasher,
}

impl PendingPart {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let file = TemporaryFile::create(folder, TEMPORARY_PREFIX, folder)?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, HashedFile { file, hasher: blake3::Hasher::new() });
        Ok(Self { writer, folder: folder.to_owned() })
    }

    /// Flushes, syncs, renames and syncs the folder; the path of the part. A part of the same content is replaced by
    /// its equal.
    pub(super) fn publish(self) -> io::Result<PathBuf> {
        let HashedFile { file, hasher } = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        let path = self.folder.join(format!("{}.arrow", hasher.finalize().to_hex()));
        file.publish(&path)?;
        Ok(path)
    }
}

impl Write for PendingPart {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a file of this name in a cache is, or was left by, a writer.
pub(super) fn is_temporary(name: &str) -> bool {
    [TEMPORARY_PREFIX, durable::TEMPORARY_PREFIX].iter().any(|prefix| durable::is_temporary(name, prefix))
}

/// Removes the temporary files in `folder` whose owner is gone. What cannot be looked at or removed stays.
pub(super) fn remove_orphans(folder: &Path) {
    durable::remove_orphans(folder, TEMPORARY_PREFIX);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_part_is_named_by_its_content_and_a_dropped_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = PendingPart::create(folder.path()).unwrap();
        part.write_all(b"abc").unwrap();
        let path = part.publish().unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem, blake3::hash(b"abc").to_hex().as_str());
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        drop(PendingPart::create(folder.path()).unwrap());
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn orphans_are_removed_and_files_with_a_living_owner_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".part-dead.tmp"), b"half").unwrap();
        fs::write(folder.path().join("notes.tmp"), b"not ours").unwrap();
        let mut living = PendingPart::create(folder.path()).unwrap();
        remove_orphans(folder.path());
        assert_eq!(names(folder.path()).len(), 2);
        living.write_all(b"abc").unwrap();
        living.publish().unwrap();
    }
}
