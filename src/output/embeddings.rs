//! The border of the room for embeddings: formats by ending, the row, and the one trait that each format fills.

use std::path::Path;

use super::compression::{Compression, Content, endings, settle};
use super::error::Error;
use super::jsonl::JsonlEmbeddings;
use super::matrix::MatrixEmbeddings;
use super::parquet::ParquetEmbeddings;

/// Endings for messages.
const KNOWN: &str = ".parquet, .npy, .safetensors, .fbin, .jsonl, .jsonl.gz, .jsonl.zst";

/// How embeddings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// Columns `id`, `embedding`, `n_tokens`, `n_dropped`.
    Parquet,
    /// NumPy's float matrix, and the ids in `<stem>.ids.txt` beside it.
    Npy,
    /// One tensor `embeddings`, and the ids in `<stem>.ids.txt` beside it.
    Safetensors,
    /// Row count, dimension, numbers: as usearch, DiskANN and faiss' benchmarks read them; ids as for `.npy`.
    Fbin,
    /// One object a line: the id and the list of numbers.
    Jsonl,
}

impl EmbeddingFormat {
    /// The format that the ending of `path` asks for, in any case: `.parquet`, `.npy`, `.safetensors`, `.fbin` or
    /// `.jsonl`; with `.gz` or `.zst` behind it as well.
    ///
    /// # Errors
    /// Any other ending.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        match endings(path).0.as_str() {
            "parquet" => Ok(Self::Parquet),
            "npy" => Ok(Self::Npy),
            "safetensors" => Ok(Self::Safetensors),
            "fbin" => Ok(Self::Fbin),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(Error::UnknownFormat { path: path.to_owned(), known: KNOWN }),
        }
    }

    fn content(self) -> Content {
        match self {
            Self::Parquet => Content::Pages,
            Self::Npy | Self::Safetensors | Self::Fbin => Content::Matrix,
            Self::Jsonl => Content::Text,
        }
    }
}

/// One paper's embedding.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingRow<'a> {
    /// The paper.
    pub id: &'a str,
    /// As many numbers as the output was opened for.
    pub embedding: &'a [f32],
    /// Tokens that the encoder saw, special tokens included.
    pub n_tokens: u32,
    /// Tokens cut off at the maximum length.
    pub n_dropped: u32,
}

/// What an output of embeddings needs to know beside its name.
#[derive(Debug, Clone)]
pub struct EmbeddingOutputOptions {
    /// The id's column in Parquet.
    pub id_column: String,
    /// The id's key in JSONL: `doc_id` for SciRepEval, `paper_id` for SciDocs.
    pub jsonl_id_key: String,
    /// The encoder's fingerprint; Parquet and safetensors keep it as `offprint.fingerprint` in their metadata.
    pub fingerprint: String,
    /// The encoder's name, kept as `offprint.encoder` where it is known.
    pub encoder: Option<String>,
    /// What the user asks for; `None` is what the name says, and for Parquet what reads fastest.
    pub compression: Option<Compression>,
}

impl Default for EmbeddingOutputOptions {
    fn default() -> Self {
        Self {
            id_column: "id".to_owned(),
            jsonl_id_key: "doc_id".to_owned(),
            fingerprint: String::new(),
            encoder: None,
            compression: None,
        }
    }
}

impl EmbeddingOutputOptions {
    /// What files that have room for it say of the encoder: names and values.
    pub(super) fn metadata(&self) -> Vec<(&'static str, &str)> {
        let mut pairs = vec![("offprint.fingerprint", self.fingerprint.as_str())];
        pairs.extend(self.encoder.as_deref().map(|encoder| ("offprint.encoder", encoder)));
        pairs
    }
}

/// What a finished output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Ids that could not be a line as they are, and stand in the list of ids as JSON strings.
    pub quoted_ids: u64,
}

/// Takes embeddings in output order. Dropped before `finish`, it leaves the older file as it was.
pub trait WriteEmbeddings: Send {
    /// Adds one row.
    ///
    /// # Errors
    /// A row of another length, a value or a number of rows that the format cannot hold, or a file system that refuses.
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error>;

    /// Completes the file and puts it under its name.
    ///
    /// # Errors
    /// A file system that refuses.
    fn finish(self: Box<Self>) -> Result<Written, Error>;
}

/// Opens the output that the ending of `path` asks for, for rows of `dim` numbers. Its folder must exist.
///
/// # Errors
/// An unknown ending, a compression that the format or the name doesn't allow, ids that belong to another matrix, or a
/// folder that cannot be written to.
pub fn embedding_writer(
    path: &Path,
    dim: usize,
    options: &EmbeddingOutputOptions,
) -> Result<Box<dyn WriteEmbeddings>, Error> {
    let format = EmbeddingFormat::from_path(path)?;
    let compression = settle(path, format.content(), options.compression)?;
    Ok(match format {
        EmbeddingFormat::Parquet => Box::new(ParquetEmbeddings::create(path, dim, options)?),
        EmbeddingFormat::Npy | EmbeddingFormat::Safetensors | EmbeddingFormat::Fbin => {
            Box::new(MatrixEmbeddings::create(path, format, dim, options)?)
        }
        EmbeddingFormat::Jsonl => {
            let compression = compression.unwrap_or(Compression::NONE);
            Box::new(JsonlEmbeddings::create(path, dim, &options.jsonl_id_key, compression)?)
        }
    })
}

/// Refuses a row of another length than the output's.
pub(super) fn check_length(row: &EmbeddingRow<'_>, dim: usize) -> Result<(), Error> {
    if row.embedding.len() == dim {
        return Ok(());
    }
    Err(Error::WrongLength { id: row.id.to_owned(), got: row.embedding.len(), expected: dim })
}
