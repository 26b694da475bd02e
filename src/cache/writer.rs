//! Writes a part from rows that come by ascending key. Knows the Arrow form of a part, not where its rows come from.
//!
//! Invariant: the bytes depend on the space, the origin and the rows alone.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch, UInt32Array};
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use super::CACHE_FORMAT;
use super::key::Key;
use super::layout::{CPU_FIELD, FINGERPRINT_FIELD, FORMAT_FIELD, PROVIDER_FIELD, RUNTIME_FIELD};
use super::part::RowRef;
use super::pending::PendingPart;
use super::space::{PartOrigin, Space};

/// Floats in a record batch: large enough that a part of 15 GB has a thousand, small enough to merge in little memory.
const BATCH_BYTES: usize = 16 << 20;
const ALIGNMENT: usize = 64;

/// A part being written.
pub(super) struct PartWriter {
    arrow: FileWriter<PendingPart>,
    schema: SchemaRef,
    item: FieldRef,
    dim: usize,
    batch_rows: usize,
    chunk: Chunk,
    last: Option<Key>,
}

#[derive(Default)]
struct Chunk {
    keys: Vec<u8>,
    embeddings: Vec<f32>,
    n_tokens: Vec<u32>,
    n_dropped: Vec<u32>,
    title_cut: Vec<bool>,
}

impl PartWriter {
    pub fn create(folder: &Path, space: &Space, origin: &PartOrigin) -> io::Result<Self> {
        let item: FieldRef = Arc::new(Field::new("item", DataType::Float32, false));
        let schema = Arc::new(schema(space, origin, &item)?);
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).map_err(io_error)?;
        let pending = PendingPart::create(folder)?;
        let arrow = FileWriter::try_new_with_options(pending, &schema, options).map_err(io_error)?;
        Ok(Self {
            arrow,
            schema,
            item,
            dim: space.dim,
            batch_rows: batch_rows(space.dim),
            chunk: Chunk::default(),
            last: None,
        })
    }

    /// Adds a row, whose key must be above the one before.
    pub fn push(&mut self, row: RowRef<'_>) -> io::Result<()> {
        debug_assert!(self.last < Some(row.key), "rows of a part come by ascending key");
        self.last = Some(row.key);
        self.chunk.keys.extend_from_slice(&row.key.0);
        self.chunk.embeddings.extend_from_slice(row.embedding);
        self.chunk.n_tokens.push(row.meta.n_tokens);
        self.chunk.n_dropped.push(row.meta.n_dropped);
        self.chunk.title_cut.push(row.meta.title_cut);
        if self.chunk.n_tokens.len() == self.batch_rows { self.write_batch() } else { Ok(()) }
    }

    /// Completes the part and gives it its name; its path.
    pub fn publish(mut self) -> io::Result<PathBuf> {
        self.write_batch()?;
        self.arrow.into_inner().map_err(io_error)?.publish()
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.chunk.n_tokens.is_empty() {
            return Ok(());
        }
        let batch = self.take_batch().map_err(io_error)?;
        self.arrow.write(&batch).map_err(io_error)
    }

    fn take_batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let chunk = mem::take(&mut self.chunk);
        let keys = FixedSizeBinaryArray::try_new(Key::BYTES as i32, Buffer::from_vec(chunk.keys), None)?;
        let values = Arc::new(Float32Array::from(chunk.embeddings));
        let embeddings = FixedSizeListArray::try_new(self.item.clone(), list_size(self.dim)?, values, None)?;
        RecordBatch::try_new(
            self.schema.clone(),
            vec![
                Arc::new(keys),
                Arc::new(embeddings),
                Arc::new(UInt32Array::from(chunk.n_tokens)),
                Arc::new(UInt32Array::from(chunk.n_dropped)),
                Arc::new(BooleanArray::from(chunk.title_cut)),
            ],
        )
    }
}

/// Rows in every record batch but the last.
fn batch_rows(dim: usize) -> usize {
    (BATCH_BYTES / size_of::<f32>() / dim).max(1)
}

fn schema(space: &Space, origin: &PartOrigin, item: &FieldRef) -> io::Result<Schema> {
    let list = DataType::FixedSizeList(item.clone(), list_size(space.dim).map_err(io_error)?);
    let fields = vec![
        Field::new("key", DataType::FixedSizeBinary(Key::BYTES as i32), false),
        Field::new("embedding", list, false),
        Field::new("n_tokens", DataType::UInt32, false),
        Field::new("n_dropped", DataType::UInt32, false),
        Field::new("title_cut", DataType::Boolean, false),
    ];
    let metadata = [
        (FORMAT_FIELD, CACHE_FORMAT.to_string()),
        (FINGERPRINT_FIELD, space.fingerprint.clone()),
        (PROVIDER_FIELD, origin.provider.clone()),
        (RUNTIME_FIELD, origin.runtime_version.clone()),
        (CPU_FIELD, origin.cpu.clone()),
    ];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
    Ok(Schema::new(fields).with_metadata(metadata.into_iter().collect::<std::collections::HashMap<_, _>>()))
}

fn list_size(dim: usize) -> Result<i32, ArrowError> {
    i32::try_from(dim).map_err(|error| ArrowError::ExternalError(Box::new(error)))
}

/// The system's error where there is one below Arrow's.
fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    }
}
