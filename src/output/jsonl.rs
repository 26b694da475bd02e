//! Embeddings as JSON Lines, the form that SciRepEval and SciDocs load: `{"doc_id": ..., "embedding": [...]}`.
//!
//! A number is the shortest text that reads back as the same f32.

use std::io::{self, Write};
use std::path::Path;

use serde::ser::{SerializeMap, Serializer};

use super::embeddings::{EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, check_length};
use super::error::Error;
use crate::durable::PendingFile;

/// Writes one object a line.
pub(super) struct JsonlEmbeddings {
    pending: PendingFile,
    dim: usize,
    id_key: String,
}

impl JsonlEmbeddings {
    pub(super) fn create(path: &Path, dim: usize, options: &EmbeddingOutputOptions) -> Result<Self, Error> {
        let pending = PendingFile::create(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { pending, dim, id_key: options.jsonl_id_key.clone() })
    }

    fn try_write(&mut self, row: &EmbeddingRow<'_>) -> io::Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.pending);
        let mut map = json.serialize_map(Some(2))?;
        map.serialize_entry(&self.id_key, row.id)?;
        map.serialize_entry("embedding", row.embedding)?;
        map.end()?;
        self.pending.write_all(b"\n")
    }
}

impl WriteEmbeddings for JsonlEmbeddings {
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error> {
        check_length(row, self.dim)?;
        check_finite(row.id, row.embedding)?;
        let outcome = self.try_write(row);
        outcome.map_err(|source| Error::Write { path: self.pending.target().to_owned(), source })
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let path = self.pending.target().to_owned();
        self.pending.publish().map_err(|source| Error::Write { path, source })
    }
}

/// Refuses what JSON would turn into null.
pub(super) fn check_finite(id: &str, values: &[f32]) -> Result<(), Error> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(Error::NotFinite { id: id.to_owned(), value }),
    }
}
