//! The folder of one model in the hub's cache, laid out as Python's `huggingface_hub` does: `blobs/<etag>` holds bytes,
//! `snapshots/<commit>/<file>` links to them, `refs/<revision>` names a commit, `.no_exist/<commit>/<file>` says that a
//! file was looked for and is not in the model. Owns paths, links and locks; what is in a blob was checked before.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::durable::{self, disk};

use super::id::is_commit;
use super::{Error, HubId};

#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
    locks: PathBuf,
}

impl Store {
    pub fn new(cache: &Path, id: &HubId) -> Self {
        let name = format!("models--{}", id.folder_name());
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The file in a snapshot, if it and the bytes that it links to are there.
    pub fn present(&self, commit: &str, file: &str) -> Option<PathBuf> {
        Some(self.snapshot(commit).join(file)).filter(|path| path.is_file())
    }

    /// Whether somebody looked for the file at this commit and the hub said that there is none.
    pub fn known_absent(&self, commit: &str, file: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(file).is_file()
    }

    /// The commit that a revision stood for when it was last asked for.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_commit(text))
    }

    /// Notes what a revision stands for; a cache that says so already may be read-only.
    pub fn set_commit(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if is_commit(revision) || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        durable::replace_file(&path, commit.as_bytes()).map_err(failed("write", &path))
    }

    /// Waits until nobody else downloads the blob; `waiting` is called first if somebody does. Where the file system
    /// has no locks, two downloads of one blob are both checked, and the later one stays.
    pub fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<File, Error> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        lock_file(&path, waiting)
    }

    /// Where a blob grows; it stays there after a cut connection or a kill, and the next download goes on with it.
    pub fn partial(&self, etag: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join("blobs").join(format!("{etag}.incomplete"));
        create_parent(&path)?;
        Ok(path)
    }

    /// Gives a checked blob its name.
    pub fn publish(&self, partial: &Path, etag: &str) -> Result<(), Error> {
        let blob = self.blob(etag);
        disk::sync_file(partial).map_err(failed("write", partial))?;
        disk::rename_file(partial, &blob).map_err(failed("write", &blob))?;
        disk::sync_folder(durable::parent(&blob)).map_err(failed("write", &blob))
    }

    /// Makes the snapshot's file a link to the blob.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf, Error> {
        let path = self.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(path);
        }
        create_parent(&path)?;
        // Out of the file's folders, the commit's and `snapshots`.
        let up = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        let aside = durable::parent(&path).join(format!(".offprint-{}-{etag}.tmp", std::process::id()));
        let _ = fs::remove_file(&aside);
        make_link(&target, &aside, &self.blob(etag)).map_err(failed("write", &path))?;
        disk::rename_file(&aside, &path).map_err(failed("write", &path))?;
        Ok(path)
    }
}

#[cfg(unix)]
fn make_link(target: &Path, link: &Path, _blob: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Elsewhere links need rights that users seldom have.
#[cfg(not(unix))]
fn make_link(_target: &Path, link: &Path, blob: &Path) -> io::Result<()> {
    fs::copy(blob, link).map(|_| ())
}

/// Opens and locks a file; it is unlocked when it is closed. `waiting` is called if somebody else holds it. On a file
/// system without locks it is returned unlocked.
pub(super) fn lock_file(path: &Path, waiting: impl FnOnce()) -> Result<File, Error> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(failed("open", path))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        waiting();
        let _ = file.lock();
    }
    Ok(file)
}

pub(super) fn create_parent(path: &Path) -> Result<(), Error> {
    let folder = durable::parent(path);
    disk::create_folders(folder).map_err(failed("create", folder))
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_any_depth_to_the_blob() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path(), &HubId::parse("org/x").unwrap());
        let partial = store.partial("e").unwrap();
        fs::write(&partial, "bytes").unwrap();
        store.publish(&partial, "e").unwrap();
        for file in ["config.json", "1_Pooling/config.json", "a/b/c.json"] {
            let path = store.link("c", file, "e").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "bytes", "{file}");
            assert_eq!(store.present("c", file), Some(path.clone()));
            assert!(fs::read_link(path).unwrap().is_relative(), "a cache may be moved");
        }
        assert!(cache.path().join("models--org--x/snapshots/c/a/b/c.json").exists());
        assert_eq!(store.present("c", "tokenizer.json"), None);
    }

    #[test]
    fn a_revision_is_kept_as_the_commit_that_it_stood_for() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path(), &HubId::parse("org/x").unwrap());
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(store.commit_of("main"), None);
        for revision in ["main", "refs/pr/1"] {
            store.set_commit(revision, commit).unwrap();
            assert_eq!(store.commit_of(revision).as_deref(), Some(commit));
        }
        assert_eq!(store.commit_of(commit).as_deref(), Some(commit));
        fs::write(cache.path().join("models--org--x/refs/main"), "../../etc").unwrap();
        assert_eq!(store.commit_of("main"), None, "what is no commit never becomes a path");
    }
}
