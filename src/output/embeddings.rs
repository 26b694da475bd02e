//! The border of the room for embeddings: formats by ending, the row, and the one trait that each format fills.

use std::path::Path;

use super::error::Error;
use super::jsonl::JsonlEmbeddings;
use super::npy::NpyEmbeddings;
use super::parquet::ParquetEmbeddings;

/// How embeddings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// Columns `id`, `embedding`, `n_tokens`, `n_dropped`.
    Parquet,
    /// A float matrix, and the ids in `<stem>.ids.txt` beside it.
    Npy,
    /// One object a line: the id and the list of numbers.
    Jsonl,
}

impl EmbeddingFormat {
    /// The format that the ending of `path` asks for: `.parquet`, `.npy` or `.jsonl`, in any case.
    ///
    /// # Errors
    /// Any other ending.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        match ending(path).as_str() {
            "parquet" => Ok(Self::Parquet),
            "npy" => Ok(Self::Npy),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(Error::UnknownFormat { path: path.to_owned(), known: ".parquet, .npy, .jsonl" }),
        }
    }
}

/// The part behind the last dot, in lower case.
pub(super) fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
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
    /// The id's key in JSONL: `doc_id` for SciRepEval, `paper_id` for SciDocs.
    pub jsonl_id_key: String,
    /// The encoder's fingerprint; Parquet keeps it as `offprint.fingerprint` in the schema's metadata.
    pub fingerprint: String,
}

impl Default for EmbeddingOutputOptions {
    fn default() -> Self {
        Self { jsonl_id_key: "doc_id".to_owned(), fingerprint: String::new() }
    }
}

/// Takes embeddings in output order. Dropped before `finish`, it leaves the older file as it was.
pub trait WriteEmbeddings: Send {
    /// Adds one row.
    ///
    /// # Errors
    /// A row of another length, an id or a value that the format cannot hold, or a file system that refuses.
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error>;

    /// Completes the file and puts it under its name.
    ///
    /// # Errors
    /// A file system that refuses.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Opens the output that the ending of `path` asks for, for rows of `dim` numbers. Its folder must exist.
///
/// # Errors
/// An unknown ending, or a folder that cannot be written to.
pub fn embedding_writer(
    path: &Path,
    dim: usize,
    options: &EmbeddingOutputOptions,
) -> Result<Box<dyn WriteEmbeddings>, Error> {
    Ok(match EmbeddingFormat::from_path(path)? {
        EmbeddingFormat::Parquet => Box::new(ParquetEmbeddings::create(path, dim, options)?),
        EmbeddingFormat::Npy => Box::new(NpyEmbeddings::create(path, dim)?),
        EmbeddingFormat::Jsonl => Box::new(JsonlEmbeddings::create(path, dim, options)?),
    })
}

/// Refuses a row of another length than the output's.
pub(super) fn check_length(row: &EmbeddingRow<'_>, dim: usize) -> Result<(), Error> {
    if row.embedding.len() == dim {
        return Ok(());
    }
    Err(Error::WrongLength { id: row.id.to_owned(), got: row.embedding.len(), expected: dim })
}
