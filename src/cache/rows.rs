//! Rows in memory, before they become a part. Knows no file.
//!
//! Invariant: one row per key; the first one stays.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::key::{Key, RowMeta};
use super::part::RowRef;
use super::space::PartOrigin;

/// What a row takes beside its floats: its key twice, its place and state in the index, its numbers.
const ROW_BYTES: usize = 64;

/// Rows of one origin, in the order in which they came.
#[derive(Debug)]
pub(super) struct Rows {
    dim: usize,
    origin: PartOrigin,
    index: HashMap<Key, usize>,
    keys: Vec<Key>,
    embeddings: Vec<f32>,
    meta: Vec<RowMeta>,
    opened: Option<Instant>,
}

impl Rows {
    pub fn new(dim: usize, origin: PartOrigin) -> Self {
        Self {
            dim,
            origin,
            index: HashMap::new(),
            keys: Vec::new(),
            embeddings: Vec::new(),
            meta: Vec::new(),
            opened: None,
        }
    }

    /// Keeps a row, whose length the caller has checked, unless its key is here.
    pub fn push(&mut self, key: Key, embedding: &[f32], meta: RowMeta) {
        if self.index.contains_key(&key) {
            return;
        }
        self.opened.get_or_insert_with(Instant::now);
        self.index.insert(key, self.keys.len());
        self.keys.push(key);
        self.embeddings.extend_from_slice(embedding);
        self.meta.push(meta);
    }

    pub fn get(&self, key: &Key) -> Option<RowRef<'_>> {
        self.index.get(key).map(|&row| self.row(row))
    }

    /// The rows by ascending key.
    pub fn sorted(&self) -> impl Iterator<Item = RowRef<'_>> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&row| self.keys[row]);
        order.into_iter().map(|row| self.row(row))
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Memory that the rows take, about.
    pub fn bytes(&self) -> usize {
        self.embeddings.len() * size_of::<f32>() + self.keys.len() * ROW_BYTES
    }

    /// Time since the first row came, by a clock that does not go backwards; zero without rows.
    pub fn age(&self) -> Duration {
        self.opened.map(|opened| opened.elapsed()).unwrap_or_default()
    }

    pub fn origin(&self) -> &PartOrigin {
        &self.origin
    }

    fn row(&self, row: usize) -> RowRef<'_> {
        RowRef {
            key: self.keys[row],
            embedding: &self.embeddings[row * self.dim..(row + 1) * self.dim],
            meta: self.meta[row],
        }
    }
}
