//! Embeddings as Parquet. The Arrow schema travels in the file, so that readers see a list of fixed size, which Parquet
//! itself does not have; the list's element is named `element`, as Parquet's own rules and pyarrow name it.
//!
//! Floats are stored plain unless the user asks for a compression, which gets their bytes split by place: zstd then
//! takes 15 % off real embeddings (7 % unsplit, snappy 8 %), but polars needs twice as long to read them.
//! Memory: one batch of rows and one row group of about 16 MiB before encoding.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as PageCompression, Encoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use ::parquet::schema::types::ColumnPath;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::compression::{Codec, Compression};
use super::embeddings::{EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, Written, check_length};
use super::error::Error;
use crate::durable::PendingFile;

/// Floats of one row group; as bytes 16 MiB.
const GROUP_FLOATS: usize = 4 << 20;
/// Floats collected before they are encoded; as bytes 1 MiB.
const BATCH_FLOATS: usize = 256 << 10;

/// A Parquet file under its temporary name, for tables of any schema.
pub(super) struct ParquetTable {
    writer: ArrowWriter<PendingFile>,
    schema: SchemaRef,
    path: PathBuf,
}

impl ParquetTable {
    pub(super) fn create(path: &Path, schema: Schema, properties: WriterProperties) -> Result<Self, Error> {
        let pending = PendingFile::create(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        let schema = Arc::new(schema);
        let writer = ArrowWriter::try_new(pending, Arc::clone(&schema), Some(properties))
            .map_err(|source| Error::Parquet { path: path.to_owned(), source })?;
        Ok(Self { writer, schema, path: path.to_owned() })
    }

    pub(super) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), Error> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|source| self.arrow(source))?;
        self.writer.write(&batch).map_err(|source| self.refused(source))
    }

    pub(super) fn publish(self) -> Result<(), Error> {
        let path = self.path;
        let pending = match self.writer.into_inner() {
            Ok(pending) => pending,
            Err(source) => return Err(Error::Parquet { path, source }),
        };
        pending.publish().map_err(|source| Error::Write { path, source })
    }

    pub(super) fn arrow(&self, source: ArrowError) -> Error {
        Error::Arrow { path: self.path.clone(), source }
    }

    fn refused(&self, source: ParquetError) -> Error {
        Error::Parquet { path: self.path.clone(), source }
    }
}

/// Writes embeddings batch by batch.
pub(super) struct ParquetEmbeddings {
    table: ParquetTable,
    element: Arc<Field>,
    dim: usize,
    batch_rows: usize,
    ids: Vec<String>,
    floats: Vec<f32>,
    n_tokens: Vec<u32>,
    n_dropped: Vec<u32>,
    rows: u64,
}

impl ParquetEmbeddings {
    pub(super) fn create(path: &Path, dim: usize, options: &EmbeddingOutputOptions) -> Result<Self, Error> {
        let element = Arc::new(Field::new("element", DataType::Float32, false));
        let fields = vec![
            Field::new(&options.id_column, DataType::Utf8, false),
            Field::new("embedding", DataType::FixedSizeList(Arc::clone(&element), list_size(dim)), false),
            Field::new("n_tokens", DataType::UInt32, false),
            Field::new("n_dropped", DataType::UInt32, false),
        ];
        let metadata: HashMap<String, String> =
            options.metadata().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let schema = Schema::new_with_metadata(fields, metadata);
        let table = ParquetTable::create(path, schema, properties(dim, options.compression))?;
        let batch_rows = (BATCH_FLOATS / dim.max(1)).clamp(1, 4096);
        Ok(Self {
            table,
            element,
            dim,
            batch_rows,
            ids: Vec::new(),
            floats: Vec::with_capacity(batch_rows * dim),
            n_tokens: Vec::new(),
            n_dropped: Vec::new(),
            rows: 0,
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        let floats = std::mem::replace(&mut self.floats, Vec::with_capacity(self.batch_rows * self.dim));
        let values: ArrayRef = Arc::new(Float32Array::from(floats));
        let embedding = FixedSizeListArray::try_new(Arc::clone(&self.element), list_size(self.dim), values, None)
            .map_err(|source| self.table.arrow(source))?;
        let ids = StringArray::from_iter_values(self.ids.drain(..));
        let n_tokens = UInt32Array::from(std::mem::take(&mut self.n_tokens));
        let n_dropped = UInt32Array::from(std::mem::take(&mut self.n_dropped));
        self.table.write(vec![Arc::new(ids), Arc::new(embedding), Arc::new(n_tokens), Arc::new(n_dropped)])
    }
}

impl WriteEmbeddings for ParquetEmbeddings {
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error> {
        check_length(row, self.dim)?;
        self.ids.push(row.id.to_owned());
        self.floats.extend_from_slice(row.embedding);
        self.n_tokens.push(row.n_tokens);
        self.n_dropped.push(row.n_dropped);
        self.rows += 1;
        if self.ids.len() >= self.batch_rows {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written, Error> {
        if !self.ids.is_empty() {
            self.flush()?;
        }
        self.table.publish()?;
        Ok(Written { rows: self.rows, quoted_ids: 0 })
    }
}

/// Arrow's list sizes are i32; no encoder comes near.
fn list_size(dim: usize) -> i32 {
    i32::try_from(dim).unwrap_or(i32::MAX)
}

fn properties(dim: usize, compression: Option<Compression>) -> WriterProperties {
    let floats = ColumnPath::from(vec!["embedding".to_owned(), "list".to_owned(), "element".to_owned()]);
    // Bytes of one place, put together, are what a compressor finds something in.
    let (encoding, of_floats) = match compression {
        Some(asked) if asked.codec != Codec::None => (Encoding::BYTE_STREAM_SPLIT, page_compression(asked)),
        _ => (Encoding::PLAIN, PageCompression::UNCOMPRESSED),
    };
    table_properties(compression)
        .set_max_row_group_row_count(Some((GROUP_FLOATS / dim.max(1)).clamp(1, 1 << 20)))
        .set_column_dictionary_enabled(floats.clone(), false)
        .set_column_statistics_enabled(floats.clone(), EnabledStatistics::None)
        .set_column_encoding(floats.clone(), encoding)
        .set_column_compression(floats, of_floats)
        .build()
}

/// What all tables have in common: who wrote them, and zstd unless something else is asked for.
pub(super) fn table_properties(compression: Option<Compression>) -> WriterPropertiesBuilder {
    let compression = compression.unwrap_or(Compression::of(Codec::Zstd));
    WriterProperties::builder()
        .set_created_by(concat!("offprint ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(page_compression(compression))
}

fn page_compression(compression: Compression) -> PageCompression {
    match compression.codec {
        Codec::Snappy => PageCompression::SNAPPY,
        Codec::Zstd => {
            let level = compression.level.and_then(|level| i32::try_from(level).ok());
            // Level 1 where none is given: on embeddings the higher ones take longer and save nothing.
            PageCompression::ZSTD(level.and_then(|level| ZstdLevel::try_new(level).ok()).unwrap_or_default())
        }
        Codec::None | Codec::Gzip => PageCompression::UNCOMPRESSED,
    }
}
