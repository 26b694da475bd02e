//! Embeddings as JSON Lines, the form that SciRepEval and SciDocs load: `{"doc_id": ..., "embedding": [...]}`.
//!
//! A number is the shortest text that reads back as the same f32.

use std::io::{self, Write};
use std::path::Path;

use serde::ser::{SerializeMap, Serializer};

use super::compression::Compression;
use super::embeddings::{EmbeddingRow, WriteEmbeddings, Written, check_length};
use super::error::Error;
use super::file::TextFile;

/// Writes one object a line.
pub(super) struct JsonlEmbeddings {
    file: TextFile,
    dim: usize,
    id_key: String,
    rows: u64,
}

impl JsonlEmbeddings {
    pub(super) fn create(path: &Path, dim: usize, id_key: &str, compression: Compression) -> Result<Self, Error> {
        let file = TextFile::create(path, compression)?;
        Ok(Self { file, dim, id_key: id_key.to_owned(), rows: 0 })
    }

    fn try_write(&mut self, row: &EmbeddingRow<'_>) -> io::Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.file);
        let mut map = json.serialize_map(Some(2))?;
        map.serialize_entry(&self.id_key, row.id)?;
        map.serialize_entry("embedding", row.embedding)?;
        map.end()?;
        self.file.write_all(b"\n")
    }
}

impl WriteEmbeddings for JsonlEmbeddings {
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error> {
        check_length(row, self.dim)?;
        check_finite(row.id, row.embedding)?;
        let outcome = self.try_write(row);
        outcome.map_err(|source| self.file.refused(source))?;
        self.rows += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written, Error> {
        self.file.publish()?;
        Ok(Written { rows: self.rows, quoted_ids: 0 })
    }
}

/// Refuses what JSON would turn into null.
pub(super) fn check_finite(id: &str, values: &[f32]) -> Result<(), Error> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(Error::NotFinite { id: id.to_owned(), value }),
    }
}
