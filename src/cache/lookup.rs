//! Finds rows: in mapped parts, then in memory. Must not know files or writing.
//!
//! Invariants: of several parts with one key, that with the smallest name counts; a row that was there when a look-up
//! began is found, whatever is sealed, written or merged meanwhile.

use std::sync::Arc;

use rayon::prelude::*;

use super::key::{Key, RowMeta};
use super::merge::Ascending;
use super::part::{Part, Place, RowRef};
use super::rows::Rows;
use super::store::EmbeddingCache;

/// Look-ups that one thread does in a row: enough to be worth a task, few enough to keep what they touch in a near cache.
const CHUNK: usize = 512;

/// Mapped parts, by ascending name.
pub(super) type Parts = Arc<Vec<Arc<Part>>>;

/// Takes one row of a walk; an error ends it.
pub type VisitRow<'a, E> = dyn FnMut(&Key, &[f32], &RowMeta) -> Result<(), E> + 'a;

/// All rows that a handle can read.
#[derive(Debug)]
pub(super) struct State {
    pub parts: Parts,
    /// On its way to the disk.
    pub sealed: Option<Arc<Rows>>,
    pub open: Rows,
}

/// A key that is looked for, and what its row is put into.
pub(super) struct Wanted<T> {
    pub key: Key,
    pub found: bool,
    pub into: T,
}

impl<T> Wanted<T> {
    pub fn new(key: Key, into: T) -> Self {
        Self { key, found: false, into }
    }
}

impl State {
    pub fn contains(&self, key: &Key) -> bool {
        self.with_row(key, |_| ()).is_some()
    }

    pub fn with_row<T>(&self, key: &Key, read: impl FnOnce(RowRef<'_>) -> T) -> Option<T> {
        let alone = self.parts.len() < 2;
        if let Some((part, place)) = self.parts.iter().find_map(|part| Some((part, part.look_up(key, alone)?))) {
            return Some(read(part.row(place)));
        }
        self.with_row_in_memory(key, read)
    }

    pub fn with_row_in_memory<T>(&self, key: &Key, read: impl FnOnce(RowRef<'_>) -> T) -> Option<T> {
        let row = self.sealed.as_ref().and_then(|rows| rows.get(key)).or_else(|| self.open.get(key));
        row.map(read)
    }

    pub fn insert(&mut self, part: Part) {
        let parts = Arc::make_mut(&mut self.parts);
        match parts.binary_search_by(|other| other.path().cmp(part.path())) {
            Ok(place) => parts[place] = Arc::new(part),
            Err(place) => parts.insert(place, Arc::new(part)),
        }
    }
}

/// Looks for `wanted`, sorted by key, in mapped parts, on all threads if there are many; `take` gets the place of each row
/// that is found, with the number of its part. Sorted keys walk through a part instead of jumping in it, and one part is
/// done before the next, so that its pages and its filter stay near.
pub(super) fn find_sorted<T: Send>(
    parts: &[Arc<Part>],
    wanted: &mut [Wanted<T>],
    take: impl Fn(&mut T, (usize, Place)) + Sync,
) {
    let alone = parts.len() < 2;
    let find = |chunk: &mut [Wanted<T>]| {
        for (number, part) in parts.iter().enumerate() {
            for wanted in chunk.iter_mut().filter(|wanted| !wanted.found) {
                if let Some(place) = part.look_up(&wanted.key, alone) {
                    wanted.found = true;
                    take(&mut wanted.into, (number, place));
                }
            }
        }
    };
    if wanted.len() <= CHUNK {
        find(wanted);
    } else {
        wanted.par_chunks_mut(CHUNK).for_each(find);
    }
}

impl EmbeddingCache {
    /// Whether a row of this key can be read.
    pub fn contains(&self, key: &Key) -> bool {
        self.read().contains(key)
    }

    /// Copies the row of `key`, if there is one.
    ///
    /// # Panics
    /// If `into` has another length than `Space::dim`.
    pub fn copy_row(&self, key: &Key, into: &mut [f32]) -> Option<RowMeta> {
        self.read().with_row(key, |row| {
            into.copy_from_slice(row.embedding);
            row.meta
        })
    }

    /// Which of `keys` have a row, in their order. Much faster than asking for one after the other.
    pub fn contains_all(&self, keys: &[Key]) -> Vec<bool> {
        let mut held = vec![false; keys.len()];
        self.find_all(keys.iter().copied().zip(&mut held), |held, _| **held = true);
        held
    }

    /// Copies the row of each key to where it is wanted; what is known of each, in their order, `None` without a row.
    /// Works on all threads.
    ///
    /// # Panics
    /// If a place has another length than `Space::dim`.
    pub fn copy_rows<'a>(&self, rows: impl IntoIterator<Item = (Key, &'a mut [f32])>) -> Vec<Option<RowMeta>> {
        let rows: Vec<(Key, &mut [f32])> = rows.into_iter().collect();
        let mut metas = vec![None; rows.len()];
        let rows = rows.into_iter().zip(&mut metas).map(|((key, into), meta)| (key, (into, meta)));
        self.find_all(rows, |(into, meta), row| {
            into.copy_from_slice(row.embedding);
            **meta = Some(row.meta);
        });
        metas
    }

    /// What is known of the row of each key, in their order, `None` without a row. Copies no row; works on all threads.
    pub fn row_metas(&self, keys: &[Key]) -> Vec<Option<RowMeta>> {
        let mut metas = vec![None; keys.len()];
        self.find_all(keys.iter().copied().zip(&mut metas), |meta, row| **meta = Some(row.meta));
        metas
    }

    fn find_all<T: Send>(&self, keys: impl Iterator<Item = (Key, T)>, take: impl Fn(&mut T, RowRef<'_>) + Sync) {
        let mut wanted: Vec<Wanted<T>> = keys.map(|(key, into)| Wanted::new(key, into)).collect();
        wanted.par_sort_unstable_by_key(|wanted| wanted.key);
        let parts = self.read().parts.clone();
        find_sorted(&parts, &mut wanted, |into, (part, place)| take(into, parts[part].row(place)));
        let state = self.read();
        // Rows may have gone from memory to a part since the parts were taken.
        let same = Arc::ptr_eq(&parts, &state.parts);
        for wanted in wanted.iter_mut().filter(|wanted| !wanted.found) {
            let key = wanted.key;
            let take = |row: RowRef<'_>| take(&mut wanted.into, row);
            if same {
                state.with_row_in_memory(&key, take)
            } else {
                state.with_row(&key, take)
            };
        }
    }

    /// Walks the rows on disk by ascending key, each key once: of two parts with one key, that with the smaller name
    /// counts, as in a look-up. Rows that are only in memory are not visited. Holds no lock: rows may come meanwhile.
    ///
    /// # Errors
    /// The first one that `visit` gives, which ends the walk.
    pub fn for_each_row<E>(&self, visit: &mut VisitRow<'_, E>) -> Result<(), E> {
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
}
