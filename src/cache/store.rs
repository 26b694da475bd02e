//! The cache as one process sees it: mapped parts, and rows of its own that are not in a part yet.
//!
//! Must not know where embeddings come from. Invariants: a row that was appended can be read until the handle is
//! dropped, whatever fails on disk; memory for rows stays under two open parts (128 MiB and one row).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::DEFAULT_PART_SECONDS;
use super::error::Error;
use super::key::{Key, RowMeta};
use super::lookup::{Parts, State};
use super::part::Part;
use super::pending;
use super::rows::Rows;
use super::space::{PartOrigin, Space};
use super::stamp::InUse;

/// Bytes in memory at which a part is closed, of all handles together that share them.
pub(super) const OPEN_PART_BYTES: usize = 64 << 20;

/// The embeddings of one encoder, by the text they were computed from. Shared between threads by reference; any number
/// of handles, in any number of processes, may work on one folder.
///
/// What other processes add is seen when the handle is opened, after [`EmbeddingCache::finish`] or
/// [`EmbeddingCache::merge`], and when one of them merged parts of this handle. Dropping a handle writes nothing: rows
/// since the last closed part are lost, as in a kill. While a handle lives, its space is not pruned.
#[derive(Debug)]
pub struct EmbeddingCache {
    pub(super) space: Space,
    pub(super) root: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) home: Mutex<Home>,
    pub(super) part_age: Duration,
    pub(super) part_bytes: usize,
    pub(super) state: RwLock<State>,
    /// Held while a part is written or parts are listed again, so that neither forgets what the other found.
    pub(super) closing: Mutex<()>,
    pub(super) warnings: Mutex<Warnings>,
}

/// What ties the handle to its folder.
#[derive(Debug)]
pub(super) struct Home {
    /// Keeps the folder from being pruned; none where the system has no locks or the cache may only be read.
    pub(super) in_use: Option<InUse>,
    /// Whether the folder was removed, and not made anew yet.
    pub(super) removed: bool,
    /// Parts of a folder that was removed: mapped, they can still be read.
    pub(super) orphans: Vec<Arc<Part>>,
}

#[derive(Debug, Default)]
pub(super) struct Warnings {
    pub(super) new: Vec<Error>,
    pub(super) known_parts: BTreeSet<PathBuf>,
    /// Whether a merge between two parts failed before: one warning is enough.
    pub(super) untidy: bool,
}

impl EmbeddingCache {
    /// Opens the cache of `space` in the folder `root`, both made where they are missing. Removes temporary files of
    /// processes that died. Damaged parts are passed over, see [`EmbeddingCache::take_warnings`].
    ///
    /// # Errors
    /// A bad fingerprint or dimension, a folder that holds another encoder or format, or the system's refusal.
    pub fn open(root: &Path, space: &Space) -> Result<Self, Error> {
        let (folder, in_use) = claim(root, space)?;
        pending::remove_orphans(&folder);
        let cache = Self {
            space: space.clone(),
            root: root.to_owned(),
            folder,
            home: Mutex::new(Home { in_use, removed: false, orphans: Vec::new() }),
            part_age: Duration::from_secs(DEFAULT_PART_SECONDS),
            part_bytes: OPEN_PART_BYTES,
            state: RwLock::new(State {
                parts: Parts::default(),
                sealed: None,
                open: Rows::new(space.dim, PartOrigin::default()),
            }),
            closing: Mutex::default(),
            warnings: Mutex::default(),
        };
        cache.refresh()?;
        Ok(cache)
    }

    /// Sets the age at which [`EmbeddingCache::tick`] closes a part.
    pub fn with_part_age(mut self, age: Duration) -> Self {
        self.part_age = age;
        self
    }

    /// Says that this is one of so many handles that are filled together: their open parts take no more memory than that
    /// of a single one.
    pub fn sharing_memory_among(mut self, handles: usize) -> Self {
        self.part_bytes = OPEN_PART_BYTES / handles.max(1);
        self
    }

    /// Says where the rows come from that are appended from now on. A part has one origin: an open part of another
    /// one is closed first.
    ///
    /// # Errors
    /// As [`EmbeddingCache::close_part`].
    pub fn set_origin(&self, origin: PartOrigin) -> Result<(), Error> {
        loop {
            let mut state = self.write();
            if *state.open.origin() == origin {
                return Ok(());
            }
            if state.open.is_empty() {
                state.open = Rows::new(self.space.dim, origin);
                return Ok(());
            }
            drop(state);
            self.close_part()?;
        }
    }

    /// What this cache holds the rows of.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Keeps a row, in memory for now. A key that has a row already is passed over. A full part is closed first; if
    /// that fails, the row is not kept.
    ///
    /// # Errors
    /// [`Error::RowLength`], and those of [`EmbeddingCache::close_part`].
    pub fn append(&self, key: Key, embedding: &[f32], meta: RowMeta) -> Result<(), Error> {
        if embedding.len() != self.space.dim {
            return Err(Error::RowLength { got: embedding.len(), expected: self.space.dim });
        }
        loop {
            let mut state = self.write();
            if state.contains(&key) {
                return Ok(());
            }
            if state.open.bytes() < self.part_bytes {
                state.open.push(key, embedding, meta);
                return Ok(());
            }
            drop(state);
            self.close_and_tidy()?;
        }
    }

    /// Rows that can be read; a key that lies in two parts counts twice.
    pub fn len(&self) -> usize {
        let state = self.read();
        let mapped: usize = state.parts.iter().map(|part| part.rows()).sum();
        mapped + state.sealed.as_ref().map_or(0, |rows| rows.len()) + state.open.len()
    }

    /// Whether no row can be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parts on disk that this handle reads.
    pub fn parts(&self) -> usize {
        self.read().parts.len()
    }

    /// What the cache went on without since the last call: damaged parts (each once), a merge that failed.
    pub fn take_warnings(&self) -> Vec<Error> {
        std::mem::take(&mut lock(&self.warnings).new)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removals that may come between two steps of a claim. Prunes take what was left there before, or what they listed
/// then; one that begins later does not see a folder that was made here before it is claimed.
const REMOVALS: usize = 100;

/// Makes the folder of a space where it is missing, and marks it as in use.
pub(super) fn claim(root: &Path, space: &Space) -> Result<(PathBuf, Option<InUse>), Error> {
    let mut removals = 0;
    loop {
        match claim_once(root, space) {
            Err(error) if error.is_missing() && removals < REMOVALS => removals += 1,
            claimed => return claimed,
        }
    }
}

/// As [`claim`]; [`Error::is_missing`] where the folder was removed between two steps.
fn claim_once(root: &Path, space: &Space) -> Result<(PathBuf, Option<InUse>), Error> {
    let folder = space.make_folder(root)?;
    let in_use = match InUse::claim(&folder) {
        Ok(in_use) if in_use.is_of(&folder) => Some(in_use),
        // Another process may have made it anew by now.
        Ok(_) => return Err(Error::io("lock", folder)(io::ErrorKind::NotFound.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::io("lock", folder)(error)),
        Err(error) => {
            tracing::debug!(%error, folder = %folder.display(), "the cache is used without a lock");
            None
        }
    };
    space.describe(root)?;
    Ok((folder, in_use))
}

#[cfg(test)]
mod tests {
    use super::super::prune::{KeepReason, PruneOptions, prune};
    use super::*;

    #[test]
    fn no_prune_takes_a_folder_on_its_way_to_a_space() {
        let root = tempfile::tempdir().unwrap();
        let space = Space { fingerprint: "f00d".into(), dim: 2, fields: Default::default() };
        let all = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
        let folder = space.make_folder(root.path()).unwrap();
        assert!(prune(root.path(), &all).unwrap().removed.is_empty() && folder.is_dir());
        let in_use = InUse::claim(&folder).unwrap();
        space.describe(root.path()).unwrap();
        let kept = prune(root.path(), &all).unwrap().kept;
        assert_eq!(kept.into_iter().map(|kept| kept.reason).collect::<Vec<_>>(), [KeepReason::InUse]);
        assert!(in_use.is_of(&folder));
        drop(in_use);
        assert_eq!(prune(root.path(), &all).unwrap().removed.len(), 1);
    }
}
