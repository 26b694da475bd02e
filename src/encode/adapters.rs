//! Rows that choose their adapter, and a cache for each of them. Knows names and places, no graph.
//!
//! Invariant: a row is looked up, kept and computed by the same place, so that two adapters never share a vector.

use crate::cache::{EmbeddingCache, Error, Key, PartOrigin, RowMeta};
use crate::paper::Paper;

/// The adapters that rows choose from by name; none where there is nothing to choose.
#[derive(Debug, Clone, Default)]
pub struct RowAdapters {
    /// Their names, in the order of the bundle's list; at most [`MAX_ADAPTERS`](crate::model::MAX_ADAPTERS).
    pub names: Vec<String>,
    /// The corpus' field with the name, for messages.
    pub field: String,
    /// The place of the adapter for rows that name none; without it they are rejected.
    pub default: Option<usize>,
}

impl RowAdapters {
    /// The place of the row's adapter, 0 where there is nothing to choose; or why it has none.
    pub(super) fn place_of(&self, paper: &Paper) -> Result<u8, String> {
        let place = match (&paper.adapter, self.default) {
            _ if self.names.is_empty() => Some(0),
            (None, default) => default,
            (Some(name), _) => self.names.iter().position(|known| known == name),
        };
        place.and_then(|place| u8::try_from(place).ok()).ok_or_else(|| {
            let got = paper.adapter.as_ref().map_or("missing".to_owned(), |name| format!("`{name}`"));
            format!("`{}` is {got}, expected an adapter of the bundle: `{}`", self.field, self.names.join("`, `"))
        })
    }

    /// Refuses caches that don't go with these adapters.
    pub(super) fn check(&self, caches: usize) -> Result<(), super::Error> {
        let adapters = self.names.len();
        if caches == 0 || caches == adapters.max(1) {
            return Ok(());
        }
        Err(super::Error::CachesOfAdapters { got: caches, adapters })
    }

    /// What the graph is told of rows with these places: nothing where there is nothing to choose.
    pub(super) fn of_rows(&self, places: impl Iterator<Item = u8>) -> Vec<i64> {
        if self.names.is_empty() { Vec::new() } else { places.map(i64::from).collect() }
    }
}

/// What the vector of a row is found by: the place of its adapter, and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The place of its adapter in [`RowAdapters::names`], which is that of its cache; 0 where there is nothing to choose.
    pub adapter: u8,
    /// What its vector has in that cache.
    pub key: Key,
}

/// The caches of a run by the place of the adapter; a single one where there is nothing to choose, none where nothing is
/// looked up or kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caches<'a>(pub &'a [EmbeddingCache]);

/// The keys of the rows at these positions.
fn keys_of(rows: &[RowKey], positions: &[usize]) -> Vec<Key> {
    positions.iter().map(|&at| rows[at].key).collect()
}

impl<'a> Caches<'a> {
    pub fn is_none(self) -> bool {
        self.0.is_empty()
    }

    fn of(self, adapter: u8) -> Option<&'a EmbeddingCache> {
        self.0.get(usize::from(adapter))
    }

    /// Does the work on all of them, also after a failure; gives the first one.
    fn each(self, work: impl Fn(&'a EmbeddingCache) -> Result<(), Error>) -> Result<(), Error> {
        self.0.iter().map(work).fold(Ok(()), Result::and)
    }

    pub fn tick(self) -> Result<(), Error> {
        self.each(EmbeddingCache::tick)
    }

    pub fn finish(self) -> Result<(), Error> {
        self.each(EmbeddingCache::finish)
    }

    pub fn close_part(self) -> Result<(), Error> {
        self.each(EmbeddingCache::close_part)
    }

    pub fn set_origin(self, origin: &PartOrigin) -> Result<(), Error> {
        self.each(|cache| cache.set_origin(origin.clone()))
    }

    pub fn append(self, row: RowKey, vector: &[f32], meta: RowMeta) -> Result<(), Error> {
        self.of(row.adapter).map_or(Ok(()), |cache| cache.append(row.key, vector, meta))
    }

    /// Which rows are held, in their order.
    pub fn contains_all(self, rows: &[RowKey]) -> Vec<bool> {
        self.gathered(rows, |cache, own| cache.contains_all(&keys_of(rows, own)))
    }

    /// Copies each row to where it is wanted; what is known of each, in their order.
    pub fn copy_rows(self, rows: &[RowKey], into: Vec<&mut [f32]>) -> Vec<Option<RowMeta>> {
        let mut places: Vec<Option<&mut [f32]>> = into.into_iter().map(Some).collect();
        self.gathered(rows, |cache, own| {
            cache.copy_rows(own.iter().filter_map(|&at| Some((rows[at].key, places[at].take()?))))
        })
    }

    /// What is known of each row, in their order; none is copied.
    pub fn row_metas(self, rows: &[RowKey]) -> Vec<Option<RowMeta>> {
        self.gathered(rows, |cache, own| cache.row_metas(&keys_of(rows, own)))
    }

    /// What `ask` says of each row, in their order; it is asked of the positions of each cache's rows at once.
    fn gathered<T: Clone + Default>(
        self,
        rows: &[RowKey],
        mut ask: impl FnMut(&'a EmbeddingCache, &[usize]) -> Vec<T>,
    ) -> Vec<T> {
        let mut all = vec![T::default(); rows.len()];
        for (cache, own) in self.split(rows) {
            for (&at, said) in own.iter().zip(ask(cache, &own)) {
                all[at] = said;
            }
        }
        all
    }

    /// Each cache with the positions of its rows, where it has any.
    fn split(self, rows: &[RowKey]) -> impl Iterator<Item = (&'a EmbeddingCache, Vec<usize>)> {
        let mut own: Vec<Vec<usize>> = vec![Vec::new(); self.0.len()];
        for (at, row) in rows.iter().enumerate() {
            if let Some(own) = own.get_mut(usize::from(row.adapter)) {
                own.push(at);
            }
        }
        self.0.iter().zip(own).filter(|(_, own)| !own.is_empty())
    }
}

#[cfg(test)]
#[path = "adapters_tests.rs"]
mod tests;
