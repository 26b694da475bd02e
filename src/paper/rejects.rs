//! The file of rejected rows: JSON Lines with `file`, `line`, `id`, `reason`.
//!
//! Whole or absent under its name, and always of this run: a run without rejections removes an older rejects file there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Rejection;
use super::error::Error;
use crate::durable::{PendingFile, disk, parent, remove_file};

const REJECTED_KEYS: [&str; 4] = ["file", "line", "id", "reason"];

/// One line; its fields are [`REJECTED_KEYS`].
#[derive(Serialize)]
struct RejectedLine<'a> {
    file: &'a str,
    line: u64,
    id: Option<&'a str>,
    reason: &'a str,
}

/// Writes rejected rows; opens its file at the first.
#[derive(Debug)]
pub struct RejectsFile {
    path: PathBuf,
    pending: Option<PendingFile>,
    count: u64,
}

impl RejectsFile {
    /// Will write to `path`; touches nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pending: None, count: 0 }
    }

    /// Where the rows go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds one row; makes missing folders at the first.
    ///
    /// # Errors
    /// The file or its folder cannot be written.
    pub fn write(&mut self, rejection: &Rejection) -> Result<(), Error> {
        self.try_write(rejection).map_err(|source| Error::WriteRejects { path: self.path.clone(), source })
    }

    fn try_write(&mut self, rejection: &Rejection) -> io::Result<()> {
        let pending = match &mut self.pending {
            Some(pending) => pending,
            None => {
                disk::create_folders(parent(&self.path))?;
                self.pending.insert(PendingFile::create(&self.path)?)
            }
        };
        let Rejection { origin, id, reason } = rejection;
        let line = RejectedLine { file: &origin.file, line: origin.line, id: id.as_deref(), reason };
        serde_json::to_writer(&mut *pending, &line)?;
        pending.write_all(b"\n")?;
        self.count += 1;
        Ok(())
    }

    /// Puts the file into place, and gives the number of rows in it. Without any, an older rejects file is removed; a
    /// file of another kind is left alone.
    ///
    /// # Errors
    /// The file cannot be synced or renamed, or the older one cannot be removed.
    pub fn finish(self) -> Result<u64, Error> {
        let Self { path, pending, count } = self;
        let outcome = match pending {
            Some(pending) => pending.publish(),
            None => remove_rejects_file(&path),
        };
        outcome.map(|()| count).map_err(|source| Error::WriteRejects { path, source })
    }
}

fn remove_rejects_file(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) if starts_like_rejects(&file)? => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(()),
    }
    remove_file(path)
}

fn starts_like_rejects(file: &File) -> io::Result<bool> {
    const ENOUGH: u64 = 1 << 20;
    let mut line = Vec::new();
    BufReader::new(file.take(ENOUGH)).read_until(b'\n', &mut line)?;
    let first: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&line).ok();
    Ok(first.is_some_and(|row| row.len() == 4 && REJECTED_KEYS.iter().all(|key| row.contains_key(*key))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Origin;
    use super::*;

    fn rejection(line: u64, id: Option<&str>, reason: &str) -> Rejection {
        Rejection {
            origin: Origin { file: "a.jsonl".into(), line },
            id: id.map(str::to_owned),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_file_appears_at_finish_and_is_always_of_this_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects/x.rejects.jsonl");
        let mut rejects = RejectsFile::new(&path);
        rejects.write(&rejection(3, Some("p\"1"), "`title` is a number, expected text")).unwrap();
        rejects.write(&rejection(9, None, "broken")).unwrap();
        assert!(!path.exists());
        assert_eq!(rejects.count(), 2);
        assert_eq!(rejects.finish().unwrap(), 2);
        let expected = "{\"file\":\"a.jsonl\",\"line\":3,\"id\":\"p\\\"1\",\"reason\":\"`title` is a number, expected text\"}\n\
                        {\"file\":\"a.jsonl\",\"line\":9,\"id\":null,\"reason\":\"broken\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(RejectsFile::new(&path).finish().unwrap(), 0);
        assert!(!path.exists());
        assert_eq!(RejectsFile::new(&path).finish().unwrap(), 0);
        fs::write(&path, "{\"id\": \"a\", \"title\": \"a corpus named by mistake\"}\n").unwrap();
        assert_eq!(RejectsFile::new(&path).finish().unwrap(), 0);
        assert!(path.exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/x.jsonl");
        let error = RejectsFile::new(&path).write(&rejection(1, None, "broken")).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write rejected rows to `{}`", path.display()));
    }
}
