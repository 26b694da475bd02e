//! Rows of the cache as an output, for readers that know nothing of the cache's parts.

use std::fmt::Write as _;

use super::embeddings::{EmbeddingRow, WriteEmbeddings};
use super::error::Error;
use crate::cache::EmbeddingCache;

/// Hands every row that lies on disk to `writer`, by ascending key and each key once, so that equal caches give equal
/// files; ids are the keys as 32 hex digits. Doesn't finish the writer.
///
/// # Errors
/// Those of [`WriteEmbeddings::write`].
pub fn export_rows(cache: &EmbeddingCache, writer: &mut dyn WriteEmbeddings) -> Result<(), Error> {
    let mut id = String::new();
    cache.for_each_row(&mut |key, embedding, meta| {
        id.clear();
        // Writing into a text doesn't fail.
        let _ = write!(id, "{key}");
        writer.write(&EmbeddingRow { id: &id, embedding, n_tokens: meta.n_tokens, n_dropped: meta.n_dropped })
    })
}
