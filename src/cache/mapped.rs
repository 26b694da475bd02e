//! Rows where they lie in mapped parts, in an order of the caller's. Must not know what the rows are read for.
//!
//! Invariant: a row stays readable, with the same bits, for as long as the value lives, whatever becomes of the handle
//! that made it and of the part's name. Memory: 16 bytes a row.

use arrow_buffer::ScalarBuffer;
use rayon::prelude::*;

use super::error::Error;
use super::key::Key;
use super::lookup::{Wanted, find_sorted};
use super::part::Place;
use super::store::EmbeddingCache;

/// Embeddings that are read in the mapped parts of a cache; see [`EmbeddingCache::map_rows`].
#[derive(Debug, Clone)]
pub struct MappedRows {
    /// The embeddings of all batches of all parts, each of which keeps its part mapped.
    batches: Vec<ScalarBuffer<f32>>,
    /// Where each row lies in them.
    places: Vec<Place>,
    dim: usize,
}

impl MappedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Numbers in each row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The row of the key with this number, 0-based.
    ///
    /// # Panics
    /// Beyond the last row.
    pub fn row(&self, row: usize) -> &[f32] {
        let Place { batch, row } = self.places[row];
        &self.batches[batch][row * self.dim..(row + 1) * self.dim]
    }
}

impl EmbeddingCache {
    /// Finds the rows of `keys`, in their order, where they lie on disk, and copies none. A key may come several times.
    /// Works on all threads. Rows that are only in memory are not seen: call it after [`EmbeddingCache::finish`] or
    /// [`EmbeddingCache::close_part`].
    ///
    /// # Errors
    /// [`Error::RowsNotOnDisk`] if a key has no row in a part.
    pub fn map_rows(&self, keys: &[Key]) -> Result<MappedRows, Error> {
        let parts = self.read().parts.clone();
        let mut firsts = Vec::with_capacity(parts.len());
        let mut batches = Vec::new();
        for part in parts.iter() {
            firsts.push(batches.len());
            batches.extend(part.embeddings().cloned());
        }
        let mut places = vec![Place { batch: 0, row: 0 }; keys.len()];
        let mut wanted: Vec<Wanted<&mut Place>> =
            keys.iter().zip(&mut places).map(|(key, place)| Wanted::new(*key, place)).collect();
        wanted.par_sort_unstable_by_key(|wanted| wanted.key);
        find_sorted(&parts, &mut wanted, |into, (part, place)| {
            **into = Place { batch: firsts[part] + place.batch, row: place.row };
        });
        let missing = wanted.iter().filter(|wanted| !wanted.found).count();
        if missing > 0 {
            return Err(Error::RowsNotOnDisk { missing, rows: keys.len(), path: self.folder.clone() });
        }
        Ok(MappedRows { batches, places, dim: self.space.dim })
    }
}
