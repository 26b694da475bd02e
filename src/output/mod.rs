//! What goes out: embeddings and predictions, streamed row by row in input order.
//!
//! Knows file formats; knows no model, cache or head. Its invariant: a file under its real name is complete. Until
//! `finish` everything lies under temporary names, and memory is bounded by one row group, whatever the corpus.

mod compression;
mod embeddings;
mod error;
mod export;
mod file;
mod jsonl;
mod matrix;
mod matrix_header;
mod parquet;
mod predictions;
#[cfg(test)]
mod round_trip_tests;
mod sinks;
#[cfg(test)]
mod tests;

pub use compression::{Codec, Compression, CompressionError};
pub use embeddings::{
    EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, Written, embedding_writer,
};
pub use error::Error;
pub use export::export_rows;
pub use matrix::ids_path;
pub use predictions::{Prediction, PredictionFormat, PredictionOptions, WritePredictions, prediction_writer};
pub use sinks::{EmbeddingSink, Labeller, PredictionOutcome, PredictionSink, UNKNOWN};
