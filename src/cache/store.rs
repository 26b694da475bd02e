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
use super::folder::{self, Listing};
use super::key::{Key, RowMeta};
use super::merge::{self, Ascending, MergeReport, MergeScope};
use super::part::{Part, RowRef};
use super::pending;
use super::rows::Rows;
use super::space::{self, PartOrigin, Space};
use super::writer::PartWriter;

/// Bytes in memory at which a part is closed.
const OPEN_PART_BYTES: usize = 64 << 20;

/// The embeddings of one encoder, by the text they were computed from. Shared between threads by reference; any number
/// of handles, in any number of processes, may work on one folder.
///
/// What other processes add is seen when the handle is opened and after [`EmbeddingCache::finish`] or
/// [`EmbeddingCache::merge`]. Dropping a handle writes nothing: rows since the last closed part are lost, as in a kill.
#[derive(Debug)]
pub struct EmbeddingCache {
    space: Space,
    folder: PathBuf,
    part_age: Duration,
    state: RwLock<State>,
    /// Held while a part is written or parts are listed again, so that neither forgets what the other found.
    closing: Mutex<()>,
    warnings: Mutex<Warnings>,
}

#[derive(Debug)]
struct State {
    /// By ascending name: of two rows with one key, the first one found is the one that counts.
    parts: Vec<Arc<Part>>,
    /// On its way to the disk.
    sealed: Option<Arc<Rows>>,
    open: Rows,
}

#[derive(Debug, Default)]
struct Warnings {
    new: Vec<Error>,
    known_parts: BTreeSet<PathBuf>,
}

impl EmbeddingCache {
    /// Opens the cache of `space` in the folder `root`, both made where they are missing. Removes temporary files of
    /// processes that died. Damaged parts are passed over, see [`EmbeddingCache::take_warnings`].
    ///
    /// # Errors
    /// A bad fingerprint or dimension, a folder that holds another encoder or format, or the system's refusal.
    pub fn open(root: &Path, space: &Space) -> Result<Self, Error> {
        let folder = space.prepare(root)?;
        pending::remove_orphans(&folder);
        let cache = Self {
            space: space.clone(),
            folder,
            part_age: Duration::from_secs(DEFAULT_PART_SECONDS),
            state: RwLock::new(State {
                parts: Vec::new(),
                sealed: None,
                open: Rows::new(space.dim, PartOrigin::default()),
            }),
            closing: Mutex::default(),
            warnings: Mutex::default(),
        };
        cache.refresh()?;
        Ok(cache)
    }

    /// Opens a cache that exists; its space is read from disk.
    ///
    /// # Errors
    /// [`Error::NoSpace`], and those of [`EmbeddingCache::open`].
    pub fn open_existing(root: &Path, fingerprint: &str) -> Result<Self, Error> {
        Self::open(root, &space::find(root, fingerprint)?)
    }

    /// Sets the age at which [`EmbeddingCache::tick`] closes a part.
    pub fn with_part_age(mut self, age: Duration) -> Self {
        self.part_age = age;
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

    /// Whether a row of this key can be read.
    pub fn contains(&self, key: &Key) -> bool {
        self.read().contains(key)
    }

    /// Copies the row of `key`, if there is one.
    ///
    /// # Panics
    /// If `into` has another length than [`Space::dim`].
    pub fn copy_row(&self, key: &Key, into: &mut [f32]) -> Option<RowMeta> {
        self.read().with_row(key, |row| {
            into.copy_from_slice(row.embedding);
            row.meta
        })
    }

    /// Copies the rows of `keys` into a row-major matrix of `keys.len() × dim`. The first key without a row, if any;
    /// the matrix is filled up to there.
    ///
    /// # Panics
    /// If `into` has another length.
    pub fn copy_rows(&self, keys: &[Key], into: &mut [f32]) -> Result<(), Key> {
        let dim = self.space.dim;
        assert_eq!(into.len(), keys.len() * dim, "a matrix of one row per key");
        let state = self.read();
        for (key, into) in keys.iter().zip(into.chunks_exact_mut(dim)) {
            state.with_row(key, |row| into.copy_from_slice(row.embedding)).ok_or(*key)?;
        }
        Ok(())
    }

    /// Walks the rows on disk by ascending key, each key once: of two parts with one key, that with the smaller name
    /// counts, as in a look-up. Rows that are only in memory are not visited. Holds no lock: rows may come meanwhile.
    ///
    /// # Errors
    /// The first one that `visit` gives, which ends the walk.
    pub fn for_each_row<E>(&self, visit: &mut dyn FnMut(&Key, &[f32], &RowMeta) -> Result<(), E>) -> Result<(), E> {
        let parts = self.read().parts.clone();
        let mut last = None;
        for (part, place) in Ascending::of(&parts) {
            let row = parts[part].row(place);
            if last.replace(row.key) != Some(row.key) {
                visit(&row.key, row.embedding, &row.meta)?;
            }
        }
        Ok(())
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
            if state.open.bytes() < OPEN_PART_BYTES {
                state.open.push(key, embedding, meta);
                return Ok(());
            }
            drop(state);
            self.close_part()?;
        }
    }

    /// Closes the open part if it is old enough or full: call it between batches.
    ///
    /// # Errors
    /// As [`EmbeddingCache::close_part`].
    pub fn tick(&self) -> Result<(), Error> {
        let due = {
            let open = &self.read().open;
            !open.is_empty() && (open.age() >= self.part_age || open.bytes() >= OPEN_PART_BYTES)
        };
        if due { self.close_part() } else { Ok(()) }
    }

    /// Writes the rows that are in memory as a part; when it returns, they survive a loss of power. Other threads may
    /// append and read meanwhile. After a failure the rows stay in memory and the next call tries again.
    ///
    /// # Errors
    /// The system's refusal to write, sync or rename.
    pub fn close_part(&self) -> Result<(), Error> {
        let _closing = lock(&self.closing);
        if self.read().sealed.is_some() {
            // Left by a call that failed; it goes first, as a part of its own.
            self.write_sealed()?;
        }
        self.write_sealed()
    }

    /// Closes the open part, merges the small parts of this space, and sees what other processes added. A merge that
    /// fails costs nothing but tidiness: it becomes a warning.
    ///
    /// # Errors
    /// As [`EmbeddingCache::close_part`], and when the folder cannot be listed.
    pub fn finish(&self) -> Result<(), Error> {
        self.close_part()?;
        if let Err(error) = self.merge(MergeScope::Small) {
            self.warn(vec![error]);
        }
        self.refresh()
    }

    /// Merges parts on disk, whoever wrote them. Does nothing while another process merges.
    ///
    /// # Errors
    /// The system's refusal; every row is still in a part then, maybe in two.
    pub fn merge(&self, scope: MergeScope) -> Result<MergeReport, Error> {
        let outcome = merge::merge(&self.folder, &self.space, scope);
        // What was published or set aside before a failure counts as well.
        self.refresh()?;
        let (report, warnings) = outcome?;
        self.warn(warnings);
        Ok(report)
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

    /// Maps what other processes added and lets go of parts that are no longer there.
    fn refresh(&self) -> Result<(), Error> {
        let _closing = lock(&self.closing);
        self.list_again()
    }

    /// The caller holds `closing`.
    fn list_again(&self) -> Result<(), Error> {
        let known = self.read().parts.clone();
        let Listing { parts, skipped } = folder::open_parts(&self.folder, &self.space, &known)?;
        self.write().parts = parts;
        self.warn(skipped);
        Ok(())
    }

    fn warn(&self, errors: Vec<Error>) {
        let mut warnings = lock(&self.warnings);
        for error in errors {
            let known = match &error {
                Error::PartDamaged { path, .. } => !warnings.known_parts.insert(path.clone()),
                _ => false,
            };
            if !known {
                warnings.new.push(error);
            }
        }
    }

    /// Writes the sealed rows, else the open ones, if there are any. The caller holds `closing`.
    fn write_sealed(&self) -> Result<(), Error> {
        let Some(rows) = self.seal() else { return Ok(()) };
        let path = self.write_part(&rows).map_err(Error::io("write a part into", &self.folder))?;
        match Part::open(&path, &self.space)? {
            Some(part) => self.write().insert(part),
            // Another process has merged it away already: its rows are in the part that it wrote.
            None => self.list_again()?,
        }
        self.write().sealed = None;
        Ok(())
    }

    fn seal(&self) -> Option<Arc<Rows>> {
        let mut state = self.write();
        if state.sealed.is_none() && !state.open.is_empty() {
            let origin = state.open.origin().clone();
            let full = std::mem::replace(&mut state.open, Rows::new(self.space.dim, origin));
            state.sealed = Some(Arc::new(full));
        }
        state.sealed.clone()
    }

    fn write_part(&self, rows: &Rows) -> io::Result<PathBuf> {
        let mut writer = PartWriter::create(&self.folder, &self.space, rows.origin())?;
        rows.sorted().try_for_each(|row| writer.push(row))?;
        writer.publish()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn contains(&self, key: &Key) -> bool {
        self.with_row(key, |_| ()).is_some()
    }

    fn with_row<T>(&self, key: &Key, read: impl FnOnce(RowRef<'_>) -> T) -> Option<T> {
        if let Some((part, place)) = self.parts.iter().find_map(|part| Some((part, part.find(key)?))) {
            return Some(read(part.row(place)));
        }
        let row = self.sealed.as_ref().and_then(|rows| rows.get(key)).or_else(|| self.open.get(key));
        row.map(read)
    }

    fn insert(&mut self, part: Part) {
        match self.parts.binary_search_by(|other| other.path().cmp(part.path())) {
            Ok(place) => self.parts[place] = Arc::new(part),
            Err(place) => self.parts.insert(place, Arc::new(part)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
